"""What can be hoped for: bytes go from the model's connection to the reader's as they come, and nothing else is done.

    python -m benchmarks.contenders.pump UPSTREAM [asyncio | uvloop]        (the port is printed)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from . import asked, bound, ready

CLIENT = web.AppKey("client", ClientSession)


async def stream(request: web.Request) -> web.StreamResponse:
    """The model's own events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    body = {"stream": True, "messages": [{"role": "user", "content": asked(request.query["query"])}]}
    async with request.app[CLIENT].post("/v1/messages", json=body) as upstream:
        await response.prepare(request)
        async for piece in upstream.content.iter_any():
            await response.write(piece)
    return response


async def client(app: web.Application) -> AsyncIterator[None]:
    """Connections to the model."""
    made = ClientSession(sys.argv[1], connector=TCPConnector(limit=0), timeout=ClientTimeout(total=None))
    async with made as app[CLIENT]:
        yield


def main() -> None:
    """Serve for ever."""
    loop: asyncio.AbstractEventLoop | None = None
    if sys.argv[2:] == ["uvloop"]:
        import uvloop

        loop = uvloop.new_event_loop()
    app = web.Application()
    app.add_routes([web.get("/bali-zero/chat-stream", stream)])
    app.cleanup_ctx.append(client)
    listening = bound()
    app.on_startup.append(lambda _: ready(listening))
    web.run_app(app, sock=listening, access_log=None, print=None, handler_cancellation=True, loop=loop)


if __name__ == "__main__":
    main()
