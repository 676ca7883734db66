"""A server whose streams are scripts: it drops, doubles, disorders and refuses whatever a client must bear.

server.script(start(), text(1, "Hello, "), CUT)
server.tell(Log("Hello, ", "world"))
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from zantara_stream.serving import make_runner
from zantara_stream.web.page import STATIC

ANSWER = "scripted-answer-012345"
PATIENCE = 10  # seconds until something that does not happen fails the test


@dataclass(frozen=True, slots=True)
class Reply:
    """A response that is no stream of the script's."""

    status: int
    body: str = ""
    kind: str = "text/html"
    headers: Mapping[str, str] = field(default_factory=dict)


class Act:
    """What a script does beside writing bytes."""


CUT = Act()  # break the connection
HOLD = Act()  # keep it open and silent, until the page leaves
MUTE = Act()  # not even headers, until the page leaves
Step = bytes | asyncio.Event | Act | Reply


def event(data: Any, offset: int | None = None, name: str = "") -> bytes:
    """One block of the wire; its id is the place after it, if it is one of the log."""
    head = f"event: {name}\n" if name else ""
    head += "" if offset is None else f"id: {ANSWER}.{offset}\n"
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def start(offset: int = 0, replayed: int = 0) -> bytes:
    """The first event of a connection that goes on at that place."""
    data = {"answer": ANSWER, "offset": offset, "replayed": replayed}
    return event(data, offset, "resumed" if offset else "start")


def text(offset: int, words: str, sequence: int | None = None) -> bytes:
    """A chunk of the answer, numbered by its place unless another number is given."""
    sequence = offset if sequence is None else sequence
    return event({"text": words, "sequenceNumber": sequence, "timestamp": 1000 + sequence}, offset)


def done(offset: int, sequence: int, reason: str = "end_turn") -> bytes:
    """The last event of an answer that has not failed."""
    data = {"done": True, "sequenceNumber": sequence, "timestamp": 2000, "streamDuration": 1, "stopReason": reason}
    return event(data, offset)


def error(code: str, retryable: bool, offset: int | None = None, sequence: int = 0) -> bytes:
    """A failure; without a place, one that is not recorded."""
    data = {"error": f"It failed: {code}.", "done": True, "code": code, "retryable": retryable}
    return event({**data, "sequenceNumber": sequence, "timestamp": 2000, "streamDuration": 1}, offset)


def gap(offset: int, words: str, sequence: int, citations: Sequence[Any] = ()) -> bytes:
    """A snapshot: all that was said until that place."""
    data = {"answer": ANSWER, "offset": offset, "text": words, "citations": citations, "first": 1001}
    return event({**data, "sequenceNumber": sequence, "timestamp": 1000 + sequence}, offset, "gap")


def refusal(status: int, code: str, retryable: bool = False, **headers: str) -> Reply:
    """A refusal in the server's own shape."""
    body = json.dumps({"error": f"No: {code}.", "done": True, "code": code, "retryable": retryable})
    return Reply(status, body, "application/json", {name.replace("_", "-"): said for name, said in headers.items()})


class Log:
    """The events of a whole answer of these texts, and their bytes from any place on."""

    def __init__(self, *texts: str) -> None:
        self.text = "".join(texts)
        self.events = [text(place, words) for place, words in enumerate(texts, 1)]
        self.events.append(done(len(texts) + 1, len(texts)))

    def after(self, offset: int) -> bytes:
        """What a connection gets that goes on at that place."""
        return start(offset, len(self.events) - offset) + b"".join(self.events[offset:])


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that a page has made."""

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    @property
    def place(self) -> str | None:
        """The id after which it goes on."""
        return self.parameters.get("last_event_id")

    @property
    def offset(self) -> int:
        """The place in the log at which it goes on."""
        return int((self.place or "0").rpartition(".")[2])


class ScriptedServer:
    """The n-th stream that is asked for plays the n-th script; after the last one `then` says what to play."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []  # for streams
        self.stopped: list[Asked] = []  # by DELETE
        self.stopping = Reply(200, "{}", "application/json")
        self.then: Callable[[Asked], Sequence[Step]] = lambda asked: [HOLD]
        self.open = 0  # streams
        self.most_open = 0
        self.url = ""
        self._scripts: deque[Sequence[Step]] = deque()
        self._changed: asyncio.Event = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0

    def script(self, *steps: Step) -> None:
        """What the next stream that has no script yet plays."""
        self._scripts.append(steps)

    def tell(self, log: Log) -> None:
        """Once the scripts are played, every stream is this log's, from where it was asked for."""
        self.then = lambda asked: [log.after(asked.offset)]

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something is so on the server's side."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await self._changed.wait()

    async def was_asked(self, times: int) -> Asked:
        """Wait for so many requests for streams; the last of them."""
        await self.until(lambda: len(self.asked) >= times)
        return self.asked[times - 1]

    async def listen(self) -> None:
        """Take connections, always at the same address."""
        app = web.Application()
        app.router.add_get("/zantara-stream.js", _client)
        app.router.add_delete("/bali-zero/{path:.*}", self._stop)
        app.router.add_route("*", "/bali-zero/chat-stream", self._play)
        app.router.add_get("/", _blank)
        self._runner = make_runner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def close(self) -> None:
        """Break what is open, and refuse connections from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _change(self, open: int = 0) -> None:
        self.open += open
        self.most_open = max(self.most_open, self.open)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _stop(self, request: web.Request) -> web.Response:
        self.stopped.append(await _asked(request))
        self._change()
        return _reply(self.stopping)

    async def _play(self, request: web.Request) -> web.StreamResponse:
        asked = await _asked(request)
        self.asked.append(asked)
        steps = self._scripts.popleft() if self._scripts else self.then(asked)
        if steps and isinstance(steps[0], Reply):
            self._change()
            return _reply(steps[0])
        self._change(+1)
        try:
            return await _stream(request, steps)
        finally:
            self._change(-1)


async def _stream(request: web.Request, steps: Sequence[Step]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    for step in steps:
        if step is MUTE:
            await asyncio.Event().wait()
        if not response.prepared:
            await response.prepare(request)
        await _take(step, request, response)
    return response


async def _take(step: Step, request: web.Request, response: web.StreamResponse) -> None:
    assert request.transport is not None
    if isinstance(step, bytes):
        await response.write(step)
    elif isinstance(step, asyncio.Event):
        await step.wait()
    elif step is HOLD:
        await asyncio.Event().wait()
    elif step is CUT:
        request.transport.close()  # what was written still goes out, and no end of the body


def _reply(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, text=reply.body or None, content_type=reply.kind, headers=reply.headers)


async def _asked(request: web.Request) -> Asked:
    body = await request.json() if request.can_read_body else None
    return Asked(request.method, request.path_qs, dict(request.query), request.headers.copy(), body)


async def _client(request: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "zantara-stream.js")


async def _blank(request: web.Request) -> web.Response:
    return web.Response(
        text="<!doctype html><link rel=icon href=data:,><title>A page</title>", content_type="text/html"
    )
