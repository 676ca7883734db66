"""Pages that were written before there was a client: they ask, show and end as they always did, whatever happens."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from browser.line import customers, line, page_at
from examples import in_node, node
from playwright.async_api import Browser, Page, expect
from server import CHAT, QUESTION, STREAM, Server, never, serving
from tokens_made import SECRET

from zantara_stream.errors import JournalUnavailable, ModelOverloaded, ModelRefused, NotNow
from zantara_stream.generation.answerer import Turn
from zantara_stream.people.person import NOBODY
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer, read_events
from zantara_stream.web import sse

pytestmark = pytest.mark.browser

Start = Callable[[web.Application], Awaitable[str]]

TEXTS = ("Late renewal ", "is fined\n", "Rp 1 million — 😀 ", "a day.")
WHOLE = "".join(TEXTS)

REACT = """
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

function Chat({ url, question }) {
  const [asked, setAsked] = useState("");
  const [answer, setAnswer] = useState("");
  const [isDone, setIsDone] = useState(false);

  useEffect(() => {
    if (!asked) return;
    const source = new EventSource(url + "?query=" + encodeURIComponent(asked));
    source.onmessage = (event) => {
      const data = JSON.parse(event.data);
      if (data.text) setAnswer((text) => text + data.text);
      if (data.done) {
        source.close();
        setIsDone(true);
      }
    };
    return () => source.close();
  }, [asked]);

  return (
    <div>
      <button onClick={() => setAsked(question)}>Ask</button>
      <pre id="answer">{answer}</pre>
      {isDone && <p>Done</p>}
    </div>
  );
}

const root = createRoot(document.getElementById("app"));
window.leave = () => root.unmount();
root.render(<Chat url={window.address} question={window.question} />);
"""

VUE = """
<script setup>
import { onUnmounted, ref } from "vue";

const props = defineProps(["url", "question"]);
const answer = ref("");
const isDone = ref(false);
let source = null;

function ask() {
  source = new EventSource(props.url + "?query=" + encodeURIComponent(props.question));
  source.onmessage = (event) => {
    const data = JSON.parse(event.data);
    if (data.text) answer.value += data.text;
    if (data.done) {
      source.close();
      isDone.value = true;
    }
  };
}

onUnmounted(() => source?.close());
</script>

<template>
  <button @click="ask">Ask</button>
  <pre id="answer">{{ answer }}</pre>
  <p v-if="isDone">Done</p>
</template>
"""

VUE_MOUNT = """
import { createApp } from "vue";
import Chat from "./Chat.vue";
const app = createApp(Chat, { url: window.address, question: window.question });
window.leave = () => app.unmount();
app.mount("#app");
"""

PLAIN = """
let source;
document.getElementById("app").innerHTML = "<button>Ask</button><pre id=answer></pre><p></p>";
document.querySelector("button").onclick = () => {
  source = new EventSource(window.address + "?query=" + encodeURIComponent(window.question));
  source.onmessage = function (event) {
    var data = JSON.parse(event.data);
    if (data.text) document.getElementById("answer").textContent += data.text;
    if (data.sources) window.sources = data.sources.map(function (s) {
      return s.source + " " + s.similarity.toFixed(2);
    });
    if (data.error) document.querySelector("p").textContent = data.error;
    if (data.done) {
      source.close();
      if (!data.error) document.querySelector("p").textContent = "Done";
    }
  };
};
window.leave = () => source.close();
"""

BUILT = {
    "React": ("react", {"main.jsx": REACT}),
    "Vue": ("vue", {"main.js": VUE_MOUNT, "Chat.vue": VUE}),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages come back in a moment instead of seconds."""
    monkeypatch.setattr(sse, "RETRY", (20, 100))
    monkeypatch.setattr(NotNow, "retry_after", 0.1)


def write(folder: Path, files: dict[str, str]) -> None:
    """A new folder with those files."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


async def script_of(framework: str, folder: Path) -> str:
    """The script of such a page; of a framework, as its bundler makes it."""
    if framework not in BUILT:
        return PLAIN
    node()
    plugin, files = BUILT[framework]
    config = (
        f'import plugin from "@vitejs/plugin-{plugin}";\nexport default {{ plugins: [plugin()], logLevel: "warn" }};'
    )
    entry = next(iter(files))
    page = f'<div id="app"></div><script type="module" src="/{entry}"></script>'
    write(folder, {**files, "vite.config.mjs": config, "index.html": page})
    await in_node(folder, "node_modules/vite/bin/vite.js", "build")
    (built,) = (folder / "dist" / "assets").glob("*.js")
    return built.read_text(encoding="utf-8")


async def run(page: Page, script: str, url: str) -> None:
    """Let a page run it, for a server at that address."""
    setting = {"address": url + STREAM, "question": QUESTION}
    await page.evaluate(
        "(setting) => { Object.assign(window, setting); document.body.innerHTML = '<div id=app></div>'; }", setting
    )
    await page.add_script_tag(content=script, type="module")


def watched(page: Page) -> list[str]:
    """What the page's scripts throw, from now on."""
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    return thrown


@pytest.mark.parametrize("framework", ["React", "Vue", "plain"])
async def test_a_page_gets_its_answer_once_and_leaves_it(
    framework: str, browser: Browser, start: Start, small_index: Path, tmp_path: Path
) -> None:
    script = await script_of(framework, tmp_path / "page")
    gate, origin = asyncio.Event(), await start(customers())
    answerer = ScriptedAnswerer(*TEXTS[:2], gate, *TEXTS[2:]).then("Late", never())
    settings: dict[str, Any] = {"cors_origins": (origin,), "grace": 0.0}
    async with serving(small_index, answerer, HashingEmbedder(), **settings) as server, line(server.authority) as wire:
        page = await page_at(origin, browser)
        thrown = watched(page)
        await run(page, script, wire.url)
        await page.get_by_role("button").click()
        await expect(page.locator("#answer")).to_have_text("".join(TEXTS[:2]).strip())
        wire.cut()
        gate.set()
        await expect(page.get_by_text("Done")).to_be_visible()
        assert await page.locator("#answer").text_content() == WHOLE
        assert len(answerer.prompts) == 1
        if framework == "plain":
            assert await page.evaluate("sources.length && sources.every((text) => /[01][.][0-9]{2}$/.test(text))")

        await page.reload()
        await run(page, script, wire.url)
        await page.get_by_role("button").click()
        await expect(page.locator("#answer")).to_have_text("Late")
        await page.evaluate("leave()")
        await asyncio.wait_for(answerer.closed_early.wait(), 10)
        assert len(answerer.prompts) == 2
        assert thrown == []


async def test_a_plain_page_shows_what_went_wrong(browser: Browser, start: Start, small_index: Path) -> None:
    origin = await start(customers())
    answerer = ScriptedAnswerer("Late ", ModelRefused())
    async with serving(small_index, answerer, HashingEmbedder(), cors_origins=(origin,)) as server:
        page = await page_at(origin, browser)
        thrown = watched(page)
        await run(page, PLAIN, server.url)
        await page.get_by_role("button").click()
        await expect(page.locator("p")).to_have_text(str(ModelRefused()))
        await expect(page.locator("#answer")).to_have_text("Late")
        assert thrown == []


# ------------------------------------------------------------------------------------------------------ endings

# Reads to the end as a page does that was written for `done` alone, and gives what it would show.
LISTEN = """
(address) => new Promise((resolve) => {
  const seen = (window.seen = { text: "", ends: 0 });
  const source = (window.source = new EventSource(address));
  source.onmessage = (event) => {
    const data = JSON.parse(event.data);
    try {
      if (data.text) seen.text += data.text;
      if (!data.done) return;
      seen.shown = `${data.sequenceNumber.toFixed(0)} chunks in ${data.streamDuration.toFixed(2)} s`;
      seen.code = data.code;
      seen.error = data.error;
    } catch (error) {
      seen.thrown = String(error);
    }
    source.close();
    resolve(seen);
  };
  source.onerror = () => { if (source.readyState === 2) resolve({ ...seen, refused: true }); };
})
"""


def address(server: Server, **parameters: str) -> str:
    """What such a page asks, put together as it does it."""
    said = "".join(f"&{name}={quote(value)}" for name, value in parameters.items())
    return f"{server.url}{STREAM}?query={quote(QUESTION)}{said}"


async def listen(browser: Browser, origin: str, server: Server, **parameters: str) -> Any:
    """What a new page of that origin has seen by the end."""
    return await (await page_at(origin, browser)).evaluate(LISTEN, address(server, **parameters))


@pytest.mark.parametrize(
    ("script", "text", "code"),
    [
        (("a ", "b"), "a b", None),
        ((ModelRefused(),), "", "model_refused"),
        ((ModelOverloaded(),), "", "model_overloaded"),
        (("a ", ModelRefused()), "a ", "model_refused"),
        (("a ", RuntimeError("broken")), "a ", "internal"),
    ],
    ids=["well", "refused", "busy", "refused in mid-answer", "broken in mid-answer"],
)
async def test_every_end_of_an_answer_has_the_numbers_that_pages_show(
    browser: Browser, start: Start, small_index: Path, script: tuple[Any, ...], text: str, code: str | None
) -> None:
    origin = await start(customers())
    answerer = ScriptedAnswerer(*script)
    async with serving(small_index, answerer, HashingEmbedder(), cors_origins=(origin,)) as server:
        seen = await listen(browser, origin, server)
        assert "thrown" not in seen
        assert (seen["text"], seen.get("code")) == (text, code)
        assert re.fullmatch(rf"{len(text.split())} chunks in \d+\.\d\d s", seen["shown"])
        assert bool(seen.get("error")) == bool(code)
        assert len(answerer.prompts) == 1


async def test_an_answer_that_is_gone_ends_with_the_numbers_too(
    browser: Browser, start: Start, small_index: Path
) -> None:
    origin = await start(customers())
    answerer = ScriptedAnswerer("never asked")
    async with serving(small_index, answerer, HashingEmbedder(), cors_origins=(origin,)) as server:
        for place in ("x" * 22 + ".7", "nonsense"):
            seen = await listen(browser, origin, server, last_event_id=place)
            assert (seen["shown"], seen["code"]) == ("0 chunks in 0.00 s", "answer_expired")
        assert answerer.prompts == []


@pytest.mark.parametrize(("end", "code"), [("stopped", None), ("broken off", "journal_unavailable")])
async def test_an_answer_that_others_end_ends_with_the_numbers_too(
    browser: Browser, start: Start, small_index: Path, end: str, code: str | None
) -> None:
    origin = await start(customers())
    answerer = ScriptedAnswerer("a ", "b ", never())
    async with serving(small_index, answerer, HashingEmbedder(), cors_origins=(origin,)) as server:
        reader = await server.stream(continuity_id="shared")
        name = (await reader.next()).json["answer"]
        page = await page_at(origin, browser)
        listening = asyncio.create_task(page.evaluate(LISTEN, address(server, continuity_id="shared")))
        await page.evaluate("new Promise((told) => setInterval(() => window.seen?.text === 'a b ' && told(), 10))")
        if end == "stopped":
            assert (await server.answer(name, "DELETE"))[0] == 200
        else:
            (await server.answers.get(name)).break_off(JournalUnavailable())
        seen = await listening
        assert "thrown" not in seen
        assert (seen["text"], seen.get("code")) == ("a b ", code)
        assert re.fullmatch(r"2 chunks in \d+\.\d\d s", seen["shown"])


async def test_a_page_that_is_refused_for_now_is_answered_later(
    browser: Browser, start: Start, small_index: Path
) -> None:
    origin, gate = await start(customers()), asyncio.Event()
    answerer = ScriptedAnswerer(gate, "first").then("second")
    settings: dict[str, Any] = {"cors_origins": (origin,), "max_answers": 1}
    async with serving(small_index, answerer, HashingEmbedder(), **settings) as server:
        first = await server.stream()
        await first.next()
        page = await page_at(origin, browser)
        listening = asyncio.create_task(page.evaluate(LISTEN, address(server)))
        await page.evaluate(
            "new Promise((told) => setInterval(() => window.source?.addEventListener('unavailable', told), 5))"
            ".then(() => {})"
        )
        gate.set()
        seen = await listening
        assert (seen["text"], seen.get("thrown"), seen.get("error")) == ("second", None, None)
        assert len(answerer.prompts) == 2


async def test_a_page_without_a_token_is_refused_and_throws_nothing(
    browser: Browser, start: Start, small_index: Path
) -> None:
    origin, answerer = await start(customers()), ScriptedAnswerer("never asked")
    settings: dict[str, Any] = {"cors_origins": (origin,), "auth": "jwt", "jwt_secret": SECRET}
    async with serving(small_index, answerer, HashingEmbedder(), **settings) as server:
        assert await listen(browser, origin, server) == {"text": "", "ends": 0, "refused": True}
        assert answerer.prompts == []


# Three habits: to look for the end first, to look for the error first, and never to close.
HABITS = {
    "done first": "if (data.done) { source.close(); end('done'); } else if (data.error) end('error');",
    "error first": "if (data.error || data.done) { source.close(); end(data.error ? 'error' : 'done'); }",
    "never closed": "",
}


@pytest.mark.parametrize(
    ("habit", "fails", "ended"),
    [
        ("done first", False, "done"),
        ("done first", True, "done"),
        ("error first", False, "done"),
        ("error first", True, "error"),
        ("never closed", False, "closed by the server"),
        ("never closed", True, "closed by the server"),
    ],
)
async def test_whatever_a_page_looks_for_first_it_ends_once_and_the_model_is_asked_once(
    browser: Browser, start: Start, small_index: Path, habit: str, fails: bool, ended: str
) -> None:
    origin = await start(customers())
    answerer = ScriptedAnswerer("a ", "b", *([ModelRefused()] if fails else []))
    listen_with = f"""
    (address) => new Promise((resolve) => {{
      let text = "";
      const end = (how) => resolve([how, text]);
      const source = new EventSource(address);
      source.onmessage = (event) => {{
        const data = JSON.parse(event.data);
        text += data.text ?? "";
        {HABITS[habit]}
      }};
      source.onerror = () => {{ if (source.readyState === 2) end("closed by the server"); }};
    }})
    """
    async with serving(small_index, answerer, HashingEmbedder(), cors_origins=(origin,)) as server:
        page = await page_at(origin, browser)
        assert await page.evaluate(listen_with, address(server)) == [ended, "a b"]
        assert len(answerer.prompts) == 1


# ---------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize("nobody", ["undefined", "null", ""])
async def test_an_address_that_a_script_has_left_empty_is_nobody(
    browser: Browser, start: Start, small_index: Path, nobody: str
) -> None:
    origin, answerer = await start(customers()), ScriptedAnswerer("a")
    settings: dict[str, Any] = {"cors_origins": (origin,), "trust_email": True}
    async with serving(small_index, answerer, HashingEmbedder(), **settings) as server:
        assert (await listen(browser, origin, server, user_email=nobody))["text"] == "a"
        assert [prompt.person for prompt in answerer.prompts] == [NOBODY]


LONG = [
    {"role": "user", "content": "Is a permit renewed?", "timestamp": "2026-01-31T10:00:00Z"},
    {"role": "assistant", "content": "Yes — before it ends & in person 😀."},
    {"role": "user", "content": QUESTION},
]
SHORT = [{"r": turn["role"][0], "c": turn["content"]} for turn in LONG]


@pytest.mark.parametrize("history", [LONG, SHORT], ids=["long", "compressed"])
async def test_a_history_in_the_address_reaches_the_model(
    browser: Browser, start: Start, small_index: Path, history: list[dict[str, str]]
) -> None:
    origin, answerer = await start(customers()), ScriptedAnswerer("a")
    async with serving(small_index, answerer, HashingEmbedder(), cors_origins=(origin,)) as server:
        sent = json.dumps(history, ensure_ascii=False)
        assert (await listen(browser, origin, server, conversation_history=sent))["text"] == "a"
        turns = Turn("user", LONG[0]["content"]), Turn("assistant", LONG[1]["content"])
        assert [(prompt.query, prompt.history) for prompt in answerer.prompts] == [(QUESTION, turns)]


# ------------------------------------------------------------------------------------------- probes and scripts


async def test_a_probe_gets_the_headers_of_a_stream_and_nothing_is_asked(small_index: Path) -> None:
    answerer = ScriptedAnswerer("never asked")
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        for target in (f"{STREAM}?query=test", STREAM):
            request = f"HEAD {target} HTTP/1.1\r\nHost: {server.authority}\r\nUser-Agent: curl/8\r\nAccept: */*\r\n"
            said = (await server.raw(f"{request}Connection: close\r\n\r\n".encode())).decode()
            head, _, body = said.partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 200 ")
            assert "content-type: text/event-stream" in head.lower()
            assert "x-accel-buffering: no" in head.lower()
            assert body == ""
        assert answerer.prompts == []


async def test_a_script_posts_its_question_and_reads_a_stream_or_one_object(small_index: Path) -> None:
    answerer = ScriptedAnswerer(*TEXTS)
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        async with server.session.post(server.url + STREAM, json={"query": QUESTION}) as response:
            assert response.content_type == "text/event-stream"
            events = [event.json for event in read_events(await response.read()) if event.event == "message"]
        assert "".join(event.get("text", "") for event in events) == WHOLE
        assert events[-1]["done"]
        async with server.session.post(server.url + CHAT, json={"query": QUESTION}) as response:
            assert (await response.json())["response"] == WHOLE
        assert len(answerer.prompts) == 2
