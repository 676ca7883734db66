"""The bytes of a response, by the short way and by the long one."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest
from aiohttp import web
from aiohttp.streams import StreamReader

from zantara_stream.generation.body import broken, pieces, received

BODY = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@asynccontextmanager
async def opened(handler: Any) -> AsyncIterator[Any]:
    """The SDK's response of a server that answers so."""
    app = web.Application()
    app.add_routes([web.post("/v1/messages", handler)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    client = anthropic.AsyncAnthropic(
        api_key="test", base_url=f"http://{host}:{port}", http_client=anthropic.DefaultAioHttpClient()
    )
    try:
        asking = client.messages.with_streaming_response.create(
            model="m", max_tokens=1, messages=[{"role": "user", "content": "?"}], stream=True
        )
        async with asking as response:
            yield response
    finally:
        await client.close()
        await runner.cleanup()


async def plain(request: web.Request) -> web.Response:
    """The body as it is."""
    return web.Response(body=BODY, content_type="text/event-stream")


async def packed(request: web.Request) -> web.Response:
    """The body, packed."""
    return web.Response(
        body=gzip.compress(BODY), headers={"Content-Encoding": "gzip", "Content-Type": "text/event-stream"}
    )


async def cut(request: web.Request) -> web.StreamResponse:
    """Half of the body."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(BODY[:10])
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.mark.parametrize("handler", [plain, packed])
async def test_what_comes_is_the_body(handler: Any) -> None:
    async with opened(handler) as response:
        assert b"".join([piece async for piece in pieces(response)]) == BODY


async def test_the_short_way_is_there_with_the_versions_that_are_installed() -> None:
    async with opened(plain) as response:
        assert isinstance(received(response.http_response.stream), StreamReader)


async def test_where_the_wrappings_are_others_they_are_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zantara_stream.generation.body.received", lambda stream: None)
    async with opened(plain) as response:
        assert b"".join([piece async for piece in pieces(response)]) == BODY


async def test_a_body_that_breaks_off_raises_what_is_expected() -> None:
    async with opened(cut) as response:
        with pytest.raises(broken()):
            [piece async for piece in pieces(response)]
