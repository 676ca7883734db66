from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from zantara_stream.errors import ConfigError, IndexUnavailable
from zantara_stream.retrieval import library as module
from zantara_stream.retrieval.embedding import Embedder, Vectors
from zantara_stream.retrieval.library import Build, Library, inspect
from zantara_stream.retrieval.manifest import Manifest, current_build, make_current
from zantara_stream.testing import HashingEmbedder

QUERIES = ["renewal fees", "passport", "capital of the company", "denda pajak", "notaio certificato", "zebra"]


class HeldEmbedder(HashingEmbedder):
    """Once `hold` is set, stops in `encode` until it is released; notes whether it was, and in which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = threading.Event()
        self.entered = threading.Event()
        self.release = threading.Event()
        self.released: list[bool] = []
        self.threads: set[int] = set()

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        self.threads.add(threading.get_ident())
        if self.hold.is_set():
            self.entered.set()
            self.released.append(self.release.wait(20))
        return super().encode(texts, progress)


@pytest.fixture
async def library(small_index: Path) -> AsyncIterator[Library]:
    library = Library(small_index, HashingEmbedder)
    await library.open()
    yield library
    library.close()


@pytest.fixture
def copied(small_index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_index, tmp_path / "index"))


async def _entered(embedder: HeldEmbedder) -> None:
    assert await asyncio.to_thread(embedder.entered.wait, 20)


async def test_it_finds_what_the_build_finds(library: Library, small_index: Path) -> None:
    build = Build.open(small_index, HashingEmbedder)
    for query in QUERIES:
        assert await library.search(query, 5) == build.search(query, 5)
    assert library.current.manifest == build.manifest


async def test_searches_at_once_are_as_those_in_turn(library: Library) -> None:
    in_turn = [await library.search(query, 5) for query in QUERIES]
    at_once = await asyncio.gather(*(library.search(query, 5) for query in QUERIES * 20))
    assert at_once == in_turn * 20


async def test_any_work_is_done_in_the_retrieval_thread(library: Library) -> None:
    threads = {await library.run(lambda build: threading.get_ident()) for _ in range(5)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert (await library.run(lambda build: build.corpus.text("villa.md")) or "").startswith("# Case in Bali")


async def test_an_error_of_the_work_reaches_who_asked(library: Library) -> None:
    with pytest.raises(ZeroDivisionError):
        await library.run(lambda build: 1 // 0)
    assert await library.search("passport", 1)


async def test_the_event_loop_goes_on_while_a_search_runs(small_index: Path) -> None:
    embedder = HeldEmbedder()
    library = Library(small_index, lambda: embedder)
    await library.open()
    embedder.hold.set()
    search = asyncio.create_task(library.search("passport", 1))
    await _entered(embedder)
    ticks = 0
    for _ in range(1000):
        await asyncio.sleep(0)
        ticks += not search.done()
    embedder.release.set()
    assert (await search)[0].passage.document == "permits/renewal.md"
    assert ticks == 1000
    assert embedder.released == [True]  # by this task, which therefore ran meanwhile
    assert threading.get_ident() not in embedder.threads
    library.close()


async def test_the_event_loop_goes_on_while_the_index_is_opened(small_index: Path) -> None:
    embedder = HeldEmbedder()
    embedder.hold.set()
    library = Library(small_index, lambda: embedder)
    opening = asyncio.create_task(library.open())
    await _entered(embedder)  # in the first search, which warms the index up
    with pytest.raises(IndexUnavailable, match="still being opened"):
        await library.search("passport", 1)
    embedder.release.set()
    await opening
    assert await library.search("passport", 1)
    library.close()


async def test_nothing_is_served_before_it_is_opened(small_index: Path) -> None:
    library = Library(small_index, HashingEmbedder)
    with pytest.raises(IndexUnavailable, match="still being opened"):
        _ = library.current
    library.close()


async def test_no_index(tmp_path: Path) -> None:
    library = Library(tmp_path, HashingEmbedder)
    await library.open()
    with pytest.raises(IndexUnavailable, match=f"There is no index in {tmp_path}: build it with"):
        await library.search("passport", 1)
    library.close()


async def test_the_model_is_wrong(small_index: Path) -> None:
    def fail() -> Embedder:
        raise ConfigError("The weights are not the published ones.")

    cases: list[tuple[Callable[[], Embedder], str]] = [
        (lambda: HashingEmbedder(name="other"), "ZANTARA_EMBEDDING_MODEL"),
        (lambda: HashingEmbedder(dimensions=32), "has 64 dimensions, the embedding model 32"),
        (fail, "not the published ones"),
    ]
    for load, reason in cases:
        library = Library(small_index, load)
        await library.open()
        with pytest.raises(IndexUnavailable, match=reason):
            await library.search("passport", 1)
        library.close()


async def test_what_nobody_thought_of(small_index: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Embedder:
        raise RuntimeError("a secret of the machine")

    library = Library(small_index, fail)
    await library.open()
    with pytest.raises(IndexUnavailable, match=r"cannot be opened \(RuntimeError\)") as caught:
        await library.search("passport", 1)
    assert "secret" not in str(caught.value)
    assert "a secret of the machine" in caplog.text  # the log has all of it
    library.close()


async def test_a_damaged_index_is_not_served_and_the_model_is_not_loaded(copied: Path) -> None:
    loaded: list[bool] = []
    (current_build(copied) / "corpus.db").write_bytes(b"")
    library = Library(copied, lambda: loaded.append(True) or HashingEmbedder())  # type: ignore[func-returns-value]
    await library.open()
    with pytest.raises(IndexUnavailable, match=r"corpus\.db is not as it was built"):
        await library.search("passport", 1)
    assert loaded == []
    library.close()


def test_parts_that_do_not_belong_together(copied: Path) -> None:
    build = current_build(copied)
    manifest = Manifest.load(build)
    replace(manifest, passages=manifest.passages + 1).save(build)
    with pytest.raises(IndexUnavailable, match=f"{build} do not belong together; build it again"):
        Build.open(copied, HashingEmbedder)


async def test_close_lets_the_running_search_finish_and_drops_the_waiting(small_index: Path) -> None:
    embedder = HeldEmbedder()
    library = Library(small_index, lambda: embedder)
    await library.open()
    embedder.hold.set()
    running = asyncio.create_task(library.search("passport", 1))
    await _entered(embedder)
    waiting = asyncio.create_task(library.search("fees", 1))
    await asyncio.sleep(0)
    library.close()
    embedder.release.set()
    assert await running
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="shutdown"):
        await library.search("fees", 1)


def _inspected(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "hashing") -> Manifest:
    monkeypatch.setattr(module, "checked_weights", lambda setting: (Path(), HashingEmbedder(name=setting).sha256))
    return inspect(folder, name)


def test_inspect_is_the_manifest(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _inspected(small_index, monkeypatch) == Manifest.load(current_build(small_index))


def test_inspect_says_what_is_wrong(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IndexUnavailable, match="embedding model hashing"):
        _inspected(copied, monkeypatch, "other")
    (current_build(copied) / "vectors.faiss").unlink()
    with pytest.raises(IndexUnavailable, match=r"vectors\.faiss is missing"):
        _inspected(copied, monkeypatch)
    make_current(copied, "gone")
    with pytest.raises(IndexUnavailable, match="no readable manifest"):
        _inspected(copied, monkeypatch)


def test_inspect_with_the_real_weights(sample_index: Path, small_index: Path) -> None:
    assert inspect(sample_index, "").documents == 16
    with pytest.raises(IndexUnavailable, match="all-MiniLM-L6-v2"):
        inspect(small_index, "")
