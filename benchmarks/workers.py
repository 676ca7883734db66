"""What a second worker is worth: chunks a CPU second, of one worker and of two with as many streams each.

    python -m benchmarks.workers [--streams 150] [--seconds 8] [--rounds 3]

The load is that of benchmarks.relay. Where there are cores to spare for what makes it, each worker has a core of its
own. On two cores there are none: then what is measured is how much more a chunk costs where two processes share one
journal, and twice the ratio is what two cores would give.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median

from benchmarks.loop import run
from benchmarks.relay import relay
from benchmarks.servers import CORES, ours, upstream


def measure(streams: int, seconds: float, rounds: int) -> dict[int, list[float]]:
    """Chunks a CPU second with one worker and with two, round by round."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for workers, results in found.items():
            print(f"round {number + 1}: {workers} workers", end="\033[K\r", file=sys.stderr, flush=True)
            cores = set(CORES[-2:]) if len(CORES) > 2 else set(CORES)
            with upstream() as model, ours(model.url, cores, workers) as server:
                results.append(run(relay(server, streams * workers, seconds)).chunks)
    print(end="\033[K", file=sys.stderr)
    return found


def lines(streams: int, found: dict[int, list[float]]) -> list[str]:
    """A line for each number of workers."""
    one, two = (median(results) for results in found.values())
    return [
        f"{f'{streams} each':14}{'chunks/CPU s':>13}{'two cores give':>16}",
        f"{'1 worker':14}{one:13.0f}",
        f"{'2 workers':14}{two:13.0f}{f'{2 * two / one:.2f} ×':>16}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("\n".join(lines(options.streams, measure(options.streams, options.seconds, options.rounds))))


if __name__ == "__main__":
    main()
