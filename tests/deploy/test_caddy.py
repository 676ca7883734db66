"""The shipped Caddyfile, in a real Caddy: streams come as they are written, and a dead server is "later"."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from asyncio.subprocess import STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from deploy.proxied import (
    DEPLOY,
    OPERATORS,
    TEXTS,
    Gated,
    Mirror,
    Site,
    answered_away,
    asked,
    certify,
    killed_and_back,
    put,
)
from ports import free_port
from server import CHAT, PAGE, serving, starting

from zantara_stream.config import DEFAULT_ORIGINS
from zantara_stream.testing import HashingEmbedder

ORIGIN_LINE = "header Origin {}\n"
SHIPPED = (DEPLOY / "caddy" / "Caddyfile").read_text(encoding="utf-8")
CADDY = "/usr/bin/caddy"
PATIENCE = 20.0  # seconds until it must listen


@asynccontextmanager
async def site(folder: Path, upstream: str) -> AsyncIterator[Site]:
    """The shipped file before `upstream`."""
    if not shutil.which(CADDY):
        assert not os.environ.get("CI"), "Caddy is missing in CI; make test-services installs it"
        pytest.skip("needs Caddy: make test-services")
    certificate, key = certify(folder)
    port = free_port()
    places = {
        "\tadmin off\n": "\tadmin off\n\tauto_https disable_redirects\n",
        "\nanswers.example.com {\n": f"\nhttps://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}\n",
        "reverse_proxy 127.0.0.1:8080": f"reverse_proxy {upstream}",
        "/var/log/caddy/zantara-stream.log": f"{folder}/access.log",
    }
    (folder / "Caddyfile").write_text(put(SHIPPED, places), encoding="utf-8")
    command = [CADDY, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    own = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
    with (folder / "errors.log").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(*command, env=own, stdout=errors, stderr=STDOUT)
    try:
        await asyncio.wait_for(_listening(process, port, folder), PATIENCE)
        yield Site(f"https://127.0.0.1:{port}", certificate, folder)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            assert process.returncode is None, (folder / "errors.log").read_text()
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def test_each_chunk_arrives_over_http_2_before_the_next_is_written(small_index: Path, tmp_path: Path) -> None:
    model = Gated()
    async with (
        serving(small_index, model, HashingEmbedder()) as server,
        site(tmp_path / "caddy", server.authority) as front,
        front.client() as browser,
        asked(browser) as reader,
    ):
        assert (reader.response.status_code, reader.response.http_version) == (200, "HTTP/2")
        assert "content-encoding" not in reader.response.headers
        for gate, text in zip(model.gates, TEXTS, strict=True):
            gate.set()
            assert await asyncio.wait_for(reader.text(), 10) == text
        assert (await reader.rest())[-1].json["done"]


async def test_a_killed_server_is_later_and_every_chunk_comes_once(small_index: Path, tmp_path: Path) -> None:
    front = await killed_and_back(site, tmp_path, small_index)
    written = (front.folder / "access.log").read_text()
    assert len(written.splitlines()) > 10
    for line in written.splitlines():
        request = json.loads(line)["request"]
        assert set(request) == {"proto", "method"}
    assert "ecret" not in front.written()


def test_the_shipped_origins_are_the_servers_own() -> None:
    assert all(SHIPPED.count(ORIGIN_LINE.format(origin)) == 1 for origin in DEFAULT_ORIGINS)


async def test_while_the_server_is_away_it_is_said_in_its_words(tmp_path: Path) -> None:
    async with site(tmp_path / "caddy", f"127.0.0.1:{free_port()}") as front:
        await answered_away(front)
    assert "ecret" not in front.written()


async def test_the_servers_own_refusals_pass_as_they_are(tmp_path: Path) -> None:
    async with (
        starting(tmp_path / "none") as server,
        site(tmp_path / "caddy", server.authority) as front,
        front.client() as browser,
    ):
        refused = await browser.post(CHAT, json={"query": "Why?"}, headers={"Origin": PAGE})
        assert (refused.status_code, refused.json()["code"]) == (503, "index_unavailable")
        assert refused.headers.get_list("access-control-allow-origin") == [PAGE]


async def test_the_server_learns_who_asks_and_operators_addresses_stay_inside(tmp_path: Path) -> None:
    mirror = Mirror()
    async with mirror.serving() as upstream, site(tmp_path / "caddy", upstream) as front, front.client() as browser:
        for path in OPERATORS:
            assert (await browser.post(f"{front.url}{path}")).status_code == 404, path
        forged = {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "http", "Forwarded": "for=10.1.2.3"}
        seen = (await browser.get("/bali-zero/x?query=y", headers=forged)).json()
        assert seen["host"] == front.url.removeprefix("https://")
        assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "https")
        assert "forwarded" not in seen
        assert mirror.paths == ["/bali-zero/x?query=y"]
