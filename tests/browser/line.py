"""A line between pages and a server that tests break in every way, and how a page reads an answer over it.

async with line(server.authority) as wire:
    page = await page_at(f"{wire.url}/health", browser)
    reading = await Reading.begin(page, "client", QUESTION)
    await reading.has("the first words ")
    wire.cut()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from playwright.async_api import JSHandle, Page

from zantara_stream.web.page import STATIC

PIECE = 2**16  # bytes read at once


@dataclass(eq=False, slots=True)
class _Connection:
    near: asyncio.StreamWriter  # the browser
    far: asyncio.StreamWriter  # the server
    most: int  # bytes that still come back from the server; below 0: all
    mute: bool

    def abort(self) -> None:
        self.near.transport.abort()
        self.far.transport.abort()


def _all() -> int:
    return -1


class Line:
    """Passes on what comes until it is broken; `url` is its own address, which stays the same."""

    def __init__(self, upstream: str) -> None:
        self.accepted = 0  # connections
        self.most: Callable[[], int] = _all  # bytes that the next connection gets before it is cut; below 0: all
        self._host, _, self._port = upstream.rpartition(":")
        self._silent = False
        self._server: asyncio.Server | None = None
        self._address = 0
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def authority(self) -> str:
        """Host and port, as a Host header has them."""
        return f"127.0.0.1:{self._address}"

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://{self.authority}"

    def cut(self) -> None:
        """Close every connection; new ones are taken."""
        for connection in tuple(self._open):
            connection.abort()

    def refuse(self) -> None:
        """Close every connection, and take no more until `restore`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def fall_silent(self) -> None:
        """Pull the cable: nothing passes any more, no end of a connection either; new ones hear nothing."""
        self._silent = True
        for connection in self._open:
            connection.mute = True

    async def restore(self) -> None:
        """Take and pass on new connections; those of a silent time stay dead, as where an address has changed."""
        self._silent, self.most = False, _all
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._address)
            self._address = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End it with all that it has open."""
        self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            back, far = await asyncio.open_connection(self._host, int(self._port))
        except OSError:
            near.transport.abort()  # nobody is there
            return
        connection = _Connection(near, far, self.most(), self._silent)
        self._open.add(connection)
        try:
            await self._pass_on(connection, reader, back)
        finally:
            self._open.discard(connection)
            connection.abort()

    async def _pass_on(self, connection: _Connection, there: asyncio.StreamReader, back: asyncio.StreamReader) -> None:
        """Both ways, until one of them ends."""
        ways = [asyncio.create_task(_there(connection, there)), asyncio.create_task(_back(connection, back))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _there(connection: _Connection, reader: asyncio.StreamReader) -> None:
    async for piece in _pieces(connection, reader):
        connection.far.write(piece)


async def _back(connection: _Connection, reader: asyncio.StreamReader) -> None:
    async for piece in _pieces(connection, reader):
        passed = piece if connection.most < 0 else piece[: connection.most]
        connection.near.write(passed)
        if len(passed) == connection.most:
            await connection.near.drain()
            return
        connection.most -= len(passed) if connection.most > 0 else 0


async def _pieces(connection: _Connection, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            if connection.mute:
                break
            yield piece
    if connection.mute:
        await asyncio.Event().wait()  # neither end hears of the other's


@asynccontextmanager
async def line(upstream: str) -> AsyncIterator[Line]:
    """A line to `upstream` (host and port) that works by now."""
    made = Line(upstream)
    await made.restore()
    try:
        yield made
    finally:
        await made.close()


# Notes what happens to one answer, and tells whoever waits for it.
_READ = """
async ([way, what, { url = "", ...options }]) => {
  const reading = { text: "", numbers: [], seen: [], gaps: 0, duplicates: 0, looks: new Set() };
  const see = (name) => { reading.seen.push(name); for (const look of reading.looks) look(); };
  const take = ({ text, sequenceNumber }) => {
    reading.text += text;
    reading.numbers.push(sequenceNumber);
    see("text");
  };
  reading.until = (holds) => new Promise((resolve) => {
    const look = () => { if (holds(reading)) { reading.looks.delete(look); resolve(); } };
    reading.looks.add(look);
    look();
  });
  if (way === "EventSource") {
    const address = `${url}/bali-zero/chat-stream?` + new URLSearchParams({ query: what });
    const source = (reading.source = new EventSource(address));
    for (const type of ["open", "ping"]) source.addEventListener(type, () => see(type));
    source.onerror = () => see(source.readyState === EventSource.CLOSED ? "error" : "reconnecting");
    source.onmessage = (event) => {
      const data = JSON.parse(event.data);
      if ("text" in data) take(data);
      if (data.done) { source.close(); see(data.error ? "error" : "complete"); }
    };
    return reading;
  }
  const { ask, follow, resume } = await import("/zantara-stream.js");
  if (way === "fetch") options.headers = { "Cache-Control": "no-cache" };
  if (url) options.url = url;
  const ways = { follow: () => follow(what, options), resume: () => resume(options) };
  const answer = (reading.answer = (ways[way] ?? (() => ask(what, options)))());
  answer.addEventListener("text", ({ detail }) => take(detail));
  answer.addEventListener("error", ({ detail }) => { reading.code = detail.code; });
  answer.addEventListener("state", ({ detail }) => {
    Object.assign(reading, { gaps: answer.gaps, duplicates: answer.duplicates });
    see(detail.state);
  });
  return reading;
}
"""
_SAID = "({ text, numbers, seen, gaps, duplicates, code }) => ({ text, numbers, seen, gaps, duplicates, code })"


class Reading:
    """An answer that a page reads, noted by the page itself.

    `way` is "EventSource" for a plain one, "client" for `ask`, "fetch" for `ask` with a header of its own, "follow"
    for an answer by its id, "resume" for the one that the page read before it was reloaded.
    """

    def __init__(self, handle: JSHandle) -> None:
        self._handle = handle

    @classmethod
    async def begin(cls, page: Page, way: str, what: str = "", **options: Any) -> Reading:
        """Let the page read the answer to `what`; `options` are the client's, `url` for a plain one, too."""
        return cls(await page.evaluate_handle(_READ, [way, what, options]))

    async def until(self, condition: str) -> None:
        """Wait until a JavaScript expression about `reading` holds."""
        await self._handle.evaluate(f"(reading) => reading.until((reading) => {condition})")

    async def has(self, text: str) -> None:
        """Wait until the page has got exactly that text; more of it is an error."""
        await self._handle.evaluate(
            "(reading, length) => reading.until(() => reading.text.length >= length)", _units(text)
        )
        assert (await self.said())["text"] == text

    async def was(self, state: str, times: int = 1) -> None:
        """Wait until it has been in that state so many times."""
        await self.until(f"reading.seen.filter((seen) => seen === '{state}').length >= {times}")

    async def said(self) -> dict[str, Any]:
        """What is known of it by now: text, numbers, seen, gaps, duplicates, code."""
        said: dict[str, Any] = await self._handle.evaluate(_SAID)
        return said

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression about `reading`."""
        return await self._handle.evaluate(f"(reading) => {expression}")

    async def whole(self, text: str, chunks: int = 0) -> None:
        """Wait for its end, and check that the page has the whole text, each chunk (of so many) once and in order."""
        await self.until("['complete', 'error'].some((end) => reading.seen.includes(end))")
        said = await self.said()
        assert said["seen"][-1] == "complete", said
        assert said["text"] == text
        assert said["numbers"] == list(range(1, (chunks or len(said["numbers"])) + 1))
        assert (said["gaps"], said["duplicates"]) == (0, 0)


def _units(text: str) -> int:
    """The length of a text as JavaScript counts it."""
    return len(text.encode("utf-16-le")) // 2


async def page_at(address: str, browser: Any) -> Page:
    """A page of that address; `browser` may be a context, too."""
    page: Page = await browser.new_page()
    await page.goto(address)
    return page


def customers() -> web.Application:
    """The pages of a site of its own, with the client beside them."""
    app = web.Application()
    app.router.add_get("/zantara-stream.js", _client)
    app.router.add_get("/", _blank)
    return app


async def _client(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(STATIC / "zantara-stream.js")


async def _blank(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<!doctype html><title>a customer's page</title>", content_type="text/html")
