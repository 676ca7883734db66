"""What a scenario is done to: a server process, the model behind it, its readers; and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from aiohttp import ClientSession

from . import checker
from .client import Reader, session
from .process import Node
from .supervised import Supervisor
from .upstream import Upstream, text_of


@dataclass(slots=True)
class Outcome:
    """What a scenario saw; `problems` is empty where every invariant held, `late` where all of it came in time.

    A busy machine makes things late, so that tests look at the problems only, and `make faults` at all `failures`.
    """

    row: str
    fault: str
    answers: int
    readers: int
    requests: int = 0  # to the model
    notes: str = ""
    problems: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """What did not hold, and what came too late."""
        return self.problems + self.late

    def need(self, fact: object, otherwise: str) -> None:
        """Note a problem where something does not hold."""
        if not fact:
            self.problems.append(otherwise)

    def need_in_time(self, fact: object, otherwise: str) -> None:
        """Note what came too late."""
        if not fact:
            self.late.append(otherwise)


@dataclass(slots=True)
class House:
    """A server, the model behind it, and its readers."""

    node: Node
    upstream: Upstream
    session: ClientSession
    readers: list[Reader] = field(default_factory=list)

    def ask(
        self,
        count: int,
        each: int = 1,
        cut: Callable[[], int] = lambda: 0,
        url: str = "",
        name: str = "Question",
        question: str = "",
    ) -> list[asyncio.Task[None]]:
        """So many questions, each by `each` readers; or `question` so many times, for as many answers."""
        made = [
            Reader(url or self.node.url, question or f"{name} {n}?", f"q{n}", cut)
            for n in range(len(self.readers), len(self.readers) + count)
            for _ in range(each)
        ]
        self.readers += made
        return [asyncio.create_task(reader.run(self.session)) for reader in made]

    def check(self, outcome: Outcome, mended: int = 0) -> Outcome:
        """Let the checker decide; each answer may be continued `mended` times."""
        journal = checker.journalled(self.node.journal)
        for reader in self.readers:
            outcome.problems += checker.problems(reader.received, journal)
            outcome.need(checker.text(reader.received) == text_of(reader.query), f"another text of {reader.query}")
        outcome.need(len(journal) == outcome.answers, f"{len(journal)} answers in the journal")
        outcome.need(checker.unfinished(self.node.journal) == 0, "answers without an end")
        outcome.requests = self.upstream.requests
        questions = {reader.query for reader in self.readers}
        outcome.problems += checker.overpaid(questions, self.upstream.begun, self.upstream.continued, mended)
        return outcome


@asynccontextmanager
async def house(
    folder: Path,
    index: Path,
    pace: float = 0.02,
    size: int = 7,
    held: Supervisor | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """A running server with its model, which writes `size` characters every `pace` seconds."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    async with Upstream(pace, size).serving() as upstream, session() as client:
        node = Node(folder, index, upstream.url, **settings)
        if held is not None:
            node.listen(held.listening, held.told)
        await node.start()
        try:
            yield House(node, upstream, client)
        finally:
            await node.stop()


async def until(fact: Callable[[], bool]) -> None:
    """Wait until it is so, for half a minute at most."""
    async with asyncio.timeout(30):
        while not fact():  # noqa: ASYNC110 (it is in another process)
            await asyncio.sleep(0.02)


def undoubled(outcome: Outcome, reader: Reader, alone: int) -> str:
    """See that a reader's gaps did not double once, after so many chunks, it was not alone; how long they are."""
    gaps = [later - earlier for earlier, later in pairwise(reader.arrivals)]
    before, after = (median(part) * 1e3 for part in (gaps[:alone], gaps[alone:]))
    # One who waited for a stuck reader would wait for seconds; what a busy machine adds is no delay of ours.
    outcome.need(after <= max(2 * before, 100), f"another reader's gaps went from {before:.0f} to {after:.0f} ms")
    return f"another reader's gaps p50 {before:.0f} ms before, {after:.0f} ms after"


Scenario = Callable[[Path, Path, int], Awaitable[Outcome]]
