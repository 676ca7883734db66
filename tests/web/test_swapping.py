"""A server takes up new builds while it answers: nothing fails, nothing is mixed, nothing waits."""

from __future__ import annotations

import asyncio
import gc
import re
import shutil
import signal
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from builds_made import ASKED, DAMAGES, DOCUMENT, PARTS, Changing, flip, in_part, sentence, until_refused, until_served
from faults.process import Node
from server import SEARCH, STREAM, Reader, Server, data, serving

from zantara_stream.generation.answerer import Finish, Part, Prompt, Quote
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.retrieval.manifest import BUILDS, make_current
from zantara_stream.retrieval.served import Served
from zantara_stream.testing import read_events

TOKEN = "0123456789abcdef0123456789"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
PATIENCE = 30.0  # seconds for what takes one on a machine that has nothing else to do


@pytest.fixture
def changing(tmp_path: Path) -> Changing:
    """An index whose first build is current."""
    made = Changing(tmp_path)
    made.build(1)
    return made


class Quoting:
    """Begins, waits until `go` is set, then searches again and quotes what it found when it began."""

    model = "quoting"

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[weakref.ref[Served]] = []

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """What the build says that the question began with."""
        assert prompt.served is not None
        self.asked.append(weakref.ref(prompt.served))
        yield "It is said: "
        await self.go.wait()
        (again,) = await prompt.served.search(prompt.query, 1)
        passage = prompt.hits[0].passage
        assert again.passage == passage
        words = said(passage.text)
        yield words
        yield Quote(passage, words, (12, 12 + len(words)))
        yield Finish()

    async def prepare(self) -> None:
        """Nothing has to be there."""

    async def close(self) -> None:
        """Nothing is held."""


def said(text: str) -> str:
    """The sentence about the fine in a text."""
    found = re.search(r"Late renewal .* a day\.", text)
    assert found is not None, text
    return found[0]


async def answered(reader: Reader) -> tuple[str, dict[str, Any]]:
    """The rest of an answer's text, and its one citation."""
    events = data(await reader.rest())
    assert events[-1]["done"]
    assert "error" not in events[-1]
    (citation,) = (event["citation"] for event in events if "citation" in event)
    return "".join(event.get("text", "") for event in events), citation


async def readiness(server: Server) -> dict[str, Any]:
    """What `/ready` says while questions are answered."""
    async with await server.get("/ready") as response:
        assert response.status == 200
        body: dict[str, Any] = await response.json()
        return body


# ----------------------------------------------------------------------------------------- how it is taken up


async def test_a_new_build_is_served_without_anybody_asking_for_it(changing: Changing) -> None:
    async with serving(changing.index, Quoting()) as server:
        second = changing.build(2)
        async with asyncio.timeout(PATIENCE):
            await until_served(server.library, second.build)
        assert await readiness(server) == {"ready": True, "build": second.build, "model": "quoting"}


async def test_the_index_may_come_after_the_server(tmp_path: Path) -> None:
    changing = Changing(tmp_path)
    async with serving(changing.index, answerer := Quoting()) as server:
        answerer.go.set()
        async with await server.get(STREAM, query=ASKED) as response:
            assert (response.status, (await response.json())["code"]) == (503, "index_unavailable")
        first = changing.build(1)
        async with asyncio.timeout(PATIENCE):
            await until_served(server.library, first.build)
        assert (await readiness(server))["build"] == first.build
        text, _ = await answered(await server.stream(query=ASKED))
        assert text == f"It is said: {sentence(1)}"


async def test_a_signal_has_it_looked_at_anew(changing: Changing, tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    node = Node(tmp_path / "node", changing.index)
    await node.start()
    try:
        async with ClientSession() as session, asyncio.timeout(PATIENCE):
            DAMAGES["corpus.db flipped"](changing.index)
            await _until(session, node, lambda refused, build: refused == 1)
            node.signal(signal.SIGHUP)  # which tries it again, though nothing has changed
            await _until(session, node, lambda refused, build: refused == 2)
            second = changing.build(2)
            node.signal(signal.SIGHUP)
            await _until(session, node, lambda refused, build: build == second.build)
            for _ in range(20):  # as many as come
                node.signal(signal.SIGHUP)
            await _until(session, node, lambda refused, build: refused == 2)
        node.signal(signal.SIGTERM)
        node.signal(signal.SIGHUP)  # does not end what is being finished
        assert await node.stopped() == 0
    finally:
        await node.stop()
    assert "Traceback" not in (tmp_path / "node" / "errors.txt").read_text()


async def _until(session: ClientSession, node: Node, told: Callable[[float, str], bool]) -> None:
    """Wait until that is told of the builds refused and of the build served."""
    while True:
        async with session.get(f"{node.url}/metrics") as response:
            text = await response.text()
        refused = re.search(r"^zantara_index_refused_total (\S+)$", text, re.MULTILINE)
        build = re.search(r'^zantara_index_info\{build="([^"]*)"', text, re.MULTILINE)
        assert refused is not None
        assert build is not None
        if told(float(refused[1]), build[1]):
            return
        await asyncio.sleep(0.02)


# ------------------------------------------------------------------------------------- what began on the old one


async def test_an_answer_ends_on_the_build_that_it_began_with_even_if_that_is_deleted(changing: Changing) -> None:
    answerer = Quoting()
    async with serving(changing.index, answerer, admin_token=TOKEN) as server:
        folder, old = changing.current, server.library.current.manifest
        began = await server.stream(query=ASKED)
        await began.next()
        await began.next()
        second = changing.build(2)
        async with await server.post("/admin/reload", {}, OPERATOR) as response:
            assert (response.status, (await response.json())["build"]) == (200, second.build)
        shutil.rmtree(folder)
        after = await server.stream(query=ASKED)
        await after.next()
        await after.next()
        answerer.go.set()
        text, citation = await answered(began)
        assert text == citation["quote"] == sentence(1)
        assert (citation["verified"], citation["document"]) == (True, DOCUMENT)
        text, citation = await answered(after)
        assert text == citation["quote"] == sentence(2)
        assert citation["verified"]
        assert old.build != second.build
        await server.library.current.run(lambda build: None)  # the threads have put away what they did last
        gc.collect()
        assert [served() for served in answerer.asked] == [None, server.library.current], "the old one is let go of"


async def test_every_answer_is_made_of_one_build_by_sentences_too(changing: Changing) -> None:
    async with serving(changing.index, ExtractiveAnswerer()) as server:
        for fine in (2, 3):
            changing.build(fine)
            await server.library.reload()
            events = data(await (await server.stream(query=ASKED)).rest())
            assert {said(event["citation"]["quote"]) for event in events if "citation" in event} == {sentence(fine)}


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        *((f"{part} flipped", part.rpartition("/")[2]) for part in PARTS if part != "manifest.json"),
        ("vectors.faiss missing", "vectors.faiss is missing"),
        ("manifest.json truncated", "no readable manifest"),
        ("another model", "built with the embedding model another"),
        ("another format", "format 99"),
        ("CURRENT names nothing", "no readable manifest"),
        ("all of it missing", "There is no index"),
    ],
)
async def test_a_build_that_cannot_be_served_is_told_of_and_the_old_one_goes_on(
    changing: Changing, caplog: pytest.LogCaptureFixture, damage: str, reason: str
) -> None:
    answerer = Quoting()
    answerer.go.set()
    async with serving(changing.index, answerer) as server:
        first = await readiness(server)
        DAMAGES[damage](changing.index)
        async with asyncio.timeout(PATIENCE):
            await until_refused(server.library)
        ready = await readiness(server)
        assert reason in ready.pop("refused")
        assert ready == first
        (line,) = [record for record in caplog.records if "is refused" in record.message]
        assert reason in line.message
        assert line.levelname == "ERROR"
        _, citation = await answered(await server.stream(query=ASKED))
        assert citation["quote"] == sentence(1)
        second = changing.build(2)
        async with asyncio.timeout(PATIENCE):
            await until_served(server.library, second.build)
        assert await readiness(server) == first | {"build": second.build}


# ----------------------------------------------------------------------------------------------------- under load


class Mixed(ExtractiveAnswerer):
    """Quotes in an instant, or, asked to take its time, for a good while and by searching again and again."""

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """The parts; slow ones name the build."""
        if "slowly" not in prompt.query:
            async with aclosing(super().answer(prompt)) as parts:
                async for part in parts:
                    yield part
            return
        assert prompt.served is not None
        passage = prompt.hits[0].passage
        words = said(passage.text)
        for _ in range(10):
            yield f"{prompt.served.manifest.build} "
            (again,) = await prompt.served.search(ASKED, 1)
            assert again.passage == passage
            await asyncio.sleep(0.03)
        yield words
        yield Quote(passage, words, (0, 10))
        yield Finish()


@dataclass
class Load:
    """Clients who ask without a break, until they are told to stop."""

    url: str
    fines: dict[str, int]  # by build
    session: ClientSession
    stopped: bool = False
    told: dict[str, int] = field(default_factory=dict)  # how often each sentence was told
    numbers: count[int] = field(default_factory=count)

    async def slow(self) -> None:
        """One stream, every event of which is there, and of one build."""
        events = await self._stream(f"{ASKED} Tell me slowly, {next(self.numbers)}")
        texts = [event["text"] for event in events if "text" in event]
        (build,) = {text.strip() for text in texts[:-1]}
        assert len(texts) == 11
        assert texts[-1] == sentence(self.fines[build])
        self._check(events, build)

    async def quick(self) -> None:
        """One answer of quoted sentences."""
        self._check(await self._stream(ASKED))

    async def search(self) -> None:
        """One search."""
        async with self.session.post(self.url + SEARCH, json={"query": ASKED, "limit": 1}) as response:
            assert response.status == 200
            (result,) = (await response.json())["results"]
            self._tell(said(result["text"]))

    async def ready(self) -> None:
        """One probe."""
        async with self.session.get(f"{self.url}/ready") as response:
            assert response.status == 200

    async def _stream(self, query: str) -> list[Any]:
        async with self.session.get(self.url + STREAM, params={"query": query}) as response:
            assert response.status == 200
            events = read_events(await response.read())
        assert events[0].event == "start"
        sent = data(events)
        assert [event["sequenceNumber"] for event in sent if "text" in event] == [
            number for number, _ in enumerate((event for event in sent if "text" in event), 1)
        ]
        assert sent[-1]["done"]
        assert "error" not in sent[-1], sent[-1]
        return sent

    def _check(self, events: list[Any], build: str = "") -> None:
        (quote,) = {said(event["citation"]["quote"]) for event in events if "citation" in event}
        assert not build or quote == sentence(self.fines[build])
        sources = [entry for event in events for entry in event.get("sources", ())]
        assert [said(entry["snippet"]) for entry in sources if entry["document"] == DOCUMENT] == [quote]
        self._tell(quote)

    def _tell(self, what: str) -> None:
        self.told[what] = self.told.get(what, 0) + 1

    async def keep(self, ask: Callable[[], Awaitable[None]]) -> int:
        """Ask over and over; how often."""
        for number in count(1):
            await ask()
            if self.stopped:
                return number
            await asyncio.sleep(0)
        raise AssertionError


@asynccontextmanager
async def watched(late: list[float]) -> AsyncIterator[None]:
    """Note how much later than it should the loop gets to a timer of 5 ms."""

    async def watch() -> None:
        while True:
            due = time.perf_counter() + 0.005
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - due)

    task = asyncio.create_task(watch())
    yield
    task.cancel()


async def test_under_load_no_request_fails_no_stream_is_cut_and_none_is_of_two_builds(tmp_path: Path) -> None:
    made, out = Changing(tmp_path / "made"), tmp_path / "index"
    fines: dict[str, int] = {}
    for fine in range(1, 7):  # made before: a builder is another process
        fines[(manifest := made.build(fine)).build] = fine
        shutil.copytree(made.current, tmp_path / "staged" / manifest.build)
    first, *others = fines
    _bring(tmp_path / "staged" / first, out)
    late: list[float] = []
    async with (
        serving(out, Mixed()) as server,
        ClientSession(connector=TCPConnector(limit=0)) as session,
        watched(late),
    ):
        load = Load(server.url, fines, session)
        asking = [*[load.slow] * 40, *[load.quick] * 4, *[load.search] * 2, load.ready]
        clients = [asyncio.create_task(load.keep(ask)) for ask in asking]
        old = first
        for number, build in enumerate(others):
            if number in (1, 3):
                await asyncio.to_thread(in_part("vectors.faiss", flip), out)
                async with asyncio.timeout(PATIENCE):
                    await until_refused(server.library)
            await asyncio.to_thread(_bring, tmp_path / "staged" / build, out)
            async with asyncio.timeout(PATIENCE):
                await until_served(server.library, build)
            await asyncio.to_thread(shutil.rmtree, out / BUILDS / old)
            old = build
            await load.search()
            async with asyncio.timeout(PATIENCE):
                while sentence(fines[build]) not in load.told:  # noqa: ASYNC110 (clients tell of it)
                    await asyncio.sleep(0.01)
        load.stopped = True
        asked = await asyncio.gather(*clients)
    assert set(load.told) == {sentence(fine) for fine in fines.values()}, "each was asked"
    cuts = [cut * 1000 for cut in quantiles(late, n=100)]
    print(
        f"{sum(asked)} requests, loop lag p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, max {max(late) * 1000:.1f} ms"
    )
    assert cuts[98] < 250, "ms; a bar for a stall, not for speed"


def _bring(staged: Path, index: Path) -> None:
    """Put a build into an index folder and make it current."""
    shutil.copytree(staged, index / BUILDS / staged.name)
    make_current(index, staged.name)
