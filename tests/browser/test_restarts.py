"""Servers that stop or die in mid-answer, and pages that are reloaded: whoever reads gets the rest, once."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, web
from browser.line import Reading, customers, page_at
from messages_api import MessagesAPI, Reply, Request, answer, beginning, continuing
from playwright.async_api import Browser
from server import QUESTION, never, serving

from zantara_stream.config import SQLITE
from zantara_stream.retrieval import builder
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder
from zantara_stream.retrieval.reading import fingerprint, read_folder
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

pytestmark = pytest.mark.browser

Start = Callable[[web.Application], Awaitable[str]]

ROOT = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "zantara_stream", "serve")
BEGINNING = "Late renewal is fined Rp 1 million — 😀 — a day"
WHOLE = f"{BEGINNING}, and\n\nRp 3 million are paid for one year."


@pytest.fixture(scope="module")
def index(small_corpus: Path, real_embedder: SentenceTransformerEmbedder) -> Path:
    """The small corpus with the packaged model, which is what a server process opens."""
    out = small_corpus.parent / "index-for-processes"
    builder.build(read_folder(small_corpus), real_embedder, out, fingerprint(small_corpus))
    return out


class Process:
    """`python -m zantara_stream serve` over a journal on disk; started again it listens on the same port."""

    def __init__(self, folder: Path, index: Path, claude_at: str, origin: str) -> None:
        self.url = ""
        self._folder = folder
        self._port = "0"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ZANTARA_", "ANTHROPIC_"))},
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "ANTHROPIC_API_KEY": "test",
            "ANTHROPIC_BASE_URL": claude_at,
            "ZANTARA_INDEX": str(index),
            "ZANTARA_JOURNAL": f"{SQLITE}{folder}/answers.db",
            "ZANTARA_DATABASE_URL": f"{SQLITE}{folder}/people.db",
            "ZANTARA_CORS_ORIGINS": origin,
            "ZANTARA_LEASE": "1",
            "ZANTARA_DRAIN": "0",
        }

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "errors.txt").read_text()

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        with (self._folder / "errors.txt").open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *(*COMMAND, "--port", self._port),
                cwd=self._folder,
                env=self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        assert self._process.stdout is not None
        found = re.search(r"http://\S+:(\d+)", (await self._process.stdout.readline()).decode())
        assert found is not None, self.log
        self.url, self._port = found[0], found[1]
        await self._ready()

    async def _ready(self) -> None:
        async with ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{self.url}/ready") as response:
                        if response.status == 200:
                            return
                except ClientError:
                    assert self._process.returncode is None, self.log
                await asyncio.sleep(0.05)

    async def end(self, how: signal.Signals) -> int:
        """Send it that signal and wait for its end; its exit code."""
        self._process.send_signal(how)
        return await self._process.wait()

    async def close(self) -> None:
        """End it, however it is."""
        if self._process.returncode is None:
            await self.end(signal.SIGKILL)


class Model(MessagesAPI):
    """Claude's stand-in: begins an answer and never goes on, but gives the rest of one that is begun."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.begun = self.continued = 0

    def _reply(self, request: Request) -> Reply:
        if beginning(request)[0]:
            self.continued += 1
            return continuing(WHOLE)(request)
        self.begun += 1
        return answer(*re.findall(".{1,7}", BEGINNING), never())


@asynccontextmanager
async def process(folder: Path, index: Path, origin: str) -> AsyncIterator[tuple[Process, Model]]:
    """A running server process for pages of that origin, and its model."""
    async with Model() as model:
        server = Process(folder, index, model.url, origin)
        await server.start()
        try:
            yield server, model
        finally:
            await server.close()
        assert "Traceback" not in server.log


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -9)], ids=["SIGTERM", "kill -9"])
async def test_every_reader_gets_the_rest_from_the_process_that_comes_next(
    browser: Browser, start: Start, index: Path, tmp_path: Path, how: signal.Signals, code: int
) -> None:
    site = await start(customers())
    async with process(tmp_path, index, site) as (server, model):
        page = await page_at(site, browser)
        readings = [
            await Reading.begin(page, way, QUESTION, url=server.url) for way in ("EventSource", "client", "fetch")
        ]
        await asyncio.gather(*(reading.has(BEGINNING) for reading in readings))
        assert await server.end(how) == code
        await asyncio.gather(*(reading.was("reconnecting") for reading in readings))
        await server.start()
        await asyncio.gather(*(reading.whole(WHOLE) for reading in readings))
        assert (model.begun, model.continued) == (3, 3)


async def test_a_page_that_is_reloaded_while_the_server_is_away_gets_the_whole_answer(
    browser: Browser, start: Start, index: Path, tmp_path: Path
) -> None:
    site = await start(customers())
    async with process(tmp_path, index, site) as (server, model):
        page = await page_at(site, browser)
        await (await Reading.begin(page, "client", QUESTION, url=server.url)).has(BEGINNING)
        await server.end(signal.SIGKILL)
        await page.reload()
        reloaded = await Reading.begin(page, "resume", url=server.url)
        await reloaded.was("reconnecting")
        assert await reloaded.evaluate("reading.answer.query") == QUESTION
        await server.start()
        await reloaded.whole(WHOLE)
        assert (model.begun, model.continued) == (1, 1)


async def test_tabs_of_one_answer_get_the_rest_when_their_server_restarts_and_one_of_them_is_closed(
    browser: Browser, start: Start, index: Path, tmp_path: Path
) -> None:
    site = await start(customers())
    async with process(tmp_path, index, site) as (server, model):
        context = await browser.new_context()
        pages = [await page_at(site, context) for _ in range(3)]
        first = await Reading.begin(pages[0], "client", QUESTION, url=server.url)
        await first.has(BEGINNING)
        name = await first.evaluate("reading.answer.id")
        others = [await Reading.begin(page, "follow", name, url=server.url) for page in pages[1:]]
        await asyncio.gather(*(other.has(BEGINNING) for other in others))
        await server.end(signal.SIGKILL)
        await asyncio.gather(*(tab.was("reconnecting") for tab in (first, *others)))
        await pages[0].close()  # the one that has the connection
        await server.start()
        await asyncio.gather(*(other.until("reading.answer.over") for other in others))
        for said in [await other.said() for other in others]:
            assert (said["text"], said["seen"][-1], said["gaps"], said["duplicates"]) == (WHOLE, "complete", 0, 0)
        assert (model.begun, model.continued) == (1, 1)
        await context.close()


async def test_a_page_that_is_reloaded_in_mid_answer_reads_it_from_its_beginning(
    browser: Browser, small_index: Path
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    answerer = ScriptedAnswerer("Late ", "renewal ", gates[0], "is ", gates[1], "fined.")
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await page_at(f"{server.url}/health", browser)
        await (await Reading.begin(page, "client", QUESTION)).has("Late renewal ")
        for gate, text in zip(gates, ("Late renewal ", "Late renewal is "), strict=True):
            await page.reload()
            reloaded = await Reading.begin(page, "resume")
            await reloaded.has(text)
            gate.set()
            await reloaded.until(f"reading.text.length > {len(text)}")
        await reloaded.whole("Late renewal is fined.", 4)
        await page.reload()  # once more, after its end
        ended = await Reading.begin(page, "resume")
        await ended.whole("Late renewal is fined.", 4)
        assert len(answerer.prompts) == 1
