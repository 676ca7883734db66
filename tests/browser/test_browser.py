"""What a real browser makes of it: native `EventSource` from allowed and foreign origins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from zantara_stream.app import create_app
from zantara_stream.config import Settings
from zantara_stream.retrieval.library import Library
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

Start = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.browser

QUERY = "What does renewal of a permit cost for one year?"

# Collects what EventSource dispatches until the page closes it, as the pages of the contract do.
LISTEN = """
([url, query]) => new Promise((resolve) => {
  const seen = [], source = new EventSource(url + '/bali-zero/chat-stream?' + new URLSearchParams({ query }));
  source.onmessage = (event) => {
    const data = JSON.parse(event.data);
    seen.push(data);
    if (data.done) { source.close(); resolve(seen); }
  };
  source.onerror = () => { if (source.readyState === 2) resolve('refused'); };
})
"""


async def page_of(origin: str, browser: Browser) -> Page:
    page = await browser.new_page()
    await page.goto(origin)
    return page


async def blank(request: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>a customer's page</title>", content_type="text/html")


def customer() -> web.Application:
    app = web.Application()
    app.router.add_get("/", blank)
    return app


async def opened(settings: Settings) -> Library:
    library = Library(settings.index, HashingEmbedder.load)
    await library.open()
    return library


async def texts(page: Page, server: str) -> Any:
    return await page.evaluate(LISTEN, [server, QUERY])


async def test_event_source_of_an_allowed_origin_gets_the_whole_answer(
    browser: Browser, start: Start, small_index: Path
) -> None:
    allowed, foreign = await start(customer()), await start(customer())
    settings = Settings(index=small_index, journal="memory://", database_url="memory://", cors_origins=(allowed,))
    answerer = ScriptedAnswerer("Renewal ", "costs\n", "Rp 3 million — 😀.")
    server = await start(create_app(settings, library=await opened(settings), answerer=answerer))

    seen = await texts(await page_of(allowed, browser), server)
    assert "".join(event.get("text", "") for event in seen) == "Renewal costs\nRp 3 million — 😀."
    assert [event["sequenceNumber"] for event in seen if "text" in event] == [1, 2, 3]
    assert seen[-1]["done"]
    assert seen[-2]["sources"]

    assert await texts(await page_of(foreign, browser), server) == "refused"
    assert len(answerer.prompts) == 1


async def test_event_source_that_is_not_closed_comes_back_and_stops_for_good(
    browser: Browser, start: Start, small_index: Path
) -> None:
    origin = await start(customer())
    settings = Settings(index=small_index, journal="memory://", database_url="memory://", cors_origins=(origin,))
    answerer = ScriptedAnswerer("once")
    server = await start(create_app(settings, library=await opened(settings), answerer=answerer))
    page = await page_of(origin, browser)
    count = await page.evaluate(
        """
        ([url, query]) => new Promise((resolve) => {
          let texts = 0;
          const source = new EventSource(url + '/bali-zero/chat-stream?' + new URLSearchParams({ query }));
          source.onmessage = (event) => { texts += 'text' in JSON.parse(event.data) ? 1 : 0; };
          source.onerror = () => { if (source.readyState === 2) resolve(texts); };
        })
        """,
        [server, QUERY],
    )
    assert count == 1
    assert len(answerer.prompts) == 1
