"""Plain aiohttp-sse with the SDK's text stream.

    python -m benchmarks.contenders.aiohttp_sse UPSTREAM        (the port is printed)
"""

from __future__ import annotations

import json
import sys

import anthropic
from aiohttp import web
from aiohttp_sse import sse_response

from . import bound, ready, request

CLIENT = web.AppKey("client", anthropic.AsyncAnthropic)


async def stream(asking: web.Request) -> web.StreamResponse:
    """The answer, an event for each text."""
    async with sse_response(asking) as response:
        async with asking.app[CLIENT].messages.stream(**request(asking.query["query"])) as message:
            async for text in message.text_stream:
                await response.send(json.dumps({"text": text}))
        await response.send(json.dumps({"done": True}))
    return response


def main() -> None:
    """Serve for ever."""
    app = web.Application()
    app[CLIENT] = anthropic.AsyncAnthropic(api_key="test", base_url=sys.argv[1])
    app.add_routes([web.get("/bali-zero/chat-stream", stream)])
    listening = bound()
    app.on_startup.append(lambda _: ready(listening))
    web.run_app(app, sock=listening, access_log=None, print=None, handler_cancellation=True)


if __name__ == "__main__":
    main()
