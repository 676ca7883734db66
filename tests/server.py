"""A server on a real socket, run the way `serve` runs it, and a client that reads its streams."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, web

from zantara_stream.answers.answers import Answers
from zantara_stream.app import ANSWERS, create_app
from zantara_stream.config import FAISS, MEMORY, Settings
from zantara_stream.generation.answerer import Answerer
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.retrieval.encoder import Encoder, Vectors
from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.opened import LoadEncoder
from zantara_stream.serving import make_runner
from zantara_stream.testing import EventReader, HashingEmbedder, ScriptedAnswerer, StreamEvent
from zantara_stream.web import page

STREAM, CHAT, SEARCH = "/bali-zero/chat-stream", "/bali-zero/chat", "/bali-zero/search"
ANSWERS_BY_ID = "/bali-zero/answers"
QUESTION = "How is late renewal of a permit fined?"  # which the small index answers
PAGE = "http://localhost:3000"  # an origin that may ask
EVENT_STREAM = {"Accept": "text/event-stream"}  # what an EventSource sends


def never() -> asyncio.Event:
    """What a model waits for in vain."""
    return asyncio.Event()


class BlockingEmbedder(HashingEmbedder):
    """An embedder that, once it is armed, takes until it is let go on."""

    def __init__(self, *, armed: bool = False) -> None:
        super().__init__()
        self.go = threading.Event()
        self.armed = armed

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """One row a text, when the time has come."""
        if self.armed:
            assert self.go.wait(60)
        return super().encode(texts, progress)


class WatchedLibrary(Library):
    """A library that tells when it has been opened, well or not."""

    def __init__(self, folder: Path, load_encoder: LoadEncoder = HashingEmbedder.load, vectors: str = FAISS) -> None:
        super().__init__(folder, load_encoder, vectors=vectors)
        self.opened = asyncio.Event()

    async def open(self) -> None:
        """Open the index and tell so."""
        await super().open()
        self.opened.set()


class Reader:
    """Reads one stream, event by event, keeping its bytes."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.bytes = b""
        self._parser = EventReader()
        self._read: deque[StreamEvent] = deque()

    async def next(self) -> StreamEvent:
        """The next event as it comes. Raises `EOFError` at the end of the stream."""
        while not self._read:
            piece = await self.response.content.readany()
            if not piece:
                raise EOFError
            self.bytes += piece
            self._read.extend(self._parser.feed(piece))
        return self._read.popleft()

    async def until(self, event: str) -> StreamEvent:
        """The next event of that name."""
        while (found := await self.next()).event != event:
            pass
        return found

    async def rest(self) -> list[StreamEvent]:
        """All events that are still to come, once the stream has ended."""
        events = []
        try:
            while True:
                events.append(await self.next())
        except EOFError:
            return events

    async def text(self) -> str:
        """The text of the rest of the answer."""
        return "".join(event.json.get("text", "") for event in await self.rest())

    def leave(self) -> None:
        """Close the connection."""
        self.response.close()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server with a client session for it."""

    app: web.Application
    library: WatchedLibrary
    session: ClientSession
    url: str

    @property
    def answers(self) -> Answers:
        """The answers that it holds."""
        return self.app[ANSWERS]

    @property
    def authority(self) -> str:
        """Its address as a Host header has it."""
        return self.url.removeprefix("http://")

    async def get(
        self, path: str = STREAM, headers: Mapping[str, str] | None = None, **parameters: str
    ) -> ClientResponse:
        """The response to a GET, its body not yet read."""
        return await self.session.get(self.url + path, params=parameters, headers=headers)

    async def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> ClientResponse:
        """The response to a POST of JSON, its body not yet read."""
        return await self.send(path, json.dumps(body).encode(), headers)

    async def send(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> ClientResponse:
        """The response to a POST of those bytes, its body not yet read."""
        headers = {"Content-Type": "application/json", **(headers or {})}
        return await self.session.post(self.url + path, data=io.BytesIO(body), headers=headers)

    async def stream(self, headers: Mapping[str, str] | None = None, **parameters: str) -> Reader:
        """A reader of the stream that a GET opens."""
        return Reader(await self.get(STREAM, headers, **{"query": QUESTION, **parameters}))

    async def resume(self, event_id: str) -> Reader:
        """A reader of what a browser gets that reconnects after that event."""
        return await self.stream({"Last-Event-ID": event_id})

    async def answer(self, name: str, method: str = "GET") -> tuple[int, Any]:
        """The status and the JSON of what is said of an answer by its id."""
        async with self.session.request(method, f"{self.url}{ANSWERS_BY_ID}/{name}") as response:
            return response.status, await response.json()

    async def events(self, name: str, headers: Mapping[str, str] | None = None, **parameters: str) -> Reader:
        """A reader of an answer's log by its id."""
        return Reader(await self.get(f"{ANSWERS_BY_ID}/{name}/events", headers, **parameters))

    async def raw(self, request: bytes) -> bytes:
        """What the server answers to those bytes, until it closes the connection."""
        host, _, port = self.authority.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def serving(
    index: Path, answerer: Answerer | None = None, embedder: Encoder | None = None, **settings: Any
) -> AsyncIterator[Server]:
    """A server over an index, which is open by then unless it cannot be."""
    async with starting(index, answerer, embedder, **settings) as server:
        await server.library.opened.wait()
        yield server


@asynccontextmanager
async def starting(
    index: Path, answerer: Answerer | None = None, embedder: Encoder | None = None, **settings: Any
) -> AsyncIterator[Server]:
    """A server that listens, and may still be opening its index; its answers end with it unless a journal is named."""
    load = HashingEmbedder.load if embedder is None else lambda folder: embedder
    library = WatchedLibrary(index, load, settings.get("vectors", FAISS))
    answerer = answerer or ScriptedAnswerer("Hello, ", "world")
    settings = {"journal": MEMORY, "database_url": MEMORY, **settings}
    app = create_app(Settings(index=index, port=0, **settings), library=library, answerer=answerer)
    runner = make_runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as session:
            yield Server(app, library, session, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@contextmanager
def serving_beside(index: Path, **settings: Any) -> Iterator[str]:
    """The address of a server of extractive answers in a thread of its own, for tests that wait in theirs."""
    address: list[str] = []
    there, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving(index, ExtractiveAnswerer(), None, rate_limit=None, **settings) as server:
            address.append(server.url)
            there.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "PAUSE", 0.0)
        thread.start()
        try:
            assert there.wait(60)
            yield address[0]
        finally:
            over.set()
            thread.join()


def data(events: list[StreamEvent]) -> list[Any]:
    """The data of the events that `onmessage` gets."""
    return [event.json for event in events if event.event == "message"]
