"""Connections on which nothing is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from zantara_stream.web import idle
from zantara_stream.web.idle import BETWEEN, HEAD, IdleConnections

ASKED = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Site:
    """A server whose idle connections are swept when the test says so; `hold` is what its answers wait for."""

    def __init__(self, most: int) -> None:
        self.connections = IdleConnections(most)
        self.hold = asyncio.Event()
        self.asked = asyncio.Event()
        self._app = web.Application(middlewares=[self.connections.busy])
        self._app.router.add_get("/", self._answer)
        self.runner = web.AppRunner(self._app, keepalive_timeout=3600, shutdown_timeout=0.1)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.set()
        await self.hold.wait()
        return web.Response(text="well")

    async def connect(self, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that the server has accepted."""
        assert self.runner.server is not None
        before = len(self.runner.server.connections)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.runner.addresses[0][1])
        writer.write(sent)
        while len(self.runner.server.connections) == before:  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0)
        return reader, writer

    def sweep(self, now: float) -> None:
        """Sweep at that time."""
        assert self.runner.server is not None
        self.connections.sweep(self.runner.server.connections, now)


@asynccontextmanager
async def site(most: int = 100) -> AsyncIterator[Site]:
    """A running site."""
    made = Site(most)
    await made.runner.setup()
    await web.TCPSite(made.runner, "127.0.0.1", 0).start()
    try:
        yield made
    finally:
        made.hold.set()
        await made.runner.cleanup()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the server has closed it; what was sent before is read."""
    try:
        async with asyncio.timeout(0.2):
            while await reader.read(1000):
                pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("sent", [b"", b"GET / HT", ASKED[:-2]])
async def test_one_that_does_not_ask_is_closed_in_time(sent: bytes) -> None:
    async with site() as s:
        reader, writer = await s.connect(sent)
        s.sweep(100)
        s.sweep(100 + HEAD - 1)
        assert not await is_closed(reader)
        s.sweep(100 + HEAD)
        assert await is_closed(reader)
        writer.close()


async def test_one_that_is_answered_is_left_alone_however_long_that_takes() -> None:
    async with site() as s:
        reader, writer = await s.connect(ASKED)
        await s.asked.wait()
        for now in (100, 100 + HEAD, 100 + BETWEEN, 10_000):
            s.sweep(now)
        s.hold.set()
        assert b"well" in await reader.readuntil(b"well")
        writer.close()


async def test_one_that_has_asked_may_wait_longer_with_the_next() -> None:
    async with site() as s:
        s.hold.set()
        reader, writer = await s.connect(ASKED)
        await reader.readuntil(b"well")
        s.sweep(100)
        s.sweep(100 + HEAD)
        assert not await is_closed(reader)
        writer.write(ASKED)
        await reader.readuntil(b"well")
        s.sweep(100 + BETWEEN)  # counted anew
        assert not await is_closed(reader)
        s.sweep(100 + 2 * BETWEEN)
        assert await is_closed(reader)
        writer.close()


async def test_where_there_are_too_many_those_that_wait_longest_go() -> None:
    async with site(most=2) as s:
        busy, first = await s.connect(ASKED), await s.connect()
        await s.asked.wait()
        s.sweep(100)
        second = await s.connect()
        s.sweep(101)
        assert [await is_closed(one[0]) for one in (first, second)] == [True, False]
        s.hold.set()
        assert await busy[0].readuntil(b"well")
        for _, writer in (busy, first, second):
            writer.close()


async def test_it_is_looked_at_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "PERIOD", 0.01)
    monkeypatch.setattr(idle, "HEAD", 0.0)
    async with site() as s:
        reader, writer = await s.connect()
        watching = asyncio.create_task(s.connections.watch(s.runner))
        assert await reader.read() == b""
        watching.cancel()
        writer.close()
