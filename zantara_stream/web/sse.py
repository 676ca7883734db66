"""Opening an event stream and following a log on it.

One sweep for all connections sends the heartbeats, so that they go on while retrieval or the model is
silent and cost no timer each; a connection that cannot be written to for `WRITE_DEADLINE` is aborted.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from aiohttp import web
from aiohttp.hdrs import TRANSFER_ENCODING
from aiohttp_sse import EventSourceResponse

from ..answers.answer import Answer
from ..answers.events import frame, last_sequence
from ..answers.log import SLICE, Cursor
from ..errors import AnswerExpired, Crowded, HandedOver, Overloaded, RequestError
from ..metrics import (
    BROKEN_OFF,
    CONNECTION_DURATION,
    CONNECTIONS,
    DISCONNECTS,
    END,
    GAPS,
    LEFT,
    REFUSALS,
    REPLAYED_CHUNKS,
    REQUESTS,
    STUCK,
    WRITE_DEADLINES,
)

WRITE_DEADLINE = 20.0  # seconds a reader may take to accept what it is sent
USER_TIMEOUT = 18.0  # seconds that what was sent may stay unacknowledged: three probes, as one may well be lost
KEEPALIVE = (8, 4)  # seconds of silence until the peer is probed, and between probes
UNSENT = 16 * 1024  # bytes that wait in the kernel of a peer that reads slowly; else they are megabytes
RETURN = (1000, 10_000)  # milliseconds over which the readers of a stopping server come back
RETRY = (1000, 4000)  # milliseconds, drawn for each connection so that a crowd does not return at once
PING = frame({}, event="ping")
HEADERS = {"Cache-Control": "no-cache, no-store, no-transform", "X-Accel-Buffering": "no"}
_NEVER = 86400.0 * 365


def stream_response(answer: str = "") -> EventSourceResponse:
    """A response with the headers of an event stream.

    aiohttp-sse gives the headers and `TCP_USER_TIMEOUT`; its pings are comments, which scripts cannot
    see, and its `send` encodes every event anew, so heartbeats and bytes are ours.
    """
    response = EventSourceResponse(sep="\n", allow_all_methods=True, send_timeout=USER_TIMEOUT, ping_interval=_NEVER)
    response.headers.update(HEADERS)
    if answer:
        response.headers["X-Answer-Id"] = answer
    return response


@asynccontextmanager
async def open_stream(request: web.Request, answer: str = "") -> AsyncIterator[EventSourceResponse]:
    """An open event stream; its end is written when the block is left."""
    response = stream_response(answer)
    _bound(request)
    await response.prepare(request)
    async with response:
        yield response
    with suppress(ConnectionError):  # a page that has got its last event closes at once, and that is no error
        await response.write_eof()


def _bound(request: web.Request) -> None:
    """Let the kernel keep little for a slow reader, and notice one that has vanished, whatever the heartbeat."""
    connected = request.get_extra_info("socket")
    if connected is None or connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {"TCP_KEEPIDLE": KEEPALIVE[0], "TCP_KEEPINTVL": KEEPALIVE[1], "TCP_NOTSENT_LOWAT": UNSENT}
    for name, value in options.items():
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Connection:
    """One reader: its cursor, its response, and when it last heard from us."""

    def __init__(self, cursor: Cursor, response: EventSourceResponse, transport: asyncio.Transport) -> None:
        self.cursor = cursor
        self._response = response
        self._transport = transport
        self._chunked = response.headers.get(TRANSFER_ENCODING) == "chunked"  # not for a peer that speaks HTTP/1.0
        self._last_write = time.monotonic()
        self._writing_since: float | None = None
        self._ping_due = False
        self._began = time.monotonic()
        self._cause = LEFT  # of its end, unless it comes otherwise

    async def run(self, first: bytes) -> None:
        """Write `first` and then the log, until it closes or the reader goes."""
        await self._write(first + self.cursor.read())
        self.cursor.on_news = self._pass_on
        while not self.cursor.exhausted:
            await self.cursor.wait()
            data = self.cursor.read()
            if data or self._ping_due:
                await self._write(data or PING)
        self._cause = END

    async def _write(self, data: bytes) -> None:
        self._last_write = self._writing_since = time.monotonic()
        self._ping_due = False
        try:
            await self._response.write(data)
        finally:
            self._writing_since = None

    def _pass_on(self) -> None:
        """Write what is new at once, without waking anybody, unless the reader lags or it was the last."""
        if self._writing_since is not None or self._transport.get_write_buffer_size() >= SLICE:
            self.cursor.nudge()
            return
        data = self.cursor.read()
        if data and not self._transport.is_closing():
            self._last_write = time.monotonic()
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if self.cursor.due:
            self.cursor.nudge()

    def sweep(self, now: float, silence: float) -> None:
        """Ask for a heartbeat after `silence` seconds without a write; abort one that is stuck."""
        if self._writing_since is not None:
            if now - self._writing_since > WRITE_DEADLINE:
                self._cause = STUCK
                self._transport.abort()
        elif now - self._last_write >= silence:
            self._ping_due = True
            self.cursor.nudge()

    def broken_off(self, answer: Answer) -> bytes:
        """What its reader is told of an answer that goes on elsewhere, or not at all."""
        assert answer.log.broken_off is not None
        self._cause = BROKEN_OFF
        return _farewell(answer, answer.log.broken_off)

    def count(self) -> None:
        """Count how long it was open, and why it ended."""
        CONNECTION_DURATION.observe(time.monotonic() - self._began)
        DISCONNECTS.labels(self._cause).inc()
        if self._cause == STUCK:
            WRITE_DEADLINES.inc()


class Connections:
    """Every open stream of this node, and the heartbeat they share."""

    def __init__(self, heartbeat: float, most: int, most_readers: int = 1000) -> None:
        self._period = min(1.0, heartbeat / 5)  # seconds between sweeps
        self._silence = heartbeat - self._period  # so that no silence is longer than the heartbeat
        self._most = most
        self._most_readers = most_readers  # of one answer
        self._taken = 0  # places, of streams that are being opened too
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return self._taken

    def admit(self) -> None:
        """Raise `Overloaded` where one more stream would be too many."""
        if self._taken >= self._most:
            raise Overloaded

    async def beat(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(self._period)
            now = time.monotonic()
            for connection in self._open:
                connection.sweep(now, self._silence)

    async def resume(
        self, request: web.Request, place: Awaitable[tuple[Answer, int]], opening: str = "resumed"
    ) -> web.StreamResponse:
        """Stream an answer from where its reader was; said to be gone, or over, where it is."""
        try:
            answer, offset = await place
        except AnswerExpired as error:
            return await _expired(request, error)
        if answer.log.closed and offset == answer.log.tail:
            return web.Response(status=204)  # the one status that stops an EventSource on purpose
        REQUESTS.labels("resume").inc()
        REPLAYED_CHUNKS.inc(answer.log.chunks_since(offset))
        return await self.serve(request, answer, offset, opening)

    async def serve(self, request: web.Request, answer: Answer, offset: int, opening: str) -> web.StreamResponse:
        """Stream the answer from `offset` to its end; `opening` names the first event."""
        if answer.log.readers >= self._most_readers:
            raise Crowded
        with self.place(), answer.follow(offset) as cursor:
            async with open_stream(request, answer.id) as response:
                assert request.transport is not None
                with self._swept(Connection(cursor, response, request.transport)) as connection:
                    await connection.run(_first(answer, offset, opening))
                    if answer.log.broken_off is not None:
                        await response.write(connection.broken_off(answer))
        return response

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count one more open stream within the block."""
        self._taken += 1
        CONNECTIONS.inc()
        try:
            yield
        finally:
            self._taken -= 1
            CONNECTIONS.dec()

    @contextmanager
    def _swept(self, connection: Connection) -> Iterator[Connection]:
        self._open.add(connection)
        try:
            yield connection
        finally:
            self._open.discard(connection)
            connection.count()


def _first(answer: Answer, offset: int, opening: str) -> bytes:
    retry = random.randint(*RETRY)
    if offset < answer.log.first:
        GAPS.inc()
        return b"retry: %d\n" % retry  # of the snapshot, with which such a log begins
    data = {"answer": answer.id, "offset": offset, "replayed": max(0, answer.log.tail - offset)}
    return frame(data, event=opening, id=f"{answer.id}.{offset}", retry=retry)


async def _expired(request: web.Request, error: AnswerExpired) -> web.StreamResponse:
    REFUSALS.labels(error.code).inc()
    async with open_stream(request) as response:
        await response.write(frame(_error(error, 0, 0.0), retry=RETRY[1]))
    return response


def _farewell(answer: Answer, why: RequestError) -> bytes:
    """What the readers of a log that is broken off are told. No id: it is no part of the log, which may go on."""
    if isinstance(why, HandedOver):
        wait = random.randint(*RETURN)
        data = {"code": why.code, "retryable": True, "retryAfter": wait / 1000}
        return frame(data, event="draining", retry=wait)
    lasted = max(0.0, time.time() - answer.opening.started)
    return frame(_error(why, last_sequence(answer.log.frames()), lasted), retry=RETRY[1])


def _error(error: RequestError, sequence: int, lasted: float) -> dict[str, Any]:
    numbers = {"sequenceNumber": sequence, "timestamp": round(time.time(), 3), "streamDuration": round(lasted, 3)}
    return error_body(error, **numbers)


def error_body(error: RequestError, **more: Any) -> dict[str, Any]:
    """The contract's JSON of a failed request."""
    return {"error": str(error), "done": True, "code": error.code, "retryable": error.retryable, **more}
