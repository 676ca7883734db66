"""A server that is restarted, and upgraded, under load: its supervisor holds the socket, and nobody is refused."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from . import checker
from .client import Reader, whole
from .house import House, Outcome, Scenario
from .process import ROOT, Node
from .supervised import Supervisor, supervisor
from .upstream import Upstream, text_of

PACE = 0.08  # seconds from chunk to chunk: some answers end within the drain time, others do not
DRAIN = 4.0
LATER = "999.0"  # a version
WITHIN = 120.0  # seconds that a request may wait for the next process on the busiest machine


@dataclass(slots=True)
class Load:
    """Those who ask one question after another until `over`; what was not answered as it should be."""

    house: House
    over: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # whole answers that took longer than the drain
    whole: list[str] = field(default_factory=list)  # questions that were answered in one piece

    async def stream(self, session: ClientSession, name: str) -> None:
        """Questions whose answers are streamed."""
        while not self.over:
            self.asked["streams"] += 1
            reader = Reader(self.house.node.url, f"{name} {self.asked['streams']}?", f"s{self.asked['streams']}")
            self.house.readers.append(reader)
            await reader.run(session)
            self.failed += reader.failures

    async def ask(self, session: ClientSession) -> None:
        """Questions whose answers come in one piece, over a connection that is kept."""
        while not self.over:
            self.asked["pieces"] += 1
            question = f"Short whole {self.asked['pieces']}?"
            self.whole.append(question)
            while (said := await whole(session, self.house.node.url, question)).get("code") == "draining":
                self.late.append(f"{question} took longer than the drain, and was asked for again")
            if said.get("response") != text_of(question):
                self.failed.append(f"{question} {said.get('code')}")

    async def look(self, session: ClientSession) -> None:
        """What asks nothing of the model, again and again over a connection that is kept."""
        while not self.over:
            self.asked["looks"] += 1
            async with session.get(f"{self.house.node.url}/health") as response:
                if response.status != 200:
                    self.failed.append(f"/health {response.status}")
            await asyncio.sleep(0.01)


async def restarted(folder: Path, index: Path, size: int) -> Outcome:
    """Row 3: the same code again, then the next version, in a folder of its own, then back to the one before."""
    later = await asyncio.to_thread(_later, folder / "later")
    async with Upstream(PACE).serving() as upstream, supervisor() as held:
        node = Node(folder, index, upstream.url, drain=DRAIN)
        node.listen(held.listening, held.told)
        await node.start()
        h = House(node, upstream, ClientSession())
        outcome = Outcome("3", "restarted, upgraded and rolled back under load", 0, 0)
        try:
            async with h.session, _loaded(h, size) as load:
                versions, waits = await _restarts(held, load, [ROOT, later, ROOT], outcome)
        finally:
            await node.stop()
        outcome.problems += load.failed
        outcome.late += load.late
        outcome.answers = load.asked["streams"] + load.asked["pieces"]
        outcome.readers = load.asked["streams"]
        outcome.notes = f"{load.asked.total()} requests, none refused; the socket waited {max(waits):.1f} s at most"
        for said, times in (("READY=1", 4), ("STOPPING=1", 3)):
            outcome.need(len(held.times(said)) == times, f"{said} was said {len(held.times(said))} times")
        first = versions[0]
        outcome.need(versions == [first, first, LATER, first] and first != LATER, f"versions {versions}")
        return _checked(h, outcome, load)


def _later(folder: Path) -> Path:
    """The folder of another version of the code."""
    shutil.copytree(ROOT / "zantara_stream", folder / "zantara_stream")
    init = folder / "zantara_stream" / "__init__.py"
    init.write_text(f'{init.read_text()}\n__version__ = "{LATER}"\n')
    return folder


async def _restarts(
    held: Supervisor, load: Load, places: list[Path], outcome: Outcome
) -> tuple[list[str], list[float]]:
    """From one code to the next; the versions that answered, and how long nobody accepted."""
    node = load.house.node
    versions, waits = [await _version(load.house)], []
    for place in places:
        await asyncio.sleep(1)
        node.move(place)
        began = time.monotonic()
        exit_code = await held.restart(node)
        waits.append(time.monotonic() - began)
        outcome.need(exit_code == 0, f"exit code {exit_code}")
        versions.append(await _version(load.house))
    await asyncio.sleep(1)
    return versions, waits


async def _version(h: House) -> str:
    async with h.session.get(f"{h.node.url}/openapi.json") as response:
        return str((await response.json())["info"]["version"])


@asynccontextmanager
async def _loaded(h: House, size: int) -> AsyncIterator[Load]:
    load, time_out = Load(h), ClientTimeout(total=None, sock_read=WITHIN)
    fresh, kept = TCPConnector(limit=0, force_close=True), TCPConnector(limit=0)
    async with (
        ClientSession(connector=fresh, timeout=time_out) as new,
        ClientSession(connector=kept, timeout=time_out) as same,
    ):
        work = [load.stream(new, "Question"), load.stream(new, "Short question"), load.ask(same), load.look(same)]
        async with asyncio.TaskGroup() as group:
            for _ in range(size - 1):
                work += [load.stream(new, "Question"), load.stream(new, "Short question"), load.ask(same)]
            for one in work:
                group.create_task(one)
            yield load
            load.over = True


def _checked(h: House, outcome: Outcome, load: Load) -> Outcome:
    journal = checker.journalled(h.node.journal)
    for reader in h.readers:
        outcome.problems += checker.problems(reader.received, journal)
        outcome.need(checker.text(reader.received) == text_of(reader.query), f"another text of {reader.query}")
        told = b"event: unavailable" in b"".join(reader.received)
        outcome.need(not told, f"{reader.query} was refused for now")
    outcome.need(len(journal) == outcome.answers, f"{len(journal)} answers in the journal")
    outcome.need(checker.unfinished(h.node.journal) == 0, "answers without an end")
    outcome.requests = h.upstream.requests
    questions = {reader.query for reader in h.readers} | set(load.whole)
    outcome.problems += checker.overpaid(questions, h.upstream.begun, h.upstream.continued, 3)
    outcome.need(h.upstream.continued, "no answer was handed over: all of them were too short")
    return outcome


RESTARTS: dict[Scenario, tuple[int, int]] = {restarted: (3, 30)}
