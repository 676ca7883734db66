"""A steady load for an hour: whether memory, descriptors or the event loop's lag grow.

    python -m benchmarks.soak [--minutes 60] [--streams 100] [--swap 60]

So many readers ask one question after the other; a stand-in of the model answers each with 40 chunks a second for two
to six seconds. A fifth of the readers leave half way for good, a fifth break off and come back with their last event's
id; of all it is checked that no event is missing or doubled. Finished answers are kept for a minute, and every `--swap`
seconds (0: never) another build of the index is made current. Every 5 s /metrics, the process's memory and its
descriptors are read. The server has one core, the load another.

Printed are the figures, and whatever is broken of the bounds below; then the exit code is 1. Memory grows until answers
are forgotten as fast as they are asked, so a run of a few minutes breaks the bound on memory without telling anything.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree
from statistics import linear_regression
from urllib.parse import quote, urlsplit

from benchmarks.loop import run
from benchmarks.loop_lag import next_build
from benchmarks.paced_upstream import RATE
from benchmarks.scrape import Buckets, descriptors, quantile, scrape, since
from benchmarks.servers import LOAD, MEASURED, Process, ours, sample_index, upstream
from benchmarks.streams import PATH
from zantara_stream.retrieval.builds import prune

MINUTES, STREAMS, SWAP = 60.0, 100, 60.0
RETENTION = "60"  # seconds
EVERY = 5.0  # seconds between two readings
LASTING = (2, 6)  # seconds of an answer
LEAVING, RETURNING = 0.2, 0.2  # shares of the questions
AWAY = 0.5  # seconds
AFTERWARDS = 40.0  # seconds that answers and connections may take to end

LAG_P99 = 0.020  # seconds
MORE_DESCRIPTORS = 20
MORE_MEMORY = 50.0  # MiB an hour

_ID = re.compile(rb"^id: ([\w-]+)\.([0-9]+)$", re.MULTILINE)
_CHUNK = b'data: {"text":'
_DONE = b'data: {"done":true'


@dataclass(slots=True)
class Seen:
    """What the readers saw."""

    asked: int = 0
    left: int = 0
    returned: int = 0
    finished: int = 0
    chunks: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Stream:
    """One answer as a reader knows it."""

    question: str
    answer: str = ""
    offset: int = 0
    chunks: int = 0
    done: bool = False

    def request(self, host: str) -> bytes:
        """What asks for it, or for the rest of it."""
        resumed = f"Last-Event-ID: {self.answer}.{self.offset}\r\n" if self.answer else ""
        return f"GET {PATH}?query={quote(self.question)} HTTP/1.1\r\nHost: {host}\r\n{resumed}\r\n".encode()

    def take(self, lines: bytes) -> None:
        """Take whole lines. Raises `ValueError` where one is not what follows."""
        for answer, number in _ID.findall(lines):
            name, offset = answer.decode(), int(number)
            if not self.answer:
                self.answer = name
            elif name != self.answer or offset not in (self.offset, self.offset + 1):
                raise ValueError(f"{name}.{offset} followed {self.answer}.{self.offset}")
            self.offset = offset
        self.chunks += lines.count(_CHUNK)
        self.done = self.done or _DONE in lines


async def follow(url: str, stream: Stream, most: int) -> None:
    """Read the stream to its end, or until so many chunks of it have come. Raises `ValueError`, `OSError`."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(stream.request(address.netloc))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(head.decode())
        rest = b""
        while not stream.done and stream.chunks < most:
            piece = await asyncio.wait_for(reader.read(2**16), 20)
            if not piece:
                raise ValueError(f"{stream.answer} broke off after {stream.offset}")
            whole, end, rest = (rest + piece).rpartition(b"\n")
            stream.take(whole + end)
    finally:
        writer.transport.abort()


async def ask(url: str, seen: Seen, chance: random.Random) -> None:
    """Ask one question, and leave or come back as it may chance."""
    chunks = chance.randint(*(seconds * RATE for seconds in LASTING))
    stream = Stream(f"What does a permit cost, and who pays for it? chunks={chunks} n={seen.asked}")
    fate = chance.random()
    half = chunks // 2 if fate < LEAVING + RETURNING else chunks + 1
    seen.asked += 1
    try:
        await follow(url, stream, half)
        if LEAVING <= fate < LEAVING + RETURNING:
            await asyncio.sleep(AWAY * chance.random())
            seen.returned += 1
            await follow(url, stream, chunks + 1)
        if fate < LEAVING:
            seen.left += 1
        elif stream.chunks != chunks:
            raise ValueError(f"{stream.answer} had {stream.chunks} chunks in place of {chunks}")
        else:
            seen.finished += 1
    except (OSError, ValueError, EOFError) as error:
        seen.wrong.append(f"{stream.question}: {error!r}")
        await asyncio.sleep(1)
    seen.chunks += stream.chunks


async def asker(url: str, until: float, seen: Seen, chance: random.Random) -> None:
    """Ask one question after the other."""
    await asyncio.sleep(chance.random() * LASTING[1])
    while time.monotonic() < until:
        await ask(url, seen, chance)


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at one moment: seconds since the load began, KiB, descriptors, answers being written, its lag."""

    at: float
    memory: int
    descriptors: int
    running: int
    lag: Buckets


def sample(server: Process, began: float) -> Sample:
    """Read it now."""
    told = scrape(server)
    running = int(told.total("zantara_answers_running"))
    lag = told.buckets("zantara_event_loop_lag_seconds")
    return Sample(time.monotonic() - began, server.memory, descriptors(server), running, lag)


async def sampling(server: Process, began: float, until: float, samples: list[Sample]) -> None:
    """Read it again and again."""
    while (now := time.monotonic()) < until:
        samples.append(await asyncio.to_thread(sample, server, began))
        told = f"{(now - began) / 60:.1f} min, {samples[-1].memory / 1024:.1f} MiB, {samples[-1].running} running"
        print(told, end="\033[K\r", file=sys.stderr, flush=True)
        await asyncio.sleep(now + EVERY - time.monotonic())


async def swapping(index: Path, every: float) -> None:
    """Make another build current again and again, until cancelled."""
    while every:
        await asyncio.sleep(every)
        await asyncio.to_thread(next_build, index)
        await asyncio.to_thread(prune, index)


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a run found: readings under load, one before it and one after it, and what readers saw."""

    before: Sample
    samples: list[Sample]
    after: Sample
    seen: Seen

    @property
    def settled(self) -> int:
        """KiB after the first tenth."""
        return self.samples[len(self.samples) // 10].memory

    @property
    def growth(self) -> float:
        """KiB a minute over the second half."""
        half = self.samples[len(self.samples) // 2 :]
        return linear_regression([one.at / 60 for one in half], [one.memory for one in half]).slope

    def lag(self, share: float) -> float:
        """The seconds of lag that this share did not exceed while there was load."""
        return quantile(since(self.samples[-1].lag, self.before.lag), share)


async def soak(server: Process, index: Path, minutes: float, streams: int, swap: float) -> Soaked:
    """The load, and what is read beside it."""
    seen, samples, chance = Seen(), list[Sample](), random.Random(1)
    await ask(server.url, Seen(), random.Random(0))  # so that what is opened at the first question is open
    before = await asyncio.to_thread(sample, server, time.monotonic())
    began = time.monotonic()
    until = began + 60 * minutes
    swaps = asyncio.create_task(swapping(index, swap))
    await asyncio.gather(
        sampling(server, began, until, samples),
        *(asker(server.url, until, seen, random.Random(chance.random())) for _ in range(streams)),
    )
    swaps.cancel()
    return Soaked(before, samples, await _afterwards(server, began, before), seen)


async def _afterwards(server: Process, began: float, before: Sample) -> Sample:
    """The server once it is at rest, or after some time."""
    waited = time.monotonic() + AFTERWARDS
    while True:
        last = await asyncio.to_thread(sample, server, began)
        rests = not last.running and last.descriptors <= before.descriptors
        if rests or time.monotonic() > waited:
            return last
        await asyncio.sleep(1)


@contextmanager
def copied_index() -> Iterator[Path]:
    """A copy of the sample documents' index, to make builds in."""
    with tempfile.TemporaryDirectory() as folder:
        copytree(sample_index(), out := Path(folder) / "index")
        yield out


def measure(minutes: float = MINUTES, streams: int = STREAMS, swap: float = SWAP) -> Soaked:
    """A fresh server under that load."""
    with (
        copied_index() as index,
        upstream() as model,
        ours(model.url, MEASURED, index=str(index), retention=RETENTION, log_level="warning") as server,
    ):
        return run(soak(server, index, minutes, streams, swap))


def lines(found: Soaked) -> list[str]:
    """The table."""
    seen = found.seen
    rows = {
        "memory after the first tenth, MiB": f"{found.settled / 1024:.1f}",
        "memory at the end of the load, MiB": f"{found.samples[-1].memory / 1024:.1f}",
        "growth in the second half, KiB a minute": f"{found.growth:.1f}",
        "descriptors before the load, under it, after": (
            f"{found.before.descriptors}, {max(one.descriptors for one in found.samples)}, {found.after.descriptors}"
        ),
        "answers running under the load, after": (
            f"{max(one.running for one in found.samples)}, {found.after.running}"
        ),
        "event-loop lag p50, p99, ms": f"{found.lag(0.5) * 1e3:.2f}, {found.lag(0.99) * 1e3:.2f}",
        "chunks delivered": f"{seen.chunks}",
        "questions asked, finished, left, come back to": (
            f"{seen.asked}, {seen.finished}, {seen.left}, {seen.returned}"
        ),
        "streams that went wrong": f"{len(seen.wrong)}",
    }
    return [f"{name:48}{value:>24}" for name, value in rows.items()]


def broken(found: Soaked) -> list[str]:
    """The bounds that do not hold."""
    hour = found.growth * 60 / 1024
    more = found.after.descriptors - found.before.descriptors
    bounds = {
        f"the event loop's lag is {found.lag(0.99) * 1e3:.1f} ms at p99": found.lag(0.99) < LAG_P99,
        f"{more} more descriptors than before": more <= MORE_DESCRIPTORS,
        f"memory grows by {hour:.0f} MiB an hour": hour <= MORE_MEMORY,
        f"{found.after.running} answers are left running": not found.after.running,
        f"{len(found.seen.wrong)} streams went wrong, such as {found.seen.wrong[:1]}": not found.seen.wrong,
    }
    return [what for what, holds in bounds.items() if not holds]


def main() -> None:
    """Print the table and what is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--swap", type=float, default=SWAP, metavar="SECONDS")
    options = parser.parse_args()
    os.sched_setaffinity(0, LOAD)
    found = measure(options.minutes, options.streams, options.swap)
    print(end="\033[K", file=sys.stderr)
    print("\n".join(lines(found)))
    failures = broken(found)
    print("\n".join(f"BROKEN: {failure}" for failure in failures), end="\n" if failures else "")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
