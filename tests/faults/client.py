"""A reader that reconnects as a browser's EventSource does, and keeps every byte."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from aiohttp import ClientError, ClientSession, ClientTimeout, StreamReader, TCPConnector

RETRY = 0.1  # seconds between connections
_ID = re.compile(rb"^id: (.+)$", re.MULTILINE)


class Reader:
    """Asks `query` at `url` and reads until the end; `cut` says after how many bytes each connection drops.

    With a `rate` it reads no more than so many bytes a second.
    """

    def __init__(
        self, url: str, query: str, continuity: str, cut: Callable[[], int] = lambda: 0, rate: int = 0
    ) -> None:
        self.received: list[bytes] = []
        self.first = asyncio.Event()  # a chunk has come
        self.query = query
        self._address = f"{url}/bali-zero/chat-stream"
        self._parameters = {"query": query, "continuity_id": continuity}
        self._cut = cut
        self._rate = rate
        self._last_id = ""

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
            except (ClientError, ConnectionError, TimeoutError):
                pass  # what a browser meets with another try
            await asyncio.sleep(RETRY)

    async def _read(self, content: StreamReader) -> None:
        most, received = self._cut(), b""
        self.received.append(b"")
        try:
            while piece := await (content.read(self._rate // 10) if self._rate else content.readany()):
                received = (received + piece)[: most or None]
                self.received[-1] = received
                whole = received[: received.rfind(b"\n\n") + 2] if b"\n\n" in received else b""
                if ids := _ID.findall(whole):
                    self._last_id = ids[-1].decode()
                if b'"text"' in whole:
                    self.first.set()
                if most and len(received) >= most:
                    return
                if self._rate:
                    await asyncio.sleep(0.1)
        finally:
            self.received[-1] = received


def session() -> ClientSession:
    """A session for many readers."""
    return ClientSession(
        connector=TCPConnector(limit=0, force_close=True), timeout=ClientTimeout(total=None, sock_read=10)
    )
