"""The React hook and the Vue composable in a real browser: in the example applications, and in a component that is told
what to do. All are built by Vite as anybody would build them, and served from an origin of their own."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from browser.line import Line, line
from playwright.async_api import Browser, ConsoleMessage, Page, Request, expect
from server import QUESTION, Server, never, serving

from zantara_stream.errors import ModelRefused
from zantara_stream.generation.answerer import Quote
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer, Step

pytestmark = pytest.mark.browser

CLIENTS = Path(__file__).resolve().parent.parent.parent / "clients"
NODE = shutil.which("node", path=str(Path(sys.executable).parent)) or ""
FRAMEWORKS = ("react", "vue")
ADDRESS = "https://answers.example.com"  # built in; each test puts its server's in its place
OTHER = "What does renewal of a permit cost for one year?"
PATIENCE = 60.0  # seconds for one build

INDEX = """<!doctype html><title>t</title><link rel="icon" href="data:,">
<div id="app"></div><script type="module" src="/main.js"></script>"""
# Both pages: mount(options, question), again with other options, unmount(); `stream` is the last view with its actions.
TOLD = {
    "react": """
import { createElement, StrictMode, useEffect, useRef } from "react";
import { createRoot } from "react-dom/client";
import { useZantaraStream } from "zantara-stream/react";
let root;
window.renders = 0;
function Told({ options, question }) {
  const stream = (window.stream = useZantaraStream(options));
  window.renders++;
  const asked = useRef(false);
  useEffect(() => {
    if (question && !(options.once && asked.current)) stream.ask(question);
    asked.current = true;
  }, []);
  return createElement("output", null, `${stream.state}: ${stream.text}`);
}
window.mount = (options, question) => {
  root ??= createRoot(document.getElementById("app"));
  root.render(createElement(StrictMode, null, createElement(Told, { options, question })));
};
window.unmount = () => root.unmount();
""",
    "vue": """
import { createApp, h, proxyRefs, shallowRef } from "vue";
import { useZantaraStream } from "zantara-stream/vue";
let app;
const options = shallowRef();
window.renders = 0;
const Told = {
  props: ["question"],
  setup({ question }) {
    const stream = (window.stream = proxyRefs(useZantaraStream(options)));
    if (question) stream.ask(question);
    return () => (window.renders++, h("output", `${stream.state}: ${stream.text}`));
  },
};
window.mount = (given, question) => {
  options.value = given;
  app ??= createApp(Told, { question });
  if (!app._container) app.mount("#app");
};
window.unmount = () => app.unmount();
""",
}

# What an answer would do that nobody has told of its end.
LATE = "a => ['text', 'state'].forEach((type) => a.dispatchEvent(new CustomEvent(type, { detail: { delay: 9 } })))"

Start = Callable[[web.Application], Awaitable[str]]


class Site:
    """Built pages, whose server's address is put in when they are asked for."""

    def __init__(self, folder: Path) -> None:
        files = [path for path in folder.rglob("*") if path.is_file()]
        self._files = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}
        self.server = ""
        self.app = web.Application()
        self.app.router.add_get("/{path:.*}", self._file)

    async def _file(self, request: web.Request) -> web.Response:
        path = request.match_info["path"] or "index.html"
        text = self._files[path].replace(ADDRESS, self.server)
        return web.Response(text=text, content_type=mimetypes.guess_type(path)[0])


@dataclass(frozen=True, slots=True)
class Shown:
    """A page in the browser, and what it talks to."""

    page: Page
    server: Server
    wire: Line
    problems: list[str]  # what the browser complains about

    async def ask(self, question: str = QUESTION) -> None:
        """Ask as a person does."""
        await self.page.get_by_label("Question").fill(question)
        await self.page.get_by_role("button", name="Ask").click()

    async def mount(self, question: str = "", **options: Any) -> None:
        """Mount the component of the told page with those options, or give them to it."""
        await self.page.evaluate("given => mount(...given)", [{"url": self.wire.url, **options}, question])

    async def says(self, status: str) -> None:
        """Wait for the words of the status line."""
        await expect(self.page.get_by_role("status")).to_contain_text(status)

    async def reads(self, text: str) -> None:
        """Wait for the text of the answer in the example."""
        await expect(self.page.locator(".answer")).to_have_text(text)

    async def tells(self, text: str) -> None:
        """Wait for the told page to show that state and text."""
        await expect(self.page.locator("output")).to_have_text(text)


Show = Callable[..., AbstractAsyncContextManager[Shown]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of built pages: "react", "vue" (examples), "react told", "vue told"."""
    if not NODE or not (CLIENTS / "node_modules" / "vite").is_dir():
        assert not os.environ.get("CI"), "Node or clients/node_modules is missing in CI; make test installs both"
        pytest.skip("needs Node and the packages of clients/: make test")
    folder = tmp_path_factory.mktemp("frameworks")
    (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
    for name in FRAMEWORKS:
        example = CLIENTS / "examples" / name
        build(example, folder / name)
        told = folder / f"{name}-told"
        told.mkdir()
        (told / "index.html").write_text(INDEX, encoding="utf-8")
        (told / "main.js").write_text(TOLD[name], encoding="utf-8")
        # In production React's StrictMode does nothing.
        configuration = str(example / "vite.config.js")
        build(told, folder / f"{name} told", "--config", configuration, NODE_ENV="development")
    return {name: folder / name for kind in FRAMEWORKS for name in (kind, f"{kind} told")}


def build(source: Path, out: Path, *arguments: str, **environment: str) -> None:
    vite = CLIENTS / "node_modules" / "vite" / "bin" / "vite.js"
    mode = environment.get("NODE_ENV", "production")
    command = [NODE, str(vite), "build", "--mode", mode, "--outDir", str(out), "--emptyOutDir", *arguments]
    environment = {**os.environ, "VITE_ZANTARA_URL": ADDRESS, **environment}
    ran = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture
def show(browser: Browser, start: Start, small_index: Path, built: dict[str, Path]) -> Show:
    """Opens one of the built pages, with a server of its own behind a line that can be cut."""

    @asynccontextmanager
    async def showing(name: str, answerer: ScriptedAnswerer, **settings: Any) -> AsyncIterator[Shown]:
        site = Site(built[name])
        origin = await start(site.app)
        settings = {"cors_origins": (origin,), **settings}
        page = await browser.new_page()
        problems = listen(page)
        async with (
            serving(small_index, answerer, HashingEmbedder(), **settings) as server,
            line(server.authority) as wire,
        ):
            site.server = wire.url
            await page.goto(origin)
            yield Shown(page, server, wire, problems)
            await page.close()
        assert problems == []

    return showing


def listen(page: Page) -> list[str]:
    """What the browser complains about, as it does."""
    problems: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: problems.append(str(error)))
    return problems


async def stopped(answerer: ScriptedAnswerer) -> None:
    """Wait until the request to the model has been closed before its end."""
    await asyncio.wait_for(answerer.closed_early.wait(), PATIENCE)


# The examples


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_an_answer_streams_in_with_its_sources_and_quotes(show: Show, name: str) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    script: list[Step] = [first, "<b>Renewal</b> ", second, "costs Rp 3 million."]
    answerer = ScriptedAnswerer(*script)
    async with show(name, answerer) as shown:
        hit = (await shown.server.library.current.search(OTHER, 1))[0]
        quote = Quote(hit.passage, "Renewal costs Rp 3 million for one year.", (0, 14))
        answerer.scripts[0] = (*script, quote)
        await shown.ask(OTHER)
        await shown.says("Reading the documents …")
        first.set()
        await shown.reads("<b>Renewal</b>")
        await shown.says("Writing …")
        await expect(shown.page.locator(".answer")).to_have_attribute("aria-busy", "true")
        second.set()
        await shown.reads("<b>Renewal</b> costs Rp 3 million.")
        await shown.says("Complete.")
        await expect(shown.page.locator(".answer")).to_have_attribute("aria-busy", "false")
        await expect(shown.page.get_by_role("heading", name=OTHER)).to_be_visible()
        await expect(shown.page.locator("blockquote")).to_have_text("Renewal costs Rp 3 million for one year.")
        await expect(shown.page.locator("li a")).to_have_attribute("href", "https://example.com/renewal")
        await expect(shown.page.get_by_role("button", name="Stop")).to_be_disabled()


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_stop_stops_the_model_and_keeps_what_is_there(show: Show, name: str) -> None:
    answerer = ScriptedAnswerer("Late renewal ", never())
    async with show(name, answerer) as shown:
        await shown.ask()
        await shown.reads("Late renewal")
        await shown.page.get_by_role("button", name="Stop").click()
        await stopped(answerer)
        await shown.says("Stopped.")
        await shown.reads("Late renewal")
        await expect(shown.page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_an_error_is_shown_and_gone_with_the_next_question(show: Show, name: str) -> None:
    answerer = ScriptedAnswerer(ModelRefused("The model does not answer this.")).then("Well.")
    async with show(name, answerer) as shown:
        await shown.ask()
        await expect(shown.page.get_by_role("alert")).to_have_text("The model does not answer this.")
        await shown.ask(OTHER)
        await shown.reads("Well.")
        await expect(shown.page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_a_line_that_is_cut_shows_and_the_answer_goes_on(show: Show, name: str) -> None:
    go = asyncio.Event()
    answerer = ScriptedAnswerer("Late renewal ", go, "is fined.")
    async with show(name, answerer) as shown:
        await shown.ask()
        await shown.reads("Late renewal")
        shown.wire.refuse()
        await shown.says("The connection was lost. The next attempt is in")
        await shown.reads("Late renewal")
        go.set()
        await shown.wire.restore()
        await shown.page.get_by_role("button", name="Try now").click()
        await shown.reads("Late renewal is fined.")
        await shown.says("Complete.")
        assert len(answerer.prompts) == 1
        lost = [problem for problem in shown.problems if "net::ERR_" in problem]
        assert shown.problems == lost, "a browser tells of each connection that fails"
        shown.problems.clear()


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_a_reload_in_mid_answer_goes_on(show: Show, name: str) -> None:
    go = asyncio.Event()
    answerer = ScriptedAnswerer("Late renewal ", go, "is fined.")
    async with show(name, answerer) as shown:
        await shown.ask()
        await shown.reads("Late renewal")
        await shown.page.reload()
        await shown.reads("Late renewal")
        await expect(shown.page.get_by_role("heading", name=QUESTION)).to_be_visible()
        go.set()
        await shown.reads("Late renewal is fined.")
        assert len(answerer.prompts) == 1


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_a_question_replaces_the_one_before(show: Show, name: str) -> None:
    old = asyncio.Event()
    answerer = ScriptedAnswerer("Old ", old, "and older.").then("New.")
    async with show(name, answerer) as shown:
        await shown.ask()
        await shown.reads("Old")
        await shown.ask(OTHER)
        await shown.reads("New.")
        await shown.says("Complete.")
        old.set()
        await expect(shown.page.get_by_role("heading", name=OTHER)).to_be_visible()
        await shown.reads("New.")


# A component that is told what to do, under StrictMode in React


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_what_is_asked_at_the_mount_is_asked_once(show: Show, name: str) -> None:
    answerer = ScriptedAnswerer("Once.")
    async with show(f"{name} told", answerer) as shown:
        asked: list[str] = []
        shown.page.on("request", lambda request: asked.append(request.url))
        await shown.mount(QUESTION)
        await shown.tells("complete: Once.")
        assert len([url for url in asked if "chat-stream" in url]) == len(answerer.prompts) == 1


async def test_an_effect_that_is_taken_away_and_put_back_closes_nothing(show: Show) -> None:
    async with show("react told", ScriptedAnswerer("Once.")) as shown:
        await shown.mount(QUESTION, once=True)
        await shown.tells("complete: Once.")


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_a_component_that_goes_away_closes_its_reading(show: Show, name: str) -> None:
    answerer = ScriptedAnswerer("Late ", never())
    async with show(f"{name} told", answerer, grace=0.1) as shown:
        await shown.mount(QUESTION)
        await shown.tells("streaming: Late ")
        deleted: list[str] = []
        shown.page.on("request", lambda request: deleted.append(request.method))
        await shown.page.evaluate("unmount()")
        await stopped(answerer)
        assert deleted == [], "it was for the grace time to stop it"


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_resuming_at_the_mount_reads_once_and_after_a_reset_nothing(show: Show, name: str) -> None:
    answerer = ScriptedAnswerer("Late ", never())
    async with show(f"{name} told", answerer) as shown:
        await shown.mount(QUESTION)
        await shown.tells("streaming: Late ")
        await shown.page.reload()
        asked: list[str] = []
        shown.page.on("request", lambda request: asked.append(request.url))
        await shown.mount(resume=True)
        await shown.tells("streaming: Late ")
        assert len(asked) == len(answerer.prompts) == 1
        await shown.page.evaluate("stream.reset()")
        await shown.tells("idle: ")
        await shown.page.reload()
        await shown.mount(resume=True)
        await shown.tells("idle: ")
        assert len(asked) == 1 + len([url for url in asked if "chat-stream" not in url])


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_nothing_is_resumed_unless_it_is_wanted(show: Show, name: str) -> None:
    async with show(f"{name} told", ScriptedAnswerer("Late ", never())) as shown:
        await shown.mount(QUESTION)
        await shown.tells("streaming: Late ")
        await shown.page.reload()
        await shown.mount()
        await shown.tells("idle: ")


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_a_question_takes_the_options_of_now(show: Show, name: str) -> None:
    async with show(f"{name} told", ScriptedAnswerer("Well.")) as shown:

        def is_asked(request: Request) -> bool:
            return (
                "chat-stream" in request.url and "session_id=second" in request.url and "continuity_id=c" in request.url
            )

        await shown.mount(session="first")
        await shown.tells("idle: ")
        await shown.mount(session="second")
        await shown.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        async with shown.page.expect_request(is_asked):
            await shown.page.evaluate("question => void stream.ask(question, { continuity: 'c' })", QUESTION)
        await shown.tells("complete: Well.")


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_it_renders_less_often_than_chunks_come_and_shows_the_last(show: Show, name: str) -> None:
    chunks = [f"{number} " for number in range(400)]
    async with show(f"{name} told", ScriptedAnswerer(*chunks)) as shown:
        await shown.mount(QUESTION)
        await shown.tells("complete: " + "".join(chunks))
        assert await shown.page.evaluate("renders") < 200


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_an_answer_that_was_replaced_writes_into_no_view(show: Show, name: str) -> None:
    old = asyncio.Event()
    answerer = ScriptedAnswerer("Old ", old, "and older.").then("New.")
    async with show(f"{name} told", answerer) as shown:
        await shown.mount(QUESTION)
        await shown.tells("streaming: Old ")
        late = await shown.page.evaluate_handle("stream.ask(" + repr(OTHER) + ")")
        await shown.tells("complete: New.")
        await shown.page.evaluate("void stream.ask('And a third?', { continuity: 'third' })")
        await shown.tells("complete: New.")
        await late.evaluate(LATE)
        assert await shown.page.evaluate("[stream.query, stream.retryIn]") == ["And a third?", None]
        old.set()
