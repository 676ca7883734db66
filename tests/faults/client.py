"""A reader that reconnects as a browser's EventSource does, and keeps every byte."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, StreamReader, TCPConnector

RETRY = 2.0  # seconds between connections, until the server says otherwise
HASTE = 20.0  # times as fast as a browser comes back
STREAM = "/bali-zero/chat-stream"
_ID = re.compile(rb"^id: (.+)$", re.MULTILINE)
_RETRY = re.compile(rb"^retry: (\d+)$", re.MULTILINE)


class Reader:
    """Asks `query` at `url` and reads until the end.

    `cut` says after how many bytes each connection drops (0: none), `rate` how many bytes a second are read (0: all).
    """

    def __init__(
        self, url: str, query: str, continuity: str, cut: Callable[[], int] = lambda: 0, rate: float = 0
    ) -> None:
        self.haste = HASTE
        self.received: list[bytes] = []
        self.failures: list[str] = []  # connections that were refused or broke
        self.arrivals: list[float] = []  # when chunks came, by the monotonic clock
        self.first = asyncio.Event()  # a chunk has come
        self.query = query
        self._address = f"{url}{STREAM}"
        self._parameters = {"query": query, **({"continuity_id": continuity} if continuity else {})}
        self._cut = cut
        self._rate = rate
        self._last_id = ""
        self._retry = RETRY

    @property
    def answer(self) -> str:
        """The id of its answer, once it has got something of it."""
        return self._last_id.rpartition(".")[0]

    def move(self, url: str) -> None:
        """Let its next connections go there."""
        self._address = f"{url}{STREAM}"

    async def run(self, session: ClientSession) -> None:
        """Read the whole answer, whatever happens to the line."""
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": self._last_id} if self._last_id else {})}
            try:
                async with session.get(self._address, params=self._parameters, headers=headers) as response:
                    if response.status == 204:
                        return
                    assert response.status == 200, f"{response.status} stops an EventSource for good"
                    await self._read(response.content)
            except (ClientError, ConnectionError, TimeoutError) as error:
                self.failures.append(f"{self.query} {error!r}")  # which a browser meets with another try
            await asyncio.sleep(self._retry / self.haste)

    async def _read(self, content: StreamReader) -> None:
        most, received, whole = self._cut(), bytearray(), 0
        self.received.append(b"")
        try:
            while piece := await self._piece(content):
                received += piece
                if most:
                    del received[most:]
                end = received.rfind(b"\n\n", whole) + 2
                if end > 1:
                    self._take(bytes(received[whole:end]))
                    whole = end
                if most and len(received) >= most:
                    return
        finally:
            self.received[-1] = bytes(received)

    async def _piece(self, content: StreamReader) -> bytes:
        if not self._rate:
            return await content.readany()
        piece = await content.read(512)
        await asyncio.sleep(len(piece) / self._rate)
        return piece

    def _take(self, whole: bytes) -> None:
        if ids := _ID.findall(whole):
            self._last_id = ids[-1].decode()
        if retries := _RETRY.findall(whole):
            self._retry = int(retries[-1]) / 1000
        if b'"text"' in whole:
            self.arrivals.append(time.monotonic())
            self.first.set()


async def whole(session: ClientSession, url: str, question: str) -> Any:
    """What is said to a question whose answer is to come in one piece; asked again, it is the same one."""
    body = {"query": question, "continuity_id": question}
    async with session.post(f"{url}/bali-zero/chat", json=body) as response:
        return await response.json()


def session(**more: Any) -> ClientSession:
    """A session for many readers."""
    connector = TCPConnector(limit=0, force_close=True, socket_factory=more.pop("socket_factory", None))
    return ClientSession(connector=connector, timeout=ClientTimeout(total=None, sock_read=10), **more)


def narrow_session() -> ClientSession:
    """A session whose connections buffer next to nothing, so that a slow reader is one for the server, too."""
    return session(socket_factory=lambda address: narrow(address[0]), read_bufsize=1024)


def narrow(family: int = socket.AF_INET) -> socket.socket:
    """A socket that takes little ahead of its reader."""
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    return made
