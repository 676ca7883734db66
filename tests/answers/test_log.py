"""The log of one answer as its readers see it: slices of it, snapshots in it, and how readers are woken."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import ANSWERS, LETTERS
from producing import settled

from zantara_stream.answers.events import Stamp, Text, encode
from zantara_stream.answers.fold import Folded, fold, snapshot
from zantara_stream.answers.log import SLICE, Cursor, EventLog
from zantara_stream.errors import Draining, JournalUnavailable
from zantara_stream.testing import read_events


def blocks(letters: str) -> list[bytes]:
    """Those events as the journal has them."""
    made, chunks = [], 0
    for offset, letter in enumerate(letters, 1):
        chunks += letter == "t"
        made.append(encode(LETTERS[letter], Stamp("A", offset, chunks, 1730552400.0 + offset, 1.0, 0.5)))
    return made


def gap(letters: str) -> bytes:
    """What stands for those events once they are no longer held."""
    return snapshot("A", len(letters), fold(blocks(letters)))


def filled(letters: str) -> EventLog:
    """A log with those events."""
    log = EventLog("A")
    log.extend(blocks(letters))
    return log


def rest(cursor: Cursor) -> bytes:
    """All that the cursor has not read yet."""
    read = b""
    while piece := cursor.read():
        read += piece
    return read


# ------------------------------------------------------------------------------------------- reading


@given(ANSWERS, st.data())
def test_all_readers_get_the_same_bytes_wherever_they_begin(letters: str, data: st.DataObject) -> None:
    async def check() -> None:
        log = filled(letters)
        offset = data.draw(st.integers(0, len(letters)))
        with log.follow() as first, log.follow(offset) as second:
            assert first.read() == b"".join(blocks(letters))
            assert second.read() == b"".join(blocks(letters)[offset:])
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
        for position, block in enumerate(blocks(letters)):
            log.extend([block])
            if position in cuts:
                with log.follow(place) as cursor:
                    read += cursor.read()
                    place = cursor.offset
        with log.follow(place) as cursor:
            read += cursor.read()
        assert read == b"".join(blocks(letters))

    asyncio.run(check())


async def test_the_id_of_an_event_is_the_place_to_go_on_from() -> None:
    log = filled("tctsd")
    events = read_events(log.since(0))
    assert [event.id for event in events] == [f"A.{offset}" for offset in range(1, 6)]
    for event in events:
        offset = int(event.id.removeprefix("A."))
        assert read_events(log.since(offset)) == events[offset:]


@pytest.mark.parametrize("end", ["d", "f"])
async def test_a_log_closes_with_its_terminal_event_and_not_before(end: str) -> None:
    log = filled("tcs")
    assert (log.closed, log.over) == (False, False)
    log.extend(blocks("tcs" + end)[3:])
    assert (log.closed, log.over, log.tail) == (True, True, 4)


@given(st.lists(st.integers(1, 3 * SLICE // 2), min_size=1, max_size=8), st.integers(0, 8))
def test_a_reader_that_is_behind_takes_it_in_pieces_of_a_bounded_size(sizes: list[int], missed: int) -> None:
    async def check() -> None:
        frames = [
            encode(Text("x" * size), Stamp("A", offset, offset, 1.0, 1.0, 1.0)) for offset, size in enumerate(sizes, 1)
        ]
        log = EventLog("A")
        log.extend(frames)
        begin = max(0, len(frames) - missed)
        with log.follow(begin) as cursor:
            read = b""
            while piece := cursor.read():
                assert len(piece) <= SLICE or len(read_events(piece)) == 1, "one event is never cut"
                read += piece
                assert read == b"".join(frames[begin : cursor.offset])
            assert cursor.offset == len(frames)

    asyncio.run(check())


async def test_a_piece_is_as_large_as_it_may_be() -> None:
    frames = blocks("t" * 2000)
    log = EventLog("A")
    log.extend(frames)
    with log.follow() as cursor:
        piece = cursor.read()
        assert len(piece) + len(frames[cursor.offset]) > SLICE
        await cursor.wait()  # there is more: it does not sleep
        assert piece + rest(cursor) == b"".join(frames)


# ----------------------------------------------------------------------------------------- snapshots


async def test_a_snapshot_takes_the_place_of_what_was_before() -> None:
    log = filled("ttc")
    log.extend([gap("ttc")])
    assert (log.first, log.tail) == (3, 3)
    assert log.frames() == (gap("ttc"),)
    log.extend(blocks("ttctd")[3:])
    assert (log.first, log.tail, log.closed) == (3, 5, True)
    assert log.frames() == (gap("ttc"), *blocks("ttctd")[3:])


async def test_a_reader_from_before_a_snapshot_gets_it_and_one_from_behind_it_does_not() -> None:
    log = filled("ttc")
    log.extend([gap("ttc"), *blocks("ttctd")[3:]])
    for offset in range(3):
        assert log.since(offset) == gap("ttc") + b"".join(blocks("ttctd")[3:])
    for offset in range(3, 6):
        assert log.since(offset) == b"".join(blocks("ttctd")[offset:])


async def test_a_reader_that_has_all_does_not_notice_a_snapshot() -> None:
    log = filled("tt")
    with log.follow() as cursor:
        cursor.read()
        log.extend([gap("tt")])
        assert cursor.read() == b""
        log.extend(blocks("ttd")[2:])
        assert cursor.read() == blocks("ttd")[2]
        assert cursor.exhausted


async def test_a_snapshot_may_stand_for_more_than_the_log_has() -> None:
    log = filled("t")
    log.extend([gap("tttc"), *blocks("tttcd")[4:]])
    assert (log.first, log.tail, log.closed) == (4, 5, True)
    with log.follow(1) as cursor:
        assert rest(cursor) == gap("tttc") + blocks("tttcd")[4]


@given(ANSWERS, st.data())
def test_readers_that_come_and_go_between_snapshots_end_up_with_the_same_answer(
    letters: str, data: st.DataObject
) -> None:
    async def check() -> None:
        log, read, place = EventLog("A"), Folded(), 0
        for position, block in enumerate(blocks(letters)):
            if position and "s" not in letters[:position] and data.draw(st.booleans()):
                log.extend([gap(letters[:position])])
            log.extend([block])
            if data.draw(st.booleans()):
                with log.follow(place) as cursor:
                    _take(read, rest(cursor))
                    place = cursor.offset
        with log.follow(place) as cursor:
            _take(read, rest(cursor))
            assert cursor.exhausted
        assert read == fold(blocks(letters))

    asyncio.run(check())


def _take(read: Folded, wire: bytes) -> None:
    for event in read_events(wire):
        read.add(event.json)


# ------------------------------------------------------------------------------------------- waking


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
    frames = blocks("t" * 100 + "d")
    for block in frames[:100]:
        log.extend([block])
    await settled()
    log.extend(frames[100:])
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
    for block in blocks("ttcsd"):
        log.extend([block])
        await settled()
    assert set(await asyncio.gather(*readers)) == {log.since(0)}


async def test_a_reader_that_is_behind_does_not_wait() -> None:
    log = filled("t")
    with log.follow() as cursor:
        await cursor.wait()
        cursor.read()
        log.extend(blocks("td")[1:])
        await cursor.wait()
        cursor.read()
        assert cursor.exhausted
        await cursor.wait()  # nor one that has all


async def test_a_reader_that_cannot_be_told_keeps_nobody_from_being_told() -> None:
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    broken, other = EventLog("A"), EventLog("B")
    with broken.follow() as cursor, other.follow() as waiting:
        cursor.on_news = _breaks
        task = await _waiting(waiting)
        append(broken, other)
        await asyncio.wait_for(task, 5)
    assert [str(context["exception"]) for context in told] == ["gone"]
    asyncio.get_running_loop().set_exception_handler(None)


async def test_a_reader_that_has_left_is_gone_without_a_collection_of_garbage() -> None:
    class Reading:
        """Holds a cursor that holds it."""

        def __init__(self, cursor: Cursor) -> None:
            self.cursor = cursor
            cursor.on_news = self.news

        def news(self) -> None:
            """Read."""
            self.cursor.read()

    log = EventLog("A")
    gc.disable()
    try:
        with log.follow() as cursor:
            left = weakref.ref(Reading(cursor))
            append(log)
            await asyncio.sleep(0)
            assert cursor.offset == 1
        del cursor
        assert left() is None
    finally:
        gc.enable()


def _breaks() -> None:
    raise RuntimeError("gone")


def append(*logs: EventLog) -> None:
    """An event in each of them, in one turn."""
    for log in logs:
        log.extend([encode(Text("x"), Stamp(log.answer, 1, 1, 1.0, 1.0, 1.0))])


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
        log.extend(blocks("t"))
        await _cancelled(leaving)
        await staying
        assert other.read() == log.since(0)


async def test_readers_are_counted_as_they_come_and_leave() -> None:
    log = EventLog("A")
    with log.follow():
        with log.follow():
            assert log.readers == 2
        with pytest.raises(RuntimeError), log.follow():
            raise RuntimeError
        assert log.readers == 1
    assert log.readers == 0


# -------------------------------------------------------------------------------------- breaking off


async def test_readers_of_a_log_that_breaks_off_are_woken_and_told_why() -> None:
    log, why = filled("t"), JournalUnavailable()
    with log.follow() as cursor:
        cursor.read()
        task = await _waiting(cursor)
        log.break_off(why)
        await task
        assert cursor.exhausted
        assert log.broken_off is why
        assert (log.over, log.closed) == (True, False), "the answer itself is not"
        assert log.frames() == tuple(blocks("t")), "and its log says nothing of it"


async def test_a_reader_that_is_behind_gets_what_is_there_of_a_log_that_broke_off() -> None:
    log = filled("tt")
    log.break_off(Draining())
    with log.follow() as cursor:
        await cursor.wait()
        assert not cursor.exhausted
        assert cursor.read() == b"".join(blocks("tt"))
        assert cursor.exhausted


async def test_a_closed_log_does_not_break_off_and_the_first_reason_stands() -> None:
    closed, broken, first = filled("td"), filled("t"), Draining()
    closed.break_off(first)
    broken.break_off(first)
    broken.break_off(JournalUnavailable())
    assert closed.broken_off is None
    assert broken.broken_off is first


@pytest.mark.parametrize("end", [b"", blocks("td")[1]])
async def test_who_waits_for_the_end_of_a_log_waits_until_it_is_over(end: bytes) -> None:
    log = filled("t")
    task = asyncio.create_task(log.ended())
    await settled()
    assert not task.done()
    if end:
        log.extend([end])
    else:
        log.break_off(Draining())
    await task
    await log.ended()  # nor does who comes later wait
