"""Faults, each done to a real server process, and what came of it.

Every scenario takes a folder, an index and a size, and gives an `Outcome`. The checker decides from the readers'
bytes, the journal's file and the stand-in's count of requests.
"""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from aiohttp import ClientSession

from . import cable, checker
from .client import Reader, session
from .process import Node
from .upstream import BREAKS, Upstream, text_of

HALF = 30_000  # bytes a second, half of what the long answer comes at
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@dataclass(slots=True)
class Outcome:
    """What a scenario saw; `problems` is empty where every invariant held."""

    row: str
    fault: str
    answers: int
    readers: int
    requests: int = 0  # to the model
    notes: str = ""
    problems: list[str] = field(default_factory=list)

    def need(self, fact: object, otherwise: str) -> None:
        """Note a problem where something does not hold."""
        if not fact:
            self.problems.append(otherwise)


@dataclass(slots=True)
class House:
    """A server, the model behind it, and its readers."""

    node: Node
    upstream: Upstream
    session: ClientSession
    readers: list[Reader] = field(default_factory=list)

    def ask(
        self,
        count: int,
        each: int = 1,
        cut: Callable[[], int] = lambda: 0,
        url: str = "",
        name: str = "Question",
    ) -> list[asyncio.Task[None]]:
        """So many questions, each by `each` readers."""
        made = [
            Reader(url or self.node.url, f"{name} {n}?", f"q{n}", cut)
            for n in range(len(self.readers), len(self.readers) + count)
            for _ in range(each)
        ]
        self.readers += made
        return [asyncio.create_task(reader.run(self.session)) for reader in made]

    def check(self, outcome: Outcome, mended: int = 0) -> Outcome:
        """Let the checker decide; at most `mended` requests are continuations."""
        journal = checker.journalled(self.node.journal)
        for reader in self.readers:
            outcome.problems += checker.problems(reader.received, journal)
            outcome.need(checker.text(reader.received) == text_of(reader.query), f"another text of {reader.query}")
        outcome.requests = self.upstream.requests.total()
        asked = len(self.upstream.requests)
        outcome.need(asked <= outcome.requests <= asked + mended, f"{outcome.requests} requests for {asked} answers")
        outcome.need(checker.unfinished(self.node.journal) == 0, "answers without an end")
        return outcome


@asynccontextmanager
async def house(folder: Path, index: Path, pace: float = 0.02, **settings: Any) -> AsyncIterator[House]:
    """A running server with its model."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    async with Upstream(pace).serving() as upstream, session() as client:
        node = Node(folder, index, upstream.url, **settings)
        await node.start()
        try:
            yield House(node, upstream, client)
        finally:
            await node.stop()


async def dropped(folder: Path, index: Path, size: int) -> Outcome:
    """Row 1: connections that drop after any number of bytes."""
    draw = random.Random(size)
    async with house(folder, index) as h:
        await asyncio.gather(*h.ask(size, cut=lambda: draw.choice([0, *[draw.randint(1, 3000)] * 3])))
        cuts = sum(len(reader.received) - 1 for reader in h.readers)
        return h.check(Outcome("1", "readers dropped at any byte", size, size, notes=f"{cuts} reconnections"))


async def killed(folder: Path, index: Path, size: int) -> Outcome:
    """Row 2: kill -9 with all answers in flight, two readers each, and a start."""
    async with house(folder, index) as h:
        tasks = h.ask(size, each=2)
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        await asyncio.sleep(random.uniform(0, 0.5))
        await h.node.kill()
        began = await h.node.start()
        await asyncio.gather(*tasks)
        took = max(_resumed(reader) for reader in h.readers) - began
        outcome = Outcome("2", "kill -9 in mid-answer, started again", size, 2 * size)
        outcome.notes = f"every answer went on {took:.1f} s after the start"
        outcome.need(took < 5 + 1, f"taken up {took:.1f} s after the start")
        return h.check(outcome, mended=size)


def _resumed(reader: Reader) -> float:
    """When the first chunk was written after the longest pause."""
    events = [data for received in reader.received for _, _, data in checker.blocks(received) if "text" in data]
    stamps = [data["timestamp"] for data in events]
    gaps = [(later - earlier, later) for earlier, later in pairwise(stamps)]
    return float(max(gaps)[1])


async def terminated(folder: Path, index: Path, size: int) -> Outcome:
    """Row 3: SIGTERM under load; what does not finish in the drain time is handed to the next process."""
    async with house(folder, index, drain=0.3) as h:
        tasks = h.ask(size)
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        h.node.signal(signal.SIGTERM)
        code = await h.node.stopped()
        await h.node.start()
        await asyncio.gather(*tasks)
        outcome = Outcome("3", "SIGTERM under load, drain 0.3 s", size, size, notes=f"exit code {code}")
        outcome.need(code == 0, f"exit code {code}")
        told = sum(b"event: draining" in received for reader in h.readers for received in reader.received)
        outcome.need(told == size, f"{told} of {size} readers were told")
        return h.check(outcome, mended=size)


async def upstream_breaks(folder: Path, index: Path, size: int) -> Outcome:
    """Rows 9 and 10: the model breaks off in mid-answer in every way, stalls included."""
    async with house(folder, index) as h:
        h.upstream.breaks = [how for how in BREAKS for _ in range(size)]
        broken = len(h.upstream.breaks)
        await asyncio.gather(*h.ask(broken))
        outcome = Outcome("9, 10", "model breaks off: " + ", ".join(BREAKS), broken, broken)
        h.check(outcome, mended=broken)
        outcome.need(outcome.requests == 2 * broken, f"{outcome.requests} requests for {broken} breaks")
        return outcome


async def always_broken(folder: Path, index: Path, size: int) -> Outcome:
    """Row 9: a model that always breaks: one retryable error after bounded tries, and the partial text kept."""
    async with house(folder, index) as h:
        h.upstream.breaks = ["error event"] * 4 * size
        await asyncio.gather(*h.ask(size))
        outcome = Outcome("9", "model breaks off each time", size, size, h.upstream.requests.total())
        outcome.need(outcome.requests == 4 * size, f"{outcome.requests} requests")
        journal = checker.journalled(h.node.journal)
        for reader in h.readers:
            outcome.problems += checker.problems(reader.received, journal)
            *_, (_, _, end) = checker.blocks(b"".join(reader.received))
            outcome.need(end.get("retryable") and "error" in end, f"ends with {end}")
            outcome.need(text_of(reader.query).startswith(checker.text(reader.received)), "another text")
        return outcome


async def abandoned(folder: Path, index: Path, size: int) -> Outcome:
    """Readers that leave: after the grace time the model's requests are closed, and what was written is kept."""
    async with house(folder, index, pace=0.1, grace=0.5) as h:
        tasks = h.ask(size)
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        for task in tasks:
            task.cancel()
        await _until(lambda: h.upstream.left == size)
        await _until(lambda: not checker.unfinished(h.node.journal))
        outcome = Outcome("–", "all readers leave, grace 0.5 s", size, size, h.upstream.requests.total())
        for events in checker.journalled(h.node.journal).values():
            outcome.need(events[-1][2].get("stopReason") == "stopped", f"ends with {events[-1]}")
            outcome.need(len(events) > 1, "what was written is not kept")
        outcome.notes = f"{h.upstream.left} requests closed on the model's side"
        return outcome


async def _until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not fact():  # noqa: ASYNC110 (it is in another process)
            await asyncio.sleep(0.02)


async def raced(folder: Path, index: Path, size: int) -> Outcome:
    """Row 16: many equal requests with one continuity id at once, also over a kill."""
    async with house(folder, index) as h:
        tasks = h.ask(1, each=size)
        await h.readers[0].first.wait()
        await h.node.kill()
        await h.node.start()
        await asyncio.gather(*tasks)
        outcome = Outcome("16", f"{size} equal requests at once, and a kill", 1, size)
        h.check(outcome, mended=1)
        streams = {tuple(b for r in reader.received for b in _log(r)) for reader in h.readers}
        outcome.need(len(streams) == 1, f"{len(streams)} different streams")
        return outcome


def _log(received: bytes) -> Iterable[str]:
    return [str(block) for block in checker.blocks(received) if block[0] == "message"]


async def locked(folder: Path, index: Path, size: int) -> Outcome:
    """Row 11: another process holds the journal's lock for longer than anybody waits."""

    async def fault(h: House) -> Callable[[], None]:
        db = sqlite3.connect(h.node.journal, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        return db.close

    return await _unwritable(folder, index, size, "journal locked", fault)


async def full(folder: Path, index: Path, size: int) -> Outcome:
    """Row 11: no file may grow any more."""

    async def fault(h: House) -> Callable[[], None]:
        was = resource.prlimit(h.node.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(h.node.pid, resource.RLIMIT_FSIZE, (4096, was[1]))
        return lambda: resource.prlimit(h.node.pid, resource.RLIMIT_FSIZE, was) and None

    return await _unwritable(folder, index, size, "disk full", fault)


async def _unwritable(
    folder: Path, index: Path, size: int, what: str, fault: Callable[[House], Awaitable[Callable[[], None]]]
) -> Outcome:
    async with house(folder, index, pace=0.05) as h:
        tasks = h.ask(size)
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        mend = await fault(h)
        began = time.monotonic()
        async with asyncio.timeout(30):
            await h.node.until_ready(503)
        outcome = Outcome("11", what, size, size, notes=f"not ready after {time.monotonic() - began:.1f} s")
        async with h.session.post(f"{h.node.url}/bali-zero/chat", json={"query": "New?"}) as response:
            code = (await response.json())["code"]
            outcome.need((response.status, code) == (503, "journal_unavailable"), f"a new question: {code}")
        mend()
        async with asyncio.timeout(30):
            await h.node.until_ready(200)
        await asyncio.gather(*tasks)
        # An error that the journal does not have carries no id and is no part of the log; others see a pause only.
        told = sum(b'"code":"journal_unavailable"' in received for reader in h.readers for received in reader.received)
        outcome.notes += f"; {told} readers were told, the others saw a pause"
        return h.check(outcome, mended=size)


async def slow(folder: Path, index: Path, size: int) -> Outcome:
    """Rows 5 and 6: readers that take nothing, or are frozen, are dropped; one at half the rate catches up."""
    async with house(folder, index, pace=0.001) as h:
        before = h.node.memory
        tasks = h.ask(1, each=2, name="Long question")
        lagging = Reader(h.node.url, h.readers[0].query, "q0", rate=HALF)
        tasks.append(asyncio.create_task(lagging.run(h.session)))
        await h.readers[0].first.wait()
        query = f"{h.readers[0].query}&continuity_id=q0".replace(" ", "%20").replace("?&", "%3F&")
        path = f"/bali-zero/chat-stream?query={query}"
        frozen = await cable.reader(h.node.port, path, "127.0.0.1")
        frozen.send_signal(signal.SIGSTOP)
        stuck = [await _stuck(h.node, path) for _ in range(size)]
        kernel = 0
        while not all(task.done() for task in tasks):
            kernel = max(kernel, max(_unacknowledged(h.node.port), default=0))
            await asyncio.sleep(0.1)
        h.readers.append(lagging)
        more = (h.node.memory - before) / (size + 4)
        outcome = h.check(Outcome("5, 6", "readers that take nothing, one frozen, one at half the rate", 1, size + 4))
        async with asyncio.timeout(10):
            while _unacknowledged(h.node.port):  # noqa: ASYNC110 (it is in another process)
                await asyncio.sleep(0.1)  # until the last of them is dropped
        frozen.kill()
        for one in stuck:
            one.close()
        outcome.notes = (
            f"log of {len(b''.join(h.readers[0].received)) >> 10} KiB; at most {kernel >> 10} KiB in the kernel and "
            f"{more:.0f} KiB resident each; others' gaps p50 {median(_gaps(h.readers[0])) * 1e3:.0f} ms"
        )
        outcome.need(kernel <= 320 << 10, f"{kernel >> 10} KiB in the kernel of one")
        return outcome


async def _stuck(node: Node, path: str) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(one, ("127.0.0.1", node.port))
    await loop.sock_sendall(one, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return one


def _unacknowledged(port: int) -> list[int]:
    """The bytes that the kernel holds for each connection of the server, where it holds any.

    https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    """
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    queues = [int(line[4].split(":")[0], 16) for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01"]
    return [queue for queue in queues if queue]


def _gaps(reader: Reader) -> list[float]:
    stamps = [d["timestamp"] for r in reader.received for _, _, d in checker.blocks(r) if "text" in d]
    return [later - earlier for earlier, later in pairwise(stamps)]


async def vanished(folder: Path, index: Path, size: int) -> Outcome:
    """Row 4: the cable of the only reader that may be is cut; its place is free within 30 s."""
    async with cable.cable(), house(folder, index, pace=0.5, host=cable.HERE, max_connections=1, grace=0.5) as h:
        there = await cable.reader(h.node.port, "/bali-zero/chat-stream?query=Question")
        await cable.cut()
        began = time.monotonic()
        async with asyncio.timeout(60):
            while not await _admitted(h):  # noqa: ASYNC110 (it is in another process)
                await asyncio.sleep(0.2)
        took = time.monotonic() - began
        there.kill()
        outcome = Outcome("4", "reader vanishes without FIN", 1, 1, notes=f"its place was free after {took:.0f} s")
        outcome.need(took < 30, f"its place was free after {took:.0f} s")
        await _until(lambda: h.upstream.left >= 1)
        outcome.requests = h.upstream.requests.total()
        return outcome


async def _admitted(h: House) -> bool:
    address = f"{h.node.url}/bali-zero/answers/{'A' * 22}/events"  # which costs nothing
    async with h.session.get(address) as response:
        return response.status == 200


async def clock(folder: Path, index: Path, size: int) -> Outcome:
    """Row 13: killed, and started again with the clock an hour back."""
    async with house(folder, index) as h:
        tasks = h.ask(size)
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        await h.node.kill()
        h.node.preload(FAKETIME, "-1h")
        await h.node.start()
        await asyncio.gather(*tasks)
        return h.check(Outcome("13", "killed, clock an hour back", size, size), mended=size)


async def hostile(folder: Path, index: Path, size: int) -> Outcome:
    """Row 17: ids that are nobody's."""
    async with house(folder, index) as h:
        await asyncio.gather(*h.ask(1))
        (answer,) = checker.journalled(h.node.journal)
        ids = [
            "x",
            "A" * 22 + ".1",
            f"{answer}.9999",
            f"{answer}.-1",
            f"{answer}.1'--",
            "b" * 10_000,
            "../../etc/passwd",
        ]
        outcome = Outcome("17", "hostile Last-Event-ID", 1, len(ids))
        for name in ids:
            parameters = {"query": "Question 0?"}
            address = f"{h.node.url}/bali-zero/chat-stream"
            async with h.session.get(address, params=parameters, headers={"Last-Event-ID": name}) as response:
                found = checker.blocks(await response.read())
            outcome.need([data.get("code") for _, _, data in found] == ["answer_expired"], f"{name[:20]}: {found}")
        return h.check(outcome)


async def lossy(folder: Path, index: Path, size: int) -> Outcome:
    """Row 18: a slow line that breaks at random and is closed after 5 s."""
    async with house(folder, index) as h, _line(h.node.port) as port:
        await asyncio.gather(*h.ask(size, url=f"http://127.0.0.1:{port}"))
        cuts = sum(len(reader.received) - 1 for reader in h.readers)
        return h.check(Outcome("18", "300 ms delay, random resets", size, size, notes=f"{cuts} reconnections"))


@asynccontextmanager
async def _line(port: int) -> AsyncIterator[int]:
    """A proxy that delays and resets."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            await asyncio.sleep(0.3)
            if random.random() < 0.15:
                writer.transport.abort()
                return
            writer.write(piece)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(5):
                pumps = {asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))}
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except (TimeoutError, ConnectionError):
            pass  # as a proxy does
        for task in pumps:
            task.cancel()
        for one in (writer, back):
            one.transport.abort()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


SCENARIOS: dict[
    Callable[[Path, Path, int], Awaitable[Outcome]], tuple[int, int]
] = {  # size in tests, and in the long run
    dropped: (10, 200),
    killed: (50, 200),
    terminated: (10, 100),
    vanished: (1, 1),
    slow: (5, 50),
    upstream_breaks: (1, 10),
    always_broken: (2, 20),
    abandoned: (3, 50),
    full: (5, 50),
    locked: (5, 50),
    clock: (5, 50),
    raced: (20, 200),
    hostile: (1, 1),
    lossy: (5, 50),
}
