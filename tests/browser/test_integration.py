"""What the documents show of pages is run in a real browser: against a real server, from a site of another origin."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from examples import PUBLIC, SERVER, blocks, example, in_node, node, terminal
from nginx import PLAIN, nginx
from playwright.async_api import Browser, ConsoleMessage, Page, expect
from ports import free_port
from server import Server, never, serving
from tokens_made import SECRET, token

from zantara_stream.app import create_app
from zantara_stream.config import MEMORY, Settings
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.retrieval.library import Library
from zantara_stream.serving import make_runner
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

Start = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.browser

QUESTION = "How is late renewal of a permit fined?"
SAID = "Hello, world"  # the script of a server without one
FOUND = "Late renewal is fined Rp 1 million a day."
# The functions and names that an example leaves to its reader: each call is noted.
PRELUDE = """
globalThis.seen = [];
for (const name of ["append", "cite", "list", "show", "replace"])
  globalThis[name] = (...said) => seen.push([name, ...said]);
globalThis.finished = false;
"""
READ = "seen.filter(([name]) => name === 'append').map(([, text]) => text).join('')"


class Site:
    """A site with pages at its paths, each of a Content-Security-Policy or none, and what its backend does."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.policy = ""
        self.tickets: Callable[[web.Request], Awaitable[web.Response]] | None = None

    def application(self) -> web.Application:
        """What serves it."""
        app = web.Application()
        app.router.add_post("/ticket", self.ticket)
        app.router.add_get("/{file:.*}", self.page)
        return app

    async def page(self, request: web.Request) -> web.Response:
        """One of its files."""
        name = request.match_info["file"]
        kind = "text/javascript" if name.endswith(".js") else "text/html"
        headers = {"Content-Security-Policy": self.policy} if self.policy else {}
        text = self.files.get(name, "<!doctype html><title>a site</title>")
        return web.Response(text=text, content_type=kind, headers=headers)

    async def ticket(self, request: web.Request) -> web.Response:
        """What the backend does about tickets."""
        assert self.tickets is not None
        return await self.tickets(request)


async def opened(browser: Browser, origin: str) -> Page:
    """A page of the site, whose errors fail the test."""
    page = await browser.new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    await page.goto(origin)
    return page


async def run(page: Page, server: Server, code: str, names: str = "") -> None:
    """Run a block as a module of the page, with the client as its package."""
    code = code.replace('from "zantara-stream"', f'from "{server.url}/zantara-stream.js"')
    code = code.replace(PUBLIC, server.url).replace(SERVER, server.url)
    await page.evaluate(PRELUDE + names)
    await page.add_script_tag(type="module", content=code + "\nglobalThis.finished = true;")
    await page.wait_for_function("globalThis.finished")


async def heard(page: Page, act: str) -> str:
    """What the browser's console says of it."""
    said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def hear(message: ConsoleMessage) -> None:
        if "blocked" in message.text and not said.done():
            said.set_result(message.text)

    page.on("console", hear)
    await page.evaluate(act)
    return await said


# docs/integration.md


async def test_a_page_asks_shows_and_goes_on_after_a_reload(browser: Browser, start: Start, small_index: Path) -> None:
    site, more = Site(), asyncio.Event()
    origin = await start(site.application())
    answerer = ScriptedAnswerer("Hello, ", more, "world")
    async with serving(small_index, answerer, HashingEmbedder(), cors_origins=(origin,)) as server:
        # With the policy that the documents give for it, whose script is in a file of its own.
        text = example("integration", "A page").replace(PUBLIC, server.url)
        script = re.search(r'<script type="module">(.*)</script>', text, re.DOTALL)
        assert script is not None
        site.files = {
            "": text.replace(script[0], '<script type="module" src="/page.js"></script>'),
            "page.js": script[1],
        }
        site.policy = example("integration", "Content Security Policy").replace(PUBLIC, server.url).strip()
        page = await opened(browser, origin)
        await page.get_by_label("Question").fill(QUESTION)
        await page.get_by_role("button", name="Ask").click()
        await expect(page.locator("#answer")).to_have_text("Hello, ")
        await page.reload()
        await expect(page.locator("#answer")).to_have_text("Hello, ")
        more.set()
        await expect(page.locator("#answer")).to_have_text(SAID)
        await expect(page.locator("#state")).to_have_text("complete")
        await expect(page.locator("#sources li").first).to_have_text("Renewing a permit: Fees")
        assert len(answerer.prompts) == 1


async def test_the_client_is_read_by_events_and_by_a_loop(browser: Browser, start: Start, small_index: Path) -> None:
    origin = await start(Site().application())
    async with serving(small_index, ExtractiveAnswerer(), HashingEmbedder(), cors_origins=(origin,)) as server:
        page = await opened(browser, origin)
        await run(page, server, example("integration", "The client") + "globalThis.answer = answer;")
        assert await page.evaluate("answer.state") == "complete"
        kinds = set(await page.evaluate("seen.map(([name]) => name)"))
        assert kinds == {"append", "cite", "list"}
        assert await page.evaluate(READ) == await page.evaluate("answer.text")
        cited = "[...answer.text].slice(answer.citations[0].textStart, answer.citations[0].textEnd).join('')"
        assert await page.evaluate(cited) == await page.evaluate("answer.citations[0].quote")
        await run(
            page, server, example("integration", "The client").replace("What does renewal of a permit cost?", " ")
        )
        assert (await page.evaluate("seen"))[0][0::2] == ["show", "invalid_request"]


@pytest.mark.parametrize("page", ["integration", "README"])
async def test_a_bare_event_source_reads_the_answer(
    page: str, browser: Browser, start: Start, small_index: Path
) -> None:
    shown = {"integration": example("integration", "Without the client"), "README": example("README", "From a page", 2)}
    origin = await start(Site().application())
    async with serving(small_index, ExtractiveAnswerer(), HashingEmbedder(), cors_origins=(origin,)) as server:
        tab = await opened(browser, origin)
        await run(tab, server, shown[page] + "globalThis.source = source;", f"globalThis.query = '{QUESTION}';")
        await tab.wait_for_function("source.readyState === 2")
        assert FOUND in await tab.evaluate(READ)
        assert await tab.evaluate("seen.at(-1)[0]") == "list"


async def test_the_client_of_the_readme_reads_the_answer(browser: Browser, start: Start, small_index: Path) -> None:
    origin = await start(Site().application())
    async with serving(small_index, None, HashingEmbedder(), cors_origins=(origin,)) as server:
        page = await opened(browser, origin)
        await run(page, server, example("README", "From a page"))
        assert await page.evaluate(READ) == SAID


async def test_a_token_goes_in_a_header(browser: Browser, start: Start, small_index: Path) -> None:
    origin = await start(Site().application())
    settings = {"cors_origins": (origin,), "auth": "jwt", "jwt_secret": SECRET}
    async with serving(small_index, None, HashingEmbedder(), **settings) as server:
        page = await opened(browser, origin)
        names = f"globalThis.query = '{QUESTION}'; globalThis.session = {{ accessToken: async () => '{token()}' }};"
        assert await read(page, server, example("integration", "Tokens and tickets"), names) == SAID


async def test_a_ticket_of_the_backend_starts_and_reopens(browser: Browser, start: Start, small_index: Path) -> None:
    site, more = Site(), asyncio.Event()
    origin = await start(site.application())
    settings = {"cors_origins": (origin,), "auth": "jwt", "jwt_secret": SECRET}
    answerer = ScriptedAnswerer("Hello, ", more, "world")
    async with serving(small_index, answerer, HashingEmbedder(), **settings) as server:
        page = await begun(browser, site, origin, server)
        await page.evaluate("answer.reconnect()")
        await page.wait_for_function("answer.state === 'streaming'")
        more.set()
        await page.wait_for_function("answer.over")
        assert await page.evaluate("[answer.text, answer.state]") == [SAID, "complete"]
        assert len(answerer.prompts) == 1


async def test_a_ticket_stops_too(browser: Browser, start: Start, small_index: Path) -> None:
    site, answerer = Site(), ScriptedAnswerer("Hello, ", never())
    origin = await start(site.application())
    settings = {"cors_origins": (origin,), "auth": "jwt", "jwt_secret": SECRET}
    async with serving(small_index, answerer, HashingEmbedder(), **settings) as server:
        page = await begun(browser, site, origin, server)
        await page.evaluate("answer.stop()")
        await page.wait_for_function("answer.state === 'stopped'")
        await answerer.closed_early.wait()


async def test_a_bare_event_source_takes_a_ticket(browser: Browser, small_index: Path) -> None:
    async with serving(small_index, None, HashingEmbedder(), auth="jwt", jwt_secret=SECRET) as server:
        page = await opened(browser, f"{server.url}/health")  # a page of the same host
        names = f"globalThis.query = '{QUESTION}'; globalThis.token = '{token()}';"
        code = (
            example("people", "Tickets") + "globalThis.source = source; source.onmessage = (event) => show(event.data);"
        )
        await run(page, server, code, names)
        await page.wait_for_function("seen.some(([, data]) => JSON.parse(data).done)")


async def begun(browser: Browser, site: Site, origin: str, server: Server) -> Page:
    """A page that has asked with a ticket of its site's backend, and has got the first chunk."""

    async def ticket(request: web.Request) -> web.Response:
        body = {"query": await request.text()}
        issued = await server.post("/bali-zero/tickets", body, {"Authorization": f"Bearer {token()}"})
        return web.json_response(await issued.json())

    site.tickets = ticket
    page = await opened(browser, origin)
    await begin(page, server, example("integration", "Tickets", 2), f"globalThis.query = '{QUESTION}';")
    await page.wait_for_function("answer.text === 'Hello, '")
    return page


async def begin(page: Page, server: Server, block: str, names: str) -> None:
    """Run a block that makes an `answer`."""
    code = f'import {{ ask }} from "zantara-stream";\n{block}\nglobalThis.answer = answer;'
    await run(page, server, code, names)


async def read(page: Page, server: Server, block: str, names: str) -> Any:
    """The text of the answer that a block asks for, once it is over."""
    await begin(page, server, block, names)
    await page.wait_for_function("answer.over")
    return await page.evaluate("answer.text")


ROOT = '<div id="root"></div><script type="module" src="/main.js"></script>'
MOUNTS = {
    "jsx": """
import { StrictMode, createElement } from "react";
import { createRoot } from "react-dom/client";
import Example from "./Example.jsx";
createRoot(document.getElementById("root")).render(createElement(StrictMode, null, createElement(Example)));
""",
    "vue": """
import { createApp } from "vue";
import Example from "./Example.vue";
createApp(Example).mount("#root");
""",
}
PLUGINS = {"jsx": "@vitejs/plugin-react", "vue": "@vitejs/plugin-vue"}


def write(folder: Path, files: dict[str, str]) -> None:
    """A new folder with those files."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)


async def compiled(folder: Path, language: str, text: str) -> str:
    """The script that Vite makes of a page with that component."""
    config = f'import plugin from "{PLUGINS[language]}";\nexport default {{ plugins: [plugin()], logLevel: "warn" }};'
    files = {f"Example.{language}": text, "main.js": MOUNTS[language], "index.html": ROOT, "vite.config.mjs": config}
    write(folder, files)
    await in_node(folder, "node_modules/vite/bin/vite.js", "build")
    (script,) = (folder / "dist" / "assets").glob("*.js")
    return script.read_text()


@pytest.mark.parametrize("framework", ["React", "Vue"])
async def test_a_component_asks_stops_and_goes_on(
    framework: str, browser: Browser, start: Start, small_index: Path, tmp_path: Path
) -> None:
    node()
    site, more = Site(), asyncio.Event()
    origin = await start(site.application())
    answerer = ScriptedAnswerer("Hello, ", more, "world").then("Hello, ", never())
    async with serving(small_index, answerer, HashingEmbedder(), cors_origins=(origin,)) as server:
        text = {"React": example("integration", "React"), "Vue": example("integration", "Vue")}[framework]
        language = blocks("integration")["integration", framework, 1].language
        script = await compiled(tmp_path / "page", language, text.replace(PUBLIC, server.url))
        site.files = {"": ROOT, "main.js": script}
        page = await opened(browser, origin)
        await page.get_by_label("Question").fill(QUESTION)
        await page.get_by_role("button", name="Ask").click()
        await expect(page.get_by_text("Hello, ")).to_be_visible()
        await page.reload()
        await expect(page.get_by_text("Hello, ")).to_be_visible()
        more.set()
        await expect(page.get_by_text(SAID)).to_be_visible()
        await expect(page.get_by_role("status")).to_have_text("complete")
        await expect(page.get_by_role("listitem").first).to_have_text("Renewing a permit: Fees")
        assert len(answerer.prompts) == 1
        await page.get_by_label("Question").fill("And else?")
        await page.get_by_role("button", name="Ask").click()
        await expect(page.get_by_text("Hello,", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Stop").click()
        await expect(page.get_by_role("status")).to_have_text("stopped")
        await answerer.closed_early.wait()


async def test_a_page_of_next_js_asks_its_own_site(
    browser: Browser, start: Start, small_index: Path, tmp_path: Path
) -> None:
    node()
    script = await compiled(tmp_path / "page", "jsx", example("integration", "Next.js", 2))
    async with serving(small_index, None, HashingEmbedder()) as server:
        site = Site()
        site.files = {"": ROOT, "main.js": script}
        behind = (await start(site.application())).removeprefix("http://")
        passing = f"location /bali-zero/ {{ proxy_pass {server.url}; {PLAIN} }}"
        async with nginx(tmp_path / "nginx", behind, PLAIN, server=passing) as origin:
            page = await opened(browser, origin)
            await page.get_by_label("Question").fill(QUESTION)
            await page.get_by_role("button", name="Ask").click()
            await expect(page.get_by_text(SAID)).to_be_visible()


# docs/troubleshooting.md

CONNECT = "void (globalThis.source = new EventSource('{}/bali-zero/chat-stream?query=x'))"


async def test_the_console_names_cors_or_the_pages_own_policy(
    browser: Browser, start: Start, small_index: Path
) -> None:
    site = Site()
    origin = await start(site.application())
    async with serving(small_index) as server:
        said = await heard(await opened(browser, origin), CONNECT.format(server.url))
        places = {SERVER: server.url, "http://localhost:4000": origin}
        assert said == put(example("troubleshooting", "Blocked by CORS policy"), places)
    async with serving(small_index, cors_origins=(origin,)) as server:
        site.policy = "connect-src 'self'"
        said = await heard(await opened(browser, origin), CONNECT.format(server.url))
        assert said == put(example("troubleshooting", "Blocked by the page's own policy"), {SERVER: server.url})
        site.policy = f"connect-src 'self' {server.url}"
        page = await opened(browser, origin)
        await page.evaluate(CONNECT.format(server.url) + "; new Promise((told) => (source.onopen = () => told()))")


def put(text: str, places: dict[str, str]) -> str:
    """The text with those replaced."""
    for shown, real in places.items():
        text = text.replace(shown, real)
    return text.strip()


async def test_an_event_source_outlives_a_restart_where_the_proxy_says_later(
    browser: Browser, start: Start, small_index: Path, tmp_path: Path
) -> None:
    origin, port = await start(Site().application()), free_port()
    page = await opened(browser, origin)
    async with nginx(tmp_path / "trouble", f"127.0.0.1:{port}", PLAIN) as url:
        await page.evaluate(CONNECT.format(url))
        await page.wait_for_function("source.readyState === 2")
    places = {SERVER: f"http://127.0.0.1:{port}", "https://app.example.com": origin, "retry: 2000": "retry: 20"}
    later = put(example("troubleshooting", "An EventSource that never comes back", 2), places)
    async with nginx(tmp_path / "cure", f"127.0.0.1:{port}", PLAIN, server=later) as url:
        watch = "let opens = 0; source.onopen = () => (globalThis.opens = ++opens);"
        await page.evaluate(
            f"{{ {CONNECT.format(url)}; {watch} source.addEventListener('start', () => source.close()); }}"
        )
        await page.wait_for_function("globalThis.opens > 1")
        async with back(small_index, port, origin):
            await page.wait_for_function("source.readyState === 2")  # the page has closed it, at the answer's start


@asynccontextmanager
async def back(index: Path, port: int, origin: str) -> AsyncIterator[None]:
    """A server at that port."""
    library = Library(index, HashingEmbedder.load)
    await library.open()
    settings = Settings(index=index, journal=MEMORY, database_url=MEMORY, cors_origins=(origin,))
    runner = make_runner(create_app(settings, library=library, answerer=ScriptedAnswerer(SAID)))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield
    await runner.cleanup()


async def test_two_connections_give_chunks_twice_but_not_to_who_looks_at_numbers(
    browser: Browser, start: Start, small_index: Path
) -> None:
    origin = await start(Site().application())
    async with serving(
        small_index, ScriptedAnswerer("Hello, ", "world", never()), HashingEmbedder(), cors_origins=(origin,)
    ) as server:
        opens = f"new EventSource('{server.url}/bali-zero/chat-stream?continuity_id=c&query=x')"
        page, notes = await opened(browser, origin), list[str]()
        page.on("console", lambda message: notes.append(message.text))
        twice = f"const source = {opens};" + example("troubleshooting", "Chunks twice, or out of order") + NAIVE
        await run(page, server, twice)
        await page.wait_for_function("seen.length === 2")
        await page.add_script_tag(type="module", content=twice)
        await page.wait_for_function("seen.length === 4")
        assert await page.evaluate(READ) == "Hello, worldHello, world"
        assert [note.split()[0].split(".")[-1] for note in notes] == ["start", "1", "2"] * 2
        once = f"let source = {opens};" + example("troubleshooting", "Chunks twice, or out of order", 2)
        more = "const take = source.onmessage;"
        more += (
            f"source = {opens}; source.onmessage = (event) => {{ take(event); globalThis.came = event.lastEventId; }};"
        )
        await run(page, server, once + more)
        await page.wait_for_function("globalThis.came?.endsWith('.2') && seen.length === 2")
        assert await page.evaluate(READ) == SAID


async def test_six_connections_block_the_seventh_but_not_over_http_2(
    browser: Browser, small_index: Path, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "site.key", tmp_path / "site.pem"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    await terminal(f"{made} -keyout {key} -out {certificate}")
    port = free_port()
    listen = example("troubleshooting", "The seventh tab waits").replace("443", f"127.0.0.1:{port}")
    name = "/etc/ssl/answers.example.com"
    listen = listen.replace(f"{name}.key", str(key)).replace(f"{name}.pem", str(certificate))
    async with serving(small_index, ScriptedAnswerer("Hello, ", never()), HashingEmbedder()) as server:
        page = await opened(browser, f"{server.url}/health")
        await page.evaluate(OPEN_SIX)
        assert await page.evaluate(HEALTH) == "waits"
        await page.evaluate("sources[0].close()")
        await page.evaluate("health")
        await page.close()
        async with nginx(tmp_path / "nginx", server.authority, PLAIN, server=listen):
            context = await browser.new_context(ignore_https_errors=True)
            page = await context.new_page()
            await page.goto(f"https://127.0.0.1:{port}/health")
            await page.evaluate(OPEN_SIX)
            await page.evaluate("fetch('/health')")
            await context.close()


NAIVE = "source.onmessage = ({ data }) => { const { text } = JSON.parse(data); if (text) append(text); };"
OPEN_SIX = """
globalThis.sources = Array.from({ length: 6 }, (_, at) => new EventSource(`/bali-zero/chat-stream?query=${at}`));
Promise.all(sources.map((source) => new Promise((open) => (source.onopen = open)))).then(() => {})
"""
# Half a second is long for something that takes a millisecond.
HEALTH = """
globalThis.health = fetch("/health").then(() => "answered");
Promise.race([health, new Promise((told) => setTimeout(told, 500, "waits"))])
"""
