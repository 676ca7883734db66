"""Lines that break and proxies that meddle: whatever is between the page and the server, the answer comes whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from browser.line import Reading, customers, line, page_at
from nginx import BUFFERING, PLAIN, nginx
from playwright.async_api import Browser, Page
from server import ANSWERS_BY_ID, QUESTION, Server, serving

from zantara_stream.generation.answerer import Part
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer
from zantara_stream.web import sse

pytestmark = pytest.mark.browser

Start = Callable[[web.Application], Awaitable[str]]

WAYS = ("EventSource", "client", "fetch")
TEXTS = ("Late renewal ", "is fined\n", "Rp 1 million — 😀 ", "a day, ", "and more.")
WHOLE = "".join(TEXTS)
PAGE = "/health"  # any page of the server's own origin; this one does nothing by itself


class Paced(ScriptedAnswerer):
    """Writes `TEXTS`, each when the test lets it; all who ask are answered in step."""

    def __init__(self) -> None:
        self._gates = [asyncio.Event() for _ in TEXTS]
        steps: list[Part | asyncio.Event] = list(chain.from_iterable(zip(self._gates, TEXTS, strict=True)))
        super().__init__(*steps)

    def write(self, number: int) -> str:
        """Let it write that text, counted from 1; the text so far."""
        self._gates[number - 1].set()
        return "".join(TEXTS[:number])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain EventSource comes back in a moment instead of seconds."""
    monkeypatch.setattr(sse, "RETRY", (20, 100))


@asynccontextmanager
async def paced(index: Path, **settings: Any) -> AsyncIterator[tuple[Server, Paced]]:
    """A server whose model writes when it is let."""
    answerer = Paced()
    async with serving(index, answerer, HashingEmbedder(), **settings) as server:
        yield server, answerer


async def reading(page: Page, ways: Sequence[str] = WAYS, **options: Any) -> list[Reading]:
    """The same question, asked in each of these ways."""
    return [await Reading.begin(page, way, QUESTION, **options) for way in ways]


async def have(readings: list[Reading], text: str) -> None:
    """Wait until all have just that text."""
    await asyncio.gather(*(each.has(text) for each in readings))


async def were(readings: list[Reading], state: str, times: int = 1) -> None:
    """Wait until all were in that state so many times."""
    await asyncio.gather(*(each.was(state, times) for each in readings))


async def whole(readings: list[Reading], answerer: ScriptedAnswerer) -> None:
    """All come to the end, with every chunk once; each was paid for once."""
    await asyncio.gather(*(each.whole(WHOLE, len(TEXTS)) for each in readings))
    assert len(answerer.prompts) == len(readings)


# ---------------------------------------------------------------------------------------------------------- lines


async def test_an_answer_survives_a_line_that_is_cut_again_and_again(browser: Browser, small_index: Path) -> None:
    async with paced(small_index) as (server, answerer), line(server.authority) as wire:
        readings = await reading(await page_at(wire.url + PAGE, browser))
        for number in range(1, len(TEXTS)):
            await have(readings, answerer.write(number))
            wire.cut()
            await were(readings, "reconnecting", number)
        answerer.write(len(TEXTS))
        await whole(readings, answerer)


async def test_what_is_written_while_nobody_can_connect_comes_afterwards(browser: Browser, small_index: Path) -> None:
    async with paced(small_index) as (server, answerer), line(server.authority) as wire:
        readings = await reading(await page_at(wire.url + PAGE, browser))
        await have(readings, answerer.write(1))
        wire.refuse()
        await were(readings, "reconnecting", 2)  # lost, and one attempt in vain
        for number in range(2, len(TEXTS) + 1):
            answerer.write(number)
        await wire.restore()
        await whole(readings, answerer)


async def test_a_line_that_is_cut_after_any_number_of_bytes_loses_nothing(browser: Browser, small_index: Path) -> None:
    words = [f"word{number} " for number in range(15)]
    answerer = ScriptedAnswerer(*words)
    async with serving(small_index, answerer, HashingEmbedder()) as server, line(server.authority) as wire:
        page = await page_at(wire.url + PAGE, browser)
        await page.evaluate("import('/zantara-stream.js')")
        wire.cut()
        wire.most = count(1000, 300).__next__  # the headers, some events, and a part of one
        readings = await reading(page)
        await asyncio.gather(*(each.whole("".join(words), len(words)) for each in readings))
        assert wire.accepted > 2 * len(readings)
        assert len(answerer.prompts) == len(readings)


async def test_an_answer_survives_a_browser_that_goes_offline(browser: Browser, small_index: Path) -> None:
    async with paced(small_index) as (server, answerer), line(server.authority) as wire:
        page = await page_at(wire.url + PAGE, browser)
        readings = await reading(page)
        for number in (1, 2):
            await have(readings, answerer.write(number))
            await page.context.set_offline(True)  # of what is open Chromium lets everything go on
            wire.cut()
            await were(readings, "reconnecting", 2 * number)  # once in vain
            await page.context.set_offline(False)
        for number in (3, 4, 5):
            answerer.write(number)
        await whole(readings, answerer)


async def test_a_line_that_falls_silent_is_given_up_and_made_anew(browser: Browser, small_index: Path) -> None:
    async with paced(small_index, heartbeat=0.1) as (server, answerer), line(server.authority) as wire:
        readings = await reading(await page_at(wire.url + PAGE, browser), silence=1000)
        plain, *clients = readings
        await have(readings, answerer.write(1))
        wire.fall_silent()
        answerer.write(2)
        await were(clients, "reconnecting", 2)  # the next connection hears nothing either
        await wire.restore()
        await have(clients, answerer.write(2))
        # A plain EventSource believes in its dead connection until somebody closes it.
        assert (await plain.said())["text"] == TEXTS[0]
        assert await plain.evaluate("reading.source.readyState") == 1
        wire.cut()
        for number in (3, 4, 5):
            answerer.write(number)
        await whole(readings, answerer)


# -------------------------------------------------------------------------------------------------------- proxies


@pytest.mark.parametrize("outside", ["", "gzip on; gzip_min_length 0; gzip_types text/event-stream;"], ids=["", "gzip"])
async def test_a_plain_nginx_passes_each_chunk_on_before_the_next_is_written(
    browser: Browser, small_index: Path, tmp_path: Path, outside: str
) -> None:
    async with (
        paced(small_index) as (server, answerer),
        nginx(tmp_path / "nginx", server.authority, outside=outside) as proxy,
    ):
        readings = await reading(await page_at(proxy + PAGE, browser))
        for number in range(1, len(TEXTS) + 1):
            await have(readings, answerer.write(number))
        await whole(readings, answerer)
        assert await encoding(proxy) == ("gzip" if outside else None)


async def encoding(origin: str) -> str | None:
    """How a stream is compressed for a browser, which says that it takes it."""
    headers = {"Accept-Encoding": "gzip", "Accept": "text/event-stream"}
    async with (
        ClientSession() as session,
        session.get(f"{origin}/bali-zero/stream-test", headers=headers) as response,
    ):
        return response.headers.get("Content-Encoding")


async def test_an_nginx_that_is_told_to_buffer_holds_every_chunk_back(
    browser: Browser, small_index: Path, tmp_path: Path
) -> None:
    async with (
        paced(small_index) as (server, answerer),
        nginx(tmp_path / "nginx", server.authority, BUFFERING) as proxy,
    ):
        readings = await reading(await page_at(proxy + PAGE, browser))
        direct = await server.stream(continuity_id="direct")
        for number in range(1, len(TEXTS)):
            answerer.write(number)
            while "text" not in (await direct.until("message")).json:
                pass
        # A reader without the proxy has them all; the pages have nothing, not even that the answer has begun.
        assert [(await each.said())["numbers"] for each in readings] == [[]] * len(readings)
        answerer.write(len(TEXTS))
        await asyncio.gather(*(each.whole(WHOLE, len(TEXTS)) for each in readings))


async def test_heartbeats_keep_a_silent_answer_through_the_time_out_of_a_proxy(
    browser: Browser, small_index: Path, tmp_path: Path
) -> None:
    async with (
        paced(small_index, heartbeat=0.25) as (server, answerer),
        nginx(tmp_path / "nginx", server.authority, f"{PLAIN} proxy_read_timeout 1s;") as proxy,
    ):
        readings = await reading(await page_at(proxy + PAGE, browser))
        await have(readings, answerer.write(1))
        await readings[0].was("ping", 10)  # at most four a second: the silence is longer than the proxy's patience
        for number in range(2, len(TEXTS) + 1):
            answerer.write(number)
        await whole(readings, answerer)
        assert ["reconnecting" in (await each.said())["seen"] for each in readings] == [False] * len(readings)


async def test_a_proxy_that_cuts_a_silent_answer_costs_it_nothing(
    browser: Browser, small_index: Path, tmp_path: Path
) -> None:
    async with (
        paced(small_index) as (server, answerer),
        nginx(tmp_path / "nginx", server.authority, f"{PLAIN} proxy_read_timeout 1s;") as proxy,
    ):
        readings = await reading(await page_at(proxy + PAGE, browser))
        await have(readings, answerer.write(1))
        await were(readings, "reconnecting")
        for number in range(2, len(TEXTS) + 1):
            answerer.write(number)
        await whole(readings, answerer)


async def test_a_502_ends_a_plain_event_source_for_good_and_not_the_client(
    browser: Browser, small_index: Path, tmp_path: Path
) -> None:
    async with (
        paced(small_index) as (server, answerer),
        line(server.authority) as wire,
        nginx(tmp_path / "nginx", wire.authority) as proxy,
    ):
        readings = await reading(await page_at(proxy + PAGE, browser))
        plain, *clients = readings
        await have(readings, answerer.write(1))
        wire.refuse()
        await plain.was("error")
        await were(clients, "reconnecting", 2)
        await wire.restore()
        for number in range(2, len(TEXTS) + 1):
            answerer.write(number)
        await asyncio.gather(*(each.whole(WHOLE, len(TEXTS)) for each in clients))
        assert (await plain.said())["text"] == TEXTS[0]
        assert await plain.evaluate("reading.source.readyState") == 2
        assert len(answerer.prompts) == len(readings)


# -------------------------------------------------------------------------------------------------------- origins


# Each wait for the next attempt is cut short by what a browser says when it is online again.
HURRY = """
reading.answer.addEventListener("state", ({ detail }) => {
  if (detail.state === "reconnecting") setTimeout(() => dispatchEvent(new Event("online")));
})
"""


async def test_a_page_of_an_allowed_origin_is_served_through_a_proxy_and_a_foreign_one_is_not(
    browser: Browser, start: Start, small_index: Path, tmp_path: Path
) -> None:
    allowed, foreign = await start(customers()), await start(customers())
    async with (
        paced(small_index, cors_origins=(allowed,)) as (server, answerer),
        nginx(tmp_path / "nginx", server.authority) as proxy,
    ):
        refused = await reading(await page_at(foreign, browser), WAYS[:2], url=proxy)
        await refused[1].evaluate(HURRY)
        await were(refused, "error")
        assert [(await each.said())["code"] for each in refused] == [None, "unreachable"]
        assert answerer.prompts == []
        readings = await reading(await page_at(allowed, browser), url=proxy)
        for number in range(1, len(TEXTS) + 1):
            await have(readings, answerer.write(number))
        await whole(readings, answerer)


async def test_a_proxy_that_keeps_the_host_to_itself_makes_a_foreign_origin_of_its_own(
    browser: Browser, small_index: Path, tmp_path: Path
) -> None:
    async with (
        paced(small_index) as (server, answerer),
        nginx(tmp_path / "nginx", server.authority, "proxy_http_version 1.1;") as proxy,
    ):
        page = await page_at(proxy + PAGE, browser)
        # A browser says its origin with a module and with whatever changes something, but not with a plain stream.
        assert await page.evaluate("import('/zantara-stream.js').catch((error) => error.name)") == "TypeError"
        stopped = f"fetch('{ANSWERS_BY_ID}/any', {{ method: 'DELETE' }}).then((response) => response.status)"
        assert await page.evaluate(stopped) == 403
        (plain,) = await reading(page, ["EventSource"])
        await plain.has(answerer.write(1))


async def test_a_page_behind_a_proxy_stops_its_answer(browser: Browser, small_index: Path, tmp_path: Path) -> None:
    async with (
        paced(small_index) as (server, answerer),
        nginx(tmp_path / "nginx", server.authority) as proxy,
    ):
        (asked,) = await reading(await page_at(proxy + PAGE, browser), ["client"])
        await asked.has(answerer.write(1))
        await asked.evaluate("reading.answer.stop()")
        await asked.was("stopped")
        await asyncio.wait_for(answerer.closed_early.wait(), 10)


# ---------------------------------------------------------------------------------------------- six connections


async def test_a_seventh_plain_event_source_waits_until_one_of_the_six_is_closed(
    browser: Browser, small_index: Path
) -> None:
    async with paced(small_index) as (server, answerer):
        page = await page_at(server.url + PAGE, browser)
        *six, seventh = await reading(page, ["EventSource"] * 7)
        await have(six, answerer.write(1))
        await page.evaluate("void (window.other = fetch('/health?other').then(() => (window.fetched = true)))")
        await have(six, answerer.write(2))
        assert (await seventh.said())["seen"] == []
        assert await page.evaluate("window.fetched") is None  # whatever else it asks of that host waits, too
        assert len(answerer.prompts) == 6
        await six[0].evaluate("reading.source.close()")
        await six[1].evaluate("reading.source.close()")
        await seventh.has(answerer.write(2))
        assert await page.evaluate("other")
        assert len(answerer.prompts) == 7


async def test_seven_tabs_of_one_answer_share_a_connection_and_others_get_through(
    browser: Browser, small_index: Path
) -> None:
    async with paced(small_index) as (server, answerer):
        context = await browser.new_context()
        pages = [await page_at(server.url + PAGE, context) for _ in range(7)]
        asked = await Reading.begin(pages[0], "client", QUESTION)
        await asked.has(answerer.write(1))
        name = await asked.evaluate("reading.answer.id")
        others = [await Reading.begin(page, "follow", name) for page in pages[1:]]
        await have(others, answerer.write(1))
        assert (await server.answers.get(name)).log.readers == 1
        assert await pages[6].evaluate("fetch('/health?now').then((response) => response.status)") == 200
        for number in range(2, len(TEXTS) + 1):
            await have([asked, *others], answerer.write(number))
        await asyncio.gather(*(each.until("reading.seen.includes('complete')") for each in [asked, *others]))
        assert {(await each.said())["text"] for each in [asked, *others]} == {WHOLE}
        assert len(answerer.prompts) == 1
        await context.close()
