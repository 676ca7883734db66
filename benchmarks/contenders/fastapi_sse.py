"""Plain FastAPI and sse-starlette with the SDK's text stream, under uvicorn.

    python -m benchmarks.contenders.fastapi_sse UPSTREAM        (the port is printed)
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anthropic
import uvicorn
from fastapi import FastAPI
from sse_starlette import EventSourceResponse

from . import bound, ready, request


def application(upstream: str, listening: object) -> FastAPI:
    """The server."""
    client = anthropic.AsyncAnthropic(api_key="test", base_url=upstream)

    async def texts(question: str) -> AsyncIterator[dict[str, str]]:
        async with client.messages.stream(**request(question)) as message:
            async for text in message.text_stream:
                yield {"data": json.dumps({"text": text})}
        yield {"data": json.dumps({"done": True})}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await ready(listening)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/bali-zero/chat-stream")
    async def stream(query: str) -> EventSourceResponse:
        return EventSourceResponse(texts(query))

    return app


def main() -> None:
    """Serve for ever."""
    listening = bound()
    server = uvicorn.Server(uvicorn.Config(application(sys.argv[1], listening), log_level="warning", access_log=False))
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
