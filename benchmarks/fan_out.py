"""Fan-out: one answer read by many, and what each reader's chunk costs.

    python -m benchmarks.fan_out [--readers 1 100 500] [--seconds 6] [--rounds 2]

A stand-in of the model writes 40 chunks a second to one answer, and its readers join it one after the other, by its
continuity id, from its beginning. The server has one core, the stand-in and the readers another. Once all have joined,
so many seconds are measured: chunks that readers got for each CPU second of the server's process, the share of a core
that it took, and the milliseconds from the stand-in's sending a chunk to its being read. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.loop import run
from benchmarks.paced_upstream import RATE
from benchmarks.servers import LOAD, Process, ours, upstream
from benchmarks.streams import Readings, open_streams

READERS = (1, 100, 500)
JOINING = 100  # readers a second
SETTLING = 1.0  # seconds between the last reader and what is measured


@dataclass(frozen=True, slots=True)
class FannedOut:
    """What readers of one answer got: chunks a CPU second, percent of a core, milliseconds, and the part in time."""

    chunks: float
    busy: float
    late_p50: float
    late_p99: float
    done: float


async def fan_out(server: Process, readers: int, seconds: float) -> FannedOut:
    """Let them all read one answer, and measure."""
    chunks = int((readers / JOINING + SETTLING + seconds + 5) * RATE)
    question = f"What does a permit cost, and who pays for it? chunks={chunks}"
    readings = Readings()
    connections = await open_streams(server.url, [question] * readers, JOINING, readings, continuity="fan-out")
    await asyncio.sleep(SETTLING)
    began, cpu = time.monotonic(), server.cpu
    await asyncio.sleep(seconds)
    ended, cpu = time.monotonic(), server.cpu - cpu
    late = readings.during(began, ended)
    for connection in connections:
        connection.abort()
    assert not readings.wrong, readings.wrong[0]
    assert not readings.disordered, f"{readings.disordered} chunks were not the next one"
    cuts = quantiles(late, n=100)
    due = readers * RATE * (ended - began)
    return FannedOut(len(late) / cpu, 100 * cpu / (ended - began), cuts[49] * 1e3, cuts[98] * 1e3, len(late) / due)


def measure(readers: int, seconds: float, rounds: int) -> FannedOut:
    """The medians of the rounds, each with a fresh server."""
    found = []
    for number in range(rounds):
        print(f"round {number + 1}: {readers} readers", end="\033[K\r", file=sys.stderr, flush=True)
        with upstream() as model, ours(model.url, max_readers="100000", max_connections="100000") as server:
            found.append(run(fan_out(server, readers, seconds)))
    print(end="\033[K", file=sys.stderr)
    return FannedOut(*(median(getattr(one, field) for one in found) for field in FannedOut.__slots__))


def lines(all_readers: Sequence[int] = READERS, seconds: float = 6, rounds: int = 2) -> list[str]:
    """The table: a line for each number of readers."""
    table = [f"{'readers':>8}{'chunks/CPU s':>14}{'core %':>8}{'late p50':>10}{'p99 ms':>8}{'done':>7}"]
    for readers in all_readers:
        one = measure(readers, seconds, rounds)
        table.append(
            f"{readers:8}{one.chunks:14.0f}{one.busy:8.1f}{one.late_p50:10.1f}{one.late_p99:8.1f}{one.done:7.0%}"
        )
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, nargs="+", default=READERS)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.sched_setaffinity(0, LOAD)
    print("\n".join(lines(options.readers, options.seconds, options.rounds)))


if __name__ == "__main__":
    main()
