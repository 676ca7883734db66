"""A real Chromium, and the application and pages of other origins on real sockets."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from playwright.async_api import Browser, async_playwright

from zantara_stream.serving import make_runner

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Start = Callable[[web.Application], Awaitable[str]]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium; without it the test is skipped, but not in CI."""
    if not shutil.which(CHROMIUM):
        assert not os.environ.get("CI"), "Chromium is missing in CI; make test-services installs it"
        pytest.skip("needs Chromium: make test-services")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Serves applications as `serve` does, on free ports of the loopback; gives their origins."""
    runners: list[web.AppRunner] = []

    async def begin(app: web.Application) -> str:
        runner = make_runner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield begin
    for runner in reversed(runners):
        await runner.cleanup()
