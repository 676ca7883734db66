from __future__ import annotations

import asyncio
import gc
import os
import shutil
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import pytest
from builds_made import ASKED, DAMAGES, DOCUMENT, PARTS, Changing, copy, sentence, until_refused, until_served

from zantara_stream.errors import ConfigError, IndexUnavailable
from zantara_stream.metrics import INDEX_BUILT, INDEX_INFO, INDEX_REFUSED
from zantara_stream.retrieval import library as module
from zantara_stream.retrieval.encoder import Encoder, Vectors
from zantara_stream.retrieval.library import Library, inspect
from zantara_stream.retrieval.manifest import BUILDS, CURRENT, MANIFEST, Manifest, current_build, make_current
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.reranker import Reranker
from zantara_stream.retrieval.served import Served
from zantara_stream.retrieval.watching import State, look
from zantara_stream.testing import HashingEmbedder

QUERIES = ["renewal fees", "passport", "capital of the company", "denda pajak", "notaio certificato", "zebra"]
SOON = 0.01  # seconds between two looks


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


class Loads:
    """Loads encoders, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> Encoder:
        self.count += 1
        return HashingEmbedder.load(folder)


@pytest.fixture
async def library(small_index: Path) -> AsyncIterator[Library]:
    library = Library(small_index, HashingEmbedder.load)
    await library.open()
    yield library
    library.close()


@pytest.fixture
def changing(tmp_path: Path) -> Changing:
    return Changing(tmp_path)


@asynccontextmanager
async def watching(library: Library) -> AsyncIterator[asyncio.Task[None]]:
    """The library, as it runs in a server; ends with what was wrong with it."""
    task = asyncio.create_task(library.serve(SOON))
    try:
        async with asyncio.timeout(60):
            yield task
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])
        library.close()


async def _entered(embedder: HeldEmbedder) -> None:
    assert await asyncio.to_thread(embedder.entered.wait, 20)


async def _first(served: Served) -> str:
    """The sentence that is found first for the question about the fine."""
    return (await served.search(ASKED, 1))[0].passage.text.split("And so on. ")[-1].strip()


# ------------------------------------------------------------------------------------------- one build


async def test_it_finds_what_the_build_finds(library: Library, small_index: Path) -> None:
    build = Build.open(current_build(small_index), HashingEmbedder.load)
    for query in QUERIES:
        assert await library.current.search(query, 5) == build.search(query, 5)
    assert library.current.manifest == build.manifest


async def test_the_event_loop_goes_on_while_the_index_is_opened(small_index: Path) -> None:
    embedder = HeldEmbedder()
    embedder.hold.set()
    library = Library(small_index, lambda folder: embedder)
    opening = asyncio.create_task(library.open())
    await _entered(embedder)  # in the first search, which warms the index up
    with pytest.raises(IndexUnavailable, match="still being opened"):
        _ = library.current
    embedder.release.set()
    await opening
    assert await library.current.search("passport", 1)
    assert threading.get_ident() not in embedder.threads
    library.close()


async def test_nothing_is_served_before_it_is_opened(small_index: Path) -> None:
    library = Library(small_index, HashingEmbedder.load)
    with pytest.raises(IndexUnavailable, match="still being opened"):
        _ = library.current
    library.close()


async def test_no_index(tmp_path: Path) -> None:
    library = Library(tmp_path, HashingEmbedder.load)
    await library.open()
    with pytest.raises(IndexUnavailable, match=f"There is no index in {tmp_path}: build it with"):
        _ = library.current
    library.close()


async def test_the_reason_is_told_anew_each_time(tmp_path: Path) -> None:
    library = Library(tmp_path, HashingEmbedder.load)
    await library.open()
    told: list[IndexUnavailable] = []
    for _ in range(3):
        with pytest.raises(IndexUnavailable) as caught:
            _ = library.current
        told.append(caught.value)
    assert len(set(map(id, told))) == 3, "one that is raised again keeps the frames of all who ever asked"
    library.close()


async def test_the_model_is_wrong(small_index: Path) -> None:
    def fail(folder: Path) -> Encoder:
        raise ConfigError("The weights are not the published ones.")

    cases: list[tuple[Callable[[Path], Encoder], str]] = [
        (lambda folder: HashingEmbedder(name="other"), "ZANTARA_EMBEDDING_MODEL"),
        (lambda folder: HashingEmbedder(dimensions=32), "has 64 dimensions, the embedding model 32"),
        (fail, "not the published ones"),
    ]
    for load, reason in cases:
        library = Library(small_index, load)
        await library.open()
        with pytest.raises(IndexUnavailable, match=reason):
            _ = library.current
        library.close()


async def test_the_configured_model_is_another(small_index: Path) -> None:
    loads = Loads()
    library = Library(small_index, loads, model="another")
    with pytest.raises(IndexUnavailable, match="embedding model hashing, the server is set to another"):
        await library.reload()
    assert loads.count == 0
    library.close()


async def test_what_nobody_thought_of(small_index: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(folder: Path) -> Encoder:
        raise RuntimeError("a secret of the machine")

    library = Library(small_index, fail)
    await library.open()
    with pytest.raises(IndexUnavailable, match=r"cannot be opened \(RuntimeError\)") as caught:
        _ = library.current
    assert "secret" not in str(caught.value)
    assert "a secret of the machine" in caplog.text  # the log has all of it
    library.close()


async def test_a_damaged_index_is_not_served_and_the_model_is_not_loaded(changing: Changing) -> None:
    changing.build(1)
    (changing.current / "corpus.db").write_bytes(b"")
    loads = Loads()
    library = Library(changing.index, loads)
    await library.open()
    with pytest.raises(IndexUnavailable, match=r"corpus\.db is not as it was built"):
        _ = library.current
    assert loads.count == 0
    library.close()


def test_parts_that_do_not_belong_together(changing: Changing) -> None:
    manifest = changing.build(1)
    replace(manifest, passages=manifest.passages + 1).save(changing.current)
    with pytest.raises(IndexUnavailable, match=f"{changing.current} do not belong together; build it again"):
        Build.open(changing.current, HashingEmbedder.load)


async def test_close_lets_the_running_search_finish_and_drops_the_waiting(small_index: Path) -> None:
    embedder = HeldEmbedder()
    library = Library(small_index, lambda folder: embedder)
    await library.open()
    held = threading.Event()
    running = asyncio.create_task(library.current.run(lambda build: held.wait(20)))
    waiting = asyncio.create_task(library.current.run(lambda build: True))
    await asyncio.sleep(0)
    library.close()
    held.set()
    assert await running
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="shutdown"):
        await library.current.search("fees", 1)


# -------------------------------------------------------------------------------------- one after another


async def test_a_new_build_is_taken_up_by_itself(changing: Changing) -> None:
    changing.build(1)
    async with watching(library := Library(changing.index, HashingEmbedder.load)):
        await asyncio.sleep(0)
        for fine in (2, 3, 4):
            manifest = changing.build(fine)
            await until_served(library, manifest.build)
            assert await _first(library.current) == sentence(fine)
            assert _told() == [{"build": manifest.build, "model": "hashing"}]
            assert INDEX_BUILT._value.get() == datetime.fromisoformat(manifest.created).timestamp()


def _told() -> list[dict[str, str]]:
    """What the metrics say is served."""
    return [sample.labels for metric in INDEX_INFO.collect() for sample in metric.samples]


def test_it_is_looked_for_within_a_second() -> None:
    assert module.WATCHED <= 0.5, "half of the second is for opening it"


async def test_an_index_that_comes_after_the_server(changing: Changing) -> None:
    async with watching(library := Library(changing.index, HashingEmbedder.load)):
        await until_refused(library)
        manifest = changing.build(1)
        await until_served(library, manifest.build)
        assert (await library.reload(), library.refused) == (manifest, "")


async def test_an_index_that_is_copied_in_the_wrong_order(changing: Changing, tmp_path: Path) -> None:
    # As rsync does: CURRENT before what it names, and the files one after the other.
    manifest = changing.build(1)
    there = tmp_path / "there"
    (there / BUILDS).mkdir(parents=True)
    async with watching(library := Library(there, HashingEmbedder.load)):
        shutil.copy(changing.index / CURRENT, there / CURRENT)
        await until_refused(library)
        for part in [MANIFEST, *sorted(set(PARTS) - {MANIFEST})]:
            target = there / BUILDS / manifest.build / part
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(changing.current / part, target)
            await asyncio.sleep(3 * SOON)
        await until_served(library, manifest.build)
        assert library.refused == ""


async def test_reload_takes_it_up_at_once_and_says_what_is_served(changing: Changing) -> None:
    first = changing.build(1)
    library = Library(changing.index, HashingEmbedder.load)
    assert await library.reload() == first
    second = changing.build(2)
    assert library.current.manifest == first
    assert await library.reload() == second
    assert await _first(library.current) == sentence(2)
    library.close()


async def test_the_build_that_is_served_already_is_not_opened_again(changing: Changing) -> None:
    changing.build(1)
    library = Library(changing.index, HashingEmbedder.load)
    await library.open()
    served = library.current
    make_current(changing.index, served.manifest.build)
    await asyncio.gather(library.reload(), library.reload(), library.open())
    assert library.current is served
    library.close()


async def test_reloads_at_once_open_it_once(changing: Changing) -> None:
    changing.build(1)
    loads = Loads()
    library = Library(changing.index, loads)
    assert len({manifest.build for manifest in await asyncio.gather(*(library.reload() for _ in range(10)))}) == 1
    assert loads.count == 1
    library.close()


async def test_going_back_to_the_build_before(changing: Changing) -> None:
    first, second = changing.build(1), changing.build(2)
    library = Library(changing.index, HashingEmbedder.load)
    assert await library.reload() == second
    make_current(changing.index, first.build)
    assert await library.reload() == first
    assert await _first(library.current) == sentence(1)
    library.close()


async def test_whoever_asks_for_a_reload_may_leave(small_index: Path) -> None:
    embedder = HeldEmbedder()
    embedder.hold.set()
    library = Library(small_index, lambda folder: embedder)
    asking = asyncio.create_task(library.reload())
    await _entered(embedder)
    asking.cancel()
    await asyncio.wait([asking])
    embedder.release.set()
    async with asyncio.timeout(20):
        await until_served(library, current_build(small_index).name)
    library.close()


class Noting(HashingEmbedder):
    """Notes what it embeds."""

    embedded: ClassVar[list[str]] = []

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        self.embedded.extend(texts)
        return super().encode(texts, progress)


async def test_an_encoder_that_is_the_same_is_loaded_once_and_remembers_its_texts(changing: Changing) -> None:
    changing.build(1)
    library = Library(changing.index, Noting.load)
    await library.open()
    old = library.current
    await old.encode(["a question"])
    changing.build(2)
    await library.reload()
    await library.current.encode(["a question"])
    assert library.current is not old
    assert library.current.encoder is old.encoder
    assert Noting.embedded.count("a question") == 1
    library.close()


async def test_an_encoder_that_is_another_is_loaded_and_the_vectors_are_its_own(changing: Changing) -> None:
    changing.build(1)
    loads = Loads()
    library = Library(changing.index, loads)
    await library.open()
    old = library.current
    changing.build(2, HashingEmbedder(32))
    await library.reload()
    both = await asyncio.gather(old.encode(["a"]), library.current.encode(["a"]))
    assert [vectors.shape for vectors in both] == [(1, 64), (1, 32)]
    assert loads.count == 2
    assert [await _first(served) for served in (old, library.current)] == [sentence(1), sentence(2)]
    library.close()


# -------------------------------------------------------------------------------------------- the old build


async def test_the_old_build_is_searched_as_before_even_when_its_files_are_gone(changing: Changing) -> None:
    changing.build(1)
    library = Library(changing.index, HashingEmbedder.load)
    await library.open()
    old, folder = library.current, changing.current
    before = await old.search("villa rented", 2)
    changing.build(2)
    await library.reload()
    shutil.rmtree(folder)
    assert await old.search("villa rented", 2) == before
    assert await _first(old) == sentence(1)
    assert await _first(library.current) == sentence(2)
    text = await old.run(lambda build: build.corpus.text(DOCUMENT))
    assert text is not None
    assert sentence(1) in text
    library.close()


def _held_open(index: Path) -> list[str]:
    """What this process has open or mapped below a folder."""
    opened = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)]
    mapped = [line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    return [path for path in {*opened, *mapped} if str(index) in path]


def _is_open(name: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{name}")


async def test_the_old_build_is_let_go_of_with_the_last_who_uses_it(changing: Changing) -> None:
    changing.build(1)
    library = Library(changing.index, HashingEmbedder.load)
    await library.open()
    old, name = library.current, changing.current.name
    corpus = weakref.ref(old._build.corpus)
    changing.build(2)
    await library.reload()
    await _first(old)
    assert corpus() is not None
    assert any(name in path for path in _held_open(changing.index))
    del old
    await library.current.run(lambda build: None)  # the thread has put the last work away
    gc.collect()
    assert corpus() is None
    assert not any(name in path for path in _held_open(changing.index))
    library.close()


async def test_twenty_exchanges_leave_nothing_open(changing: Changing) -> None:
    changing.next()
    library = Library(changing.index, HashingEmbedder.load)
    await library.open()
    await _first(library.current)
    gc.collect()
    descriptors, held = len(os.listdir("/proc/self/fd")), len(_held_open(changing.index))
    assert held > 2, "vectors, corpus and words"
    for number in range(20):
        changing.next()
        await library.reload()
        await _first(library.current)
        if number % 4 == 0:
            DAMAGES["vectors.faiss flipped"](changing.index)
            await library.open()
            assert library.refused
    library.refused = ""
    gc.collect()
    assert len(_held_open(changing.index)) == held
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert not [path for path in _held_open(changing.index) if path.endswith("(deleted)")]
    library.close()


# --------------------------------------------------------------------------------------------- refused builds


class Looks:
    """Counts how often the folder is looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0

        def counting(index: Path) -> State:
            self.count += 1
            return look(index)

        monkeypatch.setattr(module, "look", counting)

    async def more(self, number: int) -> None:
        """Wait until it was looked at that many times more."""
        until = self.count + number
        while self.count < until:  # noqa: ASYNC110 (another thread counts)
            await asyncio.sleep(SOON)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_build_that_cannot_be_served_is_refused_once_and_the_old_one_goes_on(
    changing: Changing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    first, looks = changing.build(1), Looks(monkeypatch)
    async with watching(library := Library(changing.index, HashingEmbedder.load)):
        await looks.more(2)
        await until_served(library, first.build)
        before = INDEX_REFUSED._value.get()
        old, told = library.current, _told()
        DAMAGES[damage](changing.index)
        await until_refused(library)
        await looks.more(6)
        assert INDEX_REFUSED._value.get() == before + 1
        assert library.current is old
        assert _told() == told
        assert await _first(library.current) == sentence(1)
        (line,) = [record for record in caplog.records if "is refused" in record.message]
        assert line.message == f"a newer index is refused, build {first.build} goes on: {library.refused}"
        with pytest.raises(IndexUnavailable, match=r"index"):
            await library.reload()
        second = changing.build(2)
        await until_served(library, second.build)
        assert library.refused == ""
        assert await _first(library.current) == sentence(2)


async def test_a_build_that_is_mended_where_it_lies_is_taken_up(changing: Changing) -> None:
    first = changing.build(1)
    async with watching(library := Library(changing.index, HashingEmbedder.load)):
        await until_served(library, first.build)
        folder = copy(changing.index)
        whole = (folder / "corpus.db").read_bytes()
        (folder / "corpus.db").unlink()
        make_current(changing.index, folder.name)
        await until_refused(library)
        (folder / "corpus.db").write_bytes(whole)
        await until_served(library, folder.name)
        assert library.refused == ""


async def test_a_build_whose_files_still_arrive_is_not_tried_at_every_look(
    changing: Changing, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = changing.build(1)
    async with watching(library := Library(changing.index, HashingEmbedder.load)):
        await until_served(library, first.build)
        before, looks, arriving = INDEX_REFUSED._value.get(), 0, True

        def growing(index: Path) -> State:
            nonlocal looks
            looks += 1
            state = look(index)
            return replace(state, files=frozenset([("a file", 0, 0, looks)])) if arriving else state

        monkeypatch.setattr(module, "look", growing)
        DAMAGES["corpus.db missing"](changing.index)
        while looks < 10:  # noqa: ASYNC110 (another thread counts)
            await asyncio.sleep(SOON)
        assert INDEX_REFUSED._value.get() == before + 1
        arriving = False
        while INDEX_REFUSED._value.get() == before + 1:  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(SOON)
        assert INDEX_REFUSED._value.get() == before + 2


async def test_whoever_wakes_it_has_a_refused_build_tried_again(
    changing: Changing, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing.build(1)
    broken = True

    def load(folder: Path) -> Encoder:
        if broken:
            raise OSError("no memory just now")
        return HashingEmbedder.load(folder)

    looks = Looks(monkeypatch)
    async with watching(library := Library(changing.index, load)):
        await until_refused(library)
        await looks.more(4)
        broken = False
        await looks.more(4)
        assert library._served is None, "nothing has changed in the folder"
        library.wake()
        await until_served(library, changing.current.name)


# ------------------------------------------------------------------------------------------------- reranking


class Backwards(Reranker):
    """Puts passages in the opposite order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def order(self, query: str, passages: Sequence[object]) -> list[int]:
        self.asked.append(query)
        return list(reversed(range(len(passages))))


async def test_a_reranker_is_loaded_once_for_all_builds(changing: Changing) -> None:
    loaded: list[Backwards] = []

    def load() -> Backwards:
        loaded.append(Backwards())
        return loaded[-1]

    changing.build(1)
    library = Library(changing.index, HashingEmbedder.load, load_reranker=load)
    await library.open()
    changing.build(2)
    await library.reload()
    best = await library.current.search(ASKED, 1)
    assert len(loaded) == 1
    assert loaded[0].asked == [ASKED]
    assert best[0].passage.document == "villa.md"
    library.close()


async def test_a_reranker_that_cannot_be_loaded_is_said(small_index: Path) -> None:
    def fail() -> Reranker:
        raise ConfigError("ZANTARA_RERANKER='x' cannot be loaded")

    library = Library(small_index, HashingEmbedder.load, load_reranker=fail)
    with pytest.raises(IndexUnavailable, match="ZANTARA_RERANKER"):
        await library.reload()
    library.close()


# ----------------------------------------------------------------------------------------- before the start


def test_inspect_is_the_manifest(small_index: Path) -> None:
    assert inspect(small_index, "hashing") == Manifest.load(current_build(small_index))


def test_inspect_says_what_is_wrong(changing: Changing) -> None:
    changing.build(1)
    with pytest.raises(IndexUnavailable, match="embedding model hashing"):
        inspect(changing.index, "other")
    (changing.current / "vectors.faiss").unlink()
    with pytest.raises(IndexUnavailable, match=r"vectors\.faiss is missing"):
        inspect(changing.index, "hashing")
    make_current(changing.index, "gone")
    with pytest.raises(IndexUnavailable, match="no readable manifest"):
        inspect(changing.index, "hashing")


def test_inspect_with_the_packaged_model(sample_index: Path, small_index: Path) -> None:
    assert inspect(sample_index, "").documents == 16
    with pytest.raises(IndexUnavailable, match="all-MiniLM-L6-v2"):
        inspect(small_index, "")
