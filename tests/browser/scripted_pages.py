"""Pages that read a scripted server's answers with the client, and note all that it tells them.

answer = await stage.ask("native")
await answer.ended()
assert answer.text == "Hello, world"
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from browser.scripted_server import PATIENCE, Log, ScriptedServer
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, JSHandle, Page

# The ways to a stream: what makes the client take each of them.
WAYS = ("native", "fetch")
OPTIONS: dict[str, dict[str, Any]] = {"native": {}, "fetch": {"headers": {"X-Tenant": "t"}}}
QUESTION = "What does renewal cost?"
NEVER = 600_000  # milliseconds; a client that is told so takes no silence for a dead line
# What Chromium itself says of responses that scripts send on purpose.
BROWSERS_OWN = ("Failed to load resource", "EventSource's response has a MIME type")

# A clock a hundred times as fast, of which the page's own waits are no part; `scheduled` has what was asked of it.
QUICK = """
{
  const set = setTimeout;
  globalThis.later = set;
  globalThis.scheduled = [];
  globalThis.setTimeout = (act, delay = 0, ...more) => {
    scheduled.push(delay);
    return set(act, delay < 600000 ? delay / 100 : delay, ...more);
  };
}
"""
# `note(answer)` notes what an answer tells, and resolves `until(condition)` when it holds.
NOTE = """
async () => {
  globalThis.client = await import("/zantara-stream.js");
  globalThis.note = (answer) => {
    const notes = { answer, events: [], states: [], looks: new Set(), over: [] };
    const look = () => { for (const each of notes.looks) each(); };
    for (const type of ["text", "citation", "sources", "done", "error", "state"])
      answer?.addEventListener(type, ({ detail }) => {
        notes.over.push(answer.over);
        if (type === "state") notes.states.push(detail);
        else notes.events.push({ type, ...detail, message: detail.message });
        look();
      });
    notes.until = (holds, patience) => new Promise((resolve, reject) => {
      const each = () => holds(notes) && (notes.looks.delete(each), resolve());
      const said = () => JSON.stringify([notes.states, notes.events]);
      later(() => reject(new Error(`${holds} never held: ${said()}`)), patience);
      notes.looks.add(each);
      each();
    });
    return notes;
  };
}
"""
SAID = """
({ answer, events, states, over }) => {
  const { id, query, state, text, citations, sources, done, chunks, gaps, duplicates, log } = answer;
  const known = { id, query, state, text, citations, sources, done, chunks, gaps, duplicates, log, ended: answer.over };
  const { message, code, retryable } = answer.error ?? {};
  const error = answer.error && { message, code, retryable, isOwn: answer.error instanceof client.AnswerError };
  return { ...known, error, events, states, over };
}
"""


class Reader:
    """One answer in a page; `said` is what was known of it when it was last looked at."""

    def __init__(self, notes: JSHandle, page: Page) -> None:
        self.notes = notes
        self.page = page
        self.said: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """Its text, as its property has it."""
        return str(self.said["text"])

    @property
    def names(self) -> list[str]:
        """Its states, one after the other."""
        return [each["state"] for each in self.said["states"]]

    @property
    def types(self) -> list[str]:
        """The types of its events but for `state`."""
        return [each["type"] for each in self.said["events"]]

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression about `answer`, and `notes` of it."""
        return await self.notes.evaluate(f"(notes) => {{ const {{ answer }} = notes; return ({expression}); }}")

    async def look(self) -> Reader:
        """Look at what is known by now."""
        self.said = await self.notes.evaluate(SAID)
        return self

    async def until(self, condition: str) -> Reader:
        """Wait until an expression about `answer` and its `states` and `events` holds."""
        holds = f"({{ answer, states, events }}) => {condition}"
        await self.notes.evaluate(f"(notes) => notes.until({holds}, {1000 * PATIENCE})")
        return await self.look()

    async def was(self, state: str, times: int = 1) -> Reader:
        """Wait until it has been in that state so many times."""
        return await self.until(f"states.filter(({{ state }}) => state === '{state}').length >= {times}")

    async def has(self, words: str) -> Reader:
        """Wait until its text is that, and nothing else."""
        await self.until(f"answer.text.length >= {len(words.encode('utf-16-le')) // 2}")
        assert self.text == words
        return self

    async def ended(self, state: str = "complete") -> Reader:
        """Wait for its end, which is that state."""
        await self.until("answer.over && states.at(-1)?.state === answer.state")
        assert self.said["state"] == state, self.said
        return self

    async def whole(self, log: Log) -> Reader:
        """Wait for its end, and check that each event of the log came once and in order."""
        await self.ended()
        texts = [each for each in self.said["events"] if each["type"] == "text"]
        assert self.text == "".join(each["text"] for each in texts) == log.text
        assert [each["sequenceNumber"] for each in texts] == list(range(1, len(texts) + 1))
        assert self.types == [each["type"] for each in self.said["log"]] == ["text"] * len(texts) + ["done"]
        return self


class Stage:
    """A scripted server and one person's browser."""

    def __init__(self, server: ScriptedServer, context: BrowserContext) -> None:
        self.server = server
        self.context = context
        self.problems: list[str] = []  # errors that nobody caught, and what the console showed
        context.on("console", self._hear)
        context.on("weberror", lambda said: self.problems.append(str(said.error)))

    @property
    def page(self) -> Page:
        """The page that was opened first."""
        return self.context.pages[0]

    def _hear(self, message: ConsoleMessage) -> None:
        if not message.text.startswith(BROWSERS_OWN):
            self.problems.append(message.text)

    async def open(self, script: str = "") -> Page:
        """Open a page; `script` runs before anything else in it."""
        page = await self.context.new_page()
        await page.add_init_script(QUICK + script)
        await page.goto(self.server.url)
        await page.evaluate(NOTE)
        return page

    async def reload(self, page: Page) -> None:
        """Reload a page, which then knows nothing any more."""
        await page.reload()
        await page.evaluate(NOTE)

    async def read(self, call: str, page: Page | None = None) -> Reader:
        """Note the answer that a call of the client's functions makes, such as `ask('…', { token })`."""
        page = page or (self.page if self.context.pages else await self.open())
        code = f"() => {{ const {{ ask, follow, resume }} = client; return note({call}); }}"
        return Reader(await page.evaluate_handle(code), page)

    async def ask(self, way: str = "native", page: Page | None = None, *, more: str = "", **options: Any) -> Reader:
        """Ask in that way; `more` are options that are code."""
        return await self.read(f"ask('{QUESTION}', {_options(way, options, more)})", page)

    async def resume(self, way: str = "native", page: Page | None = None, **options: Any) -> Reader:
        """What the page read before it was reloaded, once more."""
        return await self.read(f"resume({_options(way, options)})", page)

    async def follow(self, name: str, page: Page | None = None, way: str = "native", **options: Any) -> Reader:
        """An answer by its id."""
        return await self.read(f"follow('{name}', {_options(way, options)})", page)


def _options(way: str, options: dict[str, Any], more: str = "") -> str:
    given = json.dumps({"silence": NEVER, **OPTIONS[way], **options})
    return f"{{ ...{given}, {more} }}"


@pytest_asyncio.fixture(loop_scope="module")
async def stage(browser: Browser) -> AsyncIterator[Stage]:
    """A server without a script, and a browser without a page; what the browser complains of fails the test."""
    server = ScriptedServer()
    await server.listen()
    context = await browser.new_context()
    made = Stage(server, context)
    yield made
    await context.close()
    async with asyncio.timeout(PATIENCE):
        await server.close()
    assert made.problems == []
