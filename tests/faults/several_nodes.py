"""Faults of the nodes, where there are several: killed, frozen, and all away at once."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable

from . import checker
from .client import Reader
from .house import Outcome, until
from .several import FRONT, Several, SeveralScenario

PACE = 0.04  # seconds from chunk to chunk: an answer of some seconds
LONG = 10  # questions at once from which on it is the long version
TAKEN_UP = 5.0  # seconds beyond the lease within which an answer is gone on with
BUSIEST = 60.0  # and on the busiest machine
TAKEOVERS, FENCED = "zantara_takeovers_total", "zantara_fenced_appends_total"


def resumed(readers: Iterable[Reader], moment: float) -> float:
    """How long after that moment, in unix seconds, the last of these answers was gone on with."""
    later = []
    for reader in readers:
        events = [data for received in reader.received for _, _, data in checker.blocks(received) if "text" in data]
        later += [min(stamps) for stamps in [[e["timestamp"] for e in events if e["timestamp"] > moment]] if stamps]
    return float(max(later)) - moment


def need_taken_over(outcome: Outcome, h: Several, took: float) -> None:
    """See that the answers went on soon enough."""
    said = f"answers went on {max(took, 0):.1f} s after it, with a lease of {h.lease:g} s"
    outcome.notes += said
    outcome.need_in_time(took < h.lease + TAKEN_UP, said)
    outcome.need(took < BUSIEST, said)


async def reader_node_killed(h: Several, size: int) -> Outcome:
    """Row 19: kill -9 of a node that only serves what another writes."""
    await h.begin(PACE)
    outcome = Outcome("19", "kill -9 of the node that only serves", size, 3 * size)
    tasks = await h.ask(size, 0, 1, 1)
    outcome.need(h.running == size, f"only {h.running} answers ran when it was killed")
    await h.nodes[1].kill()
    await asyncio.gather(*tasks)
    h.check(outcome)
    outcome.need(outcome.requests == size, f"{outcome.requests} requests of the model")
    return outcome


async def writer_killed(h: Several, size: int) -> Outcome:
    """Row 20: kill -9 of the node that writes."""
    await h.begin(PACE)
    outcome = Outcome("20", "kill -9 of the writing node", size, 3 * size)
    counted = await h.sample(TAKEOVERS, 1, 2)
    tasks = await h.ask(size, 0, 1, 2)
    outcome.need(h.running == size, f"only {h.running} answers ran when it was killed")
    moment = time.time()
    await h.nodes[0].kill()
    await asyncio.gather(*tasks)
    need_taken_over(outcome, h, resumed(h.readers, moment))
    counted = await h.sample(TAKEOVERS, 1, 2) - counted
    happened = sum(logged.takeovers for logged in h.content().answers.values())
    outcome.need(counted == happened, f"{counted:g} takeovers were counted of {happened}")
    return h.check(outcome)


async def writer_frozen(h: Several, size: int) -> Outcome:
    """Row 21: the node that writes is frozen, its answers are taken over, and it is thawed."""
    seconds = 30.0 if size >= LONG else 2 * h.lease
    await h.begin(PACE)
    outcome = Outcome("21", f"writing node frozen for {seconds:g} s, thawed after the takeover", size, 3 * size)
    before = await h.sample(FENCED, 0)
    tasks = await h.ask(size, 0, 1, 2)
    outcome.need(h.running == size, f"only {h.running} answers ran when it was frozen")
    moment = time.time()
    h.nodes[0].signal(signal.SIGSTOP)
    await h.taken_over()
    await asyncio.sleep(moment + seconds - time.time())
    h.nodes[0].signal(signal.SIGCONT)
    await asyncio.gather(*tasks)
    await settled(h, 0)
    fenced = await h.sample(FENCED, 0) - before
    need_taken_over(outcome, h, resumed(h.readers, moment))
    outcome.notes += f"; {fenced:g} appends refused"
    outcome.need(fenced, "no append was refused after the thaw")
    return h.check(outcome)


async def settled(h: Several, place: int) -> None:
    """Wait until a node writes nothing any more."""
    async with asyncio.timeout(BUSIEST):
        while await h.sample("zantara_answers_running", place):  # noqa: ASYNC110 (it is in another process)
            await asyncio.sleep(0.05)


async def all_away(h: Several, size: int) -> Outcome:
    """Row 25: all nodes are away; nginx answers in their place."""
    seconds = 10.0 if size >= LONG else 1.0
    await h.begin(PACE)
    outcome = Outcome("25", f"all nodes down for {seconds:g} s behind nginx", size, 2 * size)
    tasks = await h.ask(size, FRONT, FRONT)
    outcome.need(h.running == size, f"only {h.running} answers ran when they were killed")
    await asyncio.gather(*(node.kill() for node in h.nodes))
    killed = time.time()
    await until(lambda: all(b"event: unavailable" in b"".join(reader.received) for reader in h.readers))
    await asyncio.sleep(seconds)
    await asyncio.gather(*(node.start() for node in h.nodes))
    ready = time.time()
    await asyncio.gather(*tasks)
    need_taken_over(outcome, h, resumed(h.readers, killed) - (ready - killed))
    return h.check(outcome)


NODE_FAULTS: dict[SeveralScenario, tuple[int, int]] = {  # size in tests, and in the long run
    reader_node_killed: (4, 50),
    writer_killed: (4, 50),
    writer_frozen: (4, 50),
    all_away: (4, 50),
}
