"""Takes the pictures of the test page that the documentation shows: docs/page.png and docs/page-dark.png.

python scripts/take_pictures.py [--out docs]

It needs Chromium (`make test-services`) and builds an index of documents/ in a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.async_api import Browser, ViewportSize, async_playwright

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = "/usr/bin/chromium"
QUESTION = "How long is the investor KITAS valid?"
WIDTH, HEIGHT = 1100, 860  # pixels


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code is 0, or 1 where Chromium is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the folder that gets the pictures")
    out = parser.parse_args(arguments).out
    if not shutil.which(CHROMIUM):
        print(f"There is no {CHROMIUM}; make test-services installs it.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        print("building the index of documents/")
        index = Path(folder) / "index"
        build: list[str | Path] = [
            sys.executable,
            ROOT / "scripts" / "build_index.py",
            ROOT / "documents",
            "--out",
            index,
        ]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        with served(index, Path(folder)) as url:
            asyncio.run(take(url, out))
    return 0


@contextmanager
def served(index: Path, folder: Path) -> Iterator[str]:
    """The address of a server of that index, which keeps its files in `folder`."""
    command = [sys.executable, "-m", "zantara_stream", "serve", "--port", "0", "--index", str(index)]
    environment = {name: said for name, said in os.environ.items() if not name.startswith(("ZANTARA_", "ANTHROPIC_"))}
    environment["PYTHONPATH"] = str(ROOT)
    server = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+:\d+", line)))
    finally:
        server.terminate()
        server.wait()


async def take(url: str, out: Path) -> None:
    """Both pictures, of an answer that is complete."""
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        await picture(browser, url, "light", out / "page.png")
        await picture(browser, url, "dark", out / "page-dark.png")
        await browser.close()


async def picture(browser: Browser, url: str, scheme: str, file: Path) -> None:
    """One picture, as it looks to whoever prefers that scheme."""
    look = ViewportSize(width=WIDTH, height=HEIGHT)
    context = await browser.new_context(viewport=look, color_scheme="dark" if scheme == "dark" else "light")
    page = await context.new_page()
    await page.goto(url)
    await page.get_by_label("Question").fill(QUESTION)
    await page.keyboard.press("Enter")
    await page.locator("#sources mark").first.wait_for()
    await page.locator("#state[data-state=complete]").wait_for()
    print(f"{file}: {len(await page.screenshot(path=file)):,} bytes")
    await context.close()


if __name__ == "__main__":
    sys.exit(main())
