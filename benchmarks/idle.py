"""Silent streams: what an open connection costs while nothing happens on it but heartbeats.

    python -m benchmarks.idle [--readers 10000] [--answers 1000] [--seconds 32]

Twice, each with a fresh server on a core of its own: so many readers of a few answers, and then readers who each have
an answer of their own, and so a connection to the model. The stand-in of the model sends one chunk to each answer and
then nothing; the server is set to wait for it for an hour. Shown are the KiB by which the server's process has grown
for each stream (what the kernel has for its connections is not in it), the CPU milliseconds that opening one took, and
the percentage of a core that the server took before there were any ("empty") and in so many seconds of silence
("idle"); in 32 s each stream gets two heartbeats. "Lost" are streams that were cut off, of which there should be none.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import time
from dataclasses import dataclass

from benchmarks.loop import run
from benchmarks.scrape import descriptors, scrape
from benchmarks.servers import LOAD, MEASURED, Process, ours, upstream
from benchmarks.streams import Readings, open_streams

READERS, ANSWERS, SECONDS = 10_000, 1000, 32.0
SHARED = 10  # answers that all the readers have
JOINING, ASKING = 500, 50  # readers a second who join an answer, and who ask for one
EMPTY, SETTLING = 5.0, 2.0  # seconds before the first stream, and after the last
SPARE = 200  # descriptors of a process beside its streams
MOST = "1000000"
MANY = {
    "max_answers": MOST,
    "max_connections": MOST,
    "max_readers": MOST,
    "first_token_timeout": "3600",
    "token_timeout": "3600",
}


@dataclass(frozen=True, slots=True)
class Silent:
    """What streams cost: KiB and CPU seconds of each, descriptors of all, heartbeats of each, parts of a core."""

    readers: int
    answers: int
    memory: float
    opening: float
    descriptors: int
    heartbeats: float
    empty: float
    busy: float
    lost: int  # streams that were cut off


def allow(streams: int) -> None:
    """Let this process and those that it starts have so many connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < streams + SPARE:
        raise SystemExit(
            f"{streams} streams need {streams + SPARE} descriptors, and this system allows a process {most}: "
            "raise the hard limit (ulimit -Hn), or measure fewer."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def taken(server: Process, seconds: float) -> float:
    """The part of a core that it takes in that time."""
    began, cpu = time.monotonic(), server.cpu
    await asyncio.sleep(seconds)
    return (server.cpu - cpu) / (time.monotonic() - began)


async def silence(server: Process, readers: int, answers: int, seconds: float) -> Silent:
    """Open the streams, and measure while nothing comes."""
    empty = await taken(server, EMPTY)
    readings, before, held, cpu = Readings(), server.memory, descriptors(server), server.cpu
    connections: list[asyncio.Transport] = []
    own = readers == answers
    for answer in range(1 if own else answers):
        some = readers // (1 if own else answers)
        numbers = range(some) if own else [answer] * some
        questions = [f"What does a permit cost? chunks=2 rate=0.0001 n={number}" for number in numbers]
        continuity = "" if own else f"silent-{answer}"
        connections += await open_streams(server.url, questions, ASKING if own else JOINING, readings, continuity)
    await asyncio.sleep(SETTLING)
    opening, memory = (server.cpu - cpu) / readers, (server.memory - before) / readers
    pings, busy = readings.pings, await taken(server, seconds)
    pings = readings.pings - pings
    now = await asyncio.to_thread(scrape, server)
    assert not readings.wrong, readings.wrong[0]
    lost = readings.ended
    assert now.total("zantara_connections") == readers - lost, "the server counts other streams than there are"
    assert len(readings.late) == readers, f"{len(readings.late)} chunks"
    more = descriptors(server) - held
    for connection in connections:
        connection.abort()
    running = int(now.total("zantara_answers_running"))
    return Silent(readers, running, memory, opening, more, pings / readers, empty, busy, lost)


def measure(readers: int, answers: int, seconds: float) -> Silent:
    """A fresh server's figures."""
    with upstream() as model, ours(model.url, MEASURED, 1, **MANY) as server:
        return run(silence(server, readers, answers, seconds))


def lines(readers: int = READERS, answers: int = ANSWERS, seconds: float = SECONDS) -> list[str]:
    """The table: a line for readers of a few answers, and one for readers with an answer of their own."""
    allow(max(readers, 2 * answers))
    table = [
        f"{'readers':>8}{'answers':>9}{'KiB each':>10}{'to open, CPU ms':>17}{'descriptors':>13}"
        f"{'heartbeats':>12}{'empty core %':>14}{'idle core %':>13}{'lost':>6}"
    ]
    for one in (measure(readers, min(SHARED, readers), seconds), measure(answers, answers, seconds)):
        table.append(
            f"{one.readers:8}{one.answers:9}{one.memory:10.1f}{one.opening * 1e3:17.2f}{one.descriptors:13}"
            f"{one.heartbeats:12.2f}{100 * one.empty:14.2f}{100 * one.busy:13.2f}{one.lost:6}"
        )
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument("--answers", type=int, default=ANSWERS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    os.sched_setaffinity(0, LOAD)
    print("\n".join(lines(options.readers, options.answers, options.seconds)))


if __name__ == "__main__":
    main()
