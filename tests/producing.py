"""Answers without a model: producers that play scripts, a journal that fails when it is told to, readers of logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from typing import Any, Self

from zantara_stream.answers.answer import Answer, Lifetimes
from zantara_stream.answers.answers import Answers
from zantara_stream.answers.events import Done, Event, Sources, Text
from zantara_stream.answers.fold import Folded, fold
from zantara_stream.answers.journal import Committed, Journal, Lease, Opening, Stored
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.errors import JournalUnavailable

LONG = 3600.0
HELLO = (Text("Hel"), Text("lo"), Sources(({"source": "S"},)), Done("end_turn", "m"))
Step = Event | BaseException | asyncio.Event


class Producer:
    """Writes answers from scripts: events are yielded, exceptions raised, asyncio events awaited.

    Each call plays the next script, and the last one ever after; `asked` is what the calls were given.
    """

    def __init__(self, *script: Step) -> None:
        self.asked: list[tuple[str, Folded]] = []
        self.started = asyncio.Event()
        self.closed = asyncio.Event()
        self._scripts = [script]

    def then(self, *script: Step) -> Self:
        """What the next call plays."""
        self._scripts.append(script)
        return self

    async def __call__(self, opening: Opening, written: Folded) -> AsyncGenerator[Event, None]:
        script = self._scripts[min(len(self.asked), len(self._scripts) - 1)]
        self.asked.append((opening.request, written))
        self.started.set()
        try:
            for step in script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.closed.set()


class TestedJournal(MemoryJournal):
    """A journal in memory that fails while it is `broken`, as one on a full disk does, and tells what it was asked."""

    __test__ = False

    def __init__(self, lease: float = LONG, of: MemoryJournal | None = None, durable: bool = False) -> None:
        super().__init__(lease, of._store if of is not None else None)
        self.durable = durable
        self.broken = False
        self.asked: list[str] = []
        self.renewed: list[Lease] = []
        self._round = asyncio.Condition()

    async def _check(self, what: str) -> None:
        async with self._round:
            self.asked.append(what)
            self._round.notify_all()
        self.problem = "the disk is full" if self.broken else ""
        if self.broken:
            raise JournalUnavailable

    async def until(self, what: str, times: int = 1) -> None:
        """Wait until that has been asked so many times more."""
        wanted = self.asked.count(what) + times
        async with self._round:
            await self._round.wait_for(lambda: self.asked.count(what) >= wanted)

    async def create(self, opening: Opening) -> Lease | str:
        await self._check("create")
        return await super().create(opening)

    def append(self, lease: Lease, frame: bytes, committed: Committed) -> None:
        if self.broken:
            self.problem = "the disk is full"
            committed(JournalUnavailable())
        else:
            super().append(lease, frame, committed)

    async def find(self, answer: str, owner: str = "") -> Stored | None:
        await self._check("find")
        return await super().find(answer, owner)

    async def renew(self, leases: Collection[Lease]) -> None:
        await self._check("renew")
        self.renewed = list(leases)
        await super().renew(leases)

    async def release(self, leases: Collection[Lease]) -> None:
        await self._check("release")
        await super().release(leases)

    async def claim(self, most: int, held: Collection[str] = ()) -> list[tuple[Lease, Stored]]:
        await self._check("claim")
        return await super().claim(most, held)

    async def expire(self, retention: float, read: Collection[str] = ()) -> list[str]:
        await self._check("expire")
        return await super().expire(retention, read)

    async def probe(self) -> None:
        await self._check("probe")


def never() -> asyncio.Event:
    """What is waited for in vain."""
    return asyncio.Event()


def node(produce: Producer, journal: Journal | None = None, **lifetimes: Any) -> Answers:
    """The answers of a node; its times do not run out unless it is said."""
    times = Lifetimes(**{"grace": LONG, "retention": LONG, "running": 10, **lifetimes})
    return Answers(journal if journal is not None else MemoryJournal(LONG), produce, times, "m")


async def complete(answer: Answer) -> Folded:
    """The whole answer, read to its end."""
    with answer.follow() as cursor:
        while not cursor.exhausted:
            await cursor.wait()
            cursor.read()
    return fold(answer.log.frames())


async def settled() -> None:
    """Every callback and timer that is due by now has run, and whatever it made due."""
    for _ in range(10):
        await asyncio.sleep(0)
