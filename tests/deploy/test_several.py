"""The layout of several nodes: files that belong together, and nginx with those of compose before real servers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession
from deploy.proxied import DEPLOY
from nginx import nginx
from ports import free_port
from redis_server import redis_server, shared
from server import CHAT, EVENT_STREAM, QUESTION, STREAM, serving

from zantara_stream.config import load_settings, variable
from zantara_stream.exposure import check_exposure

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text(encoding="utf-8"))
SEVERAL = (DEPLOY / "nginx/several.conf").read_text(encoding="utf-8")
NODES = [f"node-{number}" for number in (1, 2, 3)]


def addresses() -> dict[str, str]:
    """The address of each service that has one."""
    networks = {name: service.get("networks", {}) for name, service in COMPOSE["services"].items()}
    return {name: network["nodes"]["ipv4_address"] for name, network in networks.items() if network}


@pytest.mark.parametrize("node", NODES)
def test_the_settings_of_a_node_are_such(node: str) -> None:
    given = {name: str(value) for name, value in COMPOSE["services"][node]["environment"].items()}
    given["ZANTARA_DATABASE_URL"] = given["ZANTARA_DATABASE_URL"].replace("${POSTGRES_PASSWORD:?choose one}", "secret")
    settings = load_settings(given)
    check_exposure(settings)
    places = addresses()
    assert settings.journal == f"redis://{places['redis']}:6379"
    assert settings.database_url.endswith(f"@{places['postgres']}/zantara")
    assert settings.trusted_proxies == (f"{places['nginx']}/32",)


def test_nginx_asks_the_nodes() -> None:
    asked = re.findall(r"^ *server (\S+):8080", SEVERAL, re.MULTILINE)
    assert asked == [addresses()[node] for node in NODES]


def test_every_file_that_is_mounted_or_built_is_there() -> None:
    services = COMPOSE["services"].values()
    mounted = [volume.split(":")[0] for service in services for volume in service.get("volumes", ())]
    files = [name for name in mounted if name.startswith(".")]
    assert len(files) == 3
    assert all((DEPLOY / "compose" / name).is_file() for name in files)
    assert set(mounted) - set(files) == set(COMPOSE["volumes"])
    build = COMPOSE["services"]["index"]["build"]
    assert (DEPLOY / "compose" / build["context"] / build["dockerfile"]).is_file()
    assert (DEPLOY / "compose" / build["context"] / "Makefile").is_file()


def configured(folder: Path, port: int, nodes: Sequence[str]) -> str:
    """Both files, in `folder`, with these addresses of nodes, and nginx at that port; what includes them."""
    text = SEVERAL
    for shown, node in zip(re.findall(r"server (\S+:8080)", SEVERAL), nodes, strict=True):
        text = text.replace(shown, node)
    (folder / "several.conf").write_text(text, encoding="utf-8")
    site = (DEPLOY / "compose/site.conf").read_text(encoding="utf-8")
    (folder / "site.conf").write_text(site.replace("listen 8080", f"listen 127.0.0.1:{port}"), encoding="utf-8")
    return f"include {folder}/s*.conf;"


async def test_nginx_of_compose_passes_streams_on_and_says_later_when_all_nodes_are_gone(
    small_index: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"journal": shared().emptied(), "trusted_proxies": ("127.0.0.1/32",)}
    async with AsyncExitStack() as nodes, AsyncExitStack() as front:
        servers = [await nodes.enter_async_context(serving(small_index, **settings)) for _ in NODES]
        origin = f"http://127.0.0.1:{(port := free_port())}"
        outside = configured(tmp_path, port, [server.authority for server in servers])
        await front.enter_async_context(nginx(tmp_path / "nginx", servers[0].authority, outside=outside))
        client = await front.enter_async_context(ClientSession(headers=EVENT_STREAM))
        async with client.post(f"{origin}{CHAT}", json={"query": QUESTION}) as response:
            answer = (await response.json())["answer"]
        async with client.get(f"{origin}{STREAM}", params={"query": QUESTION}) as response:
            assert (await response.read()).count(b'"done":true') == 1
        for server in servers:
            async with await server.get(f"/bali-zero/answers/{answer}") as response:
                assert (await response.json())["state"] == "complete"
        await nodes.aclose()
        async with client.get(f"{origin}{STREAM}", params={"query": QUESTION}) as response:
            assert response.status == 200
            assert b"event: unavailable" in await response.read()
        async with client.post(f"{origin}{CHAT}", json={}, headers={"Accept": "application/json"}) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "2")


def test_redis_takes_its_settings(tmp_path: Path) -> None:
    (tmp_path / "redis.conf").write_text((DEPLOY / "redis/zantara-stream.conf").read_text(encoding="utf-8"))
    with redis_server(tmp_path / "data", "--include", str(tmp_path / "redis.conf")) as server:
        assert server.ask("CONFIG", "GET", "maxmemory-policy").split() == ["maxmemory-policy", "noeviction"]
        assert server.ask("CONFIG", "GET", "appendonly").split() == ["appendonly", "yes"]
        assert server.ask("CONFIG", "GET", "maxmemory").split() == ["maxmemory", str(4 << 30)]


def test_the_lines_of_a_node_under_systemd_are_settings() -> None:
    lines = (DEPLOY / "systemd/several/environment").read_text(encoding="utf-8").splitlines()
    named = dict(line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?ZANTARA_", line))
    settings = load_settings(named)
    assert settings.journal.startswith("redis://")
    assert {variable("journal"), variable("database_url"), variable("trusted_proxies")} <= set(named)
