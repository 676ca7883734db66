"""One answer by its id: what it is by now, its log, its stop."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from messages_api import MessagesAPI, answer
from server import ANSWERS_BY_ID, EVENT_STREAM, QUESTION, Server, data, never, serving

from zantara_stream.answers import answer as one_answer
from zantara_stream.answers.answers import Asked
from zantara_stream.answers.database import Database
from zantara_stream.answers.journal import Opening
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.errors import ModelRefused
from zantara_stream.generation.claude import ClaudeAnswerer, ClaudeOptions
from zantara_stream.testing import ScriptedAnswerer
from zantara_stream.web import answers as module

UNKNOWN = "A" * 22
ALWAYS = {"answer", "state", "query", "text", "citations", "sources", "usage", "sequenceNumber", "offset"}


async def finished(server: Server) -> tuple[str, list[Any]]:
    """A complete answer: its id and its events."""
    start, *events = await (await server.stream()).rest()
    return start.json["answer"], events


# ----------------------------------------------------------------------------------------- what it is by now


async def test_a_running_answer_is_told_as_far_as_it_is(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Hel", "lo", gate := asyncio.Event())) as server:
        reader = await server.stream()
        name = (await reader.next()).json["answer"]
        await reader.next()
        await reader.next()
        assert await server.answer(name) == (
            200,
            {
                "answer": name,
                "state": "running",
                "query": QUESTION,
                "text": "Hello",
                "citations": [],
                "sources": [],
                "usage": {},
                "sequenceNumber": 2,
                "offset": 2,
            },
        )
        gate.set()
        await reader.rest()


async def test_a_complete_answer_is_the_log_folded(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Hel", "lo")) as server:
        name, events = await finished(server)
        status, body = await server.answer(name)
        *_, sources, done = data(events)
    assert (status, body["state"], body["text"], body["sources"]) == (200, "complete", "Hello", sources["sources"])
    assert set(body) == ALWAYS | {"model", "stopReason", "timings", "usedRag", "streamDuration"}
    for name in ("usage", "model", "stopReason", "timings", "usedRag", "streamDuration", "sequenceNumber", "answer"):
        assert body[name] == done[name]
    assert body["offset"] == len(events)


async def test_a_failed_answer_says_why_and_keeps_its_text(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("half", ModelRefused())) as server:
        name, _ = await finished(server)
        status, body = await server.answer(name)
    assert (status, body["state"], body["text"]) == (200, "failed", "half")
    assert set(body) == ALWAYS | {"error", "code", "retryable", "streamDuration"}
    assert (body["code"], body["retryable"], body["error"]) == ("model_refused", False, str(ModelRefused()))


async def test_it_is_not_to_be_kept_by_caches_and_names_its_answer(small_index: Path) -> None:
    async with serving(small_index) as server:
        name, _ = await finished(server)
        async with await server.get(f"{ANSWERS_BY_ID}/{name}") as response:
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Answer-Id"] == name
            assert response.content_type == "application/json"


NO_IDS = [UNKNOWN, "x", "A" * 5000, "%00", "é", "A" * 21 + "%0a", "undefined"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", NO_IDS, ids=lambda value: value[:8])
async def test_an_unknown_or_hostile_id_is_404_and_not_repeated(small_index: Path, name: str, method: str) -> None:
    async with (
        serving(small_index) as server,
        server.session.request(method, f"{server.url}{ANSWERS_BY_ID}/{name}", headers=EVENT_STREAM) as response,
    ):
        body = await response.json()
        assert response.status == 404
        assert set(body) == {"error", "done", "code", "retryable"}
        assert (body["code"], body["retryable"]) == ("answer_not_found", False)
        assert len(name) < 3 or name not in body["error"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_journal_that_cannot_be_read_is_no_answer_that_is_not_there(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def broken(*arguments: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with serving(small_index, journal=f"sqlite:///{tmp_path}/answers.db") as server:
        monkeypatch.setattr(Database, "find", broken)
        status, body = await server.answer(UNKNOWN, method)
        assert (status, body["code"], body["retryable"]) == (503, "journal_unavailable", True)
        (event,) = await (await server.events(UNKNOWN, EVENT_STREAM)).rest()
        assert (event.event, event.json["code"]) == ("unavailable", "journal_unavailable")


# --------------------------------------------------------------------------------------------------- its log


async def test_its_log_from_the_start_byte_for_byte(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", "lo")
    async with serving(small_index, answerer) as server:
        asked = await server.stream()
        start, *events = await asked.rest()
        name = start.json["answer"]
        reader = await server.events(name)
        opening, *again = await reader.rest()
        assert (reader.response.status, reader.response.content_type) == (200, "text/event-stream")
        assert reader.response.headers["X-Answer-Id"] == name
        assert (opening.event, opening.id) == ("start", f"{name}.0")
        assert opening.json == {"answer": name, "offset": 0, "replayed": len(events)}
        assert again == events
        assert reader.bytes.partition(b"\n\n")[2] == asked.bytes.partition(b"\n\n")[2]
    assert len(answerer.prompts) == 1


async def test_its_log_is_followed_while_it_is_written(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("a", gate := asyncio.Event(), "b")) as server:
        first = await server.stream()
        name = (await first.next()).json["answer"]
        await first.next()
        reader = await server.events(name)
        assert (await reader.next()).event == "start"
        assert (await reader.next()).json["text"] == "a"
        gate.set()
        assert await reader.rest() == await first.rest()


@pytest.mark.parametrize("by", ["header", "parameter"])
async def test_its_log_from_where_the_reader_was(small_index: Path, by: str) -> None:
    async with serving(small_index) as server:
        name, events = await finished(server)
        for offset, event in enumerate(events[:-1], 1):
            if by == "header":
                reader = await server.events(name, {"Last-Event-ID": event.id})
            else:
                reader = await server.events(name, last_event_id=event.id)
            opening, *rest = await reader.rest()
            assert (opening.event, opening.id, opening.json["offset"]) == ("resumed", event.id, offset)
            assert rest == events[offset:]


async def test_after_its_end_there_is_nothing_which_stops_a_browser(small_index: Path) -> None:
    async with serving(small_index) as server:
        name, events = await finished(server)
        reader = await server.events(name, {**EVENT_STREAM, "Last-Event-ID": events[-1].id})
        assert reader.response.status == 204
        assert await reader.response.read() == b""


HOSTILE = [f"{UNKNOWN}.1", "xyzzy", "'; DROP TABLE answers; --", "é🙂", "b" * 10_000, "../../etc/passwd"]


@pytest.mark.parametrize("event_id", HOSTILE, ids=lambda value: value[:12])
async def test_a_hostile_event_id_gets_one_error_and_nothing_else(small_index: Path, event_id: str) -> None:
    async with serving(small_index) as server:
        name, _ = await finished(server)
        for reader in (
            await server.events(name, {"Last-Event-ID": event_id}),
            await server.events(name, last_event_id=event_id),
        ):
            assert (reader.response.status, reader.response.content_type) == (200, "text/event-stream")
            assert "X-Answer-Id" not in reader.response.headers
            (event,) = await reader.rest()
            assert (event.event, event.id) == ("message", "")
            assert (event.json["code"], event.json["retryable"], event.json["done"]) == ("answer_expired", True, True)
            assert event_id not in reader.bytes.decode()


@pytest.mark.parametrize("name", NO_IDS, ids=lambda value: value[:8])
async def test_the_log_of_an_unknown_or_hostile_id_is_one_error(small_index: Path, name: str) -> None:
    async with serving(small_index) as server:
        (event,) = await (await server.events(name)).rest()
    assert (event.json["code"], event.id) == ("answer_expired", "")


async def test_the_cursor_of_another_answer_shows_not_a_byte_of_either(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("a secret")) as server:
        mine, _ = await finished(server)
        other, events = await finished(server)
        for offset in range(len(events) + 1):
            reader = await server.events(mine, {"Last-Event-ID": f"{other}.{offset}"})
            (event,) = await reader.rest()
            assert event.json["code"] == "answer_expired"
            assert b"secret" not in reader.bytes
            assert other.encode() not in reader.bytes
            assert mine.encode() not in reader.bytes


async def test_an_offset_of_the_future_is_unknown(small_index: Path) -> None:
    async with serving(small_index) as server:
        name, events = await finished(server)
        for ahead in (1, 1000, 10**9):
            (event,) = await (await server.events(name, last_event_id=f"{name}.{len(events) + ahead}")).rest()
            assert event.json["code"] == "answer_expired"


async def test_head_gives_the_headers_of_its_log(small_index: Path) -> None:
    async with serving(small_index) as server:
        name, _ = await finished(server)
        async with server.session.head(f"{server.url}{ANSWERS_BY_ID}/{name}/events") as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.headers["Cache-Control"] == "no-cache, no-store, no-transform"
            assert await response.read() == b""


# -------------------------------------------------------------------------------------------------- its stop


async def test_a_stop_ends_it_now_for_all_its_readers_and_closes_the_request_to_the_model(small_index: Path) -> None:
    async with MessagesAPI(answer("so far", never())) as api:
        claude = ClaudeAnswerer("claude-haiku-4-5", ClaudeOptions(api_key="test", base_url=api.url, retries=0))
        async with serving(small_index, claude) as server:
            readers = [await server.stream(continuity_id="c") for _ in range(3)]
            for reader in readers:
                start = await reader.next()
                assert (await reader.next()).json["text"] == "so far"
            status, body = await server.answer(start.json["answer"], "DELETE")
            assert (status, body["state"], body["text"], body["stopReason"]) == (200, "stopped", "so far", "stopped")
            await api.client_left.wait()
            for reader in readers:
                (end,) = await reader.rest()
                assert (end.json["done"], end.json["stopReason"], end.json["sequenceNumber"]) == (True, "stopped", 1)
            assert await server.answer(start.json["answer"]) == (status, body), "what was written is kept"
            assert (len(api.requests), api.open) == (1, 0)


@pytest.mark.parametrize("failure", [(), (ModelRefused(),)])
async def test_the_stop_of_an_answer_that_is_over_changes_nothing(small_index: Path, failure: Any) -> None:
    async with serving(small_index, ScriptedAnswerer("Hello", *failure)) as server:
        name, events = await finished(server)
        before = await server.answer(name)
        assert await server.answer(name, "DELETE") == before
        assert await server.answer(name, "DELETE") == before
        assert (await (await server.events(name)).rest())[1:] == events


async def test_the_stop_between_two_tries_of_a_broken_model(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_answer, "PAUSES", (3600.0,))
    half = answer("half").until("content_block_stop")
    async with MessagesAPI(half) as api:
        claude = ClaudeAnswerer("claude-haiku-4-5", ClaudeOptions(api_key="test", base_url=api.url, retries=0))
        async with serving(small_index, claude) as server:
            reader = await server.stream()
            name = (await reader.next()).json["answer"]
            assert (await reader.next()).json["text"] == "half"
            _, body = await server.answer(name, "DELETE")
            assert (body["state"], body["text"]) == ("stopped", "half")
            assert (await reader.rest())[-1].json["stopReason"] == "stopped"
            assert len(api.requests) == 1


async def test_the_stop_of_what_another_node_writes_does_not_wait_for_ever(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT", 0.01)
    async with serving(small_index, lease=600) as server:
        here = server.answers
        assert isinstance(here.journal, MemoryJournal)
        elsewhere = type(here)(here.journal.peer(), ScriptedElsewhere())
        writing = await elsewhere.ask(Asked("q"))
        _, body = await server.answer(writing.id, "DELETE")
        assert body["state"] == "running"
        await elsewhere.drain(0)


class ScriptedElsewhere:
    """Produces an answer that does not end."""

    async def __call__(self, opening: Opening, written: Any) -> Any:
        """Nothing ever comes."""
        await never().wait()
        yield


async def test_a_stop_where_pages_may_not_ask_is_refused(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("a", gate := asyncio.Event())) as server:
        reader = await server.stream()
        name = (await reader.next()).json["answer"]
        address = f"{server.url}{ANSWERS_BY_ID}/{name}"
        async with server.session.delete(address, headers={"Origin": "http://evil.example"}) as response:
            assert response.status == 403
        gate.set()
        assert (await reader.rest())[-1].json["stopReason"] == "end_turn"
