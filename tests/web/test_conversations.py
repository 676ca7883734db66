"""Conversations through HTTP: whatever happens to line, model or server, each turn is there once and in its order."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from server import CHAT, QUESTION, Reader, Server, never, serving
from tokens_made import SECRET, token

from zantara_stream.answers.answer import Answer
from zantara_stream.app import RECORDING
from zantara_stream.errors import ModelRefused
from zantara_stream.generation.answerer import Turn
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.testing import ScriptedAnswerer

CONVERSATIONS = "/bali-zero/conversations"
VISAS = "visas"
UNGUESSABLE = "b2f61b0e-5d2c-4d53"
FAR = {"X-Forwarded-For": "203.0.113.9"}  # asked through a proxy
JWT: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET}
TRIES = 500  # looks at what is bound to come
SECOND = "And how much is it?"


def bearer(subject: str) -> dict[str, str]:
    """What somebody's page sends."""
    return {"Authorization": f"Bearer {token(subject)}"}


def files(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    """The settings of a server that comes back to what it had."""
    return {
        "journal": f"sqlite:///{tmp_path}/answers.db",
        "database_url": f"sqlite:///{tmp_path}/people.db",
        **settings,
    }


async def asked(
    server: Server,
    query: str = QUESTION,
    headers: Mapping[str, str] | None = None,
    session_id: str = VISAS,
    **parameters: str,
) -> str:
    """A question in the conversation is asked and answered, and its end recorded; the answer's text."""
    reader = await server.stream(headers, query=query, session_id=session_id, **parameters)
    text = await reader.text()
    await server.app[RECORDING].settled()
    return text


async def begun(server: Server) -> tuple[Reader, str]:
    """A question in the conversation whose answer has begun; its reader, and the answer's id."""
    reader = await server.stream(session_id=VISAS)
    name = (await reader.next()).json["answer"]
    assert "text" in (await reader.next()).json
    return reader, name


async def ended(server: Server, name: str) -> None:
    """The answer has come to its end, and that is recorded."""
    await (await server.events(name)).rest()
    await server.app[RECORDING].settled()


async def read(
    server: Server, session: str = VISAS, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, Any]:
    """The status and the JSON of a conversation."""
    async with server.session.request(method, f"{server.url}{CONVERSATIONS}/{session}", headers=headers) as response:
        return response.status, await response.json() if response.status != 204 else None


async def turns(server: Server, headers: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """What was asked in the conversation, how it ended, and what was answered."""
    status, body = await read(server, headers=headers)
    assert status == 200
    assert body["turns"] == sorted(body["turns"], key=lambda turn: turn["asked"])
    return [(turn["query"], turn["state"], turn["text"]) for turn in body["turns"]]


async def listed(server: Server, headers: Mapping[str, str] | None = None) -> list[Any]:
    async with await server.get(CONVERSATIONS, headers) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        return list((await response.json())["conversations"])


async def until(server: Server, status: int, state: str = "") -> Any:
    """The conversation, once it is found so; what begins it is nobody's to wait for."""
    for _ in range(TRIES):
        found, body = await read(server)
        if found == status and (not state or {turn["state"] for turn in body["turns"]} == {state}):
            return body
    raise AssertionError(f"the conversation is {found}: {body}")


def history(answerer: ScriptedAnswerer) -> tuple[Turn, ...]:
    """What the model was told last of what came before."""
    return answerer.prompts[-1].history


BEFORE = (Turn("user", QUESTION), Turn("assistant", "Hello"))


# --------------------------------------------------------------------------------- going on with one


@pytest.mark.parametrize("headers", [None, {"X-Session-Id": VISAS}], ids=["parameter", "header"])
async def test_a_question_has_the_turns_before_it_without_any_being_sent(
    small_index: Path, headers: Mapping[str, str] | None
) -> None:
    answerer = ScriptedAnswerer("Hel", "lo")
    async with serving(small_index, answerer) as server:
        session = "" if headers else VISAS
        await asked(server, QUESTION, headers, session)
        assert history(answerer) == ()
        await asked(server, SECOND, headers, session)
        assert history(answerer) == BEFORE
        assert await turns(server) == [(QUESTION, "complete", "Hello"), (SECOND, "complete", "Hello")]


async def test_whoever_asks_at_once_after_an_end_has_it_before_them(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", "lo")
    async with serving(small_index, answerer) as server:
        for _ in range(5):
            async with await server.post(CHAT, {"query": QUESTION, "session_id": VISAS}) as response:
                assert response.status == 200
        assert [prompt.history for prompt in answerer.prompts] == [BEFORE * number for number in range(5)]


async def test_another_conversation_and_none_have_nothing_of_it(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        await asked(server)
        for session in ("companies", ""):
            await asked(server, SECOND, session_id=session)
            assert history(answerer) == ()
        assert len(await turns(server)) == 1
        status, body = await read(server, "companies")
        assert (status, body["title"], len(body["turns"])) == (200, SECOND, 1)


async def test_history_that_a_page_sends_is_used_and_not_kept(small_index: Path) -> None:
    sent = [{"role": "user", "content": "My villa is in Amed."}, {"role": "assistant", "content": "How nice."}]
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        await asked(server)
        await asked(server, SECOND, conversation_history=json.dumps(sent))
        assert history(answerer) == tuple(Turn(**turn) for turn in sent)
        status, body = await read(server)
        assert status == 200
        assert [turn["query"] for turn in body["turns"]] == [QUESTION, SECOND]
        assert "Amed" not in json.dumps(body)
        assert "How nice" not in json.dumps(body)


@pytest.mark.parametrize(("setting", "parameter"), [("off", "true"), ("on", "false")])
async def test_without_memory_conversations_are_kept_all_the_same(
    small_index: Path, setting: str, parameter: str
) -> None:
    answerer = ScriptedAnswerer("Hel", "lo")
    async with serving(small_index, answerer, memory=setting, **JWT) as server:
        await asked(server, headers=bearer("anna"), memory=parameter)
        await asked(server, SECOND, bearer("anna"), memory=parameter)
        assert history(answerer) == BEFORE
        assert len(await turns(server, bearer("anna"))) == 2


# --------------------------------------------------------------------------------- whatever happens


async def test_an_answer_whose_line_dropped_is_kept_whole(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", gate := asyncio.Event(), "lo").then("again")
    async with serving(small_index, answerer) as server:
        reader, name = await begun(server)
        reader.leave()
        gate.set()
        await ended(server, name)
        await asked(server, SECOND)
        assert history(answerer) == BEFORE
        assert await turns(server) == [(QUESTION, "complete", "Hello"), (SECOND, "complete", "again")]


async def test_an_answer_that_nobody_came_back_to_is_kept_as_far_as_it_was_written(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", never()).then("again")
    async with serving(small_index, answerer, grace=0.0) as server:
        reader, name = await begun(server)
        reader.leave()
        await answerer.closed_early.wait()
        await ended(server, name)
        await asked(server, SECOND)
        assert history(answerer) == (Turn("user", QUESTION), Turn("assistant", "Hel"))
        assert await turns(server) == [(QUESTION, "stopped", "Hel"), (SECOND, "complete", "again")]


async def test_an_answer_that_was_stopped_is_kept_as_far_as_it_was_written(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", never()).then("again")
    async with serving(small_index, answerer) as server:
        _, name = await begun(server)
        assert (await server.answer(name, "DELETE"))[0] == 200
        await asked(server, SECOND)
        assert await turns(server) == [(QUESTION, "stopped", "Hel"), (SECOND, "complete", "again")]


async def test_an_answer_that_failed_is_kept_with_why(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", ModelRefused()).then("again")
    async with serving(small_index, answerer) as server:
        await asked(server)
        await asked(server, SECOND)
        assert await turns(server) == [(QUESTION, "failed", "Hel"), (SECOND, "complete", "again")]
        _, body = await read(server)
        assert (body["turns"][0]["code"], body["turns"][0]["error"]) == ("model_refused", str(ModelRefused()))


async def test_reading_an_answer_again_makes_no_second_turn(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Hello")) as server:
        for _ in range(2):
            await asked(server, continuity_id="one")
        assert await turns(server) == [(QUESTION, "complete", "Hello")]


async def test_two_questions_at_once_are_two_turns_in_the_order_in_which_they_were_asked(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", gate := asyncio.Event(), "lo").then("again")
    async with serving(small_index, answerer) as server:
        reader, name = await begun(server)
        await asked(server, SECOND)
        assert history(answerer) == ()
        assert await turns(server) == [(QUESTION, "running", ""), (SECOND, "complete", "again")]
        gate.set()
        await reader.rest()
        await ended(server, name)
        assert await turns(server) == [(QUESTION, "complete", "Hello"), (SECOND, "complete", "again")]


async def test_an_answer_over_a_restart_is_one_turn(small_index: Path, tmp_path: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Hel", never()), **files(tmp_path)) as server:
        _, name = await begun(server)
    answerer = ScriptedAnswerer("lo").then("again")
    async with serving(small_index, answerer, **files(tmp_path)) as server:
        await ended(server, name)
        await asked(server, SECOND)
        assert history(answerer) == BEFORE
        assert await turns(server) == [(QUESTION, "complete", "Hello"), (SECOND, "complete", "again")]


async def test_an_answer_that_is_gone_on_with_sees_no_turn_that_was_asked_after_it(
    small_index: Path, tmp_path: Path
) -> None:
    async with serving(small_index, ScriptedAnswerer("Hel", never()).then("again"), **files(tmp_path)) as server:
        _, name = await begun(server)
        await asked(server, SECOND)
    answerer = ScriptedAnswerer("lo")
    async with serving(small_index, answerer, **files(tmp_path)) as server:
        await ended(server, name)
        assert history(answerer) == ()
        assert await turns(server) == [(QUESTION, "complete", "Hello"), (SECOND, "complete", "again")]


@asynccontextmanager
async def hanging(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """The server stands still from now on, so that others find its leases run out."""

    async def renew(leases: object) -> None:
        """Too late."""

    monkeypatch.setattr(server.answers.journal, "renew", renew)
    monkeypatch.setattr(server.answers.journal, "release", renew)
    yield server


async def test_an_answer_that_another_server_takes_over_is_one_turn(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, other = files(tmp_path, lease=0.2), ScriptedAnswerer("lo").then("again")
    gate = asyncio.Event()
    async with serving(small_index, ScriptedAnswerer("Hel", gate, "LO"), **settings) as first:
        _, name = await begun(first)
        async with hanging(first, monkeypatch), serving(small_index, other, **settings) as second:
            await ended(second, name)
            gate.set()  # what it still writes is refused
            await asked(second, SECOND)
            await first.app[RECORDING].settled()
            for server in (first, second):
                assert await turns(server) == [(QUESTION, "complete", "Hello"), (SECOND, "complete", "again")]
    assert history(other) == BEFORE


async def test_an_answer_of_a_killed_server_is_one_turn(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = files(tmp_path, lease=0.2)
    async with serving(small_index, ScriptedAnswerer("Hel", never()), **settings) as server:
        _, name = await begun(server)
        async with hanging(server, monkeypatch):
            pass
    async with serving(small_index, ScriptedAnswerer("lo"), **settings) as server:
        await ended(server, name)
        assert await turns(server) == [(QUESTION, "complete", "Hello")]


async def test_an_end_that_a_killed_server_did_not_record_is_found_when_it_starts(
    small_index: Path, tmp_path: Path
) -> None:
    def killed(answer: Answer) -> None:
        """Before it could record the end."""

    async with serving(small_index, ScriptedAnswerer("Hel", "lo"), **files(tmp_path)) as server:
        server.answers._ended = killed
        await asked(server)
        assert await turns(server) == [(QUESTION, "running", "")]
    async with serving(small_index, **files(tmp_path)) as server:
        await until(server, 200, "complete")
        assert await turns(server) == [(QUESTION, "complete", "Hello")]


async def test_an_answer_that_went_with_its_server_is_lost_and_says_so(small_index: Path, tmp_path: Path) -> None:
    settings = files(tmp_path, journal="memory://")
    async with serving(small_index, ScriptedAnswerer("Hel", never()), **settings) as server:
        await begun(server)
    async with serving(small_index, **settings) as server:
        await until(server, 200, "lost")
        async with await server.get(f"{CONVERSATIONS}/{VISAS}", format="markdown") as response:
            assert "*(the answer was not kept)*" in await response.text()


# --------------------------------------------------------------------------------- reading and deleting


async def test_a_conversation_is_told_with_all_its_turns(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Hel", "lo")) as server:
        reader, name = await begun(server)
        events = [event.json for event in await reader.rest() if event.event == "message"]
        await ended(server, name)
        async with await server.get(f"{CONVERSATIONS}/{VISAS}") as response:
            assert response.headers["Cache-Control"] == "no-store"
            body = await response.json()
    (turn,) = body.pop("turns")
    assert set(body) == {"id", "title", "count", "created", "updated", "summary"}
    assert (body["id"], body["title"], body["count"], body["summary"]) == (VISAS, QUESTION, 1, "")
    assert (turn["answer"], turn["query"], turn["text"], turn["state"]) == (name, QUESTION, "Hello", "complete")
    *_, sources, done = events
    assert (turn["sources"], turn["citations"]) == (sources["sources"], [])
    for detail in ("model", "stopReason", "usage", "timings", "usedRag", "streamDuration"):
        assert turn[detail] == done[detail]
    assert body["created"] == turn["asked"] < turn["ended"] == body["updated"]


async def test_a_persons_conversations_are_listed_the_last_used_first(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        assert await listed(server, bearer("anna")) == []
        for query, session in ((QUESTION, VISAS), ("What is a company?", "companies"), (SECOND, VISAS)):
            await asked(server, query, bearer("anna"), session_id=session)
        found = await listed(server, bearer("anna"))
    assert [(one["id"], one["title"], one["count"]) for one in found] == [
        (VISAS, QUESTION, 2),
        ("companies", "What is a company?", 1),
    ]
    assert all(set(one) == {"id", "title", "count", "created", "updated"} for one in found)


async def test_a_conversation_as_markdown_is_a_file_with_all_turns_and_sources(small_index: Path) -> None:
    async with serving(small_index, ExtractiveAnswerer()) as server:
        texts = [await asked(server), await asked(server, "What does the bank confirm with a letter?")]
        async with await server.get(f"{CONVERSATIONS}/{VISAS}", format="markdown") as response:
            assert (response.status, response.content_type, response.charset) == (200, "text/markdown", "utf-8")
            assert response.headers["Content-Disposition"] == 'attachment; filename="conversation.md"'
            assert response.headers["Cache-Control"] == "no-store"
            document = await response.text()
    assert document.startswith(f"# {QUESTION}\n")
    assert document.index(f"> {QUESTION}") < document.index(texts[0]) < document.index("> What does the bank")
    assert texts[1] in document
    assert document.count("Sources:") == 2
    assert "https://example.com/renewal" in document


@pytest.mark.parametrize("kind", ["x", "", "JSON", "html"])
async def test_another_format_is_refused_by_its_name(small_index: Path, kind: str) -> None:
    async with serving(small_index) as server:
        await asked(server)
        async with await server.get(f"{CONVERSATIONS}/{VISAS}", format=kind) as response:
            body = await response.json()
    assert (response.status, body["code"]) == (400, "invalid_request")
    assert "format" in body["error"]


async def test_a_deleted_conversation_is_gone_and_begins_anew(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        await asked(server)
        assert await read(server, method="DELETE") == (204, None)
        for method in ("GET", "DELETE"):
            status, body = await read(server, method=method)
            assert (status, body["error"]) == (404, "There is no conversation of that id.")
        await asked(server, SECOND)
        assert history(answerer) == ()
        assert await turns(server) == [(SECOND, "complete", "Hello")]
        assert (await read(server))[1]["title"] == SECOND


async def test_what_was_still_answered_when_it_was_deleted_stays_deleted(small_index: Path, tmp_path: Path) -> None:
    answerer = ScriptedAnswerer("Hel", gate := asyncio.Event(), "lo").then("Hel", never())
    async with serving(small_index, answerer, **files(tmp_path)) as server:
        reader, name = await begun(server)
        assert (await read(server, method="DELETE"))[0] == 204
        gate.set()
        assert await reader.text() == "lo", "whoever reads it gets it"
        await ended(server, name)
        assert (await read(server))[0] == 404
        _, name = await begun(server)
        assert (await read(server, method="DELETE"))[0] == 204
    async with serving(small_index, ScriptedAnswerer("lo"), **files(tmp_path)) as server:
        await ended(server, name)
        assert (await read(server))[0] == 404, "nor is it begun again by who takes it over"


async def test_a_conversation_that_nobody_used_for_long_is_forgotten(small_index: Path, tmp_path: Path) -> None:
    settings = files(tmp_path, conversation_retention=3600.0)
    async with serving(small_index, **settings) as server:
        for session in (VISAS, "companies"):
            await asked(server, session_id=session)
    with sqlite3.connect(tmp_path / "people.db") as people:
        people.execute("UPDATE conversations SET updated = updated - 7200 WHERE session = ?", (VISAS,))
    people.close()
    async with serving(small_index, **settings) as server:
        await until(server, 404)
        assert (await read(server, "companies"))[0] == 200


# --------------------------------------------------------------------------------- whose it is


async def test_two_people_with_the_same_session_id_have_two_conversations(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        await asked(server, headers=bearer("anna"))
        await asked(server, SECOND, bearer("budi"))
        assert history(answerer) == ()
        assert await turns(server, bearer("anna")) == [(QUESTION, "complete", "Hello")]
        assert await turns(server, bearer("budi")) == [(SECOND, "complete", "Hello")]
        assert [one["title"] for one in await listed(server, bearer("budi"))] == [SECOND]
        assert (await read(server, headers=bearer("budi"), method="DELETE"))[0] == 204
        assert await turns(server, bearer("anna")) == [(QUESTION, "complete", "Hello")]


async def test_anothers_conversation_is_answered_as_one_that_nobody_has(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        await asked(server, headers=bearer("anna"))
        for method in ("GET", "DELETE"):
            assert await read(server, VISAS, bearer("budi"), method) == await read(
                server, "nothing", bearer("budi"), method
            )
            assert (await read(server, VISAS, None, method))[0] == 401
        assert len(await turns(server, bearer("anna"))) == 1


async def test_nobodys_conversation_is_read_only_by_an_id_that_cannot_be_guessed(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", "lo")
    async with serving(small_index, answerer) as server:
        for session, before, status in ((VISAS, (), 404), (UNGUESSABLE, BEFORE, 200)):
            for query in (QUESTION, SECOND):
                await asked(server, query, FAR, session_id=session)
            assert history(answerer) == before
            assert (await read(server, session, FAR))[0] == status
        assert (await read(server, UNGUESSABLE, FAR, "DELETE"))[0] == 204
        assert (await read(server, UNGUESSABLE))[0] == 404


async def test_nobodys_conversations_are_not_listed(small_index: Path) -> None:
    async with serving(small_index) as server:
        await asked(server, session_id=UNGUESSABLE)
        for headers in (None, FAR):
            async with await server.get(CONVERSATIONS, headers) as response:
                assert (response.status, (await response.json())["code"]) == (401, "unauthenticated")
