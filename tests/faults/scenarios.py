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
from itertools import pairwise
from pathlib import Path

from . import cable, checker
from .client import Reader, narrow, narrow_session, session
from .exhaustion import EXHAUSTION
from .house import House, Outcome, Scenario, house, undoubled, until
from .process import Node
from .restarts import RESTARTS
from .several import missing
from .several_failover import FAILOVERS
from .upstream import BREAKS, Upstream, text_of

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


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
        # They are taken up within 5 s; what is seen of it here is the first chunk after that.
        outcome.need_in_time(took < 5 + 1, f"its next chunk came {took:.1f} s after the start")
        outcome.need(took < 60, f"its next chunk came {took:.1f} s after the start")  # on the busiest machine
        return h.check(outcome, mended=1)


def _resumed(reader: Reader) -> float:
    """When the first chunk was written after the longest pause."""
    events = [data for received in reader.received for _, _, data in checker.blocks(received) if "text" in data]
    stamps = [data["timestamp"] for data in events]
    gaps = [(later - earlier, later) for earlier, later in pairwise(stamps)]
    return float(max(gaps)[1])


async def killed_extractive(folder: Path, index: Path, size: int) -> Outcome:
    """Row 2: the same with answers that are quoted from the documents: made anew, and not a word of them twice."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    node = Node(folder, index)
    await node.start()
    async with Upstream().serving() as upstream, session() as client:
        h = House(node, upstream, client)
        try:
            question = "How is a permit renewed, and what does renewal cost?"
            await asyncio.gather(*h.ask(1, question=question))
            tasks = h.ask(size, question=question)
            await asyncio.gather(*(reader.first.wait() for reader in h.readers))
            await node.kill()
            unfinished = checker.unfinished(node.journal)
            await node.start()
            await asyncio.gather(*tasks)
        finally:
            await node.stop()
        outcome = Outcome("2", "kill -9 of extractive answers", size + 1, size + 1)
        outcome.notes = f"{unfinished} were unfinished when it was killed"
        outcome.need(unfinished, "every answer was finished before the kill")
        journal = checker.journalled(node.journal)
        for reader in h.readers:
            outcome.problems += checker.problems(reader.received, journal)
        texts = {checker.text(reader.received) for reader in h.readers}
        outcome.need(len(texts) == 1, f"{len(texts)} different texts, one of them undisturbed")
        return outcome


async def terminated(folder: Path, index: Path, size: int) -> Outcome:
    """Row 3: SIGTERM under load; what does not finish in the drain time is handed to the next process."""
    async with house(folder, index, pace=0.05, drain=1.5) as h:
        tasks = h.ask(size) + h.ask(size, name="Short question")
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        h.node.signal(signal.SIGTERM)
        await h.node.until_ready(503)
        async with h.session.post(f"{h.node.url}/bali-zero/chat", json={"query": "New?"}) as response:
            refusal = response.status, (await response.json())["code"]
        code = await h.node.stopped()
        finished = sum(b'"done":true' in reader.received[-1] for reader in h.readers)
        told = sum(b"event: draining" in received for reader in h.readers for received in reader.received)
        await h.node.start()
        await asyncio.gather(*tasks)
        outcome = Outcome("3", "SIGTERM under load, drain 1.5 s", 2 * size, 2 * size)
        outcome.notes = f"exit code {code}; {finished} finished in that time, {told} were handed over"
        outcome.need(code == 0, f"exit code {code}")
        outcome.need(refusal == (503, "draining"), f"a new question while it drains: {refusal}")
        outcome.need(told and finished + told == 2 * size, f"{told} told and {finished} finished, of {2 * size}")
        return h.check(outcome, mended=1)


async def upstream_breaks(folder: Path, index: Path, size: int) -> Outcome:
    """Rows 9 and 10: the model breaks off in mid-answer in every way, stalls included."""
    async with house(folder, index) as h:
        h.upstream.breaks = [how for how in BREAKS for _ in range(size)]
        broken = len(h.upstream.breaks)
        await asyncio.gather(*h.ask(broken))
        outcome = Outcome("9, 10", "model breaks off: " + ", ".join(BREAKS), broken, broken)
        h.check(outcome, mended=1)
        outcome.need(outcome.requests == 2 * broken, f"{outcome.requests} requests for {broken} breaks")
        for reader in h.readers:
            pinged = b"event: ping" in b"".join(reader.received)
            outcome.need(pinged or h.upstream.broken[reader.query] != "stall", "no heartbeat while the model stalls")
        return outcome


async def refused(folder: Path, index: Path, size: int) -> Outcome:
    """Row 8: the model is overloaded before it begins: tried again twice, and then the answer comes."""
    async with house(folder, index) as h:
        h.upstream.refusals = (429, 529)
        await asyncio.gather(*h.ask(size))
        outcome = Outcome("8", "model answers 429, then 529, then well", size, size, h.upstream.requests)
        journal = checker.journalled(h.node.journal)
        for reader in h.readers:
            outcome.problems += checker.problems(reader.received, journal)
            outcome.need(checker.text(reader.received) == text_of(reader.query), "another text")
            outcome.need(h.upstream.begun[reader.query] == 3, f"{h.upstream.begun[reader.query]} tries")
        return outcome


async def always_refused(folder: Path, index: Path, size: int) -> Outcome:
    """Row 8: the model stays overloaded: one retryable error after three tries."""
    async with house(folder, index) as h:
        h.upstream.refusals = (529,) * 99
        await asyncio.gather(*h.ask(size))
        outcome = Outcome("8", "model answers 529 each time", size, size, h.upstream.requests)
        journal = checker.journalled(h.node.journal)
        for reader in h.readers:
            outcome.problems += checker.problems(reader.received, journal)
            outcome.need(h.upstream.begun[reader.query] == 3, f"{h.upstream.begun[reader.query]} tries")
            *_, (_, _, end) = checker.blocks(b"".join(reader.received))
            outcome.need((end.get("code"), end.get("retryable")) == ("model_overloaded", True), f"ends with {end}")
        return outcome


async def fallen_back(folder: Path, index: Path, size: int) -> Outcome:
    """Row 8: the first model stays overloaded: the next of the chain answers, and says so."""
    first, second = "claude-haiku-4-5", "claude-haiku-5-5"
    async with house(folder, index, models=f"{first},{second}") as h:
        h.upstream.overloaded = first
        for _ in range(2):
            await asyncio.gather(*h.ask(size))
        outcome = Outcome("8", "the first model of two answers 529 each time", 2 * size, 2 * size)
        outcome.requests = h.upstream.requests
        journal = checker.journalled(h.node.journal)
        for reader in h.readers:
            outcome.problems += checker.problems(reader.received, journal)
            outcome.need(checker.text(reader.received) == text_of(reader.query), "another text")
            tries = h.upstream.begun[reader.query]
            outcome.need(tries in (1, 4), f"{tries} requests: three of the first model, or none, and one of the next")
            *_, (_, _, end) = checker.blocks(b"".join(reader.received))
            outcome.need(end.get("model") == second, f"ends with {end}")
        spared = sum(h.upstream.begun[reader.query] == 1 for reader in h.readers)
        outcome.need(spared >= size, f"only {spared} without a request to a model that has just failed {size} times")
        outcome.notes = f"all by the second; {spared} without asking the first, which is left alone for a while"
        return outcome


async def always_broken(folder: Path, index: Path, size: int) -> Outcome:
    """Row 9: a model that always breaks: one retryable error after bounded tries, and the partial text kept."""
    async with house(folder, index) as h:
        h.upstream.breaks = ["error event"] * 4 * size
        await asyncio.gather(*h.ask(size))
        outcome = Outcome("9", "model breaks off each time", size, size, h.upstream.requests)
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
        await until(lambda: h.upstream.left == size)
        await until(lambda: not checker.unfinished(h.node.journal))
        outcome = Outcome("–", "all readers leave, grace 0.5 s", size, size, h.upstream.requests)
        for events in map(checker.blocks, checker.journalled(h.node.journal).values()):
            outcome.need(events[-1][2].get("stopReason") == "stopped", f"ends with {events[-1]}")
            outcome.need(len(events) > 1, "what was written is not kept")
        outcome.notes = f"{h.upstream.left} requests closed on the model's side"
        return outcome


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
        outcome.notes += f"; readers told: {told}; the others saw a pause"
        return h.check(outcome, mended=1)


async def slow(folder: Path, index: Path, size: int) -> Outcome:
    """Row 5: readers at 1 byte/s, and one that is frozen, are dropped by the write deadline, and nobody waits for them.

    The deadline is 2 s here, and the kernel is told not to drop them by itself.
    """
    async with house(folder, index, pace=0.01, size=160, user_timeout=120) as h:
        (task,) = h.ask(1, name="Long question")
        (other,) = h.readers
        await until(lambda: len(other.arrivals) > 100)
        alone, before = len(other.arrivals), h.node.memory
        query = f"{other.query}&continuity_id=q0".replace(" ", "%20").replace("?&", "%3F&")
        path = f"/bali-zero/chat-stream?query={query}"
        frozen = await cable.reader(h.node.port, path, "127.0.0.1")
        frozen.send_signal(signal.SIGSTOP)
        sippers = [await _asked(h.node, path) for _ in range(size)]
        sips = [asyncio.create_task(_sip(one)) for one in sippers]
        ports = {one.getsockname()[1] for one in sippers}
        began, dropped = time.monotonic(), 0.0
        kernel = more = 0
        async with asyncio.timeout(60):
            while (held := _held(h.node.port)) or not task.done():
                kernel = max(kernel, *held.values(), 0)
                more = max(more, h.node.memory - before)
                if ports & held.keys():
                    dropped = time.monotonic() - began
                await asyncio.sleep(0.1)
        await task
        for sip, one in zip(sips, sippers, strict=True):
            sip.cancel()
            one.close()
        frozen.kill()
        await frozen.wait()
        outcome = h.check(Outcome("5", "readers at 1 byte/s, and one frozen by SIGSTOP", 1, size + 2))
        outcome.need(kernel, "nothing was ever held for them")
        outcome.need(kernel <= 320 << 10, f"{kernel >> 10} KiB in the kernel of one")
        outcome.need(more <= 20_480 + 320 * size, f"{more} KiB more resident")
        outcome.need(dropped, "they were never there")
        gaps = undoubled(outcome, other, alone)
        log = len(b"".join(other.received)) >> 10
        outcome.notes = (
            f"dropped after {dropped:.1f} s; log of {log} KiB; at most {kernel >> 10} KiB in the kernel each, and "
            f"{more >> 10} MiB more resident in all; {gaps}"
        )
        return outcome


async def _asked(node: Node, path: str) -> socket.socket:
    one = narrow()
    loop = asyncio.get_running_loop()
    await loop.sock_connect(one, ("127.0.0.1", node.port))
    await loop.sock_sendall(one, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return one


async def _sip(one: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(one, 1):  # noqa: ASYNC110 (it is how it reads)
        await asyncio.sleep(1)


async def halved(folder: Path, index: Path, size: int) -> Outcome:
    """Row 6: readers at half the rate lag and catch up on one connection; nobody else notices."""
    async with house(folder, index, pace=0.01, size=160, write_deadline=20) as h, narrow_session() as slowly:
        (task,) = h.ask(1, name="Long question")
        (other,) = h.readers
        await until(lambda: len(other.arrivals) > 100)
        alone = len(other.arrivals)
        rate = len(text_of(other.query).encode()) * 1.4 / (len(text_of(other.query)) / 160 * 0.01) / 2
        halves = [Reader(h.node.url, other.query, "q0", rate=rate) for _ in range(size)]
        tasks = [asyncio.create_task(half.run(slowly)) for half in halves]
        await task
        lagging = sum(not half_task.done() for half_task in tasks)
        await asyncio.gather(*tasks)
        h.readers += halves
        outcome = h.check(Outcome("6", "readers at half the rate", 1, size + 1))
        outcome.need_in_time(lagging == size, f"{lagging} lagged when the answer was complete")
        once = sum(len(half.received) == 1 for half in halves)
        outcome.need(once == size, f"{once} needed only one connection")
        outcome.notes = undoubled(outcome, other, alone)
        return outcome


def _held(port: int) -> dict[int, int]:
    """The bytes that the kernel holds for each of the server's open connections, by the peer's port.

    https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    """
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [line for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01"]
    return {int(line[2].split(":")[1], 16): int(line[4].split(":")[0], 16) for line in mine}


async def vanished(folder: Path, index: Path, size: int) -> Outcome:
    """Row 4: the only reader that may be vanishes, in so many ways; its place is free within 30 s."""
    outcome = Outcome("4", "reader vanishes without FIN", size, size)
    for how in cable.WAYS[:size]:
        took = await _vanished(outcome, folder / how.partition(" ")[2], index, how)
        outcome.notes += f"{', ' * bool(outcome.notes)}{how}: its place was free after {took:.0f} s"
        outcome.need(took < 30, f"{how}: its place was free after {took:.0f} s")
    return outcome


async def _vanished(outcome: Outcome, folder: Path, index: Path, how: str) -> float:
    async with cable.cable(), house(folder, index, pace=0.5, host=cable.HERE, max_connections=1, grace=0.5) as h:
        there = await cable.reader(h.node.port, "/bali-zero/chat-stream?query=Question")
        outcome.need(not await _admitted(h), "its place was not taken")
        await cable.cut(how)
        began = time.monotonic()
        async with asyncio.timeout(60):
            while not await _admitted(h):  # noqa: ASYNC110 (it is in another process)
                await asyncio.sleep(0.2)
        took = time.monotonic() - began
        there.kill()
        await there.wait()
        await until(lambda: h.upstream.left >= 1)
        outcome.requests += h.upstream.requests
        return took


async def _admitted(h: House) -> bool:
    address = f"{h.node.url}/bali-zero/answers/{'A' * 22}/events"  # which costs nothing
    async with h.session.get(address) as response:
        return response.status == 200


async def clock_back(folder: Path, index: Path, size: int) -> Outcome:
    """Row 13: killed, and started again with the clock an hour back."""
    return await _clock(folder, index, size, "-1h", "back")


async def clock_forward(folder: Path, index: Path, size: int) -> Outcome:
    """Row 13: killed, and started again with the clock an hour forward."""
    return await _clock(folder, index, size, "+1h", "forward")


async def _clock(folder: Path, index: Path, size: int, offset: str, word: str) -> Outcome:
    async with house(folder, index) as h:
        tasks = h.ask(size)
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        await h.node.kill()
        h.node.preload(FAKETIME, offset)
        await h.node.start()
        await asyncio.gather(*tasks)
        return h.check(Outcome("13", f"killed, clock an hour {word}", size, size), mended=1)


async def clock_jumps(folder: Path, index: Path, size: int) -> Outcome:
    """Row 13: the clock is set an hour forward and then two back in mid-answer; nothing of it is seen or paid for."""
    async with house(folder, index, pace=0.1) as h:
        await h.node.stop()
        h.node.preload(FAKETIME, "+0")
        await h.node.start()
        tasks = h.ask(size)
        await asyncio.gather(*(reader.first.wait() for reader in h.readers))
        for hours in (1, -1):
            await asyncio.to_thread(h.node.set_clock, f"{hours:+}h")
            async with asyncio.timeout(30):
                while abs(await _time_of(h) - time.time() - hours * 3600) > 60:  # noqa: ASYNC110 (another process)
                    await asyncio.sleep(0.05)
        unfinished = sum(not task.done() for task in tasks)
        await asyncio.gather(*tasks)
        outcome = h.check(Outcome("13", "clock jumps an hour forward and two back in mid-answer", size, size))
        outcome.need(unfinished, "every answer was complete before the clock had jumped")
        return outcome


async def _time_of(h: House) -> float:
    """The server's clock, which it shows in an error."""
    async with h.session.get(f"{h.node.url}/bali-zero/answers/{'A' * 22}/events") as response:
        ((_, _, error),) = checker.blocks(await response.read())
        return float(error["timestamp"])


async def hostile(folder: Path, index: Path, size: int) -> Outcome:
    """Row 17: ids that are nobody's, in the header and in the address, and an id at another answer's address."""
    async with house(folder, index) as h:
        await asyncio.gather(*h.ask(2))
        one, other = checker.journalled(h.node.journal)
        ids = [
            "x",
            "A" * 22 + ".1",
            f"{one}.9999",
            f"{one}.999999999999999999999",
            f"{one}.-1",
            f"{one}.01",
            f"{one}.1'--",
            f"{one}.1 {one}.1",
            f"{one[:-1]}.1",
            f"{one[:-1]}%.1",
            "b" * 10_000,
            "../../etc/passwd",
            "\u0661\ufeff\U0001f600",
        ]
        stream = f"{h.node.url}/bali-zero/chat-stream"
        asked: list[tuple[str, dict[str, str], dict[str, str]]] = [
            *((stream, {"query": "Question 0?"}, {"Last-Event-ID": name}) for name in ids),
            *((stream, {"last_event_id": name}, {}) for name in ids),
            *((f"{h.node.url}/bali-zero/answers/{one}/events", {}, {"Last-Event-ID": f"{other}.{n}"}) for n in (0, 1)),
        ]
        outcome = Outcome("17", "hostile Last-Event-ID", 2, len(asked))
        for address, parameters, headers in asked:
            async with h.session.get(address, params=parameters, headers=headers) as response:
                body = await response.read()
            found = [data.get("code") for _, _, data in checker.blocks(body)]
            name = (headers or parameters).popitem()[1]
            outcome.need(found == ["answer_expired"], f"{name[:20]}: {body[:200]!r}")
            outcome.need(name.encode() not in body or name == "x", f"{name[:20]} is echoed")
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


SCENARIOS: dict[Scenario, tuple[int, int]] = {  # size in tests, and in the long run
    dropped: (10, 200),
    killed: (50, 200),
    killed_extractive: (10, 100),
    terminated: (5, 50),
    vanished: (1, 2),
    slow: (5, 50),
    halved: (2, 20),
    refused: (2, 50),
    always_refused: (2, 50),
    fallen_back: (5, 50),
    upstream_breaks: (1, 10),
    always_broken: (2, 20),
    abandoned: (3, 50),
    full: (5, 50),
    locked: (5, 50),
    clock_back: (5, 50),
    clock_forward: (5, 50),
    clock_jumps: (5, 50),
    raced: (20, 200),
    hostile: (1, 1),
    lossy: (5, 50),
}
ALL = SCENARIOS | EXHAUSTION | RESTARTS | FAILOVERS
NEEDS: dict[Scenario, tuple[Callable[[], bool], str]] = {
    **dict.fromkeys((clock_back, clock_forward, clock_jumps), (FAKETIME.exists, "libfaketime: make test-services")),
    **dict.fromkeys(FAILOVERS, (lambda: not missing(), missing())),
    vanished: (cable.possible, "root, iproute2 and iptables, for a network namespace"),
}
