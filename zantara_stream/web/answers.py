"""One answer by its id: what it is by now, its log, its stop."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..answers.answer import Answer
from ..answers.answers import Answers
from ..answers.events import to_json
from ..answers.fold import Folded, fold
from ..errors import AnswerExpired, AnswerNotFound
from .parameters import read_event_id
from .sse import Connections

STOP_TIMEOUT = 15.0  # seconds that a stop may take to be recorded
_DETAILS = ("model", "stopReason", "usage", "timings", "usedRag", "error", "code", "retryable", "streamDuration")


class AnswersById:
    """The handlers of `/bali-zero/answers/{id}`; whoever holds an id, which nobody can guess, may use it."""

    def __init__(self, answers: Answers, connections: Connections) -> None:
        self._answers = answers
        self._connections = connections

    async def show(self, request: web.Request) -> web.Response:
        """The log folded to JSON."""
        return _as_json(await self._named(request))

    async def stop(self, request: web.Request) -> web.Response:
        """Stop it now, if it is not over; what it is then."""
        answer = await self._named(request)
        await self._answers.stop(answer, STOP_TIMEOUT)
        return _as_json(answer)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Follow the log, from its start or from where the reader was."""
        event_id = await read_event_id(request)
        self._connections.admit()
        if event_id:
            return await self._connections.resume(request, self._own(request, event_id))
        return await self._connections.resume(request, self._start(request), "start")

    async def _start(self, request: web.Request) -> tuple[Answer, int]:
        return await self._answers.get(request.match_info["id"]), 0

    async def _own(self, request: web.Request, event_id: str) -> tuple[Answer, int]:
        answer, offset = await self._answers.find(event_id)
        if answer.id != request.match_info["id"]:
            raise AnswerExpired
        return answer, offset

    async def _named(self, request: web.Request) -> Answer:
        try:
            return await self._answers.get(request.match_info["id"])
        except AnswerExpired:
            raise AnswerNotFound from None


def _as_json(answer: Answer) -> web.Response:
    folded = fold(answer.log.frames())
    ending = folded.done or folded.error or {}
    body: dict[str, Any] = {
        "answer": answer.id,
        "state": _state(folded),
        "text": folded.text,
        "citations": folded.citations,
        "sources": folded.sources,
        "usage": {},
        "sequenceNumber": folded.chunks,
        "offset": answer.log.tail,
        **{name: ending[name] for name in _DETAILS if name in ending},
    }
    return web.json_response(body, headers={"X-Answer-Id": answer.id, "Cache-Control": "no-store"}, dumps=to_json)


def _state(folded: Folded) -> str:
    if folded.error is not None:
        return "failed"
    if folded.done is None:
        return "running"
    return "stopped" if folded.done["stopReason"] == "stopped" else "complete"
