"""What a stream costs where several nodes share a Redis: what docs/operations.md sizes a layout by.

    PYTHONPATH=tests python benchmarks/nodes.py [--answers 100] [--readers 4] [--seconds 10]

Two real node processes and a real Redis on this machine. One node writes all answers, 40 chunks a second each, and has
one reader of each; the other has the rest of the readers, fed from Redis. Printed: chunks delivered for each CPU second
of either node (all that it does included), what Redis does for each chunk that is written and what it keeps of it, and
the memory of the nodes for each open stream, with the logs of the answers and the connections to the model.
The CPU seconds are of the processes, so that other work on the machine moves them little.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from faults.client import Reader, session
from faults.process import Node
from faults.small_index import small_index
from faults.upstream import Upstream
from prometheus_client.parser import text_string_to_metric_families
from redis_server import Redis, redis_server

PACE = 0.025  # seconds from chunk to chunk
SETTLING = 3.0  # seconds until all is open and under way
TICK = os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--readers", type=int, default=4, help="of each answer, one of them where it is written")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name) / "redis") as redis:
        asyncio.run(_measure(Path(name), redis, options.answers, options.readers, options.seconds))


def cpu(pid: int) -> float:
    """The CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def _measure(folder: Path, redis: Redis, answers: int, readers: int, seconds: float) -> None:
    index = await asyncio.to_thread(small_index, folder)
    async with Upstream(PACE).serving() as upstream, session() as client:
        writer, follower = (Node(_made(folder / name), index, upstream.url, **_settings(redis)) for name in "wf")
        tasks: list[asyncio.Task[None]] = []
        try:
            await asyncio.gather(writer.start(), follower.start())
            await asyncio.sleep(SETTLING)  # they load something once they are ready
            empty = writer.memory, follower.memory
            for node, each in ((writer, 1), (follower, readers - 1)):
                tasks += await _opened(client, node, answers, each)
            await asyncio.sleep(SETTLING)
            print(f"{answers} answers, {readers} readers of each; chunks of {upstream.size} characters")
            await _report(client, redis, writer, follower, readers, seconds)
            for node, was, streams in zip((writer, follower), empty, (answers, len(tasks) - answers), strict=True):
                print(f"memory of a node       {(node.memory - was) / streams:8.1f} KiB for each of {streams} streams")
            assert not any(task.done() for task in tasks), "the answers are too short for so many seconds"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(writer.stop(), follower.stop())


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _settings(redis: Redis) -> dict[str, Any]:
    return {"journal": redis.url, "lease": 5, "rate_limit": "off", "max_streams": 100_000}


async def _opened(client: ClientSession, node: Node, answers: int, each: int) -> list[asyncio.Task[None]]:
    """So many streams of each answer, under way."""
    made = [Reader(node.url, f"Long {n}?", f"q{n}") for n in range(answers) for _ in range(each)]
    tasks = [asyncio.create_task(reader.run(client)) for reader in made]
    await asyncio.wait_for(asyncio.gather(*(reader.first.wait() for reader in made)), 60)
    return tasks


async def _written(client: ClientSession, node: Node) -> float:
    """The chunks that a node has written."""
    async with client.get(f"{node.url}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
        return next(family.samples[0].value for family in families if family.name == "zantara_chunks")


def _number(redis: Redis, section: str, pattern: str) -> int:
    """The sum of what Redis says in that section."""
    return sum(int(number) for number in re.findall(pattern, redis.ask("INFO", section)))


async def _report(
    client: ClientSession, redis: Redis, writer: Node, follower: Node, readers: int, seconds: float
) -> None:
    assert redis.process is not None
    pids = writer.pid, follower.pid, redis.process.pid

    async def sample() -> list[float]:
        scripts = _number(redis, "commandstats", r"cmdstat_eval:calls=(\d+)")
        reads = _number(redis, "commandstats", r"cmdstat_xread:calls=(\d+)")
        memory = _number(redis, "memory", r"used_memory:(\d+)")
        return [await _written(client, writer), *map(cpu, pids), scripts, reads, memory]

    before = await sample()
    await asyncio.sleep(seconds)
    after = await sample()
    written, by_writer, by_follower, by_redis, scripts, reads, memory = (
        b - a for a, b in zip(before, after, strict=True)
    )
    followed = written * (readers - 1)
    print(f"the node that writes   {written / by_writer:8.0f} chunks/CPU s, to one reader each")
    print(f"the node that follows  {followed / by_follower:8.0f} chunks/CPU s, to {readers - 1} readers each")
    print(f"Redis                  {written / by_redis:8.0f} chunks/CPU s")
    print(f"                       {scripts / written:8.2f} appends a chunk, {reads / written:.3f} reads")
    print(f"                       {memory / written:8.0f} bytes a chunk")


if __name__ == "__main__":
    main()
