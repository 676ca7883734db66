"""A stand-in of the Messages API for faults: paced, with a known text for each question, and able to break.

A request that ends with the beginning of the answer gets the rest of it, as the real one does for a prefill.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

PACE = 0.02  # seconds from chunk to chunk
SIZE = 7  # characters of a chunk
AFTER = 70  # characters that a broken answer has at least
WORDS = {"Long": 9000, "Middling": 400, "Short": 12}  # of answers to questions that begin so
BREAKS = ("error event", "cut body", "end too early", "malformed JSON", "cut UTF-8", "stall")


def text_of(question: str) -> str:
    """The answer to a question: words of several scripts, made from the question alone."""
    draw = random.Random(question)
    words = WORDS.get(question.partition(" ")[0], 60)
    made = [
        f"{draw.choice(['permit', 'pajak', 'società', 'é🙂', 'Rp 10.000.000', 'visa.', '|'])}{n}" for n in range(words)
    ]
    return "".join(word + draw.choice([" ", " ", " ", "\n", "\n\n"]) for word in made).rstrip()


class Upstream:
    """The server; `breaks` are taken one a request, in order, each after some chunks."""

    def __init__(self, pace: float = PACE, size: int = SIZE) -> None:
        self.pace, self.size = pace, size
        self.begun: Counter[str] = Counter()  # requests for a whole answer, by question
        self.continued: Counter[str] = Counter()  # requests for the rest of one
        self.left = 0  # closed by the client before their end
        self.refusals: tuple[int, ...] = ()  # status of the first requests of each question
        self.overloaded = ""  # a model that answers 529 each time
        self.breaks: list[str] = []
        self.broken: dict[str, str] = {}  # how, by question
        self.told: Callable[[str, int, str], object] = lambda question, written, broken: None  # of each request

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    @property
    def requests(self) -> int:
        """All that were made."""
        return self.begun.total() + self.continued.total()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Upstream]:
        """Serve on a free port of the loopback."""
        app = web.Application(client_max_size=2**24)
        app.add_routes([web.post("/v1/messages", self._messages)])
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        try:
            yield self
        finally:
            await self._runner.cleanup()

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        question, written = _asked(body["messages"])
        text = text_of(question)
        if written != written.rstrip() or not text.startswith(written):
            return _refused(400, "invalid_request_error")  # as the real one does; the second cannot happen there
        number = self.begun[question] + self.continued[question]
        (self.continued if written else self.begun)[question] += 1
        if body["model"] == self.overloaded:
            return _refused(529, "overloaded_error")
        if number < len(self.refusals):
            status = self.refusals[number]
            return _refused(status, "rate_limit_error" if status == 429 else "overloaded_error")
        rest = text[len(written) :]
        broken = self.breaks.pop(0) if self.breaks else ""
        if broken:
            self.broken[question] = broken
        self.told(question, len(written), broken)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            await self._write(request, response, rest, broken)
        except (asyncio.CancelledError, ConnectionError):
            self.left += not broken
            raise
        return response

    async def _write(self, request: web.Request, response: web.StreamResponse, rest: str, broken: str) -> None:
        usage = {"input_tokens": 10, "output_tokens": 1}
        await _event(response, {"type": "message_start", "message": {"usage": usage}})
        await _event(
            response, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        )
        for place in range(0, len(rest), self.size):
            if broken and place > AFTER:
                await _break(request, response, broken)
                return
            delta = {"type": "text_delta", "text": rest[place : place + self.size]}
            await _event(response, {"type": "content_block_delta", "index": 0, "delta": delta})
            await asyncio.sleep(self.pace)
        await _event(response, {"type": "content_block_stop", "index": 0})
        ending = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 60}}
        await _event(response, ending)
        await _event(response, {"type": "message_stop"})


def _asked(messages: list[dict[str, Any]]) -> tuple[str, str]:
    """The question, and the beginning of the answer that the request ends with."""
    written = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
    question = messages[-1]["content"][-1]["text"].partition("\n\n(The search")[0]
    return question, written


def _refused(status: int, kind: str) -> web.Response:
    error = {"type": "error", "error": {"type": kind, "message": "Refused"}}
    return web.json_response(error, status=status, headers={"retry-after": "0.1"})


async def _event(response: web.StreamResponse, data: dict[str, Any]) -> None:
    await response.write(f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode())


async def _break(request: web.Request, response: web.StreamResponse, how: str) -> None:
    match how:
        case "error event":
            error = {"type": "overloaded_error", "message": "Overloaded"}
            await _event(response, {"type": "error", "error": error})
        case "cut body":
            assert request.transport is not None
            request.transport.abort()
        case "malformed JSON":
            await response.write(b'event: content_block_delta\ndata: {"type":"content_block_delta","del\n\n')
        case "cut UTF-8":
            await response.write(b'event: content_block_delta\ndata: {"type":"\xf0\x9f\n\n')
        case "stall":
            await asyncio.Event().wait()
