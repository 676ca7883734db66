"""Another Redis leads: what the one before had acknowledged and not passed on is written again, or is a gap."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from . import checker
from .house import Outcome, Scenario, until
from .several import Several, several
from .several_nodes import LONG, PACE
from .several_redis import need_short_pause


async def failed_over(folder: Path, index: Path, size: int) -> Outcome:
    """Row 22: the leading Redis is killed, and its replica lacks the last entries; who wrote them writes them again."""
    async with several(folder, index, _lease(size), with_replica=True) as h:
        outcome = Outcome("22", "Redis failed over, last entries lost", size, 3 * size)
        await _fail_over(h, outcome)
        need_short_pause(outcome, h)
        gaps = sum(checker.after_gap(reader.received) is not None for reader in h.readers)
        outcome.notes += f"; {gaps} readers saw a gap"
        return h.check(outcome)


async def failed_over_and_killed(folder: Path, index: Path, size: int) -> Outcome:
    """Row 22: so is the node that wrote them: nobody has them any more, and readers get a gap, never another text."""
    async with several(folder, index, _lease(size), with_replica=True) as h:
        outcome = Outcome("22", "Redis failed over and writing node killed, last entries lost", size, 3 * size)
        await _fail_over(h, outcome, and_kill=True)
        gaps = sum(checker.after_gap(reader.received) is not None for reader in h.readers)
        outcome.notes = f"{gaps} readers saw a gap"
        outcome.need(gaps, "nothing was lost, or nobody was told")
        return h.check(outcome)


def _lease(size: int) -> float:
    return 5.0 if size >= LONG else 1.0


async def _fail_over(h: Several, outcome: Outcome, *, and_kill: bool = False) -> None:
    """Let Redis acknowledge what its replica does not get, and kill it."""
    three = h.replicated
    assert three is not None
    await h.begin(PACE)
    tasks = await h.ask(outcome.answers, 0, 1, 2)
    outcome.need(h.running == outcome.answers, f"only {h.running} answers ran when it was killed")
    three.replica.signal(signal.SIGSTOP)
    seen = [len(reader.arrivals) for reader in h.readers]
    await until(lambda: all(len(r.arrivals) > n + 3 for r, n in zip(h.readers, seen, strict=True)))
    three.leader.kill()
    if and_kill:
        await h.nodes[0].kill()
    three.replica.signal(signal.SIGCONT)
    await asyncio.to_thread(three.await_failover)
    h.redis = three.replica
    await asyncio.gather(*tasks)


FAILOVERS: dict[Scenario, tuple[int, int]] = {failed_over: (4, 50), failed_over_and_killed: (4, 50)}
