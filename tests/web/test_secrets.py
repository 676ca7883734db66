"""Nothing that opens a door or names a person is told on: not by logs, metrics, refusals or headers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from messages_api import MessagesAPI, answer, http_error
from server import ANSWERS_BY_ID, CHAT, EVENT_STREAM, PAGE, STREAM, Server, serving
from sqlalchemy import text
from tokens_made import rs256, token

from zantara_stream.answers import answer as one_answer
from zantara_stream.app import PEOPLE, RECORDING, create_app
from zantara_stream.config import Settings
from zantara_stream.errors import ModelRefused, ModelTimeout
from zantara_stream.generation.claude import ClaudeAnswerer, ClaudeOptions
from zantara_stream.people.tables import METADATA
from zantara_stream.testing import ScriptedAnswerer

SECRET = "QUINCE-SECRET-of-more-than-32-bytes"
OPERATOR = "QUINCE-OPERATOR-0123456789abcdef"
EMAIL, OTHER, NAME = "quince-anna@example.com", "quince-made@example.org", "Quince Anna"
QUESTION = "How is late renewal of the quince permit fined?"
STATED = "Remember that my villa is called Quince."
MARK = "quince"  # it stands in all of these
TICKETS, CONVERSATIONS, MEMORY = "/bali-zero/tickets", "/bali-zero/conversations", "/bali-zero/memory"
UNKNOWN = "A" * 22
# Where what somebody said or is given stands in the body, for that person alone.
OWN = re.compile(rf"{TICKETS}|{CONVERSATIONS}(?:/.*)?|{MEMORY}|{ANSWERS_BY_ID}/[^/]+")


def bearer(sent: str, scheme: str = "Bearer") -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"{scheme} {sent}"}


GOOD = token("quince-subject", secret=SECRET, email=EMAIL, name=NAME)
FOREIGN = (
    token("quince-subject", secret="another secret, of more than 32 bytes", email=EMAIL),
    token("quince-subject", secret=SECRET, lifetime=-3600, email=EMAIL),
    token("quince-subject", secret=SECRET, aud=OTHER),
    token(["quince"], secret=SECRET),
    rs256("quince-subject"),
    "quince.quince.quince",
    "quince" * 2000,
    "quincé",
)
SHOWN: list[dict[str, str]] = [
    {},
    bearer(GOOD),
    *map(bearer, FOREIGN),
    bearer(GOOD, "Basic"),
    bearer(OPERATOR),
    {"Authorization": GOOD},
]


@dataclass
class Told:
    """All that was told to anybody but those whom it is for."""

    secrets: set[str]  # that must not be, whatever their case
    said: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Fail where a secret was told."""
        for told in self.said:
            for secret in self.secrets:
                assert secret.lower() not in told.lower(), told[:2000]


def parts(sent: str) -> set[str]:
    """A token, and each of its parts that would be of use."""
    return {part for part in (sent, *sent.split(".")[1:]) if len(part) > 16}


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Told]:
    """What was told, checked at the end of the test with everything that was logged and printed meanwhile."""
    told = Told({MARK, SECRET, OPERATOR, *(part for sent in (GOOD, *FOREIGN) for part in parts(sent))})
    caplog.set_level(logging.DEBUG)
    yield told
    records = caplog.get_records("call")  # caplog.text has been cleared by now
    assert records
    told.said += [*map(logging.Formatter().format, records), *capfd.readouterr()]
    told.check()


async def ask(server: Server, told: Told, method: str, path: str, **more: Any) -> tuple[int, str]:
    """The status and the body of a request; what of it is not for the asker alone is kept."""
    async with server.session.request(method, server.url + path, **more) as response:
        body = await response.text()
        told.said.append(str(response.headers))
        if response.status >= 400 or not OWN.fullmatch(path):
            told.said.append(body)
        return response.status, body


async def ticket(server: Server, told: Told, **body: str) -> str:
    """A new ticket, that must not be told from now on."""
    status, issued = await ask(server, told, "POST", TICKETS, json=body, headers=bearer(GOOD))
    assert status == 201
    told.secrets.add(found := str(json.loads(issued)["ticket"]))
    return found


async def finish(server: Server, told: Told) -> None:
    """Let everything be recorded that is to be, and read the metrics."""
    await server.app[RECORDING].settled()
    status, metrics = await ask(server, told, "GET", "/metrics", headers=bearer(OPERATOR))
    assert (status, "zantara_" in metrics) == (200, True)


@asynccontextmanager
async def house(index: Path, folder: Path, answerer: Any = None, **settings: Any) -> AsyncIterator[Server]:
    """A server that keeps everything in files, and knows one collaborator."""
    file = folder / "collaborators.toml"
    entry = f'[[collaborator]]\nid = "quince-subject"\nname = "{NAME}"\nemail = "{EMAIL}"\nlevel = 1\n'
    file.write_text(entry, encoding="utf-8")
    kept = {"journal": f"sqlite:///{folder}/answers.db", "database_url": f"sqlite:///{folder}/people.db"}
    jwt = {"auth": "jwt", "jwt_secret": SECRET, "admin_token": OPERATOR, "collaborators": file}
    async with serving(index, answerer or ScriptedAnswerer("Hello"), **{**kept, **jwt, **settings}) as server:
        yield server


def routes() -> list[tuple[str, str]]:
    """Every method and path of the application, the names in paths replaced by some value."""
    app = create_app(Settings(database_url="memory://", journal="memory://"))
    found = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    return sorted((method, re.sub(r"\{\w+\}", UNKNOWN, path)) for method, path in found)


QUERIES: list[dict[str, str]] = [
    {"query": QUESTION, "user_email": EMAIL, "session_id": "quince-session-0123456789", "continuity_id": "quince"},
    {"query": QUESTION, "user_email": OTHER, "ticket": "quince-ticket"},
    {"query": QUESTION * 200, "conversation_history": f'[{{"role": "quince", "content": "{EMAIL}"}}]'},
    {"query": QUESTION, "conversation_history": "{quince", "format": "quince"},
    {"query": "", "ticket": "quince" * 900, "last_chunk_timestamp": "quince"},
    {"last_event_id": "quince", "user_email": EMAIL},
    {"query": QUESTION, "continuity_id": "quince" * 100},
]
BODIES = [
    *(json.dumps(query).encode() for query in QUERIES),
    b'{"query": "quince',
    b'["quince"]',
    b"\xffquince",
    json.dumps({"query": {"quince": 1}, "user_email": ["quince"], "answer": "quince"}).encode(),
    json.dumps({"answer": "quince", "rating": "quince", "comment": EMAIL}).encode(),
    json.dumps({"answer": "quince", "rating": 5, "comment": "quince" * 900}).encode(),
    b'{"query": "quince", "limit": "quince"}',
    b"quince" * 400_000,
]


# --------------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(("method", "path"), routes())
async def test_no_request_of_any_kind_is_told_on(
    small_index: Path, tmp_path: Path, told: Told, method: str, path: str
) -> None:
    async with house(small_index, tmp_path) as server:
        statuses = set()
        for shown in SHOWN:
            headers = {**shown, "Origin": PAGE, "X-Session-Id": "quince-of-the-header", "Cookie": "quince=quince"}
            for query in QUERIES:
                statuses.add((await ask(server, told, method, path, params=query, headers=headers))[0])
            for body in BODIES if method == "POST" else ():
                statuses.add((await ask(server, told, method, path, data=BytesIO(body), headers=headers))[0])
        await finish(server, told)
        assert statuses != {500}


RAW = [
    b"GET /bali-zero/chat-stream?ticket=%b&query=quince HTTP/9.9\r\n\r\n",
    b"GET /bali-zero/chat-stream?ticket=%b quince HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"QU\x00INCE /bali-zero/chat-stream?ticket=%b HTTP/1.1\r\n\r\n",
    b"GET /bali-zero/chat-stream?ticket=%b&query=" + b"quince" * 50_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /bali-zero/chat?ticket=%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: quince\r\n\r\n",
    b"POST /bali-zero/chat?ticket=%b HTTP/1.1\r\nHost: quince.example\r\nConnection: close\r\n\r\n",
]


@pytest.mark.parametrize("request_of", RAW, ids=range(len(RAW)))
async def test_what_is_no_proper_request_is_not_logged(
    small_index: Path, tmp_path: Path, told: Told, request_of: bytes
) -> None:
    async with house(small_index, tmp_path) as server:
        sent = await ticket(server, told)
        answered = await server.raw(request_of % sent.encode())
        assert re.match(rb"HTTP/1\.[01] 4", answered)
        await finish(server, told)


# ------------------------------------------------------------------------------------- everything that is written


@asynccontextmanager
async def process(index: Path, folder: Path, told: Told) -> AsyncIterator[str]:
    """The address of a server in a process of its own; what it writes on its outputs is kept once it has ended."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ZANTARA_", "ANTHROPIC_"))},
        "PYTHONPATH": str(Path(__file__).parent.parent.parent),
        "ZANTARA_INDEX": str(index),
        "ZANTARA_PORT": "0",
        "ZANTARA_LOG_FORMAT": "json",
        "ZANTARA_LOG_LEVEL": "debug",
        "ZANTARA_AUTH": "jwt",
        "ZANTARA_JWT_SECRET": SECRET,
        "ZANTARA_ADMIN_TOKEN": OPERATOR,
    }
    command = [sys.executable, "-m", "zantara_stream", "serve"]
    with (folder / "out").open("w") as out, (folder / "errors").open("w") as errors:
        running = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stdout=out, stderr=errors)
        try:
            while not (found := re.search(r"http://\S+:\d+", (folder / "out").read_text())):
                assert running.returncode is None, (folder / "errors").read_text()
                await asyncio.sleep(0.05)
            yield found[0]
        finally:
            running.terminate()
            assert await running.wait() == 0
    told.said += [(folder / "out").read_text(), (folder / "errors").read_text()]


async def test_a_process_writes_nothing_of_any_request_at_all(sample_index: Path, tmp_path: Path, told: Told) -> None:
    """Every route, in lines of JSON, at the level that tells most, with the loggers of all packages."""
    async with process(sample_index, tmp_path, told) as url, ClientSession() as session:
        async with session.post(url + TICKETS, headers=bearer(GOOD)) as response:
            told.secrets.add(issued := str((await response.json())["ticket"]))
        statuses = set()
        for method, path in routes():
            for shown in (bearer(GOOD), bearer(FOREIGN[0]), bearer(OPERATOR)):
                for query in (*QUERIES, {"query": QUESTION, "ticket": issued}):
                    send = {"data": json.dumps(query)} if method == "POST" else {"params": query}
                    async with session.request(method, url + path, headers=shown, **send) as response:
                        await response.read()
                        statuses.add(response.status)
    assert {200, 400, 401, 403, 404} <= statuses
    assert 500 not in statuses
    lines = [json.loads(line) for line in (tmp_path / "errors").read_text().splitlines()]
    assert {"ended"} <= {line["message"].partition(":")[0] for line in lines}, "what is worth a line has one"
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    logging.getLogger(__name__).info("so that there is a record")


# --------------------------------------------------------------------------------------------------- what goes well


async def use_everything(server: Server, told: Told) -> str:
    """Ask, read, rate, resume, export and delete as somebody known; the name of the answer."""
    anna = bearer(GOOD)
    body = {"query": QUESTION, "session_id": "quince", "user_email": EMAIL}
    status, whole = await ask(server, told, "POST", CHAT, json=body, headers=anna)
    assert status == 200
    name = str(json.loads(whole)["answer"])
    await ask(server, told, "POST", CHAT, json={"query": STATED}, headers=anna)
    await server.app[RECORDING].settled()
    assert MARK in (await ask(server, told, "GET", MEMORY, headers=anna))[1].lower()
    rated = {"answer": name, "rating": 5, "comment": f"Thank you, {NAME} {EMAIL}"}
    assert (await ask(server, told, "POST", "/bali-zero/feedback", json=rated, headers=anna))[0] == 201
    for path in (CONVERSATIONS, f"{CONVERSATIONS}/quince", f"{CONVERSATIONS}/quince?format=markdown"):
        assert MARK in (await ask(server, told, "GET", path, headers=anna))[1]
    assert MARK in (await ask(server, told, "GET", f"{ANSWERS_BY_ID}/{name}", headers=anna))[1]
    for method, path in (("DELETE", f"{CONVERSATIONS}/quince"), ("DELETE", MEMORY)):
        assert (await ask(server, told, method, path, headers=anna))[0] in (200, 204)
    return name


async def use_tickets(server: Server, told: Told, name: str) -> None:
    """Start an answer, resume it and others, and be refused."""
    first, second = await ticket(server, told), await ticket(server, told, query=QUESTION)
    for issued, query, expected in (
        (first, QUESTION, 200),
        (first, QUESTION, 200),
        (first, f"{QUESTION} And then?", 403),
        (second, f"{QUESTION} And then?", 403),
        (f"{second}x", QUESTION, 401),
    ):
        for headers in (EVENT_STREAM, {"Origin": PAGE}):
            parameters = {"ticket": issued, "query": query}
            assert (await ask(server, told, "GET", STREAM, params=parameters, headers=headers))[0] == expected
    for path in (f"{ANSWERS_BY_ID}/{name}/events", f"{ANSWERS_BY_ID}/{UNKNOWN}/events", STREAM):
        for event in ("", f"{name}.1", f"{name}.999", "quince"):
            parameters = {"ticket": second, "last_event_id": event}
            await ask(server, told, "GET", path, params=parameters, headers=EVENT_STREAM)


async def test_who_uses_everything_is_not_told_on(small_index: Path, tmp_path: Path, told: Told) -> None:
    async with house(small_index, tmp_path) as server:
        await use_tickets(server, told, await use_everything(server, told))
        server.app[PEOPLE].collaborators.reload()
        await finish(server, told)


async def test_neither_is_a_trusted_address(small_index: Path, tmp_path: Path, told: Told) -> None:
    without: dict[str, Any] = {"auth": "off", "jwt_secret": "", "trust_email": True}
    async with house(small_index, tmp_path, **without) as server:
        for email in (EMAIL, OTHER):
            body = {"query": QUESTION, "user_email": email, "session_id": "quince"}
            assert (await ask(server, told, "POST", CHAT, json=body))[0] == 200
            assert (await ask(server, told, "POST", CHAT, params={"user_email": OTHER + "x"}, json=body))[0] == 403
        await finish(server, told)


async def test_nor_does_a_second_process_tell_what_the_first_has_kept(
    small_index: Path, tmp_path: Path, told: Told
) -> None:
    async with house(small_index, tmp_path) as server:
        issued = await ticket(server, told)
        await ask(server, told, "GET", STREAM, params={"ticket": issued, "query": QUESTION})
    async with house(small_index, tmp_path) as server:
        assert (await ask(server, told, "GET", STREAM, params={"ticket": issued, "query": QUESTION}))[0] == 200
        await finish(server, told)


# --------------------------------------------------------------------------------------------------- what fails

FAILURES = [ModelTimeout(), ModelRefused(), RuntimeError("broken"), KeyError("broken")]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_a_model_that_fails_tells_nothing_of_what_it_was_asked(
    small_index: Path, tmp_path: Path, told: Told, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_answer, "PAUSES", (0.0,))
    async with house(small_index, tmp_path, ScriptedAnswerer("Hel", failure)) as server:
        parameters = {"ticket": await ticket(server, told), "query": QUESTION}
        _, stream = await ask(server, told, "GET", STREAM, params=parameters)
        assert '"error"' in stream
        body = {"query": QUESTION, "session_id": "quince"}
        assert (await ask(server, told, "POST", CHAT, json=body, headers=bearer(GOOD)))[0] >= 500
        await finish(server, told)


async def test_claude_failing_and_not_failing_tells_nothing(
    small_index: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_answer, "PAUSES", ())
    async with MessagesAPI(answer("Hello")) as api:
        api.queue(http_error(400), http_error(401), http_error(500), answer("Hel").until("message_stop"))
        claude = ClaudeAnswerer("claude-test", ClaudeOptions(api_key="quince-key", base_url=api.url, retries=0))
        async with house(small_index, tmp_path, claude) as server:
            for _ in range(6):
                body = {"query": QUESTION, "session_id": "quince"}
                await ask(server, told, "POST", CHAT, json=body, headers=bearer(GOOD))
            await finish(server, told)
        assert len(api.requests) >= 6


async def spoil(server: Server, statement: str) -> None:
    """Do something to every table of people."""
    async with server.app[PEOPLE].store.writing() as connection:
        for table in METADATA.tables:
            await connection.execute(text(statement.format(table)))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER {0}_spoiled BEFORE INSERT ON {0} BEGIN SELECT RAISE(ABORT, 'spoiled'); END",
        "ALTER TABLE {0} RENAME TO {0}_lost",
    ],
    ids=["a defect", "an unusable store"],
)
async def test_a_store_that_fails_tells_nothing_of_what_it_was_given(
    small_index: Path, tmp_path: Path, told: Told, statement: str
) -> None:
    async with house(small_index, tmp_path) as server:
        issued = await ticket(server, told)
        status, whole = await ask(server, told, "POST", CHAT, json={"query": QUESTION}, headers=bearer(GOOD))
        name = json.loads(whole)["answer"]
        await server.app[RECORDING].settled()
        await spoil(server, statement)
        failed = 0
        for method, path, body in (
            ("POST", CHAT, {"query": QUESTION, "session_id": "quince-session", "user_email": EMAIL}),
            ("POST", TICKETS, {"query": QUESTION}),
            ("POST", "/bali-zero/feedback", {"answer": name, "rating": 1, "comment": EMAIL}),
            ("DELETE", MEMORY, {}),
        ):
            status, _ = await ask(server, told, method, path, json=body, headers=bearer(GOOD))
            failed += status >= 500
        await ask(server, told, "GET", STREAM, params={"ticket": issued, "query": QUESTION})
        assert failed == 4
        await finish(server, told)


async def test_a_journal_that_fails_tells_nothing_either(
    small_index: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: object) -> None:
        raise RuntimeError("broken")

    async with house(small_index, tmp_path) as server:
        monkeypatch.setattr(server.answers.journal, "create", broken)
        parameters = {"ticket": await ticket(server, told), "query": QUESTION, "user_email": EMAIL}
        status, body = await ask(server, told, "GET", STREAM, params=parameters)
        assert (status, "reference" in body) == (500, True)
        await finish(server, told)


def test_what_is_told_is_looked_for_in_any_case() -> None:
    """Else none of these could fail."""
    for told in ("... QUINCE ...", f"Bearer {GOOD}", GOOD.split(".")[1], SECRET):
        with pytest.raises(AssertionError):
            Told({MARK, SECRET, *parts(GOOD)}, [told]).check()
    Told({MARK, SECRET, *parts(GOOD)}, ["nothing"]).check()
