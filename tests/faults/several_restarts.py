"""Nodes that are restarted one after the other while people ask: nobody's request fails."""

from __future__ import annotations

import asyncio
import re
import signal
from dataclasses import dataclass, field

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from .client import Reader, whole
from .house import Outcome
from .several import Several, SeveralScenario
from .upstream import text_of

LASTING = 3  # of four streams: those that are longer than the drain time
PACE = 0.08  # seconds from chunk to chunk: some answers end within the drain time, others do not
SPREAD = 10.0  # seconds over which those who are told to come back do so
WITHIN = 120.0  # seconds that an answer may take on the busiest machine
_RETRY = re.compile(rb"retry: (\d+)\nevent: draining\n")


@dataclass(slots=True)
class Load:
    """Those who ask one question after another until `over`."""

    h: Several
    over: bool = False
    looks: int = 0
    failed: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)  # questions that were answered in one piece
    again: int = 0  # pieces that were asked for again

    async def stream(self, name: str) -> None:
        """Questions whose answers are streamed."""
        number = 0
        while not self.over:
            number += 1
            reader = Reader(self.h.front.url, f"{name} {number}?", f"{name} {number}")
            self.h.readers.append(reader)
            await reader.run(self.h.session)
            self.failed += reader.failures

    async def ask(self, session: ClientSession, name: str) -> None:
        """Questions whose answers come in one piece, over a connection that is kept."""
        number = 0
        while not self.over:
            number += 1
            question = f"{name} {number}?"
            self.pieces.append(question)
            while (said := await whole(session, self.h.front.url, question)).get("code") == "draining":
                self.again += 1
            if said.get("response") != text_of(question):
                self.failed.append(f"{question} {said}")

    async def look(self, session: ClientSession) -> None:
        """What asks nothing of the model, again and again over a connection that is kept."""
        while not self.over:
            self.looks += 1
            async with session.get(f"{self.h.front.url}/health") as response:
                if response.status != 200:
                    self.failed.append(f"/health {response.status}")
            await asyncio.sleep(0.02)


async def rolling(h: Several, size: int) -> Outcome:
    """Row 24: every node is restarted, one after the other, under load."""
    await h.begin(PACE)
    load, outcome = Load(h), Outcome("24", "rolling restart of all nodes under load", 0, 0)
    kept = TCPConnector(limit=0, ssl=h.front.trust)
    async with ClientSession(connector=kept, timeout=ClientTimeout(total=None, sock_read=WITHIN)) as session:
        work = [load.look(session)]
        for n in range(size):
            work += [load.stream(f"Question {n}.{k}") for k in range(LASTING)]
            work += [load.stream(f"Short {n}"), load.ask(session, f"Short whole {n}")]
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
            await _restart_each(h, outcome)
            load.over = True
    outcome.problems += load.failed
    outcome.answers, outcome.readers = len(h.readers) + len(load.pieces), len(h.readers)
    told = _spread(h, outcome)
    requests = outcome.answers + load.looks
    outcome.notes = f"{requests} requests, none failed; {told} streams were sent to another node"
    refused = [piece for reader in h.readers for piece in reader.received if b"event: unavailable" in piece]
    outcome.notes += f", {len(refused)} and {load.again} whole answers asked again of one that did not stop"
    return h.check(outcome, also=load.pieces)


async def _restart_each(h: Several, outcome: Outcome) -> None:
    for node in h.nodes:
        await asyncio.sleep(1)
        node.signal(signal.SIGTERM)
        code = await node.stopped()
        outcome.need(code == 0, f"exit code {code}")
        await node.start()


def _spread(h: Several, outcome: Outcome) -> int:
    """See when those who had to go were told to come back; how many they were."""
    waits = [int(wait) / 1000 for reader in h.readers for piece in reader.received for wait in _RETRY.findall(piece)]
    outcome.need(waits, "nobody had to go: all answers were too short")
    outcome.need(max(waits, default=0) <= SPREAD, f"somebody was told to come back after {max(waits, default=0):g} s")
    spread = max(waits, default=0) - min(waits, default=0)
    outcome.need(len(waits) < 20 or spread > SPREAD / 2, f"{len(waits)} come back within {spread:.1f} s")
    return len(waits)


RESTARTS_OF_SEVERAL: dict[SeveralScenario, tuple[int, int]] = {rolling: (2, 15)}  # size in tests, and in the long run
