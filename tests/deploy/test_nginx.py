"""The shipped nginx site, in a real nginx: streams come as they are written, and a dead server is "later"."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

from deploy.nginx_site import SHIPPED, site
from deploy.proxied import (
    OPERATORS,
    TEXTS,
    Gated,
    Mirror,
    answered_away,
    asked,
    killed_and_back,
)
from ports import free_port
from server import CHAT, PAGE, STREAM, serving, starting

from zantara_stream.config import DEFAULT_ORIGINS, Settings
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

ORIGIN_LINE = '"{}" $http_origin;'
LINE = re.compile(r"\S+ (GET|POST|OPTIONS) \d{3} [\d, -]+ \d+ [\d.]+ [\d., -]+ HTTP/[\d.]+")


async def test_each_chunk_arrives_over_http_2_before_the_next_is_written(small_index: Path, tmp_path: Path) -> None:
    model = Gated()
    async with (
        serving(small_index, model, HashingEmbedder()) as server,
        site(tmp_path / "nginx", server.authority) as front,
        front.client() as browser,
        asked(browser) as reader,
    ):
        assert (reader.response.status_code, reader.response.http_version) == (200, "HTTP/2")
        assert reader.response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in reader.response.headers
        for gate, text in zip(model.gates, TEXTS, strict=True):
            gate.set()
            assert await asyncio.wait_for(reader.text(), 10) == text
        assert (await reader.rest())[-1].json["done"]


async def test_silence_is_survived_by_heartbeats(small_index: Path, tmp_path: Path) -> None:
    model = Gated()
    async with (
        serving(small_index, model, HashingEmbedder(), heartbeat=0.25) as server,
        site(tmp_path / "nginx", server.authority, silence="1s") as front,
        front.client() as browser,
        asked(browser) as reader,
    ):
        pings = 0
        while pings < 7:  # nearly twice the time-out
            pings += (await reader.next()).event == "ping"
        for gate in model.gates:
            gate.set()
        assert "".join([await reader.text() for _ in TEXTS]) == "".join(TEXTS)


def test_the_shipped_time_out_is_three_heartbeats_at_least() -> None:
    shortest = min(int(seconds) for seconds in re.findall(r"proxy_read_timeout (\d+)s;", SHIPPED))
    assert shortest >= 3 * Settings().heartbeat


async def test_ten_streams_share_one_connection(small_index: Path, tmp_path: Path) -> None:
    model = Gated()
    async with (
        serving(small_index, model, HashingEmbedder()) as server,
        site(tmp_path / "nginx", server.authority) as front,
        front.client() as browser,
        AsyncExitStack() as streams,
    ):
        await browser.get("/health")  # so that there is a connection to share
        readers = [await streams.enter_async_context(asked(browser, f"Question {n}?")) for n in range(10)]
        model.gates[0].set()
        assert [await reader.text() for reader in readers] == [TEXTS[0]] * 10
        ends = {reader.response.extensions["network_stream"].get_extra_info("client_addr") for reader in readers}
        assert len(ends) == 1
        for gate in model.gates:
            gate.set()
        assert all([(await reader.rest())[-1].json["done"] for reader in readers])


async def test_a_killed_server_is_later_and_every_chunk_comes_once(small_index: Path, tmp_path: Path) -> None:
    front = await killed_and_back(site, tmp_path, small_index)
    logged = front.written()
    assert logged.count("\n") > 10
    assert [line for line in logged.splitlines() if not LINE.fullmatch(line)] == []


def test_the_shipped_origins_are_the_servers_own() -> None:
    assert all(SHIPPED.count(ORIGIN_LINE.format(origin)) == 1 for origin in DEFAULT_ORIGINS)


async def test_while_the_server_is_away_it_is_said_in_its_words(tmp_path: Path) -> None:
    async with site(tmp_path / "nginx", f"127.0.0.1:{free_port()}") as front:
        await answered_away(front)
    assert [line for line in front.written().splitlines() if not LINE.fullmatch(line)] == []


async def test_the_servers_own_refusals_pass_as_they_are(tmp_path: Path) -> None:
    async with (
        starting(tmp_path / "none") as server,
        site(tmp_path / "nginx", server.authority) as front,
        front.client() as browser,
    ):
        refused = await browser.post(CHAT, json={"query": "Why?"}, headers={"Origin": PAGE})
        assert (refused.status_code, refused.json()["code"]) == (503, "index_unavailable")
        assert refused.headers.get_list("access-control-allow-origin") == [PAGE]


async def test_what_is_too_long_is_refused_in_the_servers_words(small_index: Path, tmp_path: Path) -> None:
    async with (
        serving(small_index, ScriptedAnswerer("Yes")) as server,
        site(tmp_path / "nginx", server.authority) as front,
    ):
        for http2 in (True, False):
            async with front.client(http2) as browser:
                long = await browser.get(STREAM, params={"query": "q" * 60_000}, headers={"Origin": PAGE})
                assert long.json()["code"] in ("too_large", "invalid_request"), long.text
                assert long.headers["access-control-allow-origin"] == PAGE
                for size in (3_000_000,) if http2 else (3_000_000, 9_000_000):
                    body = b'{"query":"' + b"q" * size + b'"}'
                    large = await browser.post(CHAT, content=body, headers={"Origin": PAGE})
                    assert (large.status_code, large.json()["code"]) == (413, "too_large")
                    assert large.headers.get_list("access-control-allow-origin") == [PAGE]


async def test_the_server_learns_who_asks_and_outsiders_cannot_say_otherwise(tmp_path: Path) -> None:
    mirror = Mirror()
    async with mirror.serving() as upstream, site(tmp_path / "nginx", upstream) as front, front.client() as browser:
        forged = {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "http", "Forwarded": "for=10.1.2.3"}
        seen = (await browser.get("/bali-zero/x?query=y", headers=forged)).json()
        assert seen["host"] == front.url.removeprefix("https://")
        assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "https")
        assert not {"forwarded", "connection"} & set(seen)
        assert (
            await browser.post(CHAT, content=b"q" * 2_200_000)
        ).status_code == 200  # which is the server's to refuse
        assert mirror.paths == ["/bali-zero/x?query=y", CHAT]


async def test_what_is_for_operators_is_not_passed_on(tmp_path: Path) -> None:
    mirror = Mirror()
    async with mirror.serving() as upstream, site(tmp_path / "nginx", upstream) as front, front.client() as browser:
        for path in OPERATORS:
            assert (await browser.post(f"{front.url}{path}")).status_code == 404, path
        assert mirror.paths == []
