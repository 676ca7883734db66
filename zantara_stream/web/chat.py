"""Asking: the stream, and the whole answer as one object."""

from __future__ import annotations

import hashlib

from aiohttp import web

from ..answers.answer import Answer
from ..answers.answers import Answers, Asked
from ..answers.events import to_json
from ..answers.fold import Folded, fold, offset_after
from ..errors import AnswerExpired, InvalidRequest
from ..pipeline import Pipeline, Question
from .failures import ended_response, error_response
from .parameters import Ask, read_ask
from .sse import HEADERS, Connections


class Chat:
    """The handlers of `/bali-zero/chat-stream` and `/bali-zero/chat`."""

    def __init__(self, answers: Answers, pipeline: Pipeline, connections: Connections) -> None:
        self._answers = answers
        self._pipeline = pipeline
        self._connections = connections

    async def probe(self, request: web.Request) -> web.Response:
        """The headers of a stream; nothing is generated."""
        return web.Response(headers={**HEADERS, "Content-Type": "text/event-stream"})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The answer as Server-Sent Events: a new one, or the rest of one that exists."""
        ask = await read_ask(request)
        self._connections.admit()
        if ask.question is None:
            return await self._connections.resume(request, self._answers.find(ask.event_id))
        if ask.after is not None:
            return await self._connections.resume(request, self._reconnected(ask, ask.question, ask.after))
        answer = await self._answer(ask, ask.question)
        return await self._connections.serve(request, answer, 0, "start")

    async def _reconnected(self, ask: Ask, question: Question, after: float) -> tuple[Answer, int]:
        """Where somebody goes on who got chunks until `after`; never a second answer."""
        answer = await self._answers.named(_asked(ask, question))
        if answer is None:
            raise AnswerExpired
        return answer, offset_after(answer.log.frames(), after)

    async def whole(self, request: web.Request) -> web.Response:
        """The answer as one JSON object, once it is complete."""
        ask = await read_ask(request)
        if ask.question is None:
            raise InvalidRequest("last_event_id resumes a stream; ask for it at /bali-zero/chat-stream.")
        answer = await self._answer(ask, ask.question)
        with answer.log.follow():
            await answer.log.ended()
        return _as_json(answer)

    async def _answer(self, ask: Ask, question: Question) -> Answer:
        return await self._answers.ask(_asked(ask, question), self._pipeline.check)


def _asked(ask: Ask, question: Question) -> Asked:
    """What identifies the question is who asks what: a page that asks again may have a longer history by then."""
    digest = hashlib.sha256(f"{question.asker}\0{question.query}".encode()).hexdigest()
    return Asked(digest, question.to_json(), ask.continuity)


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
