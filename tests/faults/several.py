"""Several nodes as operators run them: nginx before them, Redis and PostgreSQL behind, all real processes."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector
from deploy.nginx_site import site
from deploy.proxied import Site
from nginx import NGINX
from postgres import cluster, programs
from prometheus_client.parser import text_string_to_metric_families
from redis_replicated import Replicated, replicated
from redis_server import SERVER, Redis, redis_server

from . import checker, redis_journal
from .client import Reader
from .house import Outcome, until
from .process import Node
from .relay import Relay
from .upstream import Upstream, text_of

NODES = 3
DRAIN = 2.0  # seconds that a node that stops lets answers finish
SILENCE = 4.0  # seconds after which a reader takes its line for dead: four heartbeats
FRONT = -1  # in the place of a node's number: whichever nginx takes


def missing() -> str:
    """What is not installed of what it needs, or ""."""
    there = {"nginx": Path(NGINX).exists(), "redis-server": Path(SERVER).exists(), "PostgreSQL": programs() is not None}
    names = [name for name, found in there.items() if not found]
    return f"{' and '.join(names)}: make test-services" if names else ""


@dataclass(slots=True)
class Several:
    """The nodes, each with a line of its own to Redis; what is behind them; who reads from them."""

    nodes: list[Node]
    lines: list[Relay]
    redis: Redis
    front: Site
    upstream: Upstream
    session: ClientSession
    lease: float
    replicated: Replicated | None = None
    readers: list[Reader] = field(default_factory=list)

    async def begin(self, pace: float) -> None:
        """Begin anew: everything runs, and nothing is left of what was asked before."""
        for line in self.lines:
            line.mend()
        if self.redis.ask("PING") != "PONG":
            await asyncio.to_thread(self.redis.start)
        for node in self.nodes:
            if node.runs:
                node.signal(signal.SIGCONT)
        await asyncio.gather(*(node.start() for node in self.nodes if not node.runs))
        await asyncio.gather(*(node.until_ready(200) for node in self.nodes))
        self.redis.emptied()
        self.readers, self.upstream.pace = [], pace
        for counter in (self.upstream.begun, self.upstream.continued):
            counter.clear()

    async def ask(self, count: int, *places: int, name: str = "Question") -> list[asyncio.Task[None]]:
        """So many questions, asked at the first of these nodes, and read at each; when all have got something.

        Whoever comes back comes by nginx.
        """
        tasks = []
        for place in places:
            made = [Reader(self.url(place), f"{name} {n}?", f"{name}{n}") for n in range(count)]
            tasks += [asyncio.create_task(reader.run(self.session)) for reader in made]
            await asyncio.wait_for(asyncio.gather(*(reader.first.wait() for reader in made)), 60)
            for reader in made:
                reader.move(self.front.url)
            self.readers += made
        return tasks

    def url(self, place: int) -> str:
        """The address of a node, or of nginx."""
        return self.front.url if place == FRONT else self.nodes[place].url

    @property
    def running(self) -> int:
        """How many answers somebody writes, or should."""
        return len(self.content().running)

    def content(self) -> redis_journal.Content:
        """What Redis holds."""
        return redis_journal.read(f"redis://127.0.0.1:{self.redis.port}/0")

    async def taken_over(self) -> None:
        """Wait until each answer has been taken over."""
        await until(lambda: all(logged.takeovers for logged in self.content().answers.values()))

    async def sample(self, name: str, *places: int) -> float:
        """The sum of the samples of that name at those nodes, or at all."""
        return sum([await _sample(self.session, self.nodes[place], name) for place in places or range(NODES)])

    def check(self, outcome: Outcome, also: Iterable[str] = ()) -> Outcome:
        """Let the checker decide; `also` are questions that no stream answered.

        A reader may get a gap where Redis was failed over, and nowhere else.
        """
        content = self.content()
        wires = content.wires()
        for reader in self.readers:
            outcome.problems += checker.gap_problems(reader.received, wires, text_of(reader.query))
            gap = checker.after_gap(reader.received) is not None
            outcome.need(not gap or self.replicated, f"a gap in {reader.query}")
        outcome.problems += content.problems()
        outcome.need(len(wires) == outcome.answers, f"{len(wires)} answers in the journal")
        outcome.requests = self.upstream.requests
        takeovers = Counter[str]()
        for logged in content.answers.values():
            takeovers[logged.question] += logged.takeovers
        questions = {*also, *(reader.query for reader in self.readers)}
        outcome.problems += checker.overpaid(questions, self.upstream.begun, self.upstream.continued, takeovers)
        return outcome


SeveralScenario = Callable[[Several, int], Awaitable[Outcome]]


@asynccontextmanager
async def several(
    folder: Path, index: Path, lease: float, *, with_replica: bool = False, **settings: Any
) -> AsyncIterator[Several]:
    """Three nodes that run, of one Redis, or of one that leads, its replica and a Sentinel."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream().serving())
        three = stack.enter_context(replicated(folder / "redis")) if with_replica else None
        redis = three.leader if three else stack.enter_context(redis_server(folder / "redis"))
        lines = await _lines(stack, 0 if three else NODES, redis.port)
        addresses = [three.url] * NODES if three else [f"redis://127.0.0.1:{line.port}/0" for line in lines]
        people = stack.enter_context(_people())
        settings = {"drain": DRAIN, "rate_limit": "off", "lease": lease, "database_url": people, **settings}
        nodes = [
            Node(folder / f"node{number}", index, upstream.url, journal=address, **settings)
            for number, address in enumerate(addresses)
        ]
        stack.push_async_callback(_end, nodes)
        for node in nodes:
            node.folder.mkdir(parents=True)
        await asyncio.gather(*(node.start() for node in nodes))
        front = await stack.enter_async_context(site(folder / "nginx", *(node.url[7:] for node in nodes)))
        session = await stack.enter_async_context(readers_session(front))
        yield Several(nodes, lines, redis, front, upstream, session, lease, three)


def readers_session(front: Site) -> ClientSession:
    """What readers connect with, each time anew."""
    connector = TCPConnector(limit=0, force_close=True, ssl=front.trust)
    return ClientSession(connector=connector, timeout=ClientTimeout(total=None, sock_read=SILENCE))


async def _lines(stack: AsyncExitStack, count: int, port: int) -> list[Relay]:
    lines = [Relay(port) for _ in range(count)]
    for line in lines:
        await line.start()
        stack.push_async_callback(line.stop)
    return lines


async def _end(nodes: Iterable[Node]) -> None:
    for node in nodes:
        await node.stop()


@contextmanager
def _people() -> Iterator[str]:
    """The address of a database in a PostgreSQL of its own, in a folder that its user can reach."""
    found = programs()
    assert found is not None, "PostgreSQL is missing; make test-services installs it"
    folder = Path(tempfile.mkdtemp(prefix="zantara-several-"))
    folder.chmod(0o755)
    try:
        with cluster(folder / "postgresql", found) as running:
            yield running.database()
    finally:
        shutil.rmtree(folder)


async def _sample(session: ClientSession, node: Node, name: str) -> float:
    async with session.get(f"{node.url}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)
