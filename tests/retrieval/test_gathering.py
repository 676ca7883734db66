from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
import pytest

from zantara_stream.retrieval import gathering as module
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.gathering import CACHED, LONGEST, RESERVED, TOGETHER, Gathering
from zantara_stream.testing import HashingEmbedder

MANY = [f"sentence {number}" for number in range(500)]


class Lots(HashingEmbedder):
    """Notes the lots that it is given; once `hold` is set, waits for `go` in each."""

    def __init__(self) -> None:
        super().__init__()
        self.lots: list[list[str]] = []
        self.bad: set[str] = set()
        self.entered = threading.Semaphore(0)
        self.hold = threading.Event()
        self.go = threading.Semaphore(0)

    def encode(self, texts: Sequence[str], progress: object = None) -> Vectors:
        self.lots.append(list(texts))
        self.entered.release()
        if self.hold.is_set():
            assert self.go.acquire(timeout=20)
        if self.bad & set(texts):
            raise ValueError(*sorted(self.bad & set(texts)))
        return super().encode(texts)

    async def working(self) -> None:
        """Wait until it is given a lot."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=20)

    def release(self) -> None:
        """Wait for nothing any more."""
        self.hold.clear()
        self.go.release()


@dataclass(frozen=True)
class Set:
    gathering: Gathering
    encoder: Lots
    executor: ThreadPoolExecutor

    def ask(self, *texts: str) -> asyncio.Task[Vectors]:
        return asyncio.create_task(self.gathering.vectors(texts))

    async def busy(self) -> asyncio.Task[Vectors]:
        """Let a first lot be held in the encoder."""
        self.encoder.hold.set()
        first = self.ask("first")
        await self.encoder.working()
        return first


@pytest.fixture
async def made() -> AsyncIterator[Set]:
    encoder, executor = Lots(), ThreadPoolExecutor(1)
    yield Set(Gathering(encoder, executor), encoder, executor)
    encoder.go.release(1000)
    executor.shutdown()


def expected(*texts: str) -> Vectors:
    return HashingEmbedder().encode(texts)


async def test_a_row_a_text_in_the_order_asked_repeats_too(made: Set) -> None:
    texts = ["passport", "renewal", "passport", "fees"]
    assert np.array_equal(await made.gathering.vectors(texts), expected(*texts))
    assert np.array_equal(await made.gathering.vectors(["fees", "new", "renewal"]), expected("fees", "new", "renewal"))
    assert made.encoder.lots == [["passport", "renewal", "fees"], ["new"]]


async def test_no_text_has_no_row(made: Set) -> None:
    assert (await made.gathering.vectors([])).shape == (0, 64)


async def test_what_arrives_during_a_lot_goes_together_in_the_next_and_once(made: Set) -> None:
    first = await made.busy()
    asked = [made.ask("a", "b"), made.ask("b", "c"), made.ask("c"), made.ask("first", "d")]
    await asyncio.sleep(0)
    made.encoder.release()
    assert np.array_equal(await first, expected("first"))
    found = await asyncio.gather(*asked)
    wanted = [("a", "b"), ("b", "c"), ("c",), ("first", "d")]
    assert all(np.array_equal(rows, expected(*texts)) for rows, texts in zip(found, wanted, strict=True))
    assert [sorted(lot) for lot in made.encoder.lots] == [["first"], ["a", "b", "c", "d"]]


async def test_equal_questions_at_once_are_embedded_once(made: Set) -> None:
    found = await asyncio.gather(*(made.ask("the same question") for _ in range(100)))
    assert made.encoder.lots == [["the same question"]]
    assert np.array_equal(np.vstack(found), expected(*["the same question"] * 100))


async def test_what_somebody_does_with_their_rows_is_nobody_else_s(made: Set) -> None:
    (await made.gathering.vectors(["text"]))[:] = 0
    assert np.array_equal(await made.gathering.vectors(["text"]), expected("text"))


async def test_the_loop_goes_on_while_it_embeds(made: Set) -> None:
    first = await made.busy()
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not first.done()
    made.encoder.release()
    await first


async def test_a_long_list_keeps_a_single_text_waiting_for_one_lot_at_most(made: Set) -> None:
    made.encoder.hold.set()
    long = made.ask(*MANY)
    await made.encoder.working()
    single = made.ask("a question")
    await asyncio.sleep(0)
    made.encoder.go.release(2)
    assert np.array_equal(await single, expected("a question"))
    running, its, *_ = made.encoder.lots
    assert len(running) == len(its) == TOGETHER
    assert "a question" in its
    assert not long.done()
    made.encoder.release()
    made.encoder.go.release(100)
    assert np.array_equal(await long, expected(*MANY))
    assert max(map(len, made.encoder.lots)) == TOGETHER


async def test_single_texts_without_end_do_not_keep_a_long_list_out(made: Set) -> None:
    made.encoder.hold.set()
    long = made.ask(*MANY)
    numbers, singles = count(), list[asyncio.Task[Vectors]]()
    while not long.done():
        singles += [made.ask(f"question {next(numbers)}") for _ in range(TOGETHER)]
        await made.encoder.working()
        made.encoder.go.release()
        await asyncio.sleep(0)
    *shares, _ = filter(None, (sum(text in MANY for text in lot) for lot in made.encoder.lots))
    assert min(shares) == RESERVED
    assert {len(lot) for lot in made.encoder.lots} == {TOGETHER}
    made.encoder.release()
    made.encoder.go.release(1000)
    await asyncio.gather(*singles)


def _note(ended: list[int], number: int, _: object) -> None:
    ended.append(number)


async def test_lists_as_long_are_finished_in_the_order_in_which_they_came(made: Set) -> None:
    first = await made.busy()
    ended: list[int] = []
    lists = [made.ask(*(f"{number} {place}" for place in range(TOGETHER))) for number in range(10)]
    for number, asked in enumerate(lists):
        asked.add_done_callback(partial(_note, ended, number))
    await asyncio.sleep(0)
    made.encoder.release()
    made.encoder.go.release(100)
    await asyncio.gather(first, *lists)
    assert ended == list(range(10))


async def test_only_who_asked_for_a_text_at_fault_hears_of_it(made: Set) -> None:
    first = await made.busy()
    made.encoder.bad = {"bad"}
    asked = [made.ask("good"), made.ask("bad", "other"), made.ask("better"), made.ask("bad")]
    await asyncio.sleep(0)
    made.encoder.release()
    made.encoder.go.release(100)
    await first
    good, one, better, other = await asyncio.gather(*asked, return_exceptions=True)
    assert np.array_equal(np.vstack([good, better]), expected("good", "better"))  # type: ignore[list-item]
    assert isinstance(one, ValueError)
    assert isinstance(other, ValueError)
    assert np.array_equal(await made.gathering.vectors(["next", "other"]), expected("next", "other"))
    made.encoder.bad = set()
    assert np.array_equal(await made.gathering.vectors(["bad"]), expected("bad")), "a failure is not remembered"


async def test_an_encoder_that_gives_too_few_rows_is_a_failure(made: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made.encoder, "encode", lambda texts: expected("one")[:0])
    with pytest.raises(ValueError, match="zip"):
        await made.gathering.vectors(["a", "b"])
    monkeypatch.undo()
    assert np.array_equal(await made.gathering.vectors(["a", "b"]), expected("a", "b"))


async def test_whoever_leaves_harms_nobody_and_wants_nothing_more(made: Set) -> None:
    first = await made.busy()
    leaving, staying = made.ask("shared", *MANY), made.ask("shared", "own")
    await asyncio.sleep(0)
    leaving.cancel()
    first.cancel()
    await asyncio.wait([leaving, first])
    made.encoder.release()
    assert np.array_equal(await staying, expected("shared", "own"))
    assert np.array_equal(await made.gathering.vectors(["after"]), expected("after"))
    assert made.encoder.lots == [["first"], ["shared", "own"], ["after"]], "500 texts for nobody are not embedded"


async def test_whoever_leaves_as_it_fails_leaves_no_warning(made: Set, caplog: pytest.LogCaptureFixture) -> None:
    made.encoder.bad = {"bad"}
    first = await made.busy()
    leaving = made.ask("bad")
    await asyncio.sleep(0)
    made.encoder.release()
    made.encoder.go.release()
    assert made.gathering._work is not None
    await asyncio.wait([made.gathering._work])
    leaving.cancel()
    await asyncio.wait([leaving, first])
    assert caplog.text == ""


async def test_the_last_wanted_are_remembered_and_no_more(made: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED", 3)
    for text in ("a", "b", "c", "a", "d"):  # which drops b: a was wanted after it
        await made.gathering.vectors([text])
    assert made.encoder.lots == [["a"], ["b"], ["c"], ["d"]]
    await made.gathering.vectors(["a", "c", "d"])
    assert len(made.encoder.lots) == 4
    await made.gathering.vectors(["b"])
    assert made.encoder.lots[4:] == [["b"]]
    assert len(made.gathering._recent._vectors) == 3


async def test_more_texts_at_once_than_are_remembered(made: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED", 3)
    assert np.array_equal(await made.gathering.vectors(MANY), expected(*MANY))
    assert len(made.gathering._recent._vectors) == 3


async def test_what_is_remembered_takes_a_bounded_memory(made: Set) -> None:
    await made.gathering.vectors(["x" * (LONGEST + 1), "short"])
    remembered = made.gathering._recent._vectors
    assert list(remembered) == ["short"]
    assert remembered["short"].base is None, "and keeps none of its lot alive"
    assert CACHED * (LONGEST * 4 + 384 * 4) < 50_000_000


async def test_when_the_thread_is_ended_nobody_waits_for_ever(made: Set) -> None:
    first = await made.busy()
    waiting = made.ask("waiting")
    await asyncio.sleep(0)
    made.executor.shutdown(wait=False, cancel_futures=True)
    made.encoder.release()
    assert np.array_equal(await first, expected("first")), "what was begun is finished"
    with pytest.raises(RuntimeError, match="shutdown"):
        await waiting
    with pytest.raises(RuntimeError, match="shutdown"):
        await made.gathering.vectors(["late"])


async def test_when_what_waits_for_the_thread_is_dropped_nobody_waits_for_ever(made: Set) -> None:
    held = threading.Event()
    made.executor.submit(held.wait, 20)  # the thread is at something else, so that the lot is not begun
    waiting = made.ask("waiting")
    await asyncio.sleep(0.01)
    made.executor.shutdown(wait=False, cancel_futures=True)
    held.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
