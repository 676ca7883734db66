"""Somebody at the test page, in a browser of their own, who notices all that should not happen there.

async with visiting(browser) as visitor:
    page = await visitor.open(server.url)
    await visitor.ask("What does it cost?")
    await visitor.sees("complete")
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Dialog, Locator, Page, Request, expect
from server import Server

from zantara_stream.generation.answerer import Quote

PATIENCE = 15_000.0  # milliseconds for what takes a reconnection


class Visitor:
    """Pages of one browser context; `page` is the first one, `problems` what the console and the network showed."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.problems: list[str] = []
        self.allowed: list[str] = []  # patterns of problems that a test brings about
        self.origin = ""
        context.on("page", self._watch)

    @property
    def page(self) -> Page:
        """The first page."""
        return self.context.pages[0]

    async def open(self, url: str) -> Page:
        """Open a page of the test page's origin."""
        self.origin = self.origin or url
        page = await self.context.new_page()
        await page.goto(url)
        return page

    async def ask(self, question: str) -> None:
        """Type it and press Enter."""
        await self.page.get_by_label("Question").fill(question)
        await self.page.keyboard.press("Enter")

    async def sees(self, state: str | re.Pattern[str], page: Page | None = None) -> None:
        """Wait until the monitor says so."""
        await expect(part(page or self.page, "state")).to_have_text(state, timeout=PATIENCE)

    async def reads(self, text: str, page: Page | None = None) -> None:
        """Wait until the answer is that text."""
        await expect(part(page or self.page, "answer")).to_have_text(text, timeout=PATIENCE)

    async def numbers(self, **counted: str) -> None:
        """Wait until the counters of those names have those values."""
        for name, value in counted.items():
            await expect(part(self.page, name)).to_have_text(value)

    def _watch(self, page: Page) -> None:
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", self._request)

    async def _dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()

    def _request(self, request: Request) -> None:
        if urlsplit(request.url)[:2] != urlsplit(self.origin)[:2]:
            self.problems.append(f"a request to elsewhere: {request.url}")

    def check(self) -> None:
        """Fail if anything happened that was not brought about."""
        assert [said for said in self.problems if not any(re.search(one, said) for one in self.allowed)] == []


def part(page: Page, name: str) -> Locator:
    """The element of that id."""
    return page.locator(f"#{name}")


@asynccontextmanager
async def visiting(browser: Browser, **options: Any) -> AsyncIterator[Visitor]:
    """A visitor with a context of those options; what it noticed fails the test."""
    context = await browser.new_context(**options)
    visitor = Visitor(context)
    try:
        yield visitor
        visitor.check()
    finally:
        await context.close()


async def quoted(server: Server, question: str, words: Sequence[tuple[str, tuple[int, int]]]) -> list[Quote]:
    """Quotes of what is found for a question, each with the span of the answer that it supports."""
    hits = await server.library.current.search(question, 10)
    found = [next(hit.passage for hit in hits if text in hit.passage.text) for text, _ in words]
    return [Quote(passage, text, span) for passage, (text, span) in zip(found, words, strict=True)]
