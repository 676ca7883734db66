"""Catching up: how soon a late reader has all of a long log, alone and among many.

    python -m benchmarks.catch_up [--chunks 4000] [--rounds 50] [--at-once 50]

An answer of so many chunks is complete; then a reader asks for it by its continuity id and reads it from its beginning
to its end, over and over: the milliseconds from connecting to the last byte, and from that megabytes and chunks a
second. Then many do so at the same time. The server has one core, the stand-in of the model and the readers another.
Medians of the rounds; the server's CPU is of all rounds together, for each reader.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from dataclasses import dataclass
from statistics import median
from urllib.parse import quote, urlsplit

from benchmarks.loop import run
from benchmarks.servers import LOAD, Process, ours, upstream
from benchmarks.streams import PATH

CHUNKS, ROUNDS, AT_ONCE = 4000, 50, 50
WRITTEN = 1000  # chunks a second, while the answer is made
CHUNK = b'data: {"text":'
END = b"0\r\n\r\n"  # of a chunked body
MB = 1e6


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What readers at once took: seconds until the last had all, bytes and chunks of each, CPU seconds for each."""

    readers: int
    seconds: float
    size: int
    chunks: int
    cpu: float


async def whole(server: Process, request: bytes) -> bytes:
    """All that a connection brings up to the end of its stream."""
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**22)
    writer.write(request)
    received = bytearray()
    while not received.endswith(END):
        piece = await reader.read(2**20)
        assert piece, f"the stream broke off after {len(received)} bytes"
        received += piece
    writer.close()
    return bytes(received)


async def rounds_of(server: Process, request: bytes, chunks: int, readers: int, rounds: int) -> CaughtUp:
    """Let so many read at once, again and again."""
    took, size, cpu = [], 0, server.cpu
    for _ in range(rounds):
        began = time.perf_counter()
        all_received = await asyncio.gather(*(whole(server, request) for _ in range(readers)))
        took.append(time.perf_counter() - began)
        for received in all_received:
            size = len(received)
            assert received.count(CHUNK) == chunks, f"{received.count(CHUNK)} chunks in place of {chunks}"
    return CaughtUp(readers, median(took), size, chunks, (server.cpu - cpu) / rounds / readers)


async def catch_up(server: Process, chunks: int, rounds: int, at_once: int) -> list[CaughtUp]:
    """Have the answer written; then one reader at a time, and many at once."""
    question = quote(f"What does a permit cost, and who pays for it? chunks={chunks} rate={WRITTEN}")
    host = urlsplit(server.url).netloc
    request = f"GET {PATH}?query={question}&continuity_id=long HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    await whole(server, request)
    alone = await rounds_of(server, request, chunks, 1, rounds)
    return [alone, await rounds_of(server, request, chunks, at_once, max(1, rounds // at_once * 5))]


def lines(chunks: int = CHUNKS, rounds: int = ROUNDS, at_once: int = AT_ONCE) -> list[str]:
    """The table: a line for one reader and a line for many."""
    with upstream() as model, ours(model.url, max_log=str(chunks * 1000), max_readers="100000") as server:
        found = run(catch_up(server, chunks, rounds, at_once))
    table = [
        f"a log of {chunks} chunks, {found[0].size / MB:.2f} MB",
        f"{'readers at once':>15}{'ms':>9}{'MB/s':>9}{'chunks/s':>11}{'CPU ms each':>13}{'chunks/CPU s':>14}",
    ]
    for one in found:
        table.append(
            f"{one.readers:15}{one.seconds * 1e3:9.1f}{one.readers * one.size / one.seconds / MB:9.0f}"
            f"{one.readers * one.chunks / one.seconds:11.0f}{one.cpu * 1e3:13.2f}{one.chunks / one.cpu:14.0f}"
        )
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    options = parser.parse_args()
    os.sched_setaffinity(0, LOAD)
    print("\n".join(lines(options.chunks, options.rounds, options.at_once)))


if __name__ == "__main__":
    main()
