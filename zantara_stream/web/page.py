"""The test page: its files, the browser client, and a stream that shows what proxies on the way do to streams."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

from aiohttp import web

from ..answers.events import frame
from .sse import Connections, open_stream

STATIC = Path(__file__).parent / "static"
FILES = "|".join(re.escape(file.name) for file in sorted(STATIC.iterdir()))  # what may be asked for, as a pattern
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
TICKS = 6
PAUSE = 0.25  # seconds between ticks


async def static_file(request: web.Request) -> web.FileResponse:
    """The test page and its files, with the headers that keep them to themselves."""
    return web.FileResponse(STATIC / request.match_info.get("file", "index.html"), headers=HEADERS)


class StreamTest:
    """The handler of `/bali-zero/stream-test`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def run(self, request: web.Request) -> web.StreamResponse:
        """A few events at a steady pace, each with its time (unix seconds): how they arrive tells what is between."""
        self._connections.admit()
        with self._connections.place():
            async with open_stream(request) as response:
                for tick in range(TICKS):
                    await asyncio.sleep(PAUSE if tick else 0)
                    await response.write(frame({"tick": tick, "of": TICKS, "timestamp": time.time()}, event="tick"))
        return response
