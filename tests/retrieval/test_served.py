from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from zantara_stream.metrics import RETRIEVAL
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.manifest import current_build
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.passages import Passage
from zantara_stream.retrieval.reranker import CANDIDATES, Reranker
from zantara_stream.retrieval.served import Served, Threads
from zantara_stream.testing import HashingEmbedder

QUERIES = ["renewal fees", "passport", "capital of the company", "denda pajak", "notaio certificato", "zebra"]


class HeldEmbedder(HashingEmbedder):
    """Once it is armed, stops in `encode` until it is let go on; notes its threads."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False
        self.entered, self.go = threading.Event(), threading.Event()
        self.threads: set[int] = set()

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        self.threads.add(threading.get_ident())
        if self.armed:
            self.entered.set()
            assert self.go.wait(20)
        return super().encode(texts, progress)


class Backwards(Reranker):
    """Puts passages in the opposite order, in a thread that it notes."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.threads: set[int] = set()

    def order(self, query: str, passages: Sequence[Passage]) -> list[int]:
        self.asked.append((query, len(passages)))
        self.threads.add(threading.get_ident())
        return list(reversed(range(len(passages))))


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads()
    yield made
    made.end()


@pytest.fixture
def build(small_index: Path) -> Build:
    return Build.open(current_build(small_index), HashingEmbedder.load)


@pytest.fixture
def served(build: Build, threads: Threads) -> Served:
    return Served(build, threads)


async def test_it_finds_what_the_build_finds_at_any_level_and_after_any_question(served: Served, build: Build) -> None:
    for query in QUERIES:
        assert await served.search(query, 5) == build.search(query, 5)
    earlier = ["How is a permit renewed?"]
    follow_up = await served.search("And what does it cost?", 3, 1, earlier)
    assert follow_up == build.search("And what does it cost?", 3, 1, earlier)
    assert follow_up != await served.search("And what does it cost?", 3, 1)


async def test_searches_at_once_are_as_those_in_turn(served: Served) -> None:
    in_turn = [await served.search(query, 5) for query in QUERIES]
    at_once = await asyncio.gather(*(served.search(query, 5) for query in QUERIES * 20))
    assert at_once == in_turn * 20


async def test_any_work_is_done_in_the_searching_thread(served: Served) -> None:
    threads = {await served.run(lambda build: threading.get_ident()) for _ in range(5)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert (await served.run(lambda build: build.corpus.text("villa.md")) or "").startswith("# Case in Bali")


async def test_one_piece_of_work_is_done_at_a_time_whichever_build_it_is_of(build: Build, threads: Threads) -> None:
    working, most = 0, 0

    def work(build: Build) -> None:
        nonlocal working, most
        working += 1
        most = max(most, working)
        time.sleep(0.002)  # others would begin meanwhile
        working -= 1

    both = Served(build, threads), Served(build, threads)
    await asyncio.gather(*(served.run(work) for served in both * 10))
    assert most == 1


async def test_an_error_of_the_work_reaches_who_asked(served: Served) -> None:
    with pytest.raises(ZeroDivisionError):
        await served.run(lambda build: 1 // 0)
    assert await served.search("passport", 1)


async def test_embedding_keeps_neither_the_loop_nor_other_searches_waiting(small_index: Path, threads: Threads) -> None:
    embedder = HeldEmbedder()
    served = Served(Build.open(current_build(small_index), lambda folder: embedder), threads)
    embedder.armed = True
    search = asyncio.create_task(served.search("passport", 1))
    assert await asyncio.to_thread(embedder.entered.wait, 20)
    for _ in range(1000):
        await asyncio.sleep(0)
    searching = await served.run(lambda build: threading.get_ident())
    assert not search.done()
    embedder.go.set()
    assert (await search)[0].passage.document == "permits/renewal.md"
    assert not embedder.threads & {searching, threading.get_ident()}


async def test_each_stage_is_timed_once_a_search(build: Build, threads: Threads) -> None:
    served = Served(build, threads, Backwards())

    def counts() -> list[float]:
        return [_count(stage) for stage in ("embed", "search", "rerank")]

    before = counts()
    await served.search("passport", 1)
    assert [after - was for after, was in zip(counts(), before, strict=True)] == [1, 1, 1]
    await served.encode(["a sentence to be quoted"])  # which is no search
    assert [after - was for after, was in zip(counts(), before, strict=True)] == [1, 1, 1]


def _count(stage: str) -> float:
    samples = next(iter(RETRIEVAL.collect())).samples
    return sum(s.value for s in samples if s.name.endswith("_count") and s.labels == {"stage": stage})


async def test_a_reranker_reads_more_than_are_wanted_in_a_thread_of_its_own(build: Build, threads: Threads) -> None:
    reranker = Backwards()
    served = Served(build, threads, reranker)
    found = await served.search("And the fee?", 2, earlier=["How is a permit renewed?"])
    candidates = build.search("And the fee?", CANDIDATES, earlier=["How is a permit renewed?"])
    assert found == candidates[:-3:-1]
    assert reranker.asked == [("How is a permit renewed?\nAnd the fee?", len(candidates))]
    assert threading.get_ident() not in reranker.threads
    assert not reranker.threads & {await served.run(lambda build: threading.get_ident())}


async def test_an_error_of_the_reranker_reaches_who_asked(build: Build, threads: Threads) -> None:
    class Broken(Backwards):
        def order(self, query: str, passages: Sequence[Passage]) -> list[int]:
            raise MemoryError

    with pytest.raises(MemoryError):
        await Served(build, threads, Broken()).search("passport", 1)
