"""The test page's main states under axe, light and dark, narrow and wide; a picture of each is left behind.

`ZANTARA_PICTURES` names the folder that keeps the pictures; without it they go with the test.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Literal

import pytest
from browser.visitor import Visitor, quoted, visiting
from playwright.async_api import Browser, Page
from server import never, serving

from zantara_stream.errors import ModelTimeout
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

pytestmark = pytest.mark.browser

QUERY = "What does renewal of a permit cost for one year?"
FEE = "Renewal costs Rp 3 million for one year."
AXE = Path(__file__).parent.parent.parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"
RUN = "async () => (await axe.run()).violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])"
MARKDOWN = "# Fees\n\nRenewal costs **Rp 3 million**:\n\n| Year | Fee |\n|---|---|\n| 1 | `3,000,000` |\n\n- [a link](https://example.com)\n"

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (320, 1280)

Reach = Callable[[Visitor, ScriptedAnswerer], Awaitable[None]]


async def empty(visitor: Visitor, answerer: ScriptedAnswerer) -> None:
    await visitor.sees("ready")


async def details(visitor: Visitor, answerer: ScriptedAnswerer) -> None:
    await visitor.page.locator("#more summary").click()


async def streaming(visitor: Visitor, answerer: ScriptedAnswerer) -> None:
    answerer.scripts[0] = (MARKDOWN, never())
    await visitor.ask(QUERY)
    await visitor.page.locator("#answer table").wait_for()


async def complete(visitor: Visitor, answerer: ScriptedAnswerer) -> None:
    await visitor.ask(QUERY)
    await visitor.sees("complete")
    await visitor.page.locator("#sources mark").first.wait_for()


async def failed(visitor: Visitor, answerer: ScriptedAnswerer) -> None:
    answerer.scripts[0] = ("A beginning.", ModelTimeout())
    await visitor.ask(QUERY)
    await visitor.page.locator("#problem:not([hidden])").wait_for()


async def reconnecting(visitor: Visitor, answerer: ScriptedAnswerer) -> None:
    await streaming(visitor, answerer)
    await visitor.context.set_offline(True)
    await visitor.page.get_by_role("button", name="Cut the line").click()
    await visitor.page.locator("#state[data-state=reconnecting]").wait_for()


STATES: dict[str, Reach] = {
    "empty": empty,
    "details": details,
    "streaming": streaming,
    "complete": complete,
    "failed": failed,
    "reconnecting": reconnecting,
}


def axe() -> str:
    """The checker; without it the test is skipped, but not in CI."""
    if not AXE.exists():
        assert not os.environ.get("CI"), "axe-core is missing in CI; make test installs it"
        pytest.skip("needs axe-core: make test installs it")
    return AXE.read_text(encoding="utf-8")


@asynccontextmanager
async def at(browser: Browser, index: Path, state: str) -> AsyncIterator[Visitor]:
    """Somebody who sees the page in that state."""
    answerer = ScriptedAnswerer()
    async with (
        serving(index, answerer, HashingEmbedder()) as server,
        visiting(browser, reduced_motion="reduce") as visitor,
    ):
        answerer.scripts[0] = (MARKDOWN, *await quoted(server, QUERY, [(FEE, (0, 5))]))
        await visitor.open(server.url)
        await STATES[state](visitor, answerer)
        yield visitor
        visitor.allowed.append("Failed to load resource|net::ERR")
        await visitor.context.set_offline(False)


@pytest.mark.parametrize("state", STATES)
async def test_no_state_has_violations_or_scrolls_sideways(
    browser: Browser, small_index: Path, tmp_path: Path, state: str
) -> None:
    checker, folder = axe(), Path(os.environ.get("ZANTARA_PICTURES", tmp_path))
    async with at(browser, small_index, state) as visitor:
        await visitor.page.evaluate(checker)
        for scheme, width in product(SCHEMES, WIDTHS):
            await visitor.page.emulate_media(color_scheme=scheme)
            await visitor.page.set_viewport_size({"width": width, "height": 900})
            await looked_at(visitor.page, folder / f"{state}-{scheme}-{width}.png", width)


async def looked_at(page: Page, kept: Path, width: int) -> None:
    """Check the page as it is shown now, and keep a picture of it."""
    assert (kept.stem, await page.evaluate(RUN)) == (kept.stem, [])
    assert await page.evaluate("document.documentElement.scrollWidth") <= width, kept.stem
    picture = await page.screenshot(path=kept, full_page=True)
    assert struct.unpack(">I", picture[16:20])[0] == width
    assert len(await asyncio.to_thread(kept.read_bytes)) > 5000
