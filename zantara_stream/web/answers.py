"""One answer by its id: what it is by now, its log, its stop."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..answers.answer import Answer
from ..answers.answers import Answers
from ..answers.events import to_json
from ..answers.fold import fold
from ..errors import AnswerExpired, AnswerNotFound
from .asker import asker
from .authentication import Authentication
from .parameters import read_event_id
from .sse import Connections

STOP_TIMEOUT = 15.0  # seconds that a stop may take to be recorded


class AnswersById:
    """The handlers of `/bali-zero/answers/{id}`: for its owner; where that is nobody, for whoever has the id."""

    def __init__(self, answers: Answers, connections: Connections, authentication: Authentication) -> None:
        self._answers = answers
        self._connections = connections
        self._authentication = authentication

    async def show(self, request: web.Request) -> web.Response:
        """The log folded to JSON."""
        return _as_json(await self._named(request))

    async def stop(self, request: web.Request) -> web.Response:
        """Stop it now, if it is not over; what it is then."""
        answer = await self._named(request)
        await self._authentication.use_ticket(request, answer.name, answer.opening.question)
        await self._answers.stop(answer, STOP_TIMEOUT)
        return _as_json(answer)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Follow the log, from its start or from where the reader was."""
        event_id = await read_event_id(request)
        self._connections.admit()
        if event_id:
            return await self._connections.resume(request, self._place(request, event_id))
        return await self._connections.resume(request, self._start(request), "start")

    async def _start(self, request: web.Request) -> tuple[Answer, int]:
        answer = await self._answers.get(request.match_info["id"], asker(request).key)
        await self._authentication.use_ticket(request, answer.name, answer.opening.question)
        return answer, 0

    async def _place(self, request: web.Request, event_id: str) -> tuple[Answer, int]:
        answer, offset = await self._answers.find(event_id, asker(request).key)
        if answer.id != request.match_info["id"]:
            raise AnswerExpired
        await self._authentication.use_ticket(request, answer.name, answer.opening.question)
        return answer, offset

    async def _named(self, request: web.Request) -> Answer:
        return await own_answer(self._answers, request, request.match_info["id"])


async def own_answer(answers: Answers, request: web.Request, name: str) -> Answer:
    """The asker's answer of that id. Raises `AnswerNotFound`, for another's too."""
    try:
        return await answers.get(name, asker(request).key)
    except AnswerExpired:
        raise AnswerNotFound from None


def _as_json(answer: Answer) -> web.Response:
    folded = fold(answer.log.frames())
    body: dict[str, Any] = {
        "answer": answer.id,
        "state": folded.outcome,
        "query": answer.opening.question,
        "text": folded.text,
        "usage": {},
        "sequenceNumber": folded.chunks,
        "offset": answer.log.tail,
        **folded.details,
    }
    return web.json_response(body, headers={"X-Answer-Id": answer.id, "Cache-Control": "no-store"}, dumps=to_json)
