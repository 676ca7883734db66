"""Opening an event stream and following a log on it.

One sweep for all connections sends the heartbeats, so that they go on while retrieval or the model is
silent and cost no timer each; a connection that cannot be written to for `WRITE_DEADLINE` is aborted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from ..answers.answers import Answer
from ..answers.events import frame
from ..answers.log import Cursor
from ..errors import Overloaded

WRITE_DEADLINE = 20.0  # seconds a reader may take to accept what it is sent
RETRY = (1000, 4000)  # milliseconds, drawn for each connection so that a crowd does not return at once
PING = frame({}, event="ping")
HEADERS = {"Cache-Control": "no-cache, no-store, no-transform", "X-Accel-Buffering": "no"}
_NEVER = 86400.0 * 365


def stream_response(answer: str = "") -> EventSourceResponse:
    """A response with the headers of an event stream.

    aiohttp-sse gives the headers and `TCP_USER_TIMEOUT`; its pings are comments, which scripts cannot
    see, and its `send` encodes every event anew, so heartbeats and bytes are ours.
    """
    response = EventSourceResponse(sep="\n", allow_all_methods=True, send_timeout=WRITE_DEADLINE, ping_interval=_NEVER)
    response.headers.update(HEADERS)
    if answer:
        response.headers["X-Answer-Id"] = answer
    return response


@asynccontextmanager
async def open_stream(request: web.Request, answer: str = "") -> AsyncIterator[EventSourceResponse]:
    """An open event stream; its end is written when the block is left."""
    response = stream_response(answer)
    await response.prepare(request)
    async with response:
        yield response
    await response.write_eof()


class Connection:
    """One reader: its cursor, its response, and when it last heard from us."""

    def __init__(self, cursor: Cursor, response: EventSourceResponse, transport: asyncio.Transport) -> None:
        self.cursor = cursor
        self._response = response
        self._transport = transport
        self._last_write = time.monotonic()
        self._writing_since: float | None = None
        self._ping_due = False

    async def run(self, first: bytes) -> None:
        """Write `first` and then the log, until it closes or the reader goes."""
        await self._write(first + self.cursor.read())
        while not self.cursor.exhausted:
            await self.cursor.wait()
            data = self.cursor.read()
            if data or self._ping_due:
                await self._write(data or PING)

    async def _write(self, data: bytes) -> None:
        self._last_write = self._writing_since = time.monotonic()
        self._ping_due = False
        try:
            await self._response.write(data)
        finally:
            self._writing_since = None

    def sweep(self, now: float, silence: float) -> None:
        """Ask for a heartbeat after `silence` seconds without a write; abort one that is stuck."""
        if self._writing_since is not None:
            if now - self._writing_since > WRITE_DEADLINE:
                self._transport.abort()
        elif now - self._last_write >= silence:
            self._ping_due = True
            self.cursor.nudge()


class Connections:
    """Every open stream of this node, and the heartbeat they share."""

    def __init__(self, heartbeat: float, most: int) -> None:
        self._period = min(1.0, heartbeat / 5)  # seconds between sweeps
        self._silence = heartbeat - self._period  # so that no silence is longer than the heartbeat
        self._most = most
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

    async def serve(self, request: web.Request, answer: Answer, offset: int, opening: str) -> web.StreamResponse:
        """Stream the answer from `offset` to its end; `opening` names the first event."""
        with self._place(), answer.log.follow(offset) as cursor:
            async with open_stream(request, answer.id) as response:
                assert request.transport is not None
                with self._swept(Connection(cursor, response, request.transport)) as connection:
                    await connection.run(_first(answer, offset, opening))
        return response

    @contextmanager
    def _place(self) -> Iterator[None]:
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    @contextmanager
    def _swept(self, connection: Connection) -> Iterator[Connection]:
        self._open.add(connection)
        try:
            yield connection
        finally:
            self._open.discard(connection)


def _first(answer: Answer, offset: int, opening: str) -> bytes:
    data = {"answer": answer.id, "offset": offset, "replayed": answer.log.tail - offset}
    return frame(data, event=opening, id=f"{answer.id}.{offset}", retry=random.randint(*RETRY))
