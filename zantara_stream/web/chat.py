"""Asking: the stream, and the whole answer as one object."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from ..answers.answer import Answer
from ..answers.answers import Answers, Asked
from ..answers.events import to_json
from ..answers.fold import Folded, fold, offset_after
from ..errors import AnswerExpired, InvalidRequest
from ..people.spending import Spending
from ..people.tickets import Ticket
from ..pipeline import Pipeline, Question
from .asker import TICKET, asker
from .authentication import Authentication
from .failures import ended_response, error_response
from .limits import Limits
from .parameters import Ask, read_ask
from .sse import HEADERS, Connections


class Chat:
    """The handlers of `/bali-zero/chat-stream` and `/bali-zero/chat`."""

    def __init__(
        self,
        answers: Answers,
        pipeline: Pipeline,
        connections: Connections,
        authentication: Authentication,
        limits: Limits,
        spending: Spending,
    ) -> None:
        self._answers = answers
        self._pipeline = pipeline
        self._connections = connections
        self._authentication = authentication
        self._limits = limits
        self._spending = spending

    async def probe(self, request: web.Request) -> web.Response:
        """The headers of a stream; nothing is generated."""
        return web.Response(headers={**HEADERS, "Content-Type": "text/event-stream"})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The answer as Server-Sent Events: a new one, or the rest of one that exists."""
        ask = await read_ask(request)
        self._connections.admit()
        if ask.question is None:
            return await self._connections.resume(request, self._found(request, ask.event_id))
        asked = _asked(ask, ask.question, request.get(TICKET), self._limits.request_id(request))
        await self._authentication.use_ticket(request, asked.name, asked.question)
        if ask.after is not None or _only_resumes(request):
            return await self._connections.resume(request, self._again(asked, ask.after))
        answer = await self._answers.ask(asked, partial(self._admit, request))
        return await self._connections.serve(request, answer, 0, "start")

    async def _admit(self, request: web.Request) -> None:
        """Refuse a new answer: one that exists costs nothing more, and is nobody's limit."""
        self._pipeline.check()
        self._spending.admit(asker(request).key)
        await self._limits.ask(request)

    async def _found(self, request: web.Request, event_id: str) -> tuple[Answer, int]:
        answer, offset = await self._answers.find(event_id, asker(request).key)
        await self._authentication.use_ticket(request, answer.name, answer.opening.question)
        return answer, offset

    async def _again(self, asked: Asked, after: float | None) -> tuple[Answer, int]:
        """The answer that is named, from where somebody goes on who got chunks until then; never a second answer."""
        answer = await self._answers.named(asked)
        if answer is None:
            raise AnswerExpired
        return answer, 0 if after is None else offset_after(answer.log.frames(), after)

    async def whole(self, request: web.Request) -> web.Response:
        """The answer as one JSON object, once it is complete."""
        ask = await read_ask(request)
        if ask.question is None:
            raise InvalidRequest("last_event_id resumes a stream; ask for it at /bali-zero/chat-stream.")
        asked = _asked(ask, ask.question, None, self._limits.request_id(request))
        answer = await self._answers.ask(asked, partial(self._admit, request))
        with answer.follow():
            await answer.log.ended()
        return _as_json(answer)


def _asked(ask: Ask, question: Question, ticket: Ticket | None, request_id: str) -> Asked:
    """What identifies the question is who asks what: a page that asks again may have a longer history by then.

    An answer that a ticket starts has a name, so that the same ticket finds it again with the same question; and one
    that a proxy asks for has one, so that it is not begun again where the proxy asks a second node.
    """
    continuity = ask.continuity
    if ticket is not None and not continuity:
        continuity = ticket.name_for(question.query)
    elif request_id and not continuity:
        continuity = f"request {request_id}"
    return Asked(question.query, question.to_json(), continuity, question.person.key)


def _only_resumes(request: web.Request) -> bool:
    """Whether the request's ticket is too old to start an answer."""
    ticket = request.get(TICKET)
    return ticket is not None and not ticket.fresh


def _as_json(answer: Answer) -> web.Response:
    folded = fold(answer.log.frames())
    if folded.error is not None:
        return ended_response(folded.error, response=folded.text, answer=answer.id)
    if answer.log.broken_off is not None:
        return error_response(answer.log.broken_off, response=folded.text, answer=answer.id)
    headers = {"X-Answer-Id": answer.id, "Cache-Control": "no-store"}
    return web.json_response(_whole(answer, folded), headers=headers, dumps=to_json)


def _whole(answer: Answer, folded: Folded) -> dict[str, object]:
    done = folded.done or {}
    return {
        "success": True,
        "response": folded.text,
        "model_used": done["model"],
        "ai_used": done["model"] != "extractive",
        "sources": folded.sources,
        "citations": folded.citations,
        "usage": done["usage"],
        "used_rag": done["usedRag"],
        "stop_reason": done["stopReason"],
        "answer": answer.id,
    }
