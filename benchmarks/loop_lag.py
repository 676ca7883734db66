"""How late the server's event loop is: idle, with many questions at once, and while indexes are swapped.

    python benchmarks/loop_lag.py [INDEX] [--questions 100] [--rounds 3] [--interval SECONDS ...]

A row "greetings" is as many requests that nothing is searched for: what the connections and streams alone cost.

The server runs as `serve` runs it, in a process of its own, with the real encoder and extractive answers; a task
in its loop sleeps 5 ms over and over and notes how much later it wakes: as it is, and without what the thread
waited for a processor, which other programs cause (Linux tells it). Every row has a fresh server, and rows
of a round follow each other, so that noise of the machine falls on all alike. INDEX is copied; without it, the
sample documents are built into a temporary folder. `--interval` tries other values of sys.setswitchinterval.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from aiohttp import ClientSession, TCPConnector

from zantara_stream import serving
from zantara_stream.config import MEMORY, Settings
from zantara_stream.retrieval import steady
from zantara_stream.retrieval.building import build
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder
from zantara_stream.retrieval.manifest import BUILDS, Manifest, current_build, make_current
from zantara_stream.retrieval.reading import fingerprint, read_folder
from zantara_stream.testing import read_events

ROOT = Path(__file__).parent.parent
STEP = 0.005  # seconds that the watching task sleeps
IDLE = 3.0  # seconds

Sample = tuple[float, float, float]  # when; how late the loop was; how late without waiting for a processor


# -------------------------------------------------------------------------------------------- the server's process


async def serve_watched(index: Path, interval: float | None) -> None:
    """Serve until SIGTERM, then print when the loop was how late."""
    seen: list[Sample] = []

    async def watch() -> None:
        schedule = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        while True:
            queued, due = _queued(schedule), time.monotonic() + STEP
            await asyncio.sleep(STEP)
            now = time.monotonic()
            late = now - due
            seen.append((now, late, max(0.0, late - (_queued(schedule) - queued))))

    if interval is not None:
        steady.SWITCH_INTERVAL = interval
    watching = asyncio.create_task(watch())
    settings = Settings(index=index, port=0, journal=MEMORY, database_url=MEMORY, model=("extractive",))
    await serving.serve(settings, lambda line: print(line, flush=True))
    watching.cancel()
    print(json.dumps(seen))


def _queued(schedule: Path) -> float:
    """The seconds that a thread has been ready to run and was not run."""
    return int(schedule.read_text().split()[1]) / 1e9


class Server:
    """A server process, ready to be asked."""

    def __init__(self, index: Path, interval: float | None) -> None:
        command = [sys.executable, __file__, str(index), "--serve"]
        if interval is not None:
            command += ["--interval", str(interval)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[4]

    def stop(self) -> list[Sample]:
        """End it; how late its loop was."""
        self._process.send_signal(signal.SIGTERM)
        out, _ = self._process.communicate()
        return [(moment, late, net) for moment, late, net in json.loads(out.splitlines()[-1])]


# ------------------------------------------------------------------------------------------------------- the client


def questions(count: int) -> list[str]:
    """Questions about the sample documents."""
    files = [ROOT / "tests" / "questions" / f"{name}.jsonl" for name in ("plain", "sample", "held_out")]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    asked = [str(json.loads(line)["question"]) for line in lines]
    return (asked * (count // len(asked) + 1))[:count]


@dataclass(frozen=True, slots=True)
class Load:
    """What is done to a server during a row."""

    session: ClientSession
    url: str
    index: Path
    asked: list[str]

    async def ask(self, question: str) -> None:
        """Read one answer to its end."""
        async with self.session.get(f"{self.url}/bali-zero/chat-stream", params={"query": question}) as response:
            last = read_events(await response.read())[-1].json
            assert "error" not in last, last

    async def wait(self) -> None:
        """Nothing, for a while."""
        await asyncio.sleep(IDLE)

    async def ask_all(self) -> None:
        """Every question at once."""
        await asyncio.gather(*(self.ask(question) for question in self.asked))

    async def greet_all(self) -> None:
        """As many greetings at once."""
        await asyncio.gather(*(self.ask("Hello!") for _ in self.asked))

    async def swap(self) -> None:
        """Ten builds, one after the other as they are taken up."""
        for _ in range(10):
            name = await asyncio.to_thread(next_build, self.index)
            while await self.ready() != name:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)

    async def ready(self) -> str:
        """The build that is served; nothing until there is one."""
        async with self.session.get(f"{self.url}/ready") as response:
            return str((await response.json()).get("build", ""))

    async def ask_and_swap(self) -> None:
        """Both at once."""
        await asyncio.gather(self.ask_all(), self.swap())


def next_build(index: Path) -> str:
    """Make a copy of the current build the current one."""
    old = current_build(index)
    name = f"{time.time_ns()}"
    shutil.copytree(old, new := index / BUILDS / name)
    replace(Manifest.load(old), build=name).save(new)
    make_current(index, name)
    return name


ROWS: dict[str, Callable[[Load], Awaitable[None]]] = {
    "idle": Load.wait,
    "greetings": Load.greet_all,
    "questions": Load.ask_all,
    "swaps": Load.swap,
    "questions and swaps": Load.ask_and_swap,
}


async def row(index: Path, asked: list[str], work: Callable[[Load], Awaitable[None]], interval: float | None) -> Row:
    """One fresh server under that work."""
    server = await asyncio.to_thread(Server, index, interval)
    try:
        async with ClientSession(connector=TCPConnector(limit=0)) as session:
            load = Load(session, server.url, index, asked)
            while not await load.ready():  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)
            began = time.monotonic()
            await work(load)
            ended = time.monotonic()
    finally:
        seen = await asyncio.to_thread(server.stop)
    return Row([sample for sample in seen if began <= sample[0] <= ended], ended - began)


@dataclass(frozen=True, slots=True)
class Row:
    """How late the loop was each time, and how long all took, in seconds."""

    seen: list[Sample]
    took: float

    def __str__(self) -> str:
        figures = []
        for which in (1, 2):
            late = [sample[which] for sample in self.seen]
            cuts = quantiles(late, n=100)
            figures += [cuts[49], cuts[98], max(late)]
        return "".join(f"{figure * 1000:9.2f}" for figure in figures) + f"{self.took:9.2f}"


@contextmanager
def copied(index: Path | None) -> Iterator[Path]:
    """An index that may be written to: a copy, or the sample documents'."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "index"
        if index is not None:
            shutil.copytree(index, out)
        else:
            documents = ROOT / "documents"
            build(read_folder(documents), SentenceTransformerEmbedder(), out, fingerprint(documents))
        yield out


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, nargs="?")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--interval", type=float, nargs="+", default=[None])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        logging.basicConfig(level=logging.WARNING)
        asyncio.run(serve_watched(options.index, options.interval[0]))
        return
    print(
        f"{'loop lag, ms':31}{'as it was: p50':>9}{'p99':>9}{'max':>9}{'net: p50':>9}{'p99':>9}{'max':>9}{'took s':>9}"
    )
    with copied(options.index) as index:
        for _ in range(options.rounds):
            for name, work in ROWS.items():
                for interval in options.interval:
                    found = asyncio.run(row(index, questions(options.questions), work, interval))
                    print(f"{name:22}{interval or '':>9}{found}", flush=True)


if __name__ == "__main__":
    main()
