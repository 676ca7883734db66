"""What operators' probes get."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from builds_made import DAMAGES, Changing
from passages_made import passage
from server import BlockingEmbedder, Server, data, serving, starting
from tokens_made import SECRET, token

from zantara_stream.generation.answerer import Quote
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.people import store as store_module
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer


async def readiness(server: Server) -> tuple[int, dict[str, Any]]:
    """The status and body of `/ready`."""
    async with await server.get("/ready") as response:
        body: dict[str, Any] = await response.json()
        assert body["ready"] == (response.status == 200)
        return response.status, body


async def test_health_is_well_at_once_and_ready_only_when_the_index_is_open(small_index: Path) -> None:
    embedder = BlockingEmbedder(armed=True)
    async with starting(small_index, ScriptedAnswerer("Hello", model="some-model"), embedder) as server:
        try:
            async with await server.get("/health") as response:
                assert (response.status, await response.json()) == (200, {"status": "ok"})
            status, body = await readiness(server)
            assert (status, body["code"], body["retryable"]) == (503, "index_unavailable", True)
            assert "still being opened" in body["error"]
        finally:
            embedder.go.set()
        await server.library.opened.wait()
        build = (small_index / "CURRENT").read_text().strip()
        assert await readiness(server) == (200, {"ready": True, "build": build, "model": "some-model"})


async def test_ready_says_that_there_is_no_index(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path / "nowhere") as server:
        status, body = await readiness(server)
        assert (status, body["code"]) == (503, "index_unavailable")
        assert "There is no index in" in body["error"]
        assert "build_index.py" in body["error"], "and what to do"
        async with await server.get("/health") as response:
            assert response.status == 200
    assert "There is no index in" in caplog.text


@pytest.mark.parametrize("part", ["vectors.faiss", "corpus.db", "manifest.json"])
async def test_ready_says_what_is_damaged(small_index: Path, tmp_path: Path, part: str) -> None:
    damaged = tmp_path / "index"
    shutil.copytree(small_index, damaged)
    (file,) = damaged.rglob(part)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    async with serving(damaged) as server:
        status, body = await readiness(server)
        assert (status, body["code"]) == (503, "index_unavailable")
        assert "index" in body["error"]
        if part != "manifest.json":
            assert part in body["error"]


async def test_ready_says_that_the_model_is_another(small_index: Path) -> None:
    async with serving(small_index, None, HashingEmbedder(name="another")) as server:
        status, body = await readiness(server)
        assert status == 503
        assert "built with the embedding model hashing" in body["error"]


async def test_ready_says_that_the_dimensions_differ_which_was_swallowed_once(small_index: Path) -> None:
    async with serving(small_index, None, HashingEmbedder(dimensions=32)) as server:
        status, body = await readiness(server)
        assert status == 503
        assert "64 dimensions" in body["error"]


async def test_an_index_that_cannot_be_opened_for_a_reason_of_its_own(
    small_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(HashingEmbedder):
        def encode(self, texts: Any, progress: Any = None) -> Any:
            raise MemoryError("a secret")

    async with serving(small_index, None, Broken()) as server:
        status, body = await readiness(server)
    assert status == 503
    assert "MemoryError" in body["error"]
    assert "secret" not in body["error"]
    assert "secret" in caplog.text


# ----------------------------------------------------------------------------------------------- metrics


async def metrics(server: Server) -> dict[str, float]:
    """What `/metrics` says, by name and labels."""
    async with await server.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"
        lines = (await response.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


async def risen(server: Server, before: dict[str, float], name: str) -> float:
    """By how much it has risen."""
    return (await metrics(server))[name] - before.get(name, 0)


async def test_metrics_tell_which_build_is_served(tmp_path: Path) -> None:
    changing = Changing(tmp_path)
    changing.build(1)
    async with serving(changing.index) as server:
        for fine in (2, 3):
            manifest = changing.build(fine)
            await server.library.reload()
            told = await metrics(server)
            info = {name: value for name, value in told.items() if name.startswith("zantara_index_info{")}
            assert info == {f'zantara_index_info{{build="{manifest.build}",model="hashing"}}': 1}
            created = datetime.fromisoformat(manifest.created).timestamp()
            assert told["zantara_index_built_timestamp_seconds"] == created


async def test_metrics_count_builds_that_are_refused(tmp_path: Path) -> None:
    changing = Changing(tmp_path)
    changing.build(1)
    async with serving(changing.index) as server:
        before = await metrics(server)
        DAMAGES["corpus.db flipped"](changing.index)
        await server.library.open()
        assert await risen(server, before, "zantara_index_refused_total") == 1


async def test_metrics_count_citations_and_time_each_stage(small_index: Path) -> None:
    verified, dropped = (f'zantara_citations_total{{verified="{value}"}}' for value in ("true", "false"))
    embed, search = (f'zantara_retrieval_seconds_count{{stage="{stage}"}}' for stage in ("embed", "search"))
    async with serving(small_index, ExtractiveAnswerer()) as server:
        before = await metrics(server)
        assert {verified, dropped} <= before.keys(), "a rise from nothing would not be seen"
        cited = [item for item in data(await (await server.stream()).rest()) if "citation" in item]
        assert cited
        assert await risen(server, before, verified) == len(cited)
        assert await risen(server, before, dropped) == 0
        assert [await risen(server, before, name) for name in (embed, search)] == [1, 1]
    false = Quote(passage("What no document says."), "What no document says.", (0, 5))
    async with serving(small_index, ScriptedAnswerer("text", false)) as server:
        before = await metrics(server)
        await (await server.stream()).rest()
        assert await risen(server, before, dropped) == 1
        assert await risen(server, before, verified) == 0


async def test_no_metric_holds_a_question_or_a_person(small_index: Path) -> None:
    async with serving(small_index, ExtractiveAnswerer()) as server:
        await (await server.stream(user_email="someone@example.com")).rest()
        async with await server.get("/metrics") as response:
            text = await response.text()
        assert "someone" not in text
        assert "permit" not in text


# ---------------------------------------------------------------------------------------- not now


async def test_a_draining_or_overloaded_server_is_not_ready_but_well(small_index: Path) -> None:
    async with serving(small_index) as server:
        server.answers.draining = True
        status, body = await readiness(server)
        assert (status, body["code"]) == (503, "draining")
        async with await server.get("/health") as response:
            assert response.status == 200
    async with serving(small_index, max_answers=0) as server:
        status, body = await readiness(server)
        assert (status, body["code"]) == (503, "overloaded")


async def test_a_server_that_can_record_nothing_is_not_ready_but_well(small_index: Path) -> None:
    async with serving(small_index) as server:
        vars(server.answers.journal)["problem"] = "the disk is full"
        status, body = await readiness(server)
        assert (status, body["code"], body["retryable"]) == (503, "journal_unavailable", True)
        assert "disk" not in body["error"], "what is wrong with it stands in the log"
        async with await server.get("/health") as response:
            assert response.status == 200


async def test_a_server_whose_store_cannot_be_used_is_not_ready_until_it_can(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BUSY", 0.05)
    monkeypatch.setattr(store_module, "RETRY", 0.01)
    path = tmp_path / "people.db"
    async with serving(small_index, database_url=f"sqlite:///{path}", auth="jwt", jwt_secret=SECRET) as server:
        anna = {"Authorization": f"Bearer {token('anna')}"}
        with closing(sqlite3.connect(path, 60, isolation_level=None, check_same_thread=False)) as other:
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")  # the server may have to finish something first
            async with server.session.delete(f"{server.url}/bali-zero/memory", headers=anna) as response:
                assert (response.status, (await response.json())["code"]) == (503, "store_unavailable")
            status, body = await readiness(server)
            assert (status, body["code"], body["retryable"]) == (503, "store_unavailable", True)
            async with await server.get("/health") as response:
                assert response.status == 200
        while (await readiness(server))[0] != 200:
            pass
        async with server.session.delete(f"{server.url}/bali-zero/memory", headers=anna) as response:
            assert response.status == 200


# --- Who may read the metrics ----------------------------------------------------------------------

METRICS_TOKEN = "0123456789abcdef0123456789abcdef"


async def test_metrics_are_for_this_machine_and_not_for_whom_a_proxy_on_it_serves(small_index: Path) -> None:
    async with serving(small_index) as server:
        assert (await server.get("/metrics")).status == 200
        for header in ("X-Forwarded-For", "Forwarded"):
            assert (await server.get("/metrics", {header: "203.0.113.7"})).status == 403


async def test_metrics_want_the_token_where_one_is_set(small_index: Path) -> None:
    async with serving(small_index, admin_token=METRICS_TOKEN) as server:
        refused = await server.get("/metrics")
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert (await server.get("/metrics", {"Authorization": f"Bearer {METRICS_TOKEN}"})).status == 200
