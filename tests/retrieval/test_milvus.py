"""The vectors of builds in Milvus: the same found as with FAISS, built, switched, rolled back and healed as there."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from milvus_server import Milvus, milvus_server, shared_milvus
from server import Reader, Server, starting

from zantara_stream.config import FAISS, Settings
from zantara_stream.errors import ConfigError, IndexUnavailable, VectorsUnavailable
from zantara_stream.parts import make_library
from zantara_stream.retrieval import builder, lexical, library, milvus, stores
from zantara_stream.retrieval.builder import FAILED, WELL, main
from zantara_stream.retrieval.builds import BUILDS_KEPT, build_folders
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.index import FaissIndex
from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.manifest import BUILDS, POINTER, VECTORS, Manifest, current_build
from zantara_stream.retrieval.milvus import InMilvus, MilvusIndex
from zantara_stream.retrieval.milvus_connection import MilvusConnection
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.pointer import Pointer
from zantara_stream.retrieval.recall import TARGET
from zantara_stream.retrieval.vector_index import Allowed
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_index.py"
ALIAS = "zantara_default"
QUERIES = ["renewal fees", "the passport of a sponsor", "capital of the company", "denda pajak", "notaio", "zebra"]
DOCUMENTS = {
    "fees.md": "---\nlevel: 0\n---\n# Fees\n\nRenewal of a permit costs Rp 3 million.\n\n## Late\n\nA fine is due.\n",
    "partners.md": "---\nlevel: 1\n---\n# Partners\n\nThey renew a permit for Rp 2 million, the passport is copied.\n",
    "board.md": "---\nlevel: 3\n---\n# Board\n\nThe board pays the capital of the company. Il notaio lo conferma.\n",
    "tax.txt": "Pajak\n\nDenda pajak adalah seratus ribu rupiah. The sponsor pays it.\n",
}

Command = Callable[..., int]


@pytest.fixture
def lite() -> Milvus:
    """A server with nothing in it."""
    server = shared_milvus()
    server.empty()
    return server


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    root = tmp_path / "documents"
    root.mkdir()
    for name, text in DOCUMENTS.items():
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "default"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, out: Path) -> Command:
    """The command with a small embedder in place of the real one, for one index folder."""
    monkeypatch.setattr(builder, "checked_weights", lambda setting: (Path(), HashingEmbedder().sha256))
    monkeypatch.setattr(builder, "SentenceTransformerEmbedder", lambda setting: HashingEmbedder())
    monkeypatch.setattr(builder, "load_encoder", HashingEmbedder.load)

    def run(*arguments: object, vectors: str = FAISS, out: Path = out) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ZANTARA_VECTORS", vectors)
            return main([*map(str, arguments), "--out", str(out)])

    return run


def _vectors(seed: int, count: int, dimensions: int = 16) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(count, dimensions))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _kept(lite: Milvus, tmp_path: Path, vectors: Vectors, levels: list[int]) -> tuple[MilvusIndex, Pointer, float]:
    """An index of vectors in Milvus, with what its folder says of it and the recall that was measured."""
    folder = tmp_path / "default" / BUILDS / "one"
    folder.mkdir(parents=True)
    written = InMilvus(lite.url, tmp_path / "default").write(folder, "one", vectors, levels)
    pointer = Pointer.load(folder)
    assert pointer is not None
    return MilvusIndex(MilvusConnection(lite.url), pointer, written.probes), pointer, written.recall


def _up_to(level: int, levels: list[int]) -> Allowed:
    return Allowed(level, np.array(levels) <= level)


def test_it_finds_what_faiss_finds(lite: Milvus, tmp_path: Path) -> None:
    vectors, levels = _vectors(1, 1200), [number % 4 for number in range(1200)]
    index, _, recall = _kept(lite, tmp_path, vectors, levels)
    reference = FaissIndex.build(vectors)
    assert (len(index), index.dimensions, recall) == (1200, 16, 1.0)
    some = [5, 1199, 0, 5]
    for query in _vectors(2, 10):
        assert index.nearest(query, 100) == reference.nearest(query, 100)
        for level in range(4):
            allowed = _up_to(level, levels)
            assert index.nearest(query, 100, allowed) == reference.nearest(query, 100, allowed)
        np.testing.assert_array_equal(index.similarities(query, some), reference.similarities(query, some))
    assert sorted(index.nearest(vectors[0], 9999, _up_to(0, levels))) == list(range(0, 1200, 4))
    assert index.nearest(vectors[0], 0) == []
    assert index.nearest(vectors[0], 5, Allowed(-1, np.zeros(1200, bool))) == []
    assert index.similarities(vectors[0], []).shape == (0,)
    assert index.damage() == ""


def test_what_cannot_be_asked_is_refused_as_by_faiss(lite: Milvus, tmp_path: Path) -> None:
    index, _, _ = _kept(lite, tmp_path, _vectors(1, 20), [0] * 20)
    with pytest.raises(ValueError, match="The query has shape"):
        index.nearest(_vectors(1, 1, 15), 1)
    with pytest.raises(ValueError, match=r"`allowed` is .* for 20 vectors"):
        index.nearest(_vectors(1, 1), 1, Allowed(0, np.ones(19, bool)))
    for wrong in ([20], [-1, 3]):
        with pytest.raises(IndexError, match="The index has vectors 0 to 19"):
            index.similarities(_vectors(1, 1), wrong)


def test_many_vectors_lie_in_a_graph_with_a_recall_that_was_measured(
    lite: Milvus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "EXACT_LIMIT", 1000)
    vectors, levels = _vectors(1, 2000), [number % 4 for number in range(2000)]
    index, _, recall = _kept(lite, tmp_path, vectors, levels)
    assert TARGET <= recall <= 1
    reference = FaissIndex.build(vectors)
    shares = []
    for query in _vectors(2, 50):
        for allowed in (None, _up_to(1, levels)):
            shares.append(len({*index.nearest(query, 10, allowed)} & {*reference.nearest(query, 10, allowed)}) / 10)
    assert np.mean(shares) >= TARGET - 0.02
    assert sorted(index.nearest(vectors[0], 500, _up_to(0, levels))) == list(range(0, 2000, 4))


def test_a_level_that_milvus_does_not_keep_is_kept_all_the_same(lite: Milvus, tmp_path: Path) -> None:
    """Somebody writes into Milvus that all may see everything: the build says who may."""
    vectors, levels = _vectors(1, 40), [3] * 20 + [0] * 20
    index, _, _ = _kept(lite, tmp_path, vectors, [0] * 40)
    assert set(index.nearest(vectors[0], 40, _up_to(0, levels))) <= set(range(20, 40))


def _hits(out: Path, vectors: str) -> list[list[tuple[str, str, float, float, bool]]]:
    build = Build.open(current_build(out), HashingEmbedder.load, vectors)
    return [
        [
            (hit.passage.document, hit.passage.id, round(hit.similarity, 5), round(hit.score, 5), hit.relevant)
            for hit in build.search(query, 5, level)
        ]
        for query in QUERIES
        for level in range(4)
    ]


def test_hybrid_search_finds_the_same_passages_with_the_same_scores(
    lite: Milvus, documents: Path, command: Command, out: Path, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    assert command(documents, out=files) == command(documents, vectors=lite.url) == WELL
    assert _hits(out, lite.url) == _hits(files, FAISS)
    one, other = Manifest.load(current_build(files)), Manifest.load(current_build(out))
    assert (one.index, other.index) == ("Flat", "Milvus FLAT")
    assert {*one.checksums} - {*other.checksums} == {VECTORS}
    assert {*other.checksums} - {*one.checksums} == {POINTER}


def _collection(folder: Path) -> str:
    pointer = Pointer.load(folder)
    assert pointer is not None
    return pointer.collection


def test_builds_are_switched_rolled_back_and_dropped(
    lite: Milvus, documents: Path, command: Command, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = partial(command, documents, vectors=lite.url)
    assert build() == WELL
    first = current_build(out)
    assert lite.leads_to(ALIAS) == _collection(first)
    assert build() == WELL
    assert "up to date" in capsys.readouterr().out
    served = Build.open(first, HashingEmbedder.load, lite.url)
    (documents / "more.md").write_text("# More\n\nA permit of two years.\n")
    assert build() == WELL
    assert lite.leads_to(ALIAS) == _collection(current_build(out)) != _collection(first)
    assert served.search("renewal fees", 1)[0].passage.document == "fees.md"  # whoever began with a build keeps it
    assert command("--rollback", vectors=lite.url) == WELL
    assert current_build(out) == first
    assert lite.leads_to(ALIAS) == _collection(first)
    for number in range(BUILDS_KEPT + 1):
        (documents / "more.md").write_text(f"# More\n\nA permit of {number} years.\n")
        assert build() == WELL
    assert lite.collections() == sorted(_collection(folder) for folder in build_folders(out))
    assert len(lite.collections()) == BUILDS_KEPT
    assert lite.leads_to(ALIAS) == _collection(current_build(out))


def test_a_whole_build_is_verified_and_a_changed_vector_found(
    lite: Milvus, documents: Path, command: Command, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(documents, vectors=lite.url) == WELL
    assert command("--verify", vectors=lite.url) == WELL
    assert "fine: vectors as Milvus keeps them" in capsys.readouterr().out
    client = lite.client()
    row = {"number": 0, "level": 0, "vector": _vectors(9, 1, 64)[0]}
    client.upsert(_collection(current_build(out)), [row])
    client.close()
    assert command("--verify", vectors=lite.url) == FAILED
    assert "wrong: vectors as Milvus keeps them: the vectors in zantara_default_" in capsys.readouterr().out


def test_a_collection_that_is_gone_is_named_and_built_again(
    lite: Milvus, documents: Path, command: Command, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(documents, vectors=lite.url) == WELL
    lite.empty()
    assert command("--verify", vectors=lite.url) == FAILED
    assert "wrong: vectors: Milvus at 127.0.0.1" in capsys.readouterr().out
    with pytest.raises(IndexUnavailable, match="lacks what it was asked for"):
        Build.open(current_build(out), HashingEmbedder.load, lite.url)
    assert command(documents, vectors=lite.url) == WELL
    assert "built" in capsys.readouterr().out
    Build.open(current_build(out), HashingEmbedder.load, lite.url)


def test_a_collection_with_fewer_vectors_is_refused(lite: Milvus, documents: Path, command: Command, out: Path) -> None:
    assert command(documents, vectors=lite.url) == WELL
    client = lite.client()
    client.delete(_collection(current_build(out)), ids=[0])
    client.close()
    with pytest.raises(IndexUnavailable, match=r"has \d+ of \d+ vectors"):
        Build.open(current_build(out), HashingEmbedder.load, lite.url)


def test_a_build_that_fails_leaves_nothing(
    lite: Milvus, documents: Path, command: Command, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: lexical.LexicalIndex, folder: Path) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(lexical.LexicalIndex, "save", full)
        assert command(documents, vectors=lite.url) == FAILED
    assert lite.collections() == []
    assert not list(out.glob("builds/.*"))


def test_what_a_killed_build_left_is_dropped_by_the_next(
    lite: Milvus, documents: Path, command: Command, out: Path
) -> None:
    draft = out / BUILDS / ".killed.123"
    draft.mkdir(parents=True)
    InMilvus(lite.url, out).write(draft, "killed", _vectors(1, 3), [0, 0, 0])
    assert lite.collections() == ["zantara_default_killed"]
    assert command(documents, vectors=lite.url) == WELL
    assert lite.collections() == [_collection(current_build(out))]


def test_the_alias_of_another_index_is_not_taken(
    lite: Milvus, documents: Path, command: Command, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(documents, vectors=lite.url) == WELL
    there = lite.collections()
    capsys.readouterr()
    assert command(documents, vectors=lite.url, out=tmp_path / "another" / "default") == FAILED
    said = capsys.readouterr().err
    assert "zantara_default leads to" in said
    assert "name a database of its own" in said
    assert "Embedding" not in said  # told before anything is read
    assert lite.collections() == there


def test_an_index_that_moves_to_milvus_and_back(
    lite: Milvus, documents: Path, command: Command, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(documents) == WELL
    in_files = current_build(out)
    assert command(documents, vectors=lite.url) == WELL
    in_milvus = current_build(out)
    assert in_files != in_milvus
    Build.open(in_files, HashingEmbedder.load, lite.url)  # each from where it was written to
    with pytest.raises(IndexUnavailable, match="are in Milvus: set ZANTARA_VECTORS to its address"):
        Build.open(in_milvus, HashingEmbedder.load)
    for number in range(BUILDS_KEPT + 1):
        (documents / "more.md").write_text(f"# More\n\nA permit of {number} years.\n")
        assert command(documents) == WELL
    assert not in_milvus.exists()
    said = capsys.readouterr().err
    assert said.count(f"{lite.collections()[0]} is left in Milvus at 127.0.0.1:{lite.port}") == 1


def test_without_the_client_the_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "find_spec", lambda name: None if name == "pymilvus" else find_spec(name))
    with pytest.raises(ConfigError, match=r"pip install 'zantara-stream\[milvus\]'"):
        make_library(Settings(index=tmp_path, vectors="milvus://localhost"))


def test_a_build_tells_that_milvus_is_away_before_it_reads_anything(
    tmp_path: Path, documents: Path, command: Command, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with milvus_server(tmp_path / "milvus") as server:
        pass
    assert command(documents, vectors=server.url.replace("://", "://me:a-secret@")) == FAILED
    said = capsys.readouterr().err
    assert f"Milvus at 127.0.0.1:{server.port} cannot be asked just now" in said
    assert "Reading" not in said
    assert "a-secret" not in said


@pytest.mark.parametrize(
    ("address", "place", "token", "database", "name"),
    [
        ("milvus://db", "http://db:19530", "", "", "db:19530"),
        ("milvus://me:a%2Fb@db:1234/people", "http://db:1234", "me:a/b", "people", "db:1234/people"),
        ("milvus+https://:key@[::1]", "https://[::1]:19530", "key", "", "[::1]:19530"),
    ],
)
def test_addresses(
    address: str, place: str, token: str, database: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Client:
        def __init__(self, place: str, **options: Any) -> None:
            asked.append((place, options["token"], options["db_name"]))

        def list_collections(self, timeout: float) -> list[str]:
            return []

        def close(self) -> None:
            asked.append("closed")

    monkeypatch.setattr("zantara_stream.retrieval.milvus_connection.MilvusClient", Client)
    connection = MilvusConnection(address)
    assert connection.call("list_collections") == []
    assert asked == [(place, token, database)]
    assert connection.name == name
    del connection
    gc.collect()
    assert asked[1:] == ["closed"], "with its last user"


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Milvus]:
    """A server that a test kills."""
    with milvus_server(tmp_path / "milvus") as server:
        yield server


async def _until(server: Server, status: int) -> Any:
    for _ in range(400):
        async with server.session.get(f"{server.url}/ready") as response:
            if response.status == status:
                return await response.json()
        await asyncio.sleep(0.05)
    raise AssertionError(f"/ready is not {status}")


async def _end(server: Server) -> Any:
    """The last event of a new answer, or why there is none."""
    response = await server.get(query="What does renewal cost?", continuity_id=os.urandom(8).hex())
    return (await Reader(response).rest())[-1].json if response.status == 200 else await response.json()


async def test_a_server_outlives_its_milvus(
    fragile: Milvus,
    documents: Path,
    command: Command,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It starts without Milvus and is ready with it; killed or frozen, questions are refused for as long."""
    monkeypatch.setattr(library, "PROBED", 0.1)
    assert await asyncio.to_thread(command, documents, vectors=fragile.url) == WELL
    fragile.kill()
    async with starting(out, ScriptedAnswerer("Rp 3 million."), vectors=fragile.url) as server:
        refused = await _until(server, 503)
        assert (refused["code"], refused["retryable"]) == ("index_unavailable", True)
        await asyncio.to_thread(fragile.start)
        assert (await _until(server, 200))["build"] == current_build(out).name
        assert (await _end(server))["done"] is True
        assert fragile.process is not None
        fragile.process.send_signal(signal.SIGSTOP)
        assert str(fragile.port) not in str(await _until(server, 503))
        failure = await _end(server)
        assert failure["code"] == "index_unavailable"
        assert str(fragile.port) not in str(failure)
        fragile.process.send_signal(signal.SIGCONT)
        await _until(server, 200)
        fragile.kill()
        await _until(server, 503)
        await asyncio.to_thread(fragile.start)
        await _until(server, 200)
        assert "error" not in await _end(server)
    told = [record.message for record in caplog.records if "cannot be asked" in record.message]
    assert any(f"127.0.0.1:{fragile.port}" in message for message in told)


async def test_a_search_that_milvus_breaks_off_fails_with_nothing_of_where_it_is(
    fragile: Milvus, documents: Path, command: Command, out: Path
) -> None:
    assert await asyncio.to_thread(command, documents, vectors=fragile.url) == WELL
    opened = Library(out, HashingEmbedder.load, vectors=fragile.url)
    await opened.open()
    fragile.kill()
    with pytest.raises(VectorsUnavailable) as caught:
        await opened.current.search("What does renewal cost?", 3)
    assert str(caught.value) == "The vectors of the document index cannot be reached just now."
    opened.close()


def test_a_pointer_that_is_damaged_is_named(lite: Milvus, documents: Path, command: Command, out: Path) -> None:
    assert command(documents, vectors=lite.url) == WELL
    file = current_build(out) / POINTER
    file.write_text(file.read_text().replace("collection", "selection"))
    with pytest.raises(IndexUnavailable, match=r"vectors\.milvus\.json is not as it was built"):
        Build.open(current_build(out), HashingEmbedder.load, lite.url)
    with pytest.raises(IndexUnavailable, match=r"vectors\.milvus\.json cannot be read"):
        Pointer.load(current_build(out))


def test_a_damaged_build_is_in_nobody_s_way(
    lite: Milvus, documents: Path, command: Command, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(documents, vectors=lite.url) == WELL
    damaged = current_build(out)
    (damaged / POINTER).write_text("{")
    for _ in range(BUILDS_KEPT + 1):
        assert command(documents, "--full", vectors=lite.url) == WELL
    assert not damaged.exists()
    assert "whatever it names is left where it is" in capsys.readouterr().err


def test_a_credential_says_where_the_vectors_are(tmp_path: Path, documents: Path) -> None:
    """The script takes it as the server does; that it is used shows in what it cannot reach."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "zantara_ZANTARA_VECTORS").write_text("milvus://127.0.0.1:1\n")
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    command = [sys.executable, str(SCRIPT), str(documents), "--out", str(tmp_path / "default")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == FAILED
    assert "Milvus at 127.0.0.1:1 cannot be asked just now" in done.stderr
    environment["ZANTARA_VECTORS"] = "faiss"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == FAILED
    assert "both a credential and in the environment" in done.stderr
