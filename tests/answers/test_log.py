"""The log of one answer: its grammar, its readers, and how they are woken."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.answers.events import Citation, Done, Event, Failed, Sources, Text, unframe
from zantara_stream.answers.log import Cursor, EventLog, OutOfOrder
from zantara_stream.testing import read_events

LETTERS: dict[str, Event] = {
    "t": Text("word "),
    "c": Citation("p", "Source", "quote", 0, 5, 0, 4, verified=True),
    "s": Sources(({"source": "Source"},)),
    "d": Done("end_turn"),
    "f": Failed("internal", "Broken.", retryable=False),
}
GRAMMAR = re.compile(r"[tc]*s?[df]")  # text* (citation | text)* sources? (done | error)

ANSWERS = st.from_regex(r"[tc]{0,12}s?[df]", fullmatch=True)


def filled(letters: str) -> EventLog:
    """A log with those events."""
    log = EventLog("A")
    for letter in letters:
        log.append(LETTERS[letter])
    return log


async def settled() -> None:
    """Every callback that is due by now has run, and whatever it made due."""
    for _ in range(3):
        await asyncio.sleep(0)


@given(st.text("tcsdf", max_size=8))
def test_only_answers_of_the_grammar_are_taken(letters: str) -> None:
    async def check() -> None:
        log, taken = EventLog("A"), ""
        for letter in letters:
            try:
                log.append(LETTERS[letter])
            except OutOfOrder:
                assert not _is_prefix(taken + letter)
                assert log.tail == len(taken), "what is refused leaves nothing behind"
            else:
                taken += letter
        assert _is_prefix(taken)
        assert log.closed == bool(GRAMMAR.fullmatch(taken))

    asyncio.run(check())


def _is_prefix(letters: str) -> bool:
    """Whether some ending makes an answer of it."""
    return any(GRAMMAR.fullmatch(letters + ending) for ending in ("", "d"))


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("end", ["d", "f"])
async def test_nothing_follows_the_end(end: str, letter: str) -> None:
    log = filled("t" + end)
    before = log.frames()
    with pytest.raises(OutOfOrder):
        log.append(LETTERS[letter])
    assert log.frames() == before


@given(ANSWERS, st.data())
def test_all_readers_get_the_same_bytes_wherever_they_begin(letters: str, data: st.DataObject) -> None:
    async def check() -> None:
        log = filled(letters)
        whole = b"".join(log.frames())
        offset = data.draw(st.integers(0, len(letters)))
        with log.follow() as first, log.follow(offset) as second:
            read = first.read()
            assert read == whole
            assert read.endswith(rest := second.read())
            assert rest == b"".join(log.frames()[offset:])
            assert first.exhausted
            assert second.exhausted

    asyncio.run(check())


@given(ANSWERS, st.data())
def test_a_reader_that_is_cut_and_resumes_loses_nothing_and_gets_nothing_twice(
    letters: str, data: st.DataObject
) -> None:
    async def check() -> None:
        log, read, place = EventLog("A"), b"", 0
        cuts = data.draw(st.sets(st.integers(0, len(letters))))
        for position, letter in enumerate(letters):
            log.append(LETTERS[letter])
            if position in cuts:
                with log.follow(place) as cursor:
                    read += cursor.read()
                    place = cursor.offset
        with log.follow(place) as cursor:
            read += cursor.read()
        assert read == b"".join(log.frames())

    asyncio.run(check())


async def test_the_id_of_an_event_is_the_place_to_go_on_from() -> None:
    log = filled("tctsd")
    events = read_events(log.since(0))
    assert [event.id for event in events] == [f"A.{offset}" for offset in range(1, 6)]
    for event in events:
        offset = int(event.id.removeprefix("A."))
        assert read_events(log.since(offset)) == events[offset:]


async def test_text_is_numbered_without_gaps_and_the_end_repeats_the_last_number() -> None:
    log = filled("tctcctsd")
    data = [unframe(block) for block in log.frames()]
    assert [item["sequenceNumber"] for item in data if "text" in item] == [1, 2, 3]
    assert data[-1]["sequenceNumber"] == 3


@pytest.mark.parametrize("end", ["d", "f"])
async def test_the_end_of_an_answer_without_text_is_number_0(end: str) -> None:
    assert unframe(filled(end).frames()[-1])["sequenceNumber"] == 0


async def test_timestamps_are_of_the_recording_and_a_replay_repeats_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1730552400.1234)
    log = filled("t")
    monkeypatch.setattr(time, "time", lambda: 1730552499.0)
    log.append(LETTERS["d"])
    first = log.since(0)
    monkeypatch.setattr(time, "time", lambda: 1800000000.0)
    assert log.since(0) == first
    assert [event.json["timestamp"] for event in read_events(first)] == [1730552400.123, 1730552499.0]


async def test_durations_do_not_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled("t")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    log.append(LETTERS["d"])
    done = unframe(log.frames()[-1])
    assert done["streamDuration"] >= 0
    assert 0 <= done["timings"]["firstChunk"] <= done["timings"]["total"]


async def test_the_events_of_one_tick_wake_a_reader_once() -> None:
    log = EventLog("A")
    reads = []

    async def follow() -> None:
        with log.follow() as cursor:
            while not cursor.exhausted:
                await cursor.wait()
                reads.append(cursor.read())

    reader = asyncio.create_task(follow())
    await settled()
    for _ in range(100):
        log.append(LETTERS["t"])
    await settled()
    log.append(LETTERS["d"])
    await reader
    assert [len(read_events(read)) for read in reads] == [100, 1]


async def test_every_reader_is_woken() -> None:
    log = EventLog("A")

    async def follow() -> bytes:
        read = b""
        with log.follow() as cursor:
            while not cursor.exhausted:
                await cursor.wait()
                read += cursor.read()
        return read

    readers = [asyncio.create_task(follow()) for _ in range(20)]
    await settled()
    for letter in "ttcsd":
        log.append(LETTERS[letter])
        await settled()
    assert set(await asyncio.gather(*readers)) == {log.since(0)}


async def test_a_reader_that_is_behind_does_not_wait() -> None:
    log = filled("t")
    with log.follow() as cursor:
        await cursor.wait()
        cursor.read()
        log.append(LETTERS["d"])
        await cursor.wait()
        cursor.read()
        assert cursor.exhausted
        await cursor.wait()  # nor one that has all


async def _waiting(cursor: Cursor) -> asyncio.Task[None]:
    task = asyncio.create_task(cursor.wait())
    await settled()
    assert not task.done()
    return task


async def test_a_nudge_wakes_without_an_event() -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        task = await _waiting(cursor)
        cursor.nudge()
        cursor.nudge()
        await task
        assert cursor.read() == b""
        assert not cursor.exhausted


async def test_a_nudge_of_a_reader_that_does_not_sleep_is_nothing() -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        cursor.nudge()
        await _cancelled(await _waiting(cursor))
        cursor.nudge()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_reader_cancelled_while_it_waits_harms_no_other() -> None:
    log = EventLog("A")
    with log.follow() as gone, log.follow() as other:
        leaving, staying = await _waiting(gone), await _waiting(other)
        log.append(LETTERS["t"])
        await _cancelled(leaving)
        await staying
        assert other.read() == log.since(0)


async def test_leases_are_counted_as_readers_come_and_leave() -> None:
    counts: list[int] = []
    log = EventLog("A", counts.append)
    with log.follow():
        with log.follow():
            pass
        with pytest.raises(RuntimeError), log.follow():
            raise RuntimeError
    assert counts == [1, 2, 1, 2, 1, 0]
