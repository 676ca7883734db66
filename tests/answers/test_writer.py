"""The pen of an answer: the grammar, the stamps, and what the journal has to say to it."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import ANSWERS, LETTERS

from zantara_stream.answers import writer as module
from zantara_stream.answers.events import (
    ORDER,
    Text,
    is_snapshot,
    split,
    unframe,
)
from zantara_stream.answers.fold import fold
from zantara_stream.answers.journal import Committed, Fenced, Lease, Lost, Opening
from zantara_stream.answers.log import EventLog
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.answers.writer import BACKLOG, OutOfOrder, Writer
from zantara_stream.errors import JournalUnavailable

GRAMMAR = re.compile(r"[tc]*s?[df]")  # text* (citation | text)* sources? (done | error)

START = 1730552400.0
PLENTY = 1 << 20


class Clock:
    """The time of day, which may be set, and the time that passes, which may not."""

    def __init__(self) -> None:
        self.day, self.passed = START, 1000.0

    def time(self) -> float:
        """Unix seconds."""
        return self.day

    def time_ns(self) -> int:
        """Unix nanoseconds."""
        return round(self.day * 1e9)

    def monotonic(self) -> float:
        """Seconds from somewhere."""
        return self.passed

    def pass_by(self, seconds: float) -> None:
        """Let time go on, for both."""
        self.day += seconds
        self.passed += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the writers of this test look at."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class SlowJournal(MemoryJournal):
    """A journal that keeps what is appended when it is told to, or refuses it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Lease, bytes, Committed]] = []

    def append(self, lease: Lease, frame: bytes, committed: Committed) -> None:
        """Let it wait."""
        self.waiting.append((lease, frame, committed))

    def keep(self, most: int = PLENTY) -> None:
        """Keep the first of what waits."""
        now, self.waiting = self.waiting[:most], self.waiting[most:]
        for append in now:
            super().append(*append)

    def refuse(self, error: Lost) -> None:
        """Refuse all that waits."""
        now, self.waiting = self.waiting, []
        for _, _, committed in now:
            committed(error)


class Desk:
    """A writer with its log and its journal, and what it was told."""

    def __init__(
        self, journal: MemoryJournal | None = None, *, most: int = PLENTY, log: EventLog | None = None
    ) -> None:
        self.journal = journal or MemoryJournal()
        self.log = log or EventLog("A")
        self.ends = 0
        self.lost: list[Exception] = []
        self.lease = Lease("A", 1)
        self._most = most

    async def sit(self, started: float = START) -> Writer:
        """Take a new answer's lease, and the pen."""
        lease = await self.journal.create(Opening("A", started=started))
        assert isinstance(lease, Lease)
        self.lease = lease
        return self.writer(started)

    def writer(self, started: float = START) -> Writer:
        """The pen."""
        return Writer(self.log, self.journal, self.lease, started, self._most, self._ended, self.lost.append)

    def _ended(self) -> None:
        self.ends += 1

    async def kept(self) -> tuple[bytes, ...]:
        """What the journal has."""
        stored = await self.journal.find("A")
        assert stored is not None
        return stored.frames


def write(writer: Writer, letters: str) -> None:
    """Append those events."""
    for letter in letters:
        writer.append(LETTERS[letter])


def told(frames: tuple[bytes, ...] | list[bytes]) -> list[dict[str, Any]]:
    """What the frames say."""
    return [unframe(block) for block in frames]


def offsets(frames: tuple[bytes, ...] | list[bytes]) -> list[int]:
    """The offsets that the frames' ids name."""
    return [offset for _, offset, _ in split(b"".join(frames))]


# ------------------------------------------------------------------------------------------- grammar


@given(st.text("tcsdf", max_size=8))
def test_only_answers_of_the_grammar_are_taken(letters: str) -> None:
    async def check() -> None:
        desk, taken = Desk(), ""
        writer = await desk.sit()
        for letter in letters:
            try:
                writer.append(LETTERS[letter])
            except OutOfOrder:
                assert not _is_prefix(taken + letter)
                assert desk.log.tail == len(taken), "what is refused leaves nothing behind"
            else:
                taken += letter
        assert _is_prefix(taken)
        assert desk.log.closed == writer.closed == bool(GRAMMAR.fullmatch(taken))
        assert desk.log.frames() == await desk.kept() == tuple(writer.frames())

    asyncio.run(check())


def _is_prefix(letters: str) -> bool:
    """Whether some ending makes an answer of it."""
    return any(GRAMMAR.fullmatch(letters + ending) for ending in ("", "d"))


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("end", ["d", "f"])
async def test_nothing_follows_the_end(end: str, letter: str) -> None:
    desk = Desk()
    write(writer := await desk.sit(), "t" + end)
    before = desk.log.frames()
    with pytest.raises(OutOfOrder):
        writer.append(LETTERS[letter])
    assert desk.log.frames() == before == await desk.kept()
    assert desk.ends == 1


@given(ANSWERS, st.data())
def test_whoever_goes_on_with_an_answer_keeps_to_its_grammar(letters: str, data: st.DataObject) -> None:
    async def check() -> None:
        desk = Desk()
        await desk.sit()
        cut = data.draw(st.integers(0, len(letters) - 1))
        write(desk.writer(), letters[:cut])
        after, state = desk.writer(), fold(desk.log.frames()).state
        for letter, event in LETTERS.items():
            if (state, type(event)) not in ORDER:
                with pytest.raises(OutOfOrder):
                    after.append(event)
                assert not _is_prefix(letters[:cut] + letter)
        write(after, letters[cut:])
        assert desk.log.closed

    asyncio.run(check())


# -------------------------------------------------------------------------------------------- stamps


async def test_text_is_numbered_without_gaps_and_the_end_repeats_the_last_number() -> None:
    desk = Desk()
    write(await desk.sit(), "tctcctsd")
    data = told(desk.log.frames())
    assert [item["sequenceNumber"] for item in data if "text" in item] == [1, 2, 3]
    assert data[-1]["sequenceNumber"] == 3


@pytest.mark.parametrize("end", ["d", "f"])
async def test_the_end_of_an_answer_without_text_is_number_0(end: str) -> None:
    desk = Desk()
    write(await desk.sit(), end)
    assert told(desk.log.frames())[0]["sequenceNumber"] == 0


async def test_timestamps_are_of_the_recording_and_a_replay_repeats_them(clock: Clock) -> None:
    desk = Desk()
    writer = await desk.sit()
    clock.pass_by(0.1234)
    write(writer, "t")
    clock.pass_by(5)
    write(writer, "d")
    first = desk.log.since(0)
    clock.pass_by(1000)
    assert desk.log.since(0) == first
    assert [item["timestamp"] for item in told(desk.log.frames())] == [START + 0.123, START + 5.123]


async def test_chunks_of_one_moment_still_have_timestamps_that_tell_them_apart(clock: Clock) -> None:
    desk = Desk()
    write(await desk.sit(), "ttctd")
    stamps = [item["timestamp"] for item in told(desk.log.frames()) if "timestamp" in item]
    assert stamps == [START, START + 0.001, START + 0.002, START + 0.002]


@given(st.lists(st.tuples(st.sampled_from("tc"), st.floats(-3600, 3600)), max_size=12), st.integers(0, 12))
def test_timestamps_grow_whatever_the_clock_does(steps: list[tuple[str, float]], cut: int) -> None:
    async def check() -> None:
        clock, desk = Clock(), Desk()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "time", clock)
            writer = await desk.sit()
            for number, (letter, set_by) in enumerate(steps):
                if number == cut:
                    writer = desk.writer()  # somebody else goes on
                write(writer, letter)
                clock.day += set_by
            write(writer, "d")
        data = [item for item in told(desk.log.frames()) if "timestamp" in item]
        for one, next_one in pairwise(data):
            assert one["timestamp"] < next_one["timestamp"] or next_one.get("done")
        assert [item["timestamp"] for item in data] == sorted(item["timestamp"] for item in data)
        assert all(round(item["timestamp"], 3) == item["timestamp"] for item in data)

    asyncio.run(check())


@pytest.mark.parametrize("set_by", [-3600.0, 3600.0])
async def test_durations_do_not_follow_a_clock_that_is_set(clock: Clock, set_by: float) -> None:
    desk = Desk()
    writer = await desk.sit()
    clock.pass_by(0.25)
    write(writer, "t")
    clock.day += set_by
    clock.pass_by(1)
    write(writer, "d")
    done = told(desk.log.frames())[-1]
    assert done["streamDuration"] == 1.25
    assert done["timings"] == {"firstChunk": 0.25, "total": 1.25}


async def test_durations_are_never_negative(clock: Clock) -> None:
    desk = Desk()
    write(await desk.sit(started=START + 3600), "td")  # begun before the clock was set back
    done = told(desk.log.frames())[-1]
    assert done["timings"] == {"firstChunk": 0.0, "total": 0.0}


# ------------------------------------------------------------------------------------------- takeover


@given(ANSWERS, st.data())
def test_numbers_and_offsets_go_on_after_a_takeover(letters: str, data: st.DataObject) -> None:
    async def check() -> None:
        desk = Desk()
        writer = await desk.sit()
        cuts = data.draw(st.sets(st.integers(0, len(letters))))
        for place, letter in enumerate(letters):
            if place in cuts:
                writer = desk.writer()
            write(writer, letter)
        frames = desk.log.frames()
        assert offsets(frames) == list(range(1, len(letters) + 1))
        chunks = [item["sequenceNumber"] for item in told(frames) if "text" in item]
        assert chunks == list(range(1, letters.count("t") + 1))
        assert told(frames)[-1]["sequenceNumber"] == letters.count("t")

    asyncio.run(check())


async def test_the_time_to_the_first_chunk_survives_a_takeover(clock: Clock) -> None:
    desk = Desk()
    writer = await desk.sit()
    clock.pass_by(0.5)
    write(writer, "t")
    clock.pass_by(10)
    write(desk.writer(), "td")
    assert told(desk.log.frames())[-1]["timings"] == {"firstChunk": 0.5, "total": 10.5}


# ----------------------------------------------------------------------------------------- compaction


@pytest.mark.parametrize("again", [False, True])
async def test_a_log_that_grows_too_long_begins_with_a_snapshot(again: bool) -> None:
    desk = Desk(most=1000)
    writer = await desk.sit()
    for _ in range(100):
        writer = desk.writer() if again else writer
        write(writer, "t")
        assert not writer.full
        if not again:
            assert sum(map(len, desk.log.frames()[1:])) <= 1000 + 100, "beyond the snapshot no more than is allowed"
    write(writer, "csd")
    frames = desk.log.frames()
    assert is_snapshot(frames[0])
    assert not any(map(is_snapshot, frames[1:]))
    assert offsets(frames)[0] == desk.log.first > 3
    assert offsets(frames) == list(range(desk.log.first, 104))
    whole = fold(frames)
    assert (whole.text, whole.chunks, len(whole.citations)) == ("word " * 100, 100, 1)
    assert desk.log.frames() == await desk.kept() == tuple(writer.frames())


async def test_the_numbers_go_on_behind_a_snapshot() -> None:
    desk = Desk(most=300)
    write(await desk.sit(), "t" * 50)
    write(desk.writer(), "t")
    first, *others = told(desk.log.frames())
    numbers = [first["sequenceNumber"], *(item["sequenceNumber"] for item in others)]
    assert numbers == list(range(numbers[0], 52))
    assert offsets(desk.log.frames()) == numbers


@pytest.mark.parametrize("end", ["d", "f", "s"])
async def test_the_end_of_a_long_log_needs_no_snapshot(end: str) -> None:
    desk = Desk(most=300)
    writer = await desk.sit()
    while sum(map(len, desk.log.frames())) <= 300:
        write(writer, "t")
    before = desk.log.frames()
    write(writer, end)
    assert desk.log.frames()[:-1] == before


async def test_a_text_is_full_when_it_is_longer_than_may_be_whoever_wrote_it() -> None:
    desk = Desk(most=10)
    writer = await desk.sit()
    writer.append(Text("12345"))
    writer.append(Text("1234é"))
    assert writer.full, "an é is two bytes"
    assert desk.writer().full
    roomy = Desk(most=10)
    (fitting := await roomy.sit()).append(Text("1234567890"))
    assert not fitting.full
    assert not roomy.writer().full


# ---------------------------------------------------------------------------------- what the journal says


async def test_nothing_is_shown_before_the_journal_has_it() -> None:
    desk = Desk(journal := SlowJournal())
    writer = await desk.sit()
    write(writer, "ttd")
    assert desk.log.tail == 0
    assert len(writer.frames()) == 3
    journal.keep(2)
    assert desk.log.frames() == await desk.kept() == tuple(writer.frames()[:2])
    assert (writer.closed, desk.log.closed, desk.ends) == (True, False, 0), "the end, too"
    journal.keep()
    assert (desk.log.closed, desk.ends) == (True, 1)
    assert desk.log.frames() == await desk.kept()


async def test_a_producer_is_behind_when_too_many_events_wait_and_goes_on_when_none_does() -> None:
    desk = Desk(journal := SlowJournal())
    writer = await desk.sit()
    behind = []
    for _ in range(BACKLOG + 1):
        write(writer, "t")
        behind.append(writer.behind)
    assert behind == [False] * BACKLOG + [True]
    task = asyncio.create_task(writer.settled())
    journal.keep(BACKLOG)
    await asyncio.sleep(0)
    assert not writer.behind
    assert not task.done()
    journal.keep()
    await task
    await writer.settled()  # nothing waits


async def test_a_snapshot_alone_does_not_put_a_producer_behind() -> None:
    desk = Desk(journal := SlowJournal(), most=100)
    writer = await desk.sit()
    write(writer, "ttt")
    journal.keep()
    await writer.settled()
    assert desk.log.first > 0
    assert not writer.behind


@pytest.mark.parametrize("error", [Fenced(), JournalUnavailable()])
async def test_what_the_journal_refuses_is_lost_with_all_after_it_and_told_once(error: Lost) -> None:
    desk = Desk(journal := SlowJournal())
    writer = await desk.sit()
    write(writer, "tt")
    journal.keep()
    write(writer, "tt")
    waiting = asyncio.create_task(writer.settled())
    journal.refuse(error)
    await waiting
    assert (writer.broken, desk.lost) == (True, [error])
    write(writer, "td")
    journal.keep()
    assert desk.log.tail == 2, "nothing is shown after it, or the log would have a hole"
    assert (desk.log.closed, desk.ends, desk.lost) == (False, 0, [error])


async def test_a_writer_whose_answer_was_taken_over_is_told_so() -> None:
    desk = Desk(MemoryJournal(lease=0.0))
    writer = await desk.sit()
    write(writer, "t")
    ((lease, stored),) = await desk.journal.claim(1)
    write(writer, "t")
    assert [type(error) for error in desk.lost] == [Fenced]
    assert (writer.broken, desk.log.tail) == (True, 1)
    other = Desk(desk.journal)
    other.lease = lease
    other.log.extend(stored.frames)
    write(other.writer(), "td")
    assert offsets(await other.kept()) == [1, 2, 3]
