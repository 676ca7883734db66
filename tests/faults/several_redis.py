"""Faults of the Redis that several nodes share: killed and back, away from one node, gone for good."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

from . import checker
from .client import STREAM, Reader
from .house import Outcome, until
from .several import FRONT, NODES, Several, SeveralScenario
from .several_nodes import BUSIEST, FENCED, LONG, PACE, need_taken_over, resumed, settled

PAUSE = 5.0  # seconds that readers may see nothing
NOT_READY = 5.0  # seconds within which a node says that it cannot reach the journal


async def redis_killed(h: Several, size: int) -> Outcome:
    """Row 22: Redis is killed and started again over its append-only file."""
    await h.begin(PACE)
    outcome = Outcome("22", "Redis killed and restarted (AOF)", size, 3 * size)
    tasks = await h.ask(size, 0, 1, 2)
    outcome.need(h.running == size, f"only {h.running} answers ran when it was killed")
    h.redis.kill()
    await asyncio.sleep(1)
    await asyncio.to_thread(h.redis.start)
    await asyncio.gather(*tasks)
    need_short_pause(outcome, h)
    return h.check(outcome)


def need_short_pause(outcome: Outcome, h: Several) -> None:
    """See that nobody saw nothing for too long."""
    pause = max(later - earlier for reader in h.readers for earlier, later in pairwise(reader.arrivals))
    said = f"readers saw nothing for {pause:.1f} s at most"
    outcome.notes += said
    outcome.need_in_time(pause < PAUSE, said)
    outcome.need(pause < BUSIEST, said)


async def line_cut(h: Several, size: int) -> Outcome:
    """Row 23: the node that writes cannot reach Redis, the others can."""
    seconds = 30.0 if size >= LONG else 2 * h.lease + 2
    await h.begin(PACE)
    outcome = Outcome("23", f"Redis unreachable from the writing node for {seconds:g} s", size, 3 * size)
    before = await h.sample(FENCED, 0)
    tasks = await h.ask(size, 0, 1, 2)
    outcome.need(h.running == size, f"only {h.running} answers ran when it was cut off")
    moment = time.time()
    h.lines[0].cut()
    await _not_ready(h, outcome, 0)
    await h.taken_over()
    await asyncio.sleep(moment + seconds - time.time())
    h.lines[0].mend()
    await asyncio.wait_for(h.nodes[0].until_ready(200), BUSIEST)
    await asyncio.gather(*tasks)
    await settled(h, 0)
    need_taken_over(outcome, h, resumed(h.readers, moment))
    outcome.notes += f"; {await h.sample(FENCED, 0) - before:g} appends refused"
    return h.check(outcome)


async def _not_ready(h: Several, outcome: Outcome, *places: int) -> None:
    """See that these nodes say soon enough that they are not ready."""
    began = time.monotonic()
    await asyncio.wait_for(asyncio.gather(*(h.nodes[place].until_ready(503) for place in places)), BUSIEST)
    took = time.monotonic() - began
    said = f"not ready after {took:.1f} s"
    outcome.notes += f"{said}; "
    outcome.need_in_time(took < NOT_READY, said)


async def redis_gone(h: Several, size: int) -> Outcome:
    """Row 22: Redis does not come back: everybody is told, and nothing hangs. Then it does after all."""
    await h.begin(PACE)
    outcome = Outcome("22", "Redis gone for good", size, 2 * size)
    tasks = await h.ask(size, 0, 1)
    outcome.need(h.running == size, f"only {h.running} answers ran when it was killed")
    h.redis.kill()
    await _not_ready(h, outcome, *range(NODES))
    began = time.monotonic()
    await until(lambda: all(map(_told, h.readers)))
    outcome.notes += f"readers were told after {time.monotonic() - began:.1f} s"
    for place in (*range(NODES), FRONT):
        await _refuses(h, outcome, place)
    await asyncio.to_thread(h.redis.start)
    await asyncio.gather(*tasks)
    return h.check(outcome)


def _told(reader: Reader) -> bool:
    """Whether a reader was told that nothing comes just now."""
    said = b"".join(reader.received)
    return b'"code":"journal_unavailable"' in said or b"event: unavailable" in said


async def _refuses(h: Several, outcome: Outcome, place: int) -> None:
    """See that a new question is refused for now, in both forms, within a bounded time."""
    async with asyncio.timeout(BUSIEST):
        async with h.session.post(f"{h.url(place)}/bali-zero/chat", json={"query": "New?"}) as response:
            said = await response.json()
        codes = ("journal_unavailable", "draining") if place == FRONT else ("journal_unavailable",)
        outcome.need(response.status == 503 and said["code"] in codes and said["retryable"], f"a new question: {said}")
        address, headers = f"{h.url(place)}{STREAM}", {"Accept": "text/event-stream"}
        async with h.session.get(address, params={"query": "New?"}, headers=headers) as response:
            ((event, _, said),) = checker.blocks(await response.read())
        outcome.need(
            (response.status, event) == (200, "unavailable"), f"a new stream: {response.status} {event} {said}"
        )


REDIS_FAULTS: dict[SeveralScenario, tuple[int, int]] = {  # size in tests, and in the long run
    redis_killed: (4, 50),
    line_cut: (4, 50),
    redis_gone: (2, 20),
}
