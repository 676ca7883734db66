"""Asking: the stream, and the whole answer as one object."""

from __future__ import annotations

import time
from functools import partial

from aiohttp import web

from ..answers.answers import Answer, Answers
from ..answers.events import frame, to_json
from ..answers.fold import Folded, fold
from ..errors import AnswerExpired, InvalidRequest
from ..pipeline import Pipeline, Question
from .failures import ended_response, error_body
from .parameters import Ask, read_ask
from .sse import HEADERS, RETRY, Connections, open_stream


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
            return await self._resume(request, ask.event_id)
        answer = self._answer(ask, ask.question)
        return await self._connections.serve(request, answer, 0, "start")

    async def whole(self, request: web.Request) -> web.Response:
        """The answer as one JSON object, once it is complete."""
        ask = await read_ask(request)
        if ask.question is None:
            raise InvalidRequest("last_event_id resumes a stream; ask for it at /bali-zero/chat-stream.")
        answer = self._answer(ask, ask.question)
        with answer.log.follow() as cursor:
            while not cursor.exhausted:
                cursor.read()
                await cursor.wait()
        return _as_json(answer)

    def _answer(self, ask: Ask, question: Question) -> Answer:
        if not self._answers.holds(ask.continuity):
            self._pipeline.check()
        produce = partial(self._pipeline.answer, question)
        return self._answers.ask(f"{question.asker}\0{question.query}", produce, ask.continuity)

    async def _resume(self, request: web.Request, event_id: str) -> web.StreamResponse:
        try:
            answer, offset = self._answers.find(event_id)
        except AnswerExpired as error:
            return await _expired(request, error)
        if answer.log.closed and offset == answer.log.tail:
            return web.Response(status=204)  # the one status that stops an EventSource on purpose
        return await self._connections.serve(request, answer, offset, "resumed")


async def _expired(request: web.Request, error: AnswerExpired) -> web.StreamResponse:
    body = error_body(error, sequenceNumber=0, timestamp=round(time.time(), 3), streamDuration=0)
    async with open_stream(request) as response:
        await response.write(frame(body, retry=RETRY[1]))
    return response


def _as_json(answer: Answer) -> web.Response:
    folded = fold(answer.log.frames())
    if folded.error is not None:
        return ended_response(folded.error, response=folded.text, answer=answer.id)
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
