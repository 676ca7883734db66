"""Two people, every route, every id of the other: nothing is read, changed, stopped or told apart from what is unknown.

The matrix is made from the application's own routes. A new one below `/bali-zero/` fails here until it is said how
another's things would be asked for on it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from server import CHAT, QUESTION, STREAM, Server, never, serving
from sqlalchemy import event
from tokens_made import SECRET, token

from zantara_stream.app import PEOPLE, RECORDING, create_app
from zantara_stream.config import Settings
from zantara_stream.testing import ScriptedAnswerer

MARK = "QUINCE"  # stands in all that is Anna's
ASKED = f"How is late renewal of the {MARK} permit fined?"
PERSONAL = "/bali-zero/"
UNKNOWN_ANSWER, UNKNOWN = "A" * 22, "unknown-0000000000"


@dataclass(frozen=True)
class Ids:
    """Names of things: Anna's, or of things that nobody has."""

    answer: str
    offset: int
    continuity: str
    session: str
    fact: str


NOBODYS = Ids(UNKNOWN_ANSWER, 1, UNKNOWN, UNKNOWN, UNKNOWN)


@dataclass(frozen=True)
class Call:
    """A request that names things; `gets` says what may come of it when they are not one's own."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    gets: str = "refusal"  # 404 or 403; or "own": 200, of one's own things alone; or "expired": an error event


def _event_id(ids: Ids) -> str:
    return f"{ids.answer}.{ids.offset}"


Calls = Callable[[Ids], list[Call]]
CALLS: dict[tuple[str, str], Calls] = {
    ("GET", "/bali-zero/chat-stream"): lambda ids: [
        Call(STREAM, {"last_event_id": _event_id(ids)}, gets="expired"),
        Call(STREAM, headers={"Last-Event-ID": _event_id(ids)}, gets="expired"),
        Call(STREAM, {"query": ASKED, "continuity_id": ids.continuity, "last_chunk_timestamp": "1"}, gets="expired"),
        Call(STREAM, {"query": "Hello", "continuity_id": ids.continuity}, gets="own"),
        Call(STREAM, {"query": "And what else?", "session_id": ids.session}, gets="own"),
        Call(STREAM, {"query": "Hello", "user_email": "anna@example.com"}),
    ],
    ("HEAD", "/bali-zero/chat-stream"): lambda ids: [Call(STREAM, {"last_event_id": _event_id(ids)}, gets="own")],
    ("POST", "/bali-zero/chat-stream"): lambda ids: [
        Call(STREAM, body={"last_event_id": _event_id(ids)}, gets="expired"),
        Call(STREAM, body={"query": "Hello", "continuity_id": f"{ids.continuity}"}, gets="own"),
        Call(STREAM, body={"query": "Hello", "user_email": "anna@example.com"}),
    ],
    ("POST", "/bali-zero/chat"): lambda ids: [
        Call(CHAT, body={"query": "What do you know about me?", "session_id": ids.session}, gets="own"),
        Call(CHAT, body={"query": "Hello", "user_email": "anna@example.com"}),
    ],
    ("GET", "/bali-zero/answers/{id}"): lambda ids: [Call(f"/bali-zero/answers/{ids.answer}")],
    ("DELETE", "/bali-zero/answers/{id}"): lambda ids: [Call(f"/bali-zero/answers/{ids.answer}")],
    ("HEAD", "/bali-zero/answers/{id}"): lambda ids: [Call(f"/bali-zero/answers/{ids.answer}")],
    ("GET", "/bali-zero/answers/{id}/events"): lambda ids: [
        Call(f"/bali-zero/answers/{ids.answer}/events", gets="expired"),
        Call(f"/bali-zero/answers/{ids.answer}/events", {"last_event_id": _event_id(ids)}, gets="expired"),
    ],
    ("HEAD", "/bali-zero/answers/{id}/events"): lambda ids: [
        Call(f"/bali-zero/answers/{ids.answer}/events", gets="own")
    ],
    ("POST", "/bali-zero/search"): lambda ids: [
        Call("/bali-zero/search", body={"query": "permit", "user_email": "anna@example.com"}),
        Call("/bali-zero/search", body={"query": "permit"}, gets="own"),
    ],
    ("POST", "/bali-zero/feedback"): lambda ids: [
        Call("/bali-zero/feedback", body={"answer": ids.answer, "rating": 1, "comment": "x"})
    ],
    ("GET", "/bali-zero/stream-test"): lambda ids: [
        Call("/bali-zero/stream-test", gets="own"),
        Call("/bali-zero/stream-test", {"user_email": "anna@example.com"}),
    ],
    ("POST", "/bali-zero/tickets"): lambda ids: [
        Call("/bali-zero/tickets", body={"user_email": "anna@example.com"}),
        Call("/bali-zero/tickets", gets="own"),
    ],
    ("GET", "/bali-zero/conversations"): lambda ids: [
        Call("/bali-zero/conversations", gets="own"),
        Call("/bali-zero/conversations", {"user_email": "anna@example.com"}),
    ],
    ("GET", "/bali-zero/conversations/{id}"): lambda ids: [
        Call(f"/bali-zero/conversations/{ids.session}"),
        Call(f"/bali-zero/conversations/{ids.session}", {"format": "markdown"}),
    ],
    ("DELETE", "/bali-zero/conversations/{id}"): lambda ids: [Call(f"/bali-zero/conversations/{ids.session}")],
    ("GET", "/bali-zero/memory"): lambda ids: [
        Call("/bali-zero/memory", gets="own"),
        Call("/bali-zero/memory", {"user_email": "anna@example.com"}),
    ],
    ("DELETE", "/bali-zero/memory"): lambda ids: [
        Call("/bali-zero/memory", gets="own"),
        Call("/bali-zero/memory", {"user_email": "anna@example.com"}),
    ],
    ("DELETE", "/bali-zero/memory/{fact}"): lambda ids: [Call(f"/bali-zero/memory/{ids.fact}")],
}


def routes() -> list[tuple[str, str]]:
    """Every route that shows or changes what is somebody's."""
    app = create_app(Settings(database_url="memory://", journal="memory://"))
    found = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    return sorted((method, path) for method, path in found if path.startswith(PERSONAL) and method != "OPTIONS")


def test_it_is_said_of_every_route_how_anothers_things_are_asked_for() -> None:
    assert set(CALLS) == set(routes()), "say in CALLS how another's things would be asked for on a new route"


# --------------------------------------------------------------------------------------------- two people


@dataclass
class House:
    """A server, what is Anna's in it, and who asks."""

    server: Server
    anna: Ids
    running: Ids
    statements: list[str]  # what the store was asked
    looked_for: list[str]  # what the journal was asked

    async def ask(self, method: str, call: Call, person: str) -> tuple[int, dict[str, str], str]:
        """The status, the headers and the body of what that person gets."""
        headers = {**call.headers, **({"Authorization": f"Bearer {_token(person)}"} if person else {})}
        url = self.server.url + call.path
        body = None if call.body is None else dict(call.body)
        asking = self.server.session.request(method, url, params=dict(call.query), headers=headers, json=body)
        async with asking as response:
            return response.status, dict(response.headers), await response.text()


def _token(person: str) -> str:
    return token(person, email=f"{person}@example.com", name=person.title())


@asynccontextmanager
async def house(index: Path, folder: Path) -> AsyncIterator[House]:
    """Anna has asked, is asking, and has said something of herself."""
    answerer = ScriptedAnswerer(f"The {MARK} ", "fine.").then(f"Half a {MARK}", never()).then("Yours.")
    files: dict[str, Any] = {
        "journal": f"sqlite:///{folder}/answers.db",
        "database_url": f"sqlite:///{folder}/people.db",
    }
    async with serving(index, answerer, auth="jwt", jwt_secret=SECRET, grace=600, **files) as server:
        anna = {"Authorization": f"Bearer {_token('anna')}"}
        asked = {"query": ASKED, "session_id": "session-of-anna", "continuity_id": "continuity-of-anna"}
        async with await server.post(CHAT, asked, anna) as response:
            answer = (await response.json())["answer"]
        reader = await server.stream(anna, query=f"More of the {MARK}?", session_id="session-of-anna")
        running = (await reader.next()).json["answer"]
        assert MARK in (await reader.next()).json["text"]
        async with await server.post(CHAT, {"query": f"Remember that my villa is called {MARK}."}, anna) as response:
            assert response.status == 200
        await server.app[RECORDING].settled()
        async with await server.get("/bali-zero/memory", anna) as response:
            (fact,) = (await response.json())["facts"]
        ids = Ids(answer, 1, "continuity-of-anna", "session-of-anna", fact["id"])
        yield House(server, ids, Ids(running, 1, UNKNOWN, UNKNOWN, UNKNOWN), *_watched(server))
        reader.response.close()


def _watched(server: Server) -> tuple[list[str], list[str]]:
    """What the store and the journal are asked from now on."""
    statements: list[str] = []
    looked_for: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(server.app[PEOPLE].store._engine.sync_engine, "before_cursor_execute", note)
    journal = server.answers.journal
    find = journal.find

    async def noted(answer: str, owner: str = "") -> Any:
        looked_for.append("find")
        return await find(answer, owner)

    journal.find = noted  # type: ignore[method-assign]
    return statements, looked_for


@pytest.fixture
async def home(small_index: Path, tmp_path: Path) -> AsyncIterator[House]:
    """It, for one test."""
    async with house(small_index, tmp_path) as built:
        yield built


def _alike(status: int, headers: dict[str, str], body: str, ids: Ids) -> tuple[int, list[str], str]:
    """A response without what differs from one to the next: times, the names asked for, retries."""
    for name in (ids.answer, ids.session, ids.fact):
        body = body.replace(name, "NAME")
    body = re.sub(r'"timestamp":[0-9.]+|retry: [0-9]+', "", body)
    return status, sorted(headers.keys() - {"Date", "Content-Length"}), body


def _check(call: Call, status: int, body: str) -> None:
    assert MARK not in body
    if call.gets == "refusal":
        assert status in (403, 404)
    elif call.gets == "expired":
        assert status == 200
        assert '"code":"answer_expired"' in body
        assert '"text"' not in body
    else:
        assert status in (200, 201)


@pytest.mark.parametrize("route", routes(), ids=" ".join)
async def test_nobody_gets_what_is_anothers(home: House, route: tuple[str, str]) -> None:
    method, _ = route
    for ids in (home.anna, home.running):
        for call in CALLS[route](ids):
            status, _, body = await home.ask(method, call, "made")
            _check(call, status, body)
    await _all_is_there(home)


@pytest.mark.parametrize("route", routes(), ids=" ".join)
async def test_what_is_anothers_looks_like_what_nobody_has(home: House, route: tuple[str, str]) -> None:
    method, _ = route
    for his, none in zip(CALLS[route](home.anna), CALLS[route](NOBODYS), strict=True):
        if his.gets == "own":
            continue  # what comes is one's own; nothing of it depends on what the other has
        seen: list[object] = []
        for call, ids in ((his, home.anna), (none, NOBODYS)):
            home.statements.clear()
            home.looked_for.clear()
            seen.append(_alike(*await home.ask(method, call, "made"), ids))
            # As much work, of the same kind: so what is unknown takes as long. benchmarks/isolation.py measures it.
            seen.append((list(home.statements), list(home.looked_for)))
        assert seen[:2] == seen[2:]


@pytest.mark.parametrize("route", routes(), ids=" ".join)
async def test_nobody_gets_in_without_a_token(home: House, route: tuple[str, str]) -> None:
    method, _ = route
    for call in CALLS[route](home.anna):
        status, headers, body = await home.ask(method, call, "")
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert MARK not in body
    assert home.statements == []
    assert home.looked_for == []


async def test_each_call_means_something_for_whoever_owns_the_thing(home: House) -> None:
    """Else the matrix could be full of addresses that nobody gets anything from."""
    shown = 0
    for (method, _), calls in CALLS.items():
        if method != "DELETE":
            for call in calls(home.anna):
                status, _, body = await home.ask(method, call, "anna")
                if call.gets in ("refusal", "expired"):
                    assert status in (200, 201, 204), (method, call)
                    shown += MARK in body
    assert shown >= 6
    for path in (f"/bali-zero/memory/{home.anna.fact}", "/bali-zero/conversations/session-of-anna"):
        assert (await home.ask("DELETE", Call(path), "anna"))[0] == 204
    stopped = await home.ask("DELETE", Call(f"/bali-zero/answers/{home.running.answer}"), "anna")
    assert '"state":"stopped"' in stopped[2]


async def _all_is_there(home: House) -> None:
    """Nothing of Anna's has changed, and her running answer goes on."""
    mine = {
        f"/bali-zero/answers/{home.anna.answer}": '"state":"complete"',
        f"/bali-zero/answers/{home.running.answer}": '"state":"running"',
        "/bali-zero/conversations/session-of-anna": f'"query":"{ASKED}"',
        "/bali-zero/memory": home.anna.fact,
    }
    for path, words in mine.items():
        status, _, body = await home.ask("GET", Call(path), "anna")
        assert status == 200
        assert words in body
        assert MARK in body


async def test_two_people_with_the_same_names_for_things_have_each_their_own(home: House) -> None:
    async def conversation(person: str) -> str:
        return (await home.ask("GET", Call("/bali-zero/conversations/session-of-anna"), person))[2]

    asked = {"query": QUESTION, "session_id": "session-of-anna", "continuity_id": "continuity-of-anna"}
    status, _, body = await home.ask("POST", Call(CHAT, body=asked), "made")
    assert (status, MARK in body) == (200, False)
    await home.server.app[RECORDING].settled()
    his, hers = await asyncio.gather(conversation("made"), conversation("anna"))
    assert (QUESTION in his, MARK in his) == (True, False)
    assert (QUESTION in hers, MARK in hers) == (False, True)
    assert (await home.ask("DELETE", Call("/bali-zero/conversations/session-of-anna"), "made"))[0] == 204
    assert MARK in await conversation("anna")
