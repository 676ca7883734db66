"""What it costs to keep every event: CPU an event and the delay until readers may see it.

    python benchmarks/journal.py [--answers 20 100 400] [--seconds 3] [--rounds 3]

Paced producers (40 events a second each) append through the journal in memory, through SQLite as the server
does (one row a commit), and through the same with a row an event. The three run one after the other in
processes of their own, several rounds; medians are printed, and what each costs over memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from zantara_stream.answers.database import Append, Database
from zantara_stream.answers.journal import Fenced, Journal, Lease, Opening
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.answers.sqlite import SqliteJournal

RATE = 40  # events a second and answer
KINDS = ("memory", "row a commit", "row an event")


class RowAnEvent(Database):
    """The obvious table: a row an event, by answer and offset."""

    def commit(self, appends: list[Append]) -> list[Fenced | None]:
        """Insert each event's row."""
        with self._transaction():
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS events (answer TEXT, place INTEGER, frame BLOB,"
                " PRIMARY KEY (answer, place)) WITHOUT ROWID"
            )
            rows = [(append.lease.answer, self._next(append), append.frame) for append in appends]
            self._db.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
        return [None] * len(appends)

    def _next(self, append: Append) -> int:
        frames = self._held[append.lease.answer].frames
        frames.append(append.frame)
        return len(frames)


def journal(kind: str, folder: str) -> Journal:
    """The journal of that kind."""
    if kind == "memory":
        return MemoryJournal()
    made = SqliteJournal(Path(folder) / "answers.db")
    if kind == "row an event":
        made._database = RowAnEvent(Path(folder) / "answers.db", 5.0)
    return made


async def produce(kept: Journal, number: int, seconds: float, delays: list[float]) -> None:
    """One answer's events at their pace."""
    lease = await kept.create(Opening(f"answer-{number:015d}"))
    assert isinstance(lease, Lease)
    due = time.perf_counter() + (number % RATE) / RATE**2
    for offset in range(1, int(seconds * RATE) + 1):
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        due += 1 / RATE
        began = time.perf_counter()
        data = {"text": "Hello ", "sequenceNumber": offset, "timestamp": 1730552400.123}
        frame = f"id: {lease.answer}.{offset}\ndata: {json.dumps(data)}\n\n".encode()
        kept.append(lease, frame, lambda _, began=began: delays.append(time.perf_counter() - began))  # type: ignore[misc]


async def run(kind: str, answers: int, seconds: float) -> dict[str, float]:
    """Microseconds of CPU an event, and milliseconds until it is kept."""
    delays: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        kept = journal(kind, folder)
        await kept.open()
        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.gather(*(produce(kept, number, seconds, delays) for number in range(answers)))
        await kept.close()
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cuts = quantiles(delays, n=100)
    return {"cpu": cpu * 1e6 / len(delays), "p50": cuts[49] * 1e3, "p99": cuts[98] * 1e3}


def main() -> None:
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, nargs="+", default=[20, 100, 400])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asyncio.run(run(options.one, options.answers[0], options.seconds))))
        return
    print(f"{'answers':>7}  {'journal':14}{'CPU µs/event':>13}{'over memory':>13}{'kept p50 ms':>13}{'p99 ms':>9}")
    for answers in options.answers:
        report(answers, options)


def report(answers: int, options: argparse.Namespace) -> None:
    """One table row for each kind."""
    command = [sys.executable, __file__, "--answers", str(answers), "--seconds", str(options.seconds)]
    results: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind in KINDS:
            printed = subprocess.run([*command, "--one", kind], check=True, capture_output=True, text=True).stdout
            results[kind].append(json.loads(printed))
    middle = {k: {name: median(r[name] for r in rs) for name in ("cpu", "p50", "p99")} for k, rs in results.items()}
    for kind, figures in middle.items():
        more = figures["cpu"] - middle["memory"]["cpu"]
        print(
            f"{answers:7}  {kind:14}{figures['cpu']:13.1f}{more:13.1f}{figures['p50']:13.2f}{figures['p99']:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
