"""Faults of what a server stands on: a damaged index, no descriptors, no memory, a loop that stands still, and all of
them at random for a while.
"""

from __future__ import annotations

import asyncio
import random
import resource
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from builds_made import DAMAGES, saying
from prometheus_client.parser import text_string_to_metric_families

from zantara_stream.retrieval.manifest import current_build as current
from zantara_stream.retrieval.manifest import make_current

from . import checker
from .client import Reader, narrow
from .house import House, Outcome, Scenario, house, undoubled, until
from .node import BLOCKED
from .supervised import supervisor
from .upstream import BREAKS, text_of

DESCRIPTORS = 64
ROOM = 48 << 20  # bytes that a server may take beyond what it has


async def damaged(folder: Path, index: Path, size: int) -> Outcome:
    """Row 12: builds damaged in every way and in any byte range are put in place; the one before goes on."""
    own = folder / "index"
    await asyncio.to_thread(shutil.copytree, index, own)
    build = current(own).name
    draw = random.Random(size)
    damages = draw.sample(sorted(DAMAGES.items()), min(size, len(DAMAGES)))
    async with house(folder / "node", own) as h:
        tasks = h.ask(size)
        outcome = Outcome("12", "index damaged", size, size)
        for name, damage in damages:
            await asyncio.to_thread(damage, own)
            h.node.signal(signal.SIGHUP)
            await until_refused(h)
            outcome.need(await _build(h) == build, f"{name}: another build is served")
            if not own.exists():
                await asyncio.to_thread(shutil.copytree, index, own)
            await asyncio.to_thread(make_current, own, build)
            h.node.signal(signal.SIGHUP)
            await until_refused(h, refused=False)
        await asyncio.gather(*tasks)
        outcome.notes = f"{len(damages)} damaged builds refused: " + ", ".join(sorted(name for name, _ in damages)[:5])
        outcome.notes += " …" * (len(damages) > 5)
        return h.check(outcome)


async def until_refused(h: House, *, refused: bool = True) -> None:
    """Wait until `/ready` says that the build that is current by name is refused, or is not any more."""
    async with asyncio.timeout(30):
        while ("refused" in await _ready(h)) != refused:  # noqa: ASYNC110 (it is in another process)
            await asyncio.sleep(0.02)


async def _ready(h: House) -> dict[str, object]:
    async with h.session.get(f"{h.node.url}/ready") as response:
        said: dict[str, object] = await response.json()
        return said


async def _build(h: House) -> object:
    return (await _ready(h)).get("build")


async def few_descriptors(folder: Path, index: Path, size: int) -> Outcome:
    """Row 14: no more than 64 descriptors, and more readers than that: some wait, none is lost, and it recovers."""

    def limit(pid: int) -> Callable[[], object]:
        was = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, was[1]))
        return lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, was)

    return await _exhausted(folder, index, size, f"at most {DESCRIPTORS} descriptors", limit)


async def little_memory(folder: Path, index: Path, size: int) -> Outcome:
    """Row 14: no more memory to be had than there is, and some."""

    def limit(pid: int) -> Callable[[], object]:
        was = resource.prlimit(pid, resource.RLIMIT_AS)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, was[1]))
        return lambda: resource.prlimit(pid, resource.RLIMIT_AS, was)

    return await _exhausted(folder, index, size, f"{ROOM >> 20} MiB more memory at most", limit)


async def _exhausted(
    folder: Path, index: Path, size: int, what: str, limit: Callable[[int], Callable[[], object]]
) -> Outcome:
    async with house(folder, index, pace=0.05) as h:
        first = h.ask(2)
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        pid = h.node.pid
        mend = limit(pid)
        crowd = await _crowd(h.node.port, size)
        others = h.ask(size)
        await asyncio.gather(*first)  # who has come before goes on
        for one in crowd:
            one.close()
        mend()
        async with asyncio.timeout(60):
            await asyncio.gather(*others)
            await h.node.until_ready(200)
        outcome = Outcome("14", what, size + 2, size + 2, h.upstream.requests)
        outcome.need(h.node.pid == pid, "it has ended")
        failed = sum(_ends_well_or_retryable(outcome, reader) for reader in h.readers[2:])
        for reader in h.readers[:2]:
            outcome.need(checker.text(reader.received) == text_of(reader.query), "one who had come before got less")
        outcome.notes = f"{size} idle connections beside the readers, of whom {failed} were told to ask again"
        journal = checker.journalled(h.node.journal)
        for reader in h.readers:
            outcome.problems += checker.problems(reader.received, journal)
        outcome.need(checker.unfinished(h.node.journal) == 0, "answers without an end")
        return outcome


def _ends_well_or_retryable(outcome: Outcome, reader: Reader) -> bool:
    """Whether it ended in an error: what there is nothing left for may be asked again, and nothing wrong is said."""
    text = checker.text(reader.received)
    ((_, _, end),) = [b for b in checker.blocks(b"".join(reader.received)) if b[2].get("done")][-1:]
    outcome.need(text_of(reader.query).startswith(text), f"another text of {reader.query}")
    outcome.need("error" not in end or end["retryable"], f"ends with {end}")
    outcome.need("error" in end or text == text_of(reader.query), f"not the whole text of {reader.query}")
    return "error" in end


async def flooded(folder: Path, index: Path, size: int) -> Outcome:
    """Row 7: half requests and idle connections, ten times as many as may be, are closed; nobody waits for them."""
    async with house(folder, index, pace=0.01, size=160, max_connections=max(size // 10, 20)) as h:
        (task,) = h.ask(1, name="Long question")
        (other,) = h.readers
        await until(lambda: len(other.arrivals) > 100)
        alone = len(other.arrivals)
        crowd = await _crowd(h.node.port, size)
        for one in crowd[::2]:
            await asyncio.get_running_loop().sock_sendall(one, b"GET /bali-zero/chat-stream?query=Half HTTP/1.1\r\nHo")
        began = time.monotonic()
        await asyncio.gather(*(_closed(one) for one in crowd))
        took = time.monotonic() - began
        await asyncio.gather(*h.ask(1, name="Short question"))
        await task
        outcome = h.check(Outcome("7", f"{size} half requests and idle connections", 2, 2))
        outcome.need(took < 30, f"they were closed after {took:.0f} s")  # on the busiest machine
        outcome.need_in_time(took < 10 + 3, f"they were closed after {took:.0f} s")
        outcome.notes = f"all closed after {took:.0f} s; {undoubled(outcome, other, alone)}"
        return outcome


async def _closed(one: socket.socket) -> None:
    """Read until the server has closed it."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while await loop.sock_recv(one, 1000):
            pass
    one.close()


async def _crowd(port: int, size: int) -> list[socket.socket]:
    """Connections on which nothing is asked."""
    loop = asyncio.get_running_loop()
    crowd = [narrow() for _ in range(size)]
    for one in crowd:
        await loop.sock_connect(one, ("127.0.0.1", port))
    return crowd


async def blocked(folder: Path, index: Path, size: int) -> Outcome:
    """Row 15: the event loop stands still: a pause for everybody, seen in the lag that is measured.

    A supervisor hears nothing of it meanwhile, and would start it anew.
    """
    async with supervisor() as held, house(folder, index, pace=0.05, held=held) as h:
        tasks = h.ask(size, name="Short question")
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        h.node.signal(signal.SIGUSR2)
        await asyncio.gather(*tasks)
        lag = await _sample(h, "zantara_event_loop_lag_seconds_sum")
        outcome = Outcome("15", f"loop blocked for {BLOCKED:g} s", size, size, notes=f"lag of {lag:.1f} s measured")
        outcome.need(lag > BLOCKED * 0.8, f"only {lag:.1f} s of lag were measured")
        outcome.need(held.silence > BLOCKED * 0.8, f"signs of life after {held.silence:.1f} s at most")
        outcome.notes += f", and no sign of life for {held.silence:.1f} s"
        return h.check(outcome)


async def _sample(h: House, name: str) -> float:
    """The sum of the samples of that name at `/metrics`."""
    async with h.session.get(f"{h.node.url}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


async def soaked(folder: Path, index: Path, size: int) -> Outcome:
    """Row 26: question after question while faults are drawn at random; at the end nothing is left of them."""
    draw = random.Random(size)
    own = folder / "index"
    await asyncio.to_thread(shutil.copytree, index, own)
    build = current(own).name

    async with house(folder / "node", own, drain=0.5) as h:

        async def kill() -> None:
            await h.node.kill()
            await h.node.start()

        async def terminate() -> None:
            h.node.signal(signal.SIGTERM)
            await h.node.stopped()
            await h.node.start()

        async def freeze() -> None:
            h.node.signal(signal.SIGSTOP)
            await asyncio.sleep(1)
            h.node.signal(signal.SIGCONT)

        async def break_off() -> None:
            h.upstream.breaks += draw.sample(BREAKS, 2)

        async def damage() -> None:
            await asyncio.to_thread(saying(passages=7), own)
            h.node.signal(signal.SIGHUP)
            await until_refused(h)
            await asyncio.to_thread(make_current, own, build)
            h.node.signal(signal.SIGHUP)
            await until_refused(h, refused=False)

        faults: list[Callable[[], Awaitable[None]]] = [kill, terminate, freeze, break_off, damage]
        done = draw.choices(faults, k=size)
        tasks = []
        for fault in done:
            tasks += h.ask(5, each=2, cut=lambda: draw.choice([0, draw.randint(1, 3000)]))
            await asyncio.sleep(draw.uniform(0.1, 0.6))
            await fault()
        await asyncio.gather(*tasks)
        outcome = Outcome("26", "all at random", 5 * size, 10 * size)
        counts = {fault.__name__: done.count(fault) for fault in faults}
        outcome.notes = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        await _quiet(h, outcome)
        return h.check(outcome, mended=len(done))


async def _quiet(h: House, outcome: Outcome) -> None:
    """See that a server to which nothing is done holds nothing: and that more of the same takes no more memory."""
    tasks = h.ask(20, name="Short question")
    await asyncio.gather(*tasks)
    outcome.answers += 20
    outcome.readers += 20
    before = h.node.memory
    for _ in range(3):
        tasks = h.ask(20, name="Short question")
        await asyncio.gather(*tasks)
        outcome.answers += 20
        outcome.readers += 20
    more = h.node.memory - before
    outcome.need(more < 8 << 10, f"{more} KiB more resident after 60 more answers")
    await _nothing_is_held(h, outcome)


async def _nothing_is_held(h: House, outcome: Outcome) -> None:
    began = time.monotonic()
    names = ("zantara_connections", "zantara_answers_running")
    while any([await _sample(h, name) for name in names]) and time.monotonic() - began < 10:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    for name in names:
        outcome.need(await _sample(h, name) == 0, f"{name} is not 0 when nobody asks")


EXHAUSTION: dict[Scenario, tuple[int, int]] = {  # size in tests, and in the long run
    damaged: (5, 40),
    flooded: (60, 2000),
    few_descriptors: (60, 300),
    little_memory: (20, 200),
    blocked: (5, 50),
    soaked: (3, 60),
}
