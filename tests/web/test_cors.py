"""Who may ask, and that every response tells a browser so: the contract's §5."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from server import (
    ANSWERS_BY_ID,
    CHAT,
    EVENT_STREAM,
    PAGE,
    QUESTION,
    SEARCH,
    STREAM,
    Reader,
    Server,
    data,
    serving,
    starting,
)

from zantara_stream.config import DEFAULT_ORIGINS
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

CREDENTIALS = {"Access-Control-Allow-Credentials": "true", "Vary": "Origin"}
EXPOSED = {"Content-Type", "Cache-Control", "X-Accel-Buffering", "X-Answer-Id", "Retry-After"}
REQUEST_HEADERS = {
    "Content-Type",
    "Authorization",
    "Accept",
    "Cache-Control",
    "Last-Event-ID",
    "X-Session-Id",
    "X-Continuity-Id",
    "X-Reconnection",
    "X-Last-Chunk-Timestamp",
}
ANSWER = f"{ANSWERS_BY_ID}/{'A' * 22}"
OPERATORS = ["/health", "/ready", "/metrics", "/admin/reload", "/admin/documents/a/b.md"]
ROUTES = [STREAM, CHAT, SEARCH, ANSWER, f"{ANSWER}/events", *OPERATORS, "/"]


def listed(value: str) -> set[str]:
    """The items of a header that holds a list."""
    return {item.strip() for item in value.split(",")}


def check_allowed(headers: Mapping[str, str], origin: str = PAGE) -> None:
    """A page of that origin gets to see a response with these headers."""
    assert headers["Access-Control-Allow-Origin"] == origin
    assert {name: headers[name] for name in CREDENTIALS} == CREDENTIALS
    assert listed(headers["Access-Control-Expose-Headers"]) == EXPOSED


async def check(response: ClientResponse, status: int) -> None:
    """The response has that status and a page gets to see it."""
    async with response:
        assert response.status == status
        check_allowed(response.headers)


class FailingEmbedder(HashingEmbedder):
    """An embedder that breaks at questions once it is armed."""

    armed = False

    def encode(self, texts: Any, progress: Any = None) -> Any:
        """One row a text."""
        if self.armed:
            raise ZeroDivisionError("a secret")
        return super().encode(texts, progress)


async def test_every_status_of_every_path_can_be_seen_by_a_page(small_index: Path) -> None:
    embedder, origin = FailingEmbedder(), {"Origin": PAGE}
    async with serving(small_index, ScriptedAnswerer("Hello"), embedder) as server:
        reader = await server.stream({**origin, **EVENT_STREAM}, continuity_id="c")
        check_allowed(reader.response.headers)
        last = (await reader.rest())[-1].id
        await check(await server.get(STREAM, {**origin, "Last-Event-ID": last}), 204)
        await check(await server.get(STREAM, {**origin, "Last-Event-ID": "unknown"}), 200)
        await check(await server.session.head(server.url + STREAM, headers=origin), 200)
        await check(await server.post(CHAT, {"query": QUESTION}, origin), 200)
        await check(await server.post(SEARCH, {"query": QUESTION}, origin), 200)
        for path in ("/", "/health", "/ready"):
            await check(await server.get(path, origin), 200)
        name = f"{ANSWERS_BY_ID}/{last.partition('.')[0]}"
        await check(await server.get(name, origin), 200)
        await check(await server.get(f"{name}/events", origin), 200)
        await check(await server.get(f"{name}/events", {**origin, "Last-Event-ID": last}), 204)
        await check(await server.session.delete(server.url + name, headers=origin), 200)
        await check(await server.session.delete(server.url + ANSWER, headers=origin), 404)
        await check(await server.get(STREAM, origin), 400)
        await check(await server.get(STREAM, {**origin, **EVENT_STREAM}), 400)
        await check(await server.post(CHAT, [], origin), 400)
        await check(await server.get("/nowhere", origin), 404)
        await check(await server.session.delete(server.url + STREAM, headers=origin), 405)
        await check(await server.get(STREAM, origin, query="Another?", continuity_id="c"), 409)
        await check(await server.get(STREAM, origin, query="x" * 100_000), 413)
        await check(await server.post(CHAT, {"query": "x" * 2**21}, origin), 413)
        await check(await server.get("/health", {**origin, "Host": "evil.example"}), 421)
        embedder.armed = True
        await check(await server.post(SEARCH, {"query": "A new question?"}, origin), 500)
        await check(await server.post(CHAT, {"query": "A new question?"}, origin), 500)


async def test_what_is_refused_for_now_can_be_seen_by_a_page(small_index: Path, tmp_path: Path) -> None:
    origin = {"Origin": PAGE}
    async with starting(tmp_path / "nowhere") as server:
        await server.library.opened.wait()
        await check(await server.get(STREAM, origin, query=QUESTION), 503)
        await check(await server.get(STREAM, {**origin, **EVENT_STREAM}, query=QUESTION), 200)
        await check(await server.post(SEARCH, {"query": QUESTION}, origin), 503)
        await check(await server.get("/ready", origin), 503)


@pytest.mark.parametrize("origin", DEFAULT_ORIGINS)
async def test_the_default_origins_may_ask(small_index: Path, origin: str) -> None:
    async with serving(small_index) as server:
        reader = await server.stream({"Origin": origin, "Sec-Fetch-Site": "cross-site"})
        check_allowed(reader.response.headers, origin)
        assert await reader.text() == "Hello, world"


async def test_origins_can_be_set_and_replace_the_defaults(small_index: Path) -> None:
    async with serving(small_index, cors_origins=("https://a.example",)) as server:
        async with await server.get("/health", {"Origin": "https://a.example"}) as response:
            check_allowed(response.headers, "https://a.example")
        async with await server.get("/health", {"Origin": PAGE}) as response:
            assert response.status == 403


FOREIGN = [
    "http://evil.example",
    "http://localhost:3000.evil.example",
    "http://localhost:3000@evil.example",
    "http://localhost.evil.example:3000",
    "http://evil.example/http://localhost:3000",
    "http://evil.example?http://localhost:3000",
    "http://evillocalhost:3000",
    "https://zantara.balizero.com.evil.example",
    "https://evil-zantara.balizero.com",
    "https://sub.zantara.balizero.com",
    "http://zantara.balizero.com",
    "https://localhost:3000",
    "http://localhost:3001",
    "http://localhost:30000",
    "http://localhost",
    "http://localhost:3000/",
    "http://localhost:3000, http://evil.example",
    "HTTP://LOCALHOST:3000",
    "http://LocalHost:3000",
    "null",
    "",
    "*",
    "file://",
    "http://[::1",
    "http://a\u2100b",
    "localhost:3000",
]


def check_refused(response: ClientResponse, body: Mapping[str, Any]) -> None:
    """The refusal of a foreign page, which does not get to see it."""
    assert response.status == 403
    assert (body["code"], body["retryable"], body["done"]) == ("forbidden", False, True)
    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_origin_is_refused_and_nobody_asked(
    small_index: Path, origin: str, caplog: pytest.LogCaptureFixture
) -> None:
    answerer, headers = ScriptedAnswerer("Hello"), {"Origin": origin, **EVENT_STREAM}
    async with serving(small_index, answerer) as server:
        requests = [
            server.get(STREAM, headers, query=QUESTION),
            server.post(STREAM, {"query": QUESTION}, headers),
            server.post(CHAT, {"query": QUESTION}, headers),
            server.post(SEARCH, {"query": QUESTION}, headers),
            server.get("/health", headers),
            server.get("/nowhere", headers),
        ]
        for request in requests:
            async with await request as response:
                check_refused(response, await response.json())
    assert answerer.prompts == []
    problems = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert problems == [], "it is no defect of ours"


async def test_without_an_origin_one_is_served_and_told_nothing(small_index: Path) -> None:
    async with serving(small_index) as server:
        reader = await server.stream()
        assert await reader.text() == "Hello, world"
        assert reader.response.headers["Vary"] == "Origin", "for caches"
        assert not any(name.startswith("Access-Control") for name in reader.response.headers)


async def test_the_page_of_this_server_itself_may_ask(small_index: Path) -> None:
    async with serving(small_index, allowed_hosts=("127.0.0.1", "proxied.example")) as server:
        for headers in (
            {"Origin": server.url, "Sec-Fetch-Site": "same-origin"},
            {"Origin": "https://proxied.example", "Host": "Proxied.example"},  # TLS ends at the proxy
            {"Origin": "http://proxied.example:81", "Host": "proxied.example:81"},
        ):
            assert await (await server.stream(headers)).text() == "Hello, world"
            async with await server.post(CHAT, {"query": QUESTION}, headers) as response:
                assert response.status == 200
        for headers in (
            {"Origin": "http://127.0.0.1:1"},
            {"Origin": "https://proxied.example", "Host": "proxied.example:81"},
            {"Origin": "https://proxied.example:81", "Host": "proxied.example"},
            {"Origin": "https://proxied.example"},
        ):
            async with await server.get(STREAM, headers, query=QUESTION) as response:
                check_refused(response, await response.json())


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_an_image_of_a_foreign_page_makes_the_server_spend_nothing(small_index: Path, site: str) -> None:
    answerer, headers = ScriptedAnswerer("Hello"), {"Sec-Fetch-Site": site}
    async with serving(small_index, answerer) as server:
        for path in (STREAM, "/%62ali-zero/chat-stream", "/bali-zero/nowhere"):
            async with await server.get(path, headers, query=QUESTION) as response:
                check_refused(response, await response.json())
        for path in ("/", "/health", "/ready"):  # a link to the page may be followed
            async with await server.get(path, headers) as response:
                assert response.status == 200
    assert answerer.prompts == []


@pytest.mark.parametrize("site", ["none", "same-origin"])
async def test_a_person_s_own_requests_are_served(small_index: Path, site: str) -> None:
    async with serving(small_index) as server:
        assert await (await server.stream({"Sec-Fetch-Site": site})).text() == "Hello, world"


# ------------------------------------------------------------------------------------------- preflights


async def preflight(server: Server, path: str, method: str, headers: str = "", origin: str = PAGE) -> ClientResponse:
    """The response to a preflight of that request, its body read."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    async with server.session.options(server.url + path, headers=asked) as response:
        await response.read()
    return response


def check_preflight(response: ClientResponse) -> None:
    """The preflight says that the request may come, and all that may."""
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert listed(response.headers["Access-Control-Allow-Methods"]) == {"GET", "POST", "DELETE", "OPTIONS"}
    assert listed(response.headers["Access-Control-Allow-Headers"]) == REQUEST_HEADERS
    assert response.headers["Access-Control-Max-Age"] == "3600"
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (STREAM, "GET"),
        (STREAM, "POST"),
        (CHAT, "POST"),
        (SEARCH, "POST"),
        (ANSWER, "GET"),
        (ANSWER, "DELETE"),
        (f"{ANSWER}/events", "GET"),
        ("/health", "GET"),
        ("/ready", "GET"),
    ],
)
async def test_preflights_of_every_route(small_index: Path, path: str, method: str) -> None:
    async with serving(small_index) as server:
        check_preflight(await preflight(server, path, method))
        check_preflight(await preflight(server, path, method, ", ".join(sorted(REQUEST_HEADERS))))
        for header in REQUEST_HEADERS:
            check_preflight(await preflight(server, path, method, header.lower()))


@pytest.mark.parametrize("path", ["/nowhere", "/bali-zero/nowhere", "/bali-zero/answers/x"])
async def test_a_preflight_of_an_unknown_path_passes_so_that_the_page_gets_to_see_the_404(
    small_index: Path, path: str
) -> None:
    async with serving(small_index) as server:
        check_preflight(await preflight(server, path, "GET", "authorization"))
        async with await server.get(path, {"Origin": PAGE}) as response:
            assert response.status == 404
            assert (await response.json())["done"] is True


@pytest.mark.parametrize("origin", FOREIGN[:6])
@pytest.mark.parametrize("path", [STREAM, "/nowhere"])
async def test_a_preflight_of_a_foreign_page_is_refused(small_index: Path, path: str, origin: str) -> None:
    async with serving(small_index) as server:
        response = await preflight(server, path, "GET", origin=origin)
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_header_that_is_not_ours_is_not_allowed(small_index: Path) -> None:
    async with serving(small_index) as server:
        response = await preflight(server, STREAM, "GET", "x-evil")
        assert "x-evil" not in response.headers["Access-Control-Allow-Headers"].lower()


async def test_a_preflight_lets_the_page_see_the_405_of_its_request(small_index: Path) -> None:
    async with serving(small_index) as server:
        response = await preflight(server, CHAT, "DELETE")
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == PAGE


# ------------------------------------------------------------------------------------------------ hosts


async def answered(server: Server, host: str | None, path: str = "/health") -> tuple[int, bytes]:
    """The status and the bytes of the answer to a request with that Host header."""
    line = f"Host: {host}\r\n" if host is not None else ""
    response = await server.raw(f"GET {path} HTTP/1.1\r\n{line}Connection: close\r\n\r\n".encode())
    return int(response.split(b" ")[1]), response


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost", "localhost:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8080"],
)
async def test_the_loopback_names_are_answered_to_on_any_port(small_index: Path, host: str) -> None:
    async with serving(small_index) as server:
        assert (await answered(server, host))[0] == 200


async def test_a_client_too_old_for_a_host_is_answered(small_index: Path) -> None:
    async with serving(small_index) as server:
        response = await server.raw(b"GET /health HTTP/1.0\r\n\r\n")
        assert response.split(b" ")[1] == b"200"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8080", "localhost.evil.example", "evil.localhost", "127.0.0.1.evil.example",
        "localhost.", "localhostx", "xlocalhost", "localhost:80evil", "localhost:80:80", "localhost:evil",
        "localhost:123456", "localhost/evil", "localhost?evil", "localhost#evil", "localhost\\evil", "evil@localhost",
        "localhost@evil", "localhost evil", "localhost,evil.example", "http://localhost", "[::1]evil",
        "[::1]:80evil", "[::1", "::1", "[::2]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0.0.0.0", "10.0.0.1",
        "", "*", "%6cocalhost",
    ],
)  # fmt: skip
async def test_another_host_is_misdirected_and_reaches_nothing(small_index: Path, host: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        for path in ("/health", f"{STREAM}?query=x", "/nowhere", "/"):
            status, response = await answered(server, host, path)
            assert status == 421
            assert b'"code":"forbidden"' in response
    assert answerer.prompts == []


async def test_the_named_hosts_are_answered_to_and_no_others(small_index: Path) -> None:
    async with serving(small_index, allowed_hosts=("zantara.example", "::2")) as server:
        for host in ("zantara.example", "ZANTARA.example:443", "[::2]", "[::2]:80"):
            assert (await answered(server, host))[0] == 200
        for host in ("localhost", "127.0.0.1", "www.zantara.example"):
            assert (await answered(server, host))[0] == 421


async def test_a_refused_page_takes_no_place_of_anyone(small_index: Path) -> None:
    answerer = ScriptedAnswerer("a", gate := asyncio.Event())
    async with serving(small_index, answerer, max_connections=1) as server:
        async with await server.get(STREAM, {"Origin": "http://evil.example"}, query=QUESTION) as response:
            assert response.status == 403
        reader = Reader(await server.get(STREAM, None, query=QUESTION))
        await reader.next()
        gate.set()
        assert [item["text"] for item in data(await reader.rest()) if "text" in item] == ["a"]
