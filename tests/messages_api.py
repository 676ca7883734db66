"""A stand-in of the Anthropic Messages API on a loopback socket, for tests that use the real SDK.

    async with MessagesAPI(answer("Hello, ", "world")) as api:      # what is replied where nothing is queued
        api.queue(http_error(529), answer("at last"))                  # one reply a request, in order
        ... ClaudeOptions(api_key="test", base_url=api.url) ...
        api.requests[0].body["messages"]                            # what was asked
        await api.client_left.wait()                                # a client closed a stream before its end

A reply is a `Failure` (an HTTP status with the API's JSON error) or a `Stream`: steps taken one after the
other. Bytes are written, numbers are seconds slept, an `asyncio.Event` is waited for (one that is never
set is a stall), and `CUT` closes the connection in the middle of the body. `answer` makes a whole message
of texts, `Cited` and `Thinking` blocks, with pacing steps between them; `until` and `then` damage it:

    answer("Hel", "lo").until("message_stop")                       # a clean end that comes too early
    answer("Hel").until("content_block_stop").then(error_event("overloaded_error"))
    answer("Hel").until("content_block_stop").then(asyncio.Event())

Where a reply depends on the request it is a function of it, queued or as `default`: `continuing` makes one that
writes a known text, and only the rest of it where the request holds its beginning.

https://docs.anthropic.com/en/api/messages-streaming
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import TracebackType
from typing import Any, Self

from aiohttp import web


class Step(Enum):
    """What is neither written nor waited for."""

    CUT = "cut"


CUT = Step.CUT
Steps = tuple[bytes | float | asyncio.Event | Step, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """An event stream with status 200; `hold` is waited for before its headers are sent."""

    steps: Steps
    at_a_time: int = 0  # bytes in one write; 0 for an event
    hold: asyncio.Event | None = None

    def until(self, kind: str, number: int = 1) -> Stream:
        """The same without the first event of that kind, or that many-th, and what follows it."""
        mark = b"event: " + kind.encode() + b"\n"
        places = [n for n, step in enumerate(self.steps) if isinstance(step, bytes) and step.startswith(mark)]
        return replace(self, steps=self.steps[: places[number - 1]])

    def then(self, *steps: bytes | float | asyncio.Event | Step) -> Stream:
        """The same with more steps at its end."""
        return replace(self, steps=self.steps + steps)


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP error."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Reply = Stream | Failure


@dataclass(frozen=True, slots=True)
class Cited:
    """A text block with citations, as `citation` makes them."""

    texts: tuple[str, ...]
    citations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Thinking:
    """A block of thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked; the body is None where there was none."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


Replying = Reply | Callable[[Request], Reply]
Content = str | Cited | Thinking | float | asyncio.Event


def event(data: Mapping[str, Any]) -> bytes:
    """One event, in UTF-8; surrogates that UTF-8 has no bytes for are escaped."""
    text = json.dumps(data, ensure_ascii=False)
    text = re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return f"event: {data['type']}\ndata: {text}\n\n".encode()


def error_event(kind: str, message: str = "Overloaded") -> bytes:
    """An error in the middle of a stream."""
    return event({"type": "error", "error": {"type": kind, "message": message}})


def citation(passage: int, text: str, blocks: tuple[Any, Any] = (0, 1), **more: Any) -> dict[str, Any]:
    """A citation of the passage given at that place (from 0), of its blocks from the first to before the last."""
    return {
        "type": "search_result_location",
        "cited_text": text,
        "source": "documents/source.md",
        "title": "Title",
        "search_result_index": passage,
        "start_block_index": blocks[0],
        "end_block_index": blocks[1],
    } | more


USAGE = {
    "input_tokens": 25,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 7,
    "output_tokens": 1,
}
OUTPUT_TOKENS = 15


def answer(
    *content: Content, stop_reason: str = "end_turn", at_a_time: int = 0, hold: asyncio.Event | None = None
) -> Stream:
    """A whole message: texts in one block each stretch, other blocks by themselves, pacing where it stands."""
    return Stream(tuple(_message(content, stop_reason)), at_a_time, hold)


def continuing(text: str, *, size: int = 7, repeated: int = 0, marked: str = "") -> Callable[[Request], Reply]:
    """A model that always writes this text, in pieces of that many characters; of an answer that has begun, the rest.

    After a prefill it goes on with the next character. Where it is shown the beginning and asked for the rest, it
    repeats the last so many words of it. What it is shown has no markers; with them it is `marked`, if it has any.
    """
    marked = marked or text
    places = _places(text, marked)

    def reply(request: Request) -> Reply:
        written, prefilled = beginning(request)
        if written != written.rstrip():
            return http_error(400, "final assistant content cannot end with trailing whitespace")
        if not text.startswith(written):
            return http_error(400, "this model begins its answer with other words")
        rest = marked[places[len(written) if prefilled else _before(written, repeated)] :]
        return answer(*(rest[place : place + size] for place in range(0, len(rest), size)))

    return reply


def _places(text: str, marked: str) -> list[int]:
    """For each place in a text, its end too, where that is in the same text with markers: before a marker there."""
    places, after = [], 0
    for letter in text:
        before = after
        while marked[after] != letter or (marked[after] == " " and marked[after + 1] == "["):
            after = marked.index("]", after) + 1
        places.append(before)
        after += 1
    return [*places, after]


def beginning(request: Request) -> tuple[str, bool]:
    """How a request says that the answer begins ("" where it does not), and whether as a prefill."""
    messages: list[dict[str, Any]] = [{"content": ""}, *request.body["messages"]]
    before, last = messages[-2:]
    if last["role"] == "assistant":
        return str(last["content"]), True
    asks_for_the_rest = isinstance(last["content"], str)  # a question comes as blocks
    return (str(before["content"]) if asks_for_the_rest else ""), False


def _before(text: str, words: int) -> int:
    """Where the last so many words of a text begin."""
    starts = [found.start() for found in re.finditer(r"\S+", text)]
    return starts[-words:][0] if words and starts else len(text)


def _message(content: tuple[Content, ...], stop_reason: str) -> Iterator[bytes | float | asyncio.Event]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "stand-in", "content": []}
    yield event({"type": "message_start", "message": message | {"stop_reason": None, "usage": USAGE}})
    number, is_open = 0, False
    for item in content:
        match item:
            case str():
                if not is_open:
                    yield _start(number, {"type": "text", "text": ""})
                    is_open = True
                yield _delta(number, {"type": "text_delta", "text": item})
            case Cited() | Thinking():
                if is_open:
                    yield _stop(number)
                    number, is_open = number + 1, False
                yield from _block(number, item)
                number += 1
            case _:
                yield item
    if is_open:
        yield _stop(number)
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    yield event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": OUTPUT_TOKENS}})
    yield event({"type": "message_stop"})


def _block(number: int, block: Cited | Thinking) -> Iterator[bytes]:
    if isinstance(block, Thinking):
        yield _start(number, {"type": "thinking", "thinking": "", "signature": ""})
        yield _delta(number, {"type": "thinking_delta", "thinking": block.text})
        yield _delta(number, {"type": "signature_delta", "signature": "c2lnbmVk"})
    else:
        yield _start(number, {"citations": [], "type": "text", "text": ""})
        for cited in block.citations:
            yield _delta(number, {"type": "citations_delta", "citation": cited})
        for text in block.texts:
            yield _delta(number, {"type": "text_delta", "text": text})
    yield _stop(number)


def _start(number: int, block: Mapping[str, Any]) -> bytes:
    start = event({"type": "content_block_start", "index": number, "content_block": block})
    return start if number else start + event({"type": "ping"})


def _delta(number: int, delta: Mapping[str, Any]) -> bytes:
    return event({"type": "content_block_delta", "index": number, "delta": delta})


def _stop(number: int) -> bytes:
    return event({"type": "content_block_stop", "index": number})


ERRORS = {
    400: ("invalid_request_error", "messages.0.content.0: Input tag 'search_result' does not match"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your account has a problem with billing"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource"),
    404: ("not_found_error", "model: no-such-model"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit"),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
CREDIT = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."


def http_error(status: int, message: str = "", *, kind: str = "", retry_after: float | None = None) -> Failure:
    """An error as the API answers it; `http_error(400, CREDIT)` is the one of an account without credit."""
    usual_kind, usual_message = ERRORS[status]
    error = {"type": kind or usual_kind, "message": message or usual_message}
    body = json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()
    return Failure(status, body, {} if retry_after is None else {"retry-after": f"{retry_after:g}"})


class MessagesAPI:
    """The server; `default` is its reply where none is queued. `url` is its base address."""

    def __init__(self, default: Replying | None = None) -> None:
        self.default = default
        self.model_reply: Failure | None = None  # instead of the model's description
        self.requests: list[Request] = []
        self.asked = asyncio.Event()  # a request has come
        self.client_left = asyncio.Event()  # a client closed its connection before the reply's end
        self.open = 0  # streams being written
        self.left = 0  # closed by the client before their end
        self._queue: deque[Replying] = deque()
        self._stopping = False
        app = web.Application(client_max_size=64 * 2**20)
        app.add_routes([web.post("/v1/messages", self._messages), web.get("/v1/models/{id}", self._model)])
        # Without handler_cancellation a client that leaves a stalled stream would not be noticed.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.01)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The base address, without `/v1`."""
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def queue(self, *replies: Replying) -> None:
        """Replies to the next requests for messages."""
        self._queue.extend(replies)

    async def _messages(self, http: web.Request) -> web.StreamResponse:
        self._record(http, await http.json())
        reply = self._queue.popleft() if self._queue else self.default
        if callable(reply):
            reply = reply(self.requests[-1])
        if reply is None:
            reply = replace(http_error(500, "no reply is queued"), headers={"x-should-retry": "false"})
        if isinstance(reply, Failure):
            return _refuse(reply)
        self.open += 1
        try:
            return await self._stream(http, reply)
        finally:
            self.open -= 1

    async def _model(self, http: web.Request) -> web.StreamResponse:
        self._record(http, None)
        if self.model_reply is not None:
            return _refuse(self.model_reply)
        name = http.match_info["id"]
        created = "2026-01-01T00:00:00Z"
        return web.json_response({"type": "model", "id": name, "display_name": name, "created_at": created})

    def _record(self, http: web.Request, body: Any) -> None:
        self.requests.append(Request(http.method, http.path, http.headers, body))
        self.asked.set()

    async def _stream(self, http: web.Request, reply: Stream) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.enable_chunked_encoding()
        cut = False
        try:
            if reply.hold is not None:
                await reply.hold.wait()
            await response.prepare(http)
            for step in reply.steps:
                cut = cut or step is CUT
                await _take(step, http, response, reply.at_a_time)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            if not (cut or self._stopping):
                self.left += 1
                self.client_left.set()
            raise
        return response


async def _take(
    step: bytes | float | asyncio.Event | Step, http: web.Request, response: web.StreamResponse, at_a_time: int
) -> None:
    match step:
        case bytes():
            for start in range(0, len(step), at_a_time or len(step)):
                await response.write(step[start : start + (at_a_time or len(step))])
        case asyncio.Event():
            await step.wait()
        case Step.CUT:
            if http.transport is not None:
                http.transport.close()
            await asyncio.Event().wait()  # until the closed connection cancels this handler
        case _:
            await asyncio.sleep(step)


def _refuse(reply: Failure) -> web.Response:
    return web.Response(
        status=reply.status, body=reply.body, headers={"Content-Type": "application/json", **reply.headers}
    )
