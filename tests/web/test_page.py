"""The files of the test page, the browser client, and the stream that shows what proxies do."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from server import serving

from zantara_stream.errors import Overloaded
from zantara_stream.testing import read_events
from zantara_stream.web.page import PAUSE, STATIC, TICKS

CLIENT = Path(__file__).parent.parent.parent / "clients" / "zantara-stream" / "zantara-stream.js"
STREAM_TEST = "/bali-zero/stream-test"


async def test_the_page_comes_with_headers_that_keep_it_to_itself(small_index: Path) -> None:
    async with serving(small_index) as server, await server.get("/") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "img-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/../app.py", "/%2e%2e/app.py", "/app.py", "/static/index.html", "/.env", "//"])
async def test_nothing_else_of_the_folder_is_served(small_index: Path, path: str) -> None:
    async with serving(small_index) as server:
        response = await server.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert response.split(b" ")[1] == b"404"


@pytest.mark.parametrize("name", sorted(file.name for file in STATIC.iterdir()))
async def test_every_file_is_served_as_what_it_is(small_index: Path, name: str) -> None:
    kinds = {".js": {"text/javascript", "application/javascript"}, ".css": {"text/css"}, ".svg": {"image/svg+xml"}}
    async with serving(small_index) as server, await server.get(f"/{name}") as response:
        assert response.content_type in {".html": {"text/html"}, **kinds}[Path(name).suffix]
        assert await response.read() == (STATIC / name).read_bytes()


async def test_the_client_that_is_served_is_the_one_of_the_package(small_index: Path) -> None:
    async with serving(small_index) as server, await server.get("/zantara-stream.js") as response:
        assert await response.read() == CLIENT.read_bytes()


async def test_pages_of_allowed_origins_may_import_the_client_and_others_not(small_index: Path) -> None:
    allowed = "https://app.example.com"
    async with serving(small_index, cors_origins=(allowed,)) as server:
        async with await server.get("/zantara-stream.js", {"Origin": allowed}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == allowed
        async with await server.get("/zantara-stream.js", {"Origin": "https://other.example.com"}) as response:
            assert response.status == 403


async def test_the_stream_test_is_a_few_events_at_a_steady_pace(small_index: Path) -> None:
    async with serving(small_index) as server, await server.get(STREAM_TEST) as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        events = read_events(await response.read())
    assert [(event.event, event.json["tick"], event.json["of"]) for event in events] == [
        ("tick", tick, TICKS) for tick in range(TICKS)
    ]
    times = [event.json["timestamp"] for event in events]
    assert all(later - earlier >= PAUSE * 0.9 for earlier, later in pairwise(times))


async def test_the_stream_test_takes_a_place_among_the_connections(small_index: Path) -> None:
    async with serving(small_index, max_connections=1) as server:
        async with await server.get(STREAM_TEST) as first:
            await first.content.readuntil(b"\n\n")
            async with await server.get(STREAM_TEST) as refused:
                assert (refused.status, (await refused.json())["code"]) == (Overloaded.status, Overloaded.code)
            await first.read()
        async with await server.get(STREAM_TEST) as again:
            assert again.status == 200
