"""What docs/integration.md and docs/troubleshooting.md show is run: commands, Python, Node.js, nginx, settings."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime, time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession
from examples import (
    CLIENTS,
    MODULES,
    PUBLIC,
    ROOT,
    SERVER,
    blocks,
    console,
    example,
    in_node,
    node,
    read_by,
    settings,
    terminal,
)
from nginx import BUFFERING, PLAIN, nginx
from ports import free_port
from server import EVENT_STREAM, PAGE, STREAM, Reader, Server, never, serving, starting
from tokens_made import SECRET, token

from zantara_stream.errors import ModelOverloaded
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer, StreamEvent, read_events
from zantara_stream.web import sse
from zantara_stream.web.failures import ENDINGS

PAGES = ("integration", "troubleshooting")
READERS = (Path(__file__), Path(__file__).parent / "browser" / "test_integration.py")
LANGUAGES = {"js", "jsx", "vue", "ts", "html", "sh", "console", "python", "nginx", "text"}
VITE = MODULES / "vite" / "bin" / "vite.js"
QUESTION = "How is late renewal fined?"
SAID = "Hello, world"  # the script of a server without one
HALF_A_DAY = 43_200.0  # seconds


def at(server: Server, public: str = "") -> dict[str, str]:
    """What stands in the documents, and what it is here."""
    return {SERVER: server.url, PUBLIC: public}


def python(text: str, url: str) -> dict[str, Any]:
    """The names that a Python example defines, for the server at that address."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(text.replace(SERVER, url), "example", "exec"), names)
    return names


def front(folder: Path, behind: Server, location: str, *, server: str = "") -> AbstractAsyncContextManager[str]:
    """The origin of an nginx before a server."""
    return nginx(folder, behind.authority, location, server=server)


@asynccontextmanager
async def running(folder: Path, url: str, *command: str, session: ClientSession) -> AsyncIterator[None]:
    """A program that serves at `url` until the block ends."""
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=DEVNULL, start_new_session=True)
    try:
        while not await answers(session, url):
            assert process.returncode is None
            await asyncio.sleep(0.05)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # the package index's `node` is a program that starts another
        await process.wait()
    while await answers(session, url):  # noqa: ASYNC110 (it is in another process)
        await asyncio.sleep(0.05)


async def answers(session: ClientSession, url: str) -> bool:
    """Whether something answers there."""
    try:
        async with session.get(url):
            return True
    except ClientError:
        return False


def test_every_block_is_run_by_a_test() -> None:
    read = set().union(*(read_by(file) for file in READERS))
    there = {place for page in PAGES for place in blocks(page)}
    assert len(there) > 40
    assert there - read == set()
    assert {block.language for page in PAGES for block in blocks(page).values()} <= LANGUAGES


# README.md


async def test_the_readme_shows_the_events_of_a_stream(small_index: Path) -> None:
    shown = read_events(example("README", "Two commands", 2).partition("\nretry")[2].encode() + b"\n")
    async with serving(small_index, ExtractiveAnswerer(), HashingEmbedder()) as server:
        real = await (await server.stream()).rest()
    assert [about(event) for event in real] == [about(event) for event in shown]


def about(event: StreamEvent) -> tuple[str, set[str]]:
    """The name of an event and the keys of what it says, but for the address that not every document has."""
    data = event.json
    inner = data.get("citation") or (data.get("sources") or [{}])[0]
    return event.event, {*data, *inner} - {"url"}


async def test_the_readme_shows_what_is_remembered(small_index: Path, tmp_path: Path) -> None:
    people = tmp_path / "people.toml"
    people.write_text('[[collaborator]]\nid = "anna"\nemail = "made@example.com"\nname = "Made"\n')
    known = {"auth": "jwt", "jwt_secret": SECRET, "collaborators": people}
    async with serving(small_index, ExtractiveAnswerer(), HashingEmbedder(), **known) as server:
        starts = "ZANTARA_AUTH=jwt ZANTARA_JWT_SECRET=… ZANTARA_COLLABORATORS=people.toml make run"
        await console("README", "Whose it is", replaced={**at(server), starts: "true"}, TOKEN=token())


# docs/integration.md


async def test_curl_asks_resumes_shows_and_stops(small_index: Path) -> None:
    async with serving(small_index, ExtractiveAnswerer(), HashingEmbedder()) as server:
        first = await server.stream(query=QUESTION, continuity_id="my-question")
        name = (await first.rest())[0].json["answer"]
        await console("integration", "curl", replaced={**at(server), "UgIcCjhszXP7D903cWhnYA": name})


async def test_python_gets_the_whole_answer_or_the_reason(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer(SAID), HashingEmbedder()) as server:
        ask = python(example("integration", "Python"), server.url)["answer_to"]
        assert (await asyncio.to_thread(ask, QUESTION))["response"] == SAID
        with pytest.raises(RuntimeError, match="query is missing or blank"):
            await asyncio.to_thread(ask, " ")


async def test_python_takes_up_a_line_that_drops(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sse, "RETRY", (10, 20))
    more = asyncio.Event()
    answerer = ScriptedAnswerer("Hello, ", more, "world")
    cutting = PLAIN + "proxy_read_timeout 200ms;"
    async with serving(small_index, answerer, HashingEmbedder()) as server, front(tmp_path, server, cutting) as url:
        names = python(example("integration", "Python", 2), url)
        seen: list[str] = []

        def watched(query: str) -> Iterator[tuple[str, Any]]:
            for event, data in events(query):
                seen.append(event)
                if seen.count("resumed") == 2:
                    loop.call_soon_threadsafe(more.set)
                yield event, data

        loop, events = asyncio.get_running_loop(), names["events"]
        names["events"] = watched
        assert await asyncio.to_thread(names["tell"], QUESTION) == SAID
        with pytest.raises(RuntimeError, match="query is missing or blank"):
            await asyncio.to_thread(names["tell"], " ")
    assert seen[:2] == ["start", "message"]
    assert seen[-4:] == ["resumed", "message", "message", "message"]  # text, sources, done
    assert len(answerer.prompts) == 1
    assert capsys.readouterr().out == SAID


async def test_a_backend_gets_a_ticket_for_one_question(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZANTARA_JWT_SECRET", SECRET)
    async with serving(small_index, None, HashingEmbedder(), auth="jwt", jwt_secret=SECRET) as server:
        ticket_for = python(example("integration", "Tickets"), server.url)["ticket_for"]
        ticket = await asyncio.to_thread(ticket_for, "anna", QUESTION)
        assert (await server.get(STREAM, query="Another?", ticket=ticket)).status == 403
        assert await (await server.stream(query=QUESTION, ticket=ticket)).text() == SAID


def test_settings_of_the_documents_are_taken() -> None:
    assert settings("integration", "Into your site")["cors_origins"][0] == "https://app.example.com"
    assert settings("troubleshooting", "It breaks off after 30 or 60 seconds", 2)["heartbeat"] * 3 < 60


async def test_the_client_is_installed_as_a_package(tmp_path: Path) -> None:
    node()
    command = example("integration", "A page", 2).replace("../zantara-stream/clients", str(CLIENTS)).strip()
    said = await terminal(f"cd {tmp_path} && {command} --offline --no-audit --no-fund --no-update-notifier")
    assert "added 1 package" in said, said
    (tmp_path / "example.mjs").write_text(example("integration", "A page", 3) + "console.log(typeof ask);")
    assert await in_node(tmp_path, "example.mjs") == "function\n"


async def test_types_fit_what_is_shown(tmp_path: Path) -> None:
    (tmp_path / "example.ts").write_text(example("integration", "The client", 2))
    options = [
        "--noEmit",
        "--strict",
        "--target",
        "esnext",
        "--module",
        "nodenext",
        "--lib",
        "esnext,dom",
        "--types",
        "",
    ]
    (tmp_path / "package.json").write_text('{"type": "module"}')
    await in_node(tmp_path, str(MODULES / "typescript" / "bin" / "tsc"), *options, "example.ts")


async def test_a_development_server_passes_streams_through(small_index: Path, tmp_path: Path) -> None:
    node()
    (tmp_path / "node_modules").symlink_to(MODULES)
    port = free_port()
    async with serving(small_index, ScriptedAnswerer("Hello, ", never()), HashingEmbedder()) as server:
        (tmp_path / "vite.config.mjs").write_text(example("integration", "Next.js", 3).replace(SERVER, server.url))
        command = [node(), str(VITE), "--host", "127.0.0.1", "--port", str(port), "--strictPort"]
        url, headers = f"http://127.0.0.1:{port}", {"Origin": PAGE, **EVENT_STREAM}
        async with running(tmp_path, url, *command, session=server.session):
            reader = Reader(await server.session.get(url + STREAM, params={"query": QUESTION}, headers=headers))
            assert [(await reader.next()).event, (await reader.next()).json["text"]] == ["start", "Hello, "]
            reader.leave()


async def test_a_route_of_next_js_passes_the_stream_and_the_token_on(small_index: Path, tmp_path: Path) -> None:
    route = tmp_path / "app" / "bali-zero" / "[...path]" / "route.js"
    route.parent.mkdir(parents=True)
    route.write_text(example("integration", "Next.js"))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "session.js").write_text(SESSION)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "drive.js").write_text(DRIVE)
    answerer = ScriptedAnswerer("Hello, ", never()).then("Hello, ", never()).then("Hello, ", never()).then(SAID)
    settings = {"auth": "jwt", "jwt_secret": SECRET, "grace": 0.05}
    async with serving(small_index, answerer, HashingEmbedder(), **settings) as server:
        said = await in_node(tmp_path, "drive.js", ZANTARA_URL=server.url, TOKEN=token())
    assert json.loads(said) == PASSED


SESSION = """
export const tokenOf = async (request) => (request.headers.get("cookie") === "session=anna" ? process.env.TOKEN : "");
"""
# Each answer but the last stops after its first chunk, so that what is read was not waited for.
DRIVE = """
const { GET, POST, DELETE } = await import("./app/bali-zero/[...path]/route.js");
const asked = (path, init = {}) => new Request(`https://app.example.com/bali-zero/${path}`,
  { ...init, headers: { cookie: "session=anna", accept: "text/event-stream", ...init.headers } });
const state = async (id) => (await (await GET(asked(`answers/${id}`))).json()).state;
const stopped = async (id) => {
  for (let tries = 0; tries < 500 && (await state(id)) === "running"; tries++)
    await new Promise((next) => setTimeout(next, 20));
  return state(id);
};
const begun = async (response) => {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; !text.includes("Hello, "); text += (await reader.read()).value);
  return { reader, id: response.headers.get("x-answer-id") };
};
const said = {};

const gone = new AbortController();
const first = await GET(asked("chat-stream?query=One", { signal: gone.signal }));
said.type = first.headers.get("content-type");
said.control = first.headers.get("cache-control");
const { id } = await begun(first);
gone.abort();
said.aborted = await stopped(id);
const second = await begun(await GET(asked("chat-stream?query=Two")));
await second.reader.cancel();
said.cancelled = await stopped(second.id);
const body = JSON.stringify({ query: "Three" });
const third = await begun(await POST(asked("chat-stream", { method: "POST", body })));
said.deleted = (await (await DELETE(asked(`answers/${third.id}`, { method: "DELETE" }))).json()).state;
said.resumed = (await (await GET(asked("chat-stream", { headers: { "last-event-id": `${id}.1` } }))).text())
  .match(/event: \\w+|"stopReason":"\\w+"/g);
said.over = (await GET(asked(`chat-stream?last_event_id=${id}.2`))).status;
said.whole = (await (await POST(asked("chat", { method: "POST", body }))).json()).response;
said.foreign = (await GET(asked("chat-stream?query=Four", { headers: { "sec-fetch-site": "cross-site" } }))).status;
said.nobody = (await GET(asked("chat-stream?query=Four", { headers: { cookie: "" } }))).status;
said.elsewhere = (await GET(asked("memory"))).status;
said.outside = (await GET(asked("../admin/reload"))).status;
process.env.ZANTARA_URL = "http://127.0.0.1:9";
const { GET: lost } = await import("./app/bali-zero/[...path]/route.js?again");
said.unreachable = (await lost(asked("chat-stream?query=Four"))).status;
console.log(JSON.stringify(said));
"""
PASSED = {
    "type": "text/event-stream",
    "control": "no-cache, no-store, no-transform",
    "aborted": "stopped",
    "cancelled": "stopped",
    "deleted": "stopped",
    "resumed": ["event: resumed", '"stopReason":"stopped"'],
    "over": 204,
    "whole": SAID,
    "foreign": 403,
    "nobody": 401,
    "elsewhere": 404,
    "outside": 404,
    "unreachable": 502,
}


# docs/troubleshooting.md


async def test_readiness_is_shown(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer(SAID, model="claude-haiku-4-5"), HashingEmbedder()) as server:
        await console("troubleshooting", "Troubleshooting", replaced=at(server))


async def test_a_foreign_origin_is_refused_until_it_is_named(small_index: Path) -> None:
    foreign = {"Origin": "http://localhost:4000"}
    async with serving(small_index) as server:
        await console("troubleshooting", "Blocked by CORS policy", 2, replaced=at(server))
    async with serving(small_index, **settings("troubleshooting", "Blocked by CORS policy", 3)) as server:
        assert (await server.get("/ready", foreign)).headers["Access-Control-Allow-Origin"] == foreign["Origin"]
        assert (await server.get("/ready", {"Origin": "http://127.0.0.1:4000"})).status == 403
    await console("troubleshooting", "Blocked by CORS policy", 4)


async def test_a_foreign_host_is_refused_until_it_is_named(small_index: Path) -> None:
    named = {"Host": "answers.example.com"}
    async with serving(small_index) as server:
        await console("troubleshooting", "421", replaced=at(server))
    async with serving(small_index, **settings("troubleshooting", "421", 2)) as server:
        assert (await server.get("/ready", named)).status == 200


async def test_a_ticket_opens_one_answer(small_index: Path) -> None:
    async with serving(small_index, None, HashingEmbedder(), auth="jwt", jwt_secret=SECRET) as server:
        await console("troubleshooting", "401 from an EventSource", replaced=at(server))
        await console("troubleshooting", "401 from an EventSource", 2, replaced=at(server), TOKEN=token())


async def test_addresses_say_what_they_take(small_index: Path) -> None:
    async with serving(small_index) as server:
        await console("troubleshooting", "404 and 405", replaced=at(server))


async def test_a_name_is_for_one_question(small_index: Path) -> None:
    async with serving(small_index, None, HashingEmbedder()) as server:
        await console("troubleshooting", "409", replaced=at(server))


async def test_long_questions_go_as_a_body(small_index: Path, tmp_path: Path) -> None:
    async with serving(small_index, None, HashingEmbedder()) as server, front(tmp_path, server, PLAIN) as url:
        await console("troubleshooting", "413, 414 and 431", replaced=at(server, url))
        await console("troubleshooting", "413, 414 and 431", 2, replaced=at(server, url))


async def test_a_collecting_proxy_is_seen_and_cured(small_index: Path, tmp_path: Path) -> None:
    cure = example("troubleshooting", "Nothing until the end", 2)
    async with serving(small_index) as server:
        async with front(tmp_path / "trouble", server, BUFFERING) as url:
            said = await console("troubleshooting", "Nothing until the end", replaced=at(server, url))
            assert late(said[0]) > 0.2
        cured = cure.replace(SERVER, server.url).replace(
            "/bali-zero/ {", "/bali-zero/ { proxy_ignore_headers X-Accel-Buffering;"
        )
        async with front(tmp_path / "cure", server, BUFFERING, server=cured) as url:
            said = await console("troubleshooting", "Nothing until the end", replaced=at(server, url))
            assert late(said[0]) < 0.2


def late(said: str) -> float:
    """How many seconds after it was sent the first tick came; when it came is told in whole seconds."""
    clock, _, data = said.splitlines()[0].partition(" data: ")
    sent = float(json.loads(data)["timestamp"])
    came = datetime.combine(datetime.fromtimestamp(sent), time.fromisoformat(clock)).timestamp()
    return (came - sent + HALF_A_DAY) % (2 * HALF_A_DAY) - HALF_A_DAY  # over midnight too


async def test_heartbeats_below_a_proxys_time_out_keep_the_line(small_index: Path, tmp_path: Path) -> None:
    more, impatient = asyncio.Event(), PLAIN + "proxy_read_timeout 1s;"
    async with (
        serving(small_index, ScriptedAnswerer("Hello, ", never())) as server,
        front(tmp_path / "trouble", server, impatient) as url,
    ):
        await console("troubleshooting", "It breaks off after 30 or 60 seconds", replaced=at(server, url))
    async with (
        serving(small_index, ScriptedAnswerer("Hello, ", more, "world"), heartbeat=0.3) as server,
        front(tmp_path / "cure", server, impatient) as url,
        server.session.get(url + STREAM, params={"query": QUESTION}) as response,
    ):
        reader = Reader(response)
        for _ in range(5):
            await reader.until("ping")
        more.set()
        assert await reader.text() == "world"


async def test_a_proxy_says_later_where_its_server_is_down(small_index: Path, tmp_path: Path) -> None:
    dead = f"127.0.0.1:{free_port()}"
    async with nginx(tmp_path / "trouble", dead, PLAIN) as url:
        await console("troubleshooting", "An EventSource that never comes back", replaced={PUBLIC: url})
    cured = example("troubleshooting", "An EventSource that never comes back", 2).replace(SERVER, f"http://{dead}")
    async with nginx(tmp_path / "cure", dead, PLAIN, server=cured) as url:
        said = await terminal(f"curl -si {url}{STREAM}?query=x")
        assert said.startswith("HTTP/1.1 200 OK\n")
        assert said.endswith("retry: 2000\n\n")


async def test_an_answer_that_is_gone_is_said_to_be(small_index: Path) -> None:
    async with serving(small_index) as server:
        await console("troubleshooting", "`answer_expired`", replaced=at(server))


async def test_an_answer_that_nobody_reads_is_stopped_unless_the_grace_is_longer(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello, ", never())
    async with serving(small_index, answerer, HashingEmbedder(), grace=0.05) as server:
        name = await left(server)
        await answerer.closed_early.wait()
        assert (await server.answer(name, "DELETE"))[1]["state"] == "stopped"  # waits until its end is recorded
        await console("troubleshooting", "It stops in mid-answer", replaced=at(server), ANSWER=name)
    more = asyncio.Event()
    async with serving(small_index, ScriptedAnswerer("Hello, ", more, "world"), HashingEmbedder(), grace=60) as server:
        name = await left(server)
        more.set()
        assert await (await server.events(name)).text() == SAID


async def left(server: Server) -> str:
    """The id of an answer whose reader has gone."""
    reader = await server.stream()
    started = await reader.next()
    await reader.next()
    reader.leave()
    return str(started.json["answer"])


async def test_what_is_found_and_whether_there_is_an_index(small_index: Path, tmp_path: Path) -> None:
    async with serving(small_index, None, HashingEmbedder()) as server:
        await console("troubleshooting", "Nothing is quoted", replaced=at(server))
    async with starting(tmp_path / "nowhere") as server:
        await server.library.opened.wait()
        there = {**at(server), "indexes/default": str(tmp_path / "nowhere")}
        await console("troubleshooting", "Nothing is quoted", 2, replaced=there)


async def test_what_the_models_provider_did_is_said(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer(ModelOverloaded()), HashingEmbedder()) as server:
        await console("troubleshooting", "Errors of the model", replaced=at(server))
    listed = re.findall(r"^\| `(model_\w+)`.*? \| (\d+) \|", troubles(), re.MULTILINE)
    assert set(listed) == {(code, str(kind.status)) for code, kind in ENDINGS.items() if code.startswith("model_")}


async def test_the_end_says_where_the_time_went(small_index: Path) -> None:
    async with serving(small_index, None, HashingEmbedder()) as server:
        await console("troubleshooting", "A slow first chunk", replaced=at(server))


def test_every_entry_is_found_from_the_table() -> None:
    headings = re.findall(r"^## (.+)$", troubles(), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert anchors == set(re.findall(r"\]\(#([\w-]+)\)", troubles().partition("\n## ")[0]))


def troubles() -> str:
    """The page of troubles."""
    return (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
