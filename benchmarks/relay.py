"""The relay: chunks a CPU second, how late they are, and what a stream costs, beside what one would write by hand.

    python -m benchmarks.relay [--streams 100 400] [--seconds 8] [--rounds 3] [--only NAME ...]

A stand-in of the model writes 40 chunks a second to each stream, through the SDK and the journal to one reader each.
The server has one core, the stand-in and the readers another. Questions are asked 25 a second, and once all are under
way, so many seconds are measured: chunks that readers got for each CPU second of the server's process, and the
milliseconds from the stand-in's sending a chunk to its being read. "First" is from asking to the first chunk, of which
the stand-in takes nothing. The servers take turns, round by round; medians of the rounds are printed.

"FastAPI + sse-starlette" and "aiohttp-sse" have the SDK's text stream, and no journal, log, search, citations or
limits; "byte pump" does nothing but pass the model's bytes on, over aiohttp.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.loop import run
from benchmarks.paced_upstream import RATE
from benchmarks.servers import CONTENDERS, LOAD, Process, contender, ours, upstream
from benchmarks.streams import Readings, open_streams

OURS = "Zantara Stream"
ASKED = 25  # questions a second
SETTLING = 1.0  # seconds between the last question and what is measured


@dataclass(frozen=True, slots=True)
class Relayed:
    """What one server did: chunks a CPU second, milliseconds, KiB, and the part of the chunks that came in time."""

    chunks: float
    late_p50: float
    late_p99: float
    first_p50: float
    first_p99: float
    memory: float
    done: float


async def relay(server: Process, streams: int, seconds: float) -> Relayed:
    """Open the streams and measure."""
    chunks = int((streams / ASKED + SETTLING + seconds + 5) * RATE)
    readings, empty = Readings(), server.memory
    questions = [f"What does a permit cost, and who pays for it? chunks={chunks} n={n}" for n in range(streams)]
    connections = await open_streams(server.url, questions, ASKED, readings)
    await asyncio.sleep(SETTLING)
    began, cpu = time.monotonic(), server.cpu
    await asyncio.sleep(seconds)
    ended, cpu = time.monotonic(), server.cpu - cpu
    late = readings.during(began, ended)
    assert not readings.wrong, readings.wrong[0]
    assert not readings.disordered, f"{readings.disordered} chunks were not the next one"
    memory = (server.memory - empty) / streams
    for connection in connections:
        connection.abort()
    late_cuts, first_cuts = quantiles(late, n=100), quantiles(readings.first.values(), n=100)
    return Relayed(
        len(late) / cpu,
        late_cuts[49] * 1e3,
        late_cuts[98] * 1e3,
        first_cuts[49] * 1e3,
        first_cuts[98] * 1e3,
        memory,
        len(late) / (streams * RATE * (ended - began)),
    )


def _server(name: str, model: str) -> AbstractContextManager[Process]:
    return ours(model) if name == OURS else contender(name, model)


def measure(names: Sequence[str], streams: int, seconds: float, rounds: int) -> dict[str, Relayed]:
    """The medians of each server's rounds."""
    found: dict[str, list[Relayed]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1}: {streams} streams, {name}", end="\033[K\r", file=sys.stderr, flush=True)
            with upstream() as model, _server(name, model.url) as server:
                found[name].append(run(relay(server, streams, seconds)))
    print(end="\033[K", file=sys.stderr)
    fields = Relayed.__slots__
    return {name: Relayed(*(median(getattr(one, f) for one in all) for f in fields)) for name, all in found.items()}


def table(found: dict[str, Relayed], streams: int) -> list[str]:
    """A line for each server."""
    heads = ("chunks/CPU s", 13), ("ours ×", 8), ("late p50", 10), ("p99 ms", 8), ("first p50", 11), ("p99 ms", 8)
    more = ("KiB each", 10), ("done", 7)
    lines = [f"{f'{streams} streams':26}" + "".join(f"{name:>{width}}" for name, width in (*heads, *more))]
    for name, one in found.items():
        ratio = f"{found[OURS].chunks / one.chunks:.2f}" if OURS in found else ""
        lines.append(
            f"{name:26}{one.chunks:13.0f}{ratio:>8}{one.late_p50:10.1f}{one.late_p99:8.1f}"
            f"{one.first_p50:11.1f}{one.first_p99:8.1f}{one.memory:10.1f}{one.done:7.0%}"
        )
    return lines


def main() -> None:
    """Print a table for each number of streams."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[OURS, *CONTENDERS], default=[OURS, *CONTENDERS])
    options = parser.parse_args()
    os.sched_setaffinity(0, LOAD)
    for streams in options.streams:
        print("\n".join(table(measure(options.only, streams, options.seconds, options.rounds), streams)), flush=True)


if __name__ == "__main__":
    main()
