"""Two nodes, one journal, and whatever can happen to answers, in any order, against a plain model.

What must hold after every step: the journal has of each answer the events that the model says, in order and none
twice, with at most one terminal event; every reader has the journal's bytes from where it began, and no others; and
a producer was asked once for each answer, and once more for each takeover.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from logs import Clock
from redis_server import shared

from zantara_stream.answers.answer import TAKEOVERS, Answer, Lifetimes
from zantara_stream.answers.answers import Answers, Asked
from zantara_stream.answers.events import WRITING, Done, Event, Sources, Text, closes
from zantara_stream.answers.fold import Folded, fold
from zantara_stream.answers.journal import Journal, Opening
from zantara_stream.answers.life import FOLLOWED
from zantara_stream.answers.log import Cursor, EventLog
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.answers.redis import RedisJournal
from zantara_stream.answers.sqlite import SqliteJournal
from zantara_stream.errors import AnswerExpired, ContinuityConflict

LONG, LEASE, RETENTION = 3600.0, 5.0, 1000.0  # seconds
PATIENCE = 5.0  # seconds
NODES = st.sampled_from([0, 1])


class Stage:
    """The producers of both nodes: how far each answer may be written, and how often it was asked for."""

    def __init__(self) -> None:
        self.allowed: Counter[str] = Counter()  # chunks, by request
        self.finished: set[str] = set()
        self.asked: Counter[str] = Counter()
        self._moved = asyncio.Event()

    def move(self) -> None:
        """Wake all who wait for something to change."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def until_asked(self, request: str, times: int) -> None:
        """Wait until a producer was asked so often."""
        while self.asked[request] < times:
            await self._moved.wait()

    async def produce(self, opening: Opening, written: Folded) -> AsyncGenerator[Event, None]:
        """Write what is allowed, from where it stands, and the end once that is."""
        request = opening.request
        self.asked[request] += 1
        self.move()
        chunk = written.chunks
        while chunk < self.allowed[request] or request not in self.finished:
            if chunk < self.allowed[request]:
                yield Text(f"{chunk} ")
                chunk += 1
            else:
                await self._moved.wait()
        if written.state == WRITING:
            yield Sources(({"source": request},))
        yield Done("end_turn")


@dataclass(eq=False)
class Modelled:
    """What is known of an answer."""

    name: str
    request: str
    continuity: str
    writer: int | None  # the node that has its lease
    chunks: int = 0
    end: str = ""
    token: int = 1
    asked: int = 1
    lost_by: set[int] = field(default_factory=set)  # nodes that do not know yet that they lost it
    stopped_by: set[int] = field(default_factory=set)  # nodes that will stop it once they have it
    unwanted: bool = False  # a node that shows it was told to stop it, and has asked whoever writes it
    closed_at: float = 0.0
    forgotten: bool = False
    frames: tuple[bytes, ...] = ()  # as the journal had them last

    @property
    def text(self) -> str:
        """All that is written."""
        return "".join(f"{chunk} " for chunk in range(self.chunks))


@dataclass(eq=False)
class Reading:
    """A client: what it has read of an answer, from where, and its connection, if it has one."""

    of: Modelled
    begin: int
    offset: int
    read: bytes = b""
    node: int = 0
    cursor: Cursor | None = None
    line: ExitStack = field(default_factory=ExitStack)

    def connect(self, node: int, answer: Answer) -> None:
        """Follow its log from where it is."""
        self.node = node
        self.cursor = self.line.enter_context(answer.follow(self.offset))

    def take(self) -> None:
        """Read all that is there."""
        assert self.cursor is not None
        while piece := self.cursor.read():
            self.read += piece
        self.offset = self.cursor.offset

    def drop(self) -> None:
        """Lose the connection."""
        self.line.close()
        self.cursor = None


async def reach(log: EventLog, offset: int) -> None:
    """Wait until the log is so long."""
    with log.follow(log.tail) as cursor:
        while cursor.offset < offset:
            await cursor.wait()
            cursor.read()


class Lives(RuleBasedStateMachine):
    """The rules; how the journal's two doors are made is for the classes below."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.undo = ExitStack()
        self.clock = Clock()
        self.clock.set_for_journals(self.undo.enter_context(pytest.MonkeyPatch.context()))
        self.stage = Stage()
        self.model: list[Modelled] = []
        self.readings: list[Reading] = []
        self.doors = self.open_doors()
        for door in self.doors:
            self.run(door.open())
        self.nodes = [self.new_node(door) for door in self.doors]

    def open_doors(self) -> list[Journal]:
        """Two doors to a new store."""
        raise NotImplementedError

    def new_node(self, door: Journal) -> Answers:
        """A node that knows nothing but what its door shows."""
        return Answers(door, self.stage.produce, Lifetimes(LONG, RETENTION, running=1000))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it on this machine's loop; what takes so long hangs."""
        return self.runner.run(asyncio.wait_for(work, PATIENCE))

    def call(self, do: Callable[[], object]) -> None:
        """Call it on this machine's loop."""

        async def called() -> None:
            do()

        self.run(called())

    def teardown(self) -> None:
        """Leave no task, thread or file behind."""
        try:
            for reading in self.readings:
                self.call(reading.drop)
            for node, door in zip(self.nodes, self.doors, strict=True):
                self.run(node.drain(0))
                self.run(door.close())
        finally:
            self.runner.close()
            self.undo.close()

    # ----------------------------------------------------------------------------------------- choosing

    def kept(self) -> list[Modelled]:
        """The answers that are not forgotten."""
        return [answer for answer in self.model if not answer.forgotten]

    def choose(self, data: st.DataObject, among: list[Any]) -> Any:
        """One of them."""
        return among[data.draw(st.integers(0, len(among) - 1))]

    # -------------------------------------------------------------------------------------------- asking

    @rule(node=NODES, continuity=st.sampled_from(["", "", "a", "b"]))
    def ask(self, node: int, continuity: str) -> None:
        """A new answer, or the one of that name; nothing is produced for that."""
        named = [answer for answer in self.kept() if continuity and answer.continuity == continuity]
        request = named[0].request if named else f"request {len(self.model)}"
        answer: Answer = self.run(self.nodes[node].ask(Asked(request, request, continuity)))
        if named:
            assert answer.id == named[0].name
        else:
            assert answer.id not in {known.name for known in self.model}
            self.model.append(Modelled(answer.id, request, continuity, node))
            self.run(self.stage.until_asked(request, 1))

    @rule(node=NODES, continuity=st.sampled_from(["a", "b"]))
    def ask_something_else(self, node: int, continuity: str) -> None:
        """The name of another question's answer is refused."""
        if any(answer.continuity == continuity for answer in self.kept()):
            with pytest.raises(ContinuityConflict):
                self.run(self.nodes[node].ask(Asked("something else", "", continuity)))

    # ------------------------------------------------------------------------------------------- writing

    def unfinished(self) -> list[Modelled]:
        """The answers that may be written to."""
        return [answer for answer in self.model if not answer.end]

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data(), chunks=st.integers(1, 3))
    def append(self, data: st.DataObject, chunks: int) -> None:
        """The model of whoever writes it has more to say."""
        answer = self.choose(data, self.unfinished())
        self.stage.allowed[answer.request] += chunks
        self.run(self._written(answer))

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """The model has nothing more to say."""
        answer = self.choose(data, self.unfinished())
        self.stage.finished.add(answer.request)
        self.run(self._written(answer))

    async def _written(self, answer: Modelled) -> None:
        """Wait until all is written that can be, and until whoever cannot write any more has noticed."""
        self.stage.move()
        for node in tuple(answer.lost_by):
            await self._fenced(answer, node)
        if answer.writer is None:
            return
        await self._caught_up(answer, (await self.nodes[answer.writer].get(answer.name)).log)

    async def _caught_up(self, answer: Modelled, log: EventLog) -> None:
        """Wait until all that may be written of it has been."""
        answer.chunks = self.stage.allowed[answer.request]
        if answer.request in self.stage.finished:
            await log.ended()
            self._ended(answer, "end_turn")
        else:
            await reach(log, answer.chunks)

    async def _fenced(self, answer: Modelled, node: int) -> None:
        """Wait until the node has noticed that it lost the answer."""
        task = (await self.nodes[node].get(answer.name)).task
        if task is not None:
            await asyncio.wait([task])
        await self.doors[node].release([])  # which waits for what is appended
        answer.lost_by.discard(node)

    def _ended(self, answer: Modelled, end: str) -> None:
        answer.end, answer.closed_at = end, self.clock.now

    @precondition(lambda self: self.kept())
    @rule(data=st.data(), node=NODES)
    def stop(self, data: st.DataObject, node: int) -> None:
        """Whoever writes it ends it now; another node asks whoever does, and stops it should it be itself one day."""
        answer = self.choose(data, self.kept())
        self.run(self._stop(answer, node))

    async def _stop(self, answer: Modelled, node: int) -> None:
        held = await self.nodes[node].get(answer.name)
        writes = answer.writer == node and not answer.end
        answer.unwanted |= held.state == FOLLOWED and not answer.end
        await self.nodes[node].stop(held, LONG if writes else 0)
        if writes:
            self._ended(answer, "stopped")
        elif not held.log.over:
            answer.stopped_by.add(node)
        if node in answer.lost_by:
            await self._fenced(answer, node)

    @rule(node=NODES)
    def take_over(self, node: int) -> None:
        """All leases have run out, and the node takes what it does not write itself."""
        self.clock.now += LEASE + 1
        self.run(self._take_over(node))

    async def _take_over(self, node: int) -> None:
        await self.nodes[node].take_over()
        for answer in self.unfinished():
            if answer.writer != node and node not in answer.lost_by:
                await self._taken(answer, node)

    async def _taken(self, answer: Modelled, node: int) -> None:
        if answer.writer is not None:
            answer.lost_by.add(answer.writer)
        answer.writer, answer.token = node, answer.token + 1
        log = (await self.nodes[node].get(answer.name)).log
        if node in answer.stopped_by or answer.token > TAKEOVERS:
            await log.ended()
            self._ended(answer, "stopped" if node in answer.stopped_by else "internal")
        else:
            answer.asked += 1
            await self.stage.until_asked(answer.request, answer.asked)
            await self._caught_up(answer, log)

    @rule(node=NODES)
    def restart(self, node: int) -> None:
        """The node hands over what it writes, and begins anew."""
        self.run(self.nodes[node].drain(0))
        for reading in self.readings:
            if reading.cursor is not None and reading.node == node:
                reading.take()
                self.call(reading.drop)
        for answer in self.model:
            answer.lost_by.discard(node)
            answer.stopped_by.discard(node)
            if answer.writer == node:
                answer.writer = None
        self.nodes[node] = self.new_node(self.doors[node])

    # ------------------------------------------------------------------------------------------- reading

    @precondition(lambda self: self.kept())
    @rule(data=st.data(), node=NODES)
    def follow(self, data: st.DataObject, node: int) -> None:
        """A new reader, at any place of an answer, on any node."""
        answer = self.choose(data, self.kept())
        offset = data.draw(st.integers(0, self._length(answer)))
        reading = Reading(answer, offset, offset)
        if self._connect(reading, node):
            self.readings.append(reading)

    def _length(self, answer: Modelled) -> int:
        return answer.chunks + (2 if answer.end == "end_turn" else bool(answer.end))

    def _connect(self, reading: Reading, node: int) -> bool:
        answer = reading.of
        try:
            held, offset = self.run(self.nodes[node].find(f"{answer.name}.{reading.offset}"))
        except AnswerExpired:
            assert answer.forgotten or node in answer.lost_by, "only who does not know what was written may refuse it"
            return False
        assert offset == reading.offset
        self.call(lambda: reading.connect(node, held))
        return True

    def connected(self) -> list[Reading]:
        """The readers that have a connection."""
        return [reading for reading in self.readings if reading.cursor is not None]

    @precondition(lambda self: self.connected())
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """A reader takes what is there."""
        self.choose(data, self.connected()).take()

    @precondition(lambda self: self.connected())
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """A reader's line is cut."""
        self.call(self.choose(data, self.connected()).drop)

    @precondition(lambda self: self.readings)
    @rule(data=st.data(), node=NODES)
    def resume(self, data: st.DataObject, node: int) -> None:
        """A reader comes back on any node, with the last id that it has."""
        reading = self.choose(data, self.readings)
        self.call(reading.drop)
        if self._connect(reading, node):
            reading.take()

    @rule(node=NODES)
    def tend(self, node: int) -> None:
        """What each node does from time to time."""
        self.run(self._tend(node))
        self._forget(node)

    async def _tend(self, node: int) -> None:
        await self.nodes[node].tend()
        for answer in self.unfinished():
            if answer.unwanted and answer.writer == node:
                log = (await self.nodes[node].get(answer.name)).log
                await log.ended()
                self._ended(answer, "stopped")
                answer.frames = log.frames()  # it may be forgotten before anybody looks at it
            elif answer.unwanted and node in answer.lost_by:
                await self._fenced(answer, node)

    @rule(node=NODES)
    def expire(self, node: int) -> None:
        """The retention of all closed answers is over, and the node forgets those that it does not show to anybody."""
        for one in (0, 1, 0, 1):  # the first time may end some, which the journal is told of the second time
            self.tend(one)
        self.clock.now += RETENTION + 1
        self.tend(node)
        for answer in self.kept():
            assert not answer.end or answer in self._read_at(node)

    def _read_at(self, node: int) -> list[Modelled]:
        return [reading.of for reading in self.connected() if reading.node == node]

    def _forget(self, node: int) -> None:
        """See what was forgotten; it may not have been what runs, is read there, or has been closed for less time."""
        for answer in self.kept():
            if self.run(self.doors[node].find(answer.name)) is None:
                assert answer.end
                assert answer.closed_at + RETENTION <= self.clock.now
                assert answer not in self._read_at(node)
                answer.forgotten = True
                with pytest.raises(AnswerExpired):
                    self.run(self.nodes[node].get(answer.name))

    # ---------------------------------------------------------------------------------- what always holds

    @invariant()
    def the_journal_has_what_the_model_says(self) -> None:
        """Every event, in order, none twice, and one terminal event where it has ended."""
        for answer in self.kept():
            for door in self.doors:
                stored = self.run(door.find(answer.name))
                assert stored is not None
                answer.frames = stored.frames
                whole = fold(stored.frames)
                assert (whole.text, whole.chunks) == (answer.text, answer.chunks)
                assert len(stored.frames) == self._length(answer)
                assert [closes(frame) for frame in stored.frames[:-1]].count(True) == 0
                assert stored.closed == bool(answer.end)
                ending = whole.done["stopReason"] if whole.done else whole.error["code"] if whole.error else ""
                assert ending == answer.end

    @invariant()
    def readers_have_what_the_journal_has(self) -> None:
        """From where they began, in order, none twice."""
        for reading in self.readings:
            assert reading.read == b"".join(reading.of.frames[reading.begin : reading.offset])

    @invariant()
    def producers_are_asked_once_and_once_for_each_takeover(self) -> None:
        """Nothing is paid twice."""
        for answer in self.model:
            assert self.stage.asked[answer.request] == answer.asked


class MemoryLives(Lives):
    """With the journal in memory."""

    def open_doors(self) -> list[Journal]:
        """Two doors to a new store."""
        journal = MemoryJournal(LEASE)
        return [journal, journal.peer()]


class SqliteLives(Lives):
    """With the journal in a file."""

    def open_doors(self) -> list[Journal]:
        """Two connections to a new file."""
        path = Path(self.undo.enter_context(tempfile.TemporaryDirectory())) / "answers.db"
        return [SqliteJournal(path, LEASE), SqliteJournal(path, LEASE)]


class RedisLives(Lives):
    """With the journal in Redis."""

    def open_doors(self) -> list[Journal]:
        """Two connections to it."""
        url = shared().emptied()
        return [RedisJournal(url, LEASE), RedisJournal(url, LEASE)]


TestMemoryLives = MemoryLives.TestCase
TestMemoryLives.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSqliteLives = SqliteLives.TestCase
TestSqliteLives.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)

TestRedisLives = RedisLives.TestCase
TestRedisLives.settings = TestSqliteLives.settings


async def test_a_producer_that_is_slow_to_leave_does_not_end_what_its_node_has_taken_back() -> None:
    leaving, may_leave, more = asyncio.Event(), asyncio.Event(), asyncio.Event()
    asked: list[int] = []

    async def produce(opening: Opening, written: Folded) -> AsyncGenerator[Event, None]:
        asked.append(written.chunks)
        try:
            yield Text("a")
            await more.wait()
            yield Text("b")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            leaving.set()
            await may_leave.wait()
            raise

    journal = MemoryJournal(lease=0.0)
    node = Answers(journal, produce, Lifetimes(LONG, LONG))
    answer = await node.ask(Asked("q", "q"))
    await reach(answer.log, 1)
    ((lease, _),) = await journal.peer().claim(1)
    more.set()
    await leaving.wait()
    lost = answer.task
    await node.take_over()
    assert (answer.lease, lost) != (lease, answer.task)
    await reach(answer.log, 2)
    may_leave.set()
    assert lost is not None
    await asyncio.wait([lost])
    assert asked == [0, 1]
    assert not answer.log.closed
    await node.stop(answer, LONG)
    assert fold(answer.log.frames()).text == "aab"
