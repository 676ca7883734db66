"""Asking over HTTP: the stream and the whole answer, as the contract's §1 to §3 have them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from messages_api import CUT, MessagesAPI, answer, error_event
from server import CHAT, EVENT_STREAM, QUESTION, STREAM, BlockingEmbedder, Reader, Server, data, never, serving

from zantara_stream.answers import answer as one_answer
from zantara_stream.errors import (
    InvalidRequest,
    ModelOverloaded,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    RequestError,
)
from zantara_stream.generation.claude import ClaudeAnswerer, ClaudeOptions
from zantara_stream.testing import ScriptedAnswerer, StreamEvent, read_events

ID = re.compile(r"[0-9A-Za-z_-]{22}\.[0-9]+")


@pytest.fixture
def _one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no answer that broke off be gone on with."""
    monkeypatch.setattr(one_answer, "PAUSES", ())


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an answer that broke off be gone on with at once."""
    monkeypatch.setattr(one_answer, "PAUSES", (0.0, 0.0))


# ------------------------------------------------------------------------------------- the stream's form


async def test_the_stream_has_the_headers_that_proxies_and_browsers_need(small_index: Path) -> None:
    async with serving(small_index) as server:
        reader = await server.stream({"Accept-Encoding": "gzip, deflate, br"})
        headers = reader.response.headers
        assert reader.response.status == 200
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-cache, no-store, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in headers
        assert "Content-Length" not in headers
        start = await reader.next()
        assert headers["X-Answer-Id"] == start.json["answer"]
        await reader.rest()


async def test_the_first_event_is_start_and_says_when_to_come_back(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer(gate := asyncio.Event(), "Hello")) as server:
        reader = await server.stream()
        start = await reader.next()
        assert (start.event, start.id) == ("start", f"{start.json['answer']}.0")
        assert start.json == {"answer": start.json["answer"], "offset": 0, "replayed": 0}
        assert start.retry is not None
        assert 1000 <= start.retry <= 4000
        gate.set()
        assert await reader.text() == "Hello"


async def test_each_connection_is_told_its_own_time_to_come_back(small_index: Path) -> None:
    async with serving(small_index) as server:
        retries = set()
        for _ in range(12):
            reader = await server.stream(continuity_id="c")
            retries.add((await reader.next()).retry)
            await reader.rest()
        assert len(retries) > 6
        assert all(retry is not None and 1000 <= retry <= 4000 for retry in retries)


async def test_the_whole_stream_keeps_to_the_contract(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Late ", "renewal", " is fined.")) as server:
        reader = await server.stream()
        start, *events = await reader.rest()
        assert b"\r" not in reader.bytes
        assert reader.bytes.endswith(b"\n\n")
        name = start.json["answer"]
        assert [event.id for event in events] == [f"{name}.{offset}" for offset in range(1, len(events) + 1)]
        assert all(event.event == "message" and ID.fullmatch(event.id) for event in events)
        *texts, sources, done = data(events)
        assert [(item["text"], item["sequenceNumber"]) for item in texts] == [
            ("Late ", 1),
            ("renewal", 2),
            (" is fined.", 3),
        ]
        assert all(set(item) == {"text", "sequenceNumber", "timestamp"} for item in texts)
        assert done["done"] is True
        assert (done["sequenceNumber"], done["stopReason"], done["answer"]) == (3, "end_turn", name)
        assert (done["model"], done["usedRag"]) == ("scripted", True)
        assert done["usage"] == {"input_tokens": 1, "output_tokens": 1}
        assert set(done["timings"]) == {"retrieval", "firstChunk", "total"}
        assert done["streamDuration"] == pytest.approx(done["timings"]["total"], abs=1e-3)
        stamps = [item["timestamp"] for item in (*texts, done)]
        assert stamps == sorted(stamps)
        assert set(sources) == {"sources"}


async def test_sources_are_the_passages_that_the_model_was_given(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Rp 1 million a day.")
    async with serving(small_index, answerer) as server:
        events = data(await (await server.stream()).rest())
    (listed,) = (item["sources"] for item in events if "sources" in item)
    given = {hit.passage.id: hit for hit in answerer.prompts[0].hits}
    assert 1 <= len(listed) <= 3
    assert len({source["document"] for source in listed}) == len(listed)
    for source in listed:
        hit = given[source["passage"]]
        assert source["source"] == hit.passage.title != ""
        assert source["snippet"] == hit.passage.text, "whole, not cut"
        assert (source["start"], source["end"]) == (hit.passage.start, hit.passage.end)
        assert source["similarity"] == round(hit.similarity, 4)
        assert 0 <= source["similarity"] <= 1
    assert listed[0]["source"] == "Renewing a permit"
    assert (listed[0]["url"], listed[0]["updated"]) == ("https://example.com/renewal", "2026-01-31")
    assert all(value not in (None, "") for source in listed for value in source.values())


@pytest.mark.parametrize("greeting", ["Ciao!", "thank you", "Selamat pagi"])
async def test_a_greeting_is_neither_searched_for_nor_given_sources(small_index: Path, greeting: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        *_, done = events = data(await (await server.stream(query=greeting)).rest())
        assert not any("sources" in item for item in events)
        assert done["usedRag"] is False
        assert answerer.prompts[0].hits == ()


CHUNKS = ["  two spaces", "\n\n", "\tTab\n- item\r\n", "a\u2028b\u2029c", "🙂", "e\u0301", " ", "data: x\n\nid: 9\n"]


async def test_chunks_are_not_touched(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer(*CHUNKS)) as server:
        events = data(await (await server.stream()).rest())
        assert [item["text"] for item in events if "text" in item] == CHUNKS


async def test_half_of_a_surrogate_pair_does_not_break_the_stream(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("a\ud83d", "b")) as server:
        assert await (await server.stream()).text() == "a?b"


async def test_a_chunk_arrives_while_the_model_still_writes(small_index: Path) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    script = [step for n, gate in enumerate(gates) for step in (f"chunk {n}", gate)]
    async with serving(small_index, ScriptedAnswerer(*script)) as server:
        reader = await server.stream()
        assert (await reader.next()).event == "start"
        for number, gate in enumerate(gates):
            assert (await reader.next()).json["text"] == f"chunk {number}"
            gate.set()
        assert "done" in (await reader.rest())[-1].json


async def test_a_post_streams_what_a_get_streams(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", "lo")
    async with serving(small_index, answerer) as server:
        got = await server.stream()
        posted = Reader(await server.post(STREAM, {"query": QUESTION}))
        first, second = await got.rest(), await posted.rest()
        dropped = {"Date", "X-Answer-Id"}
        assert {k: v for k, v in got.response.headers.items() if k not in dropped} == {
            k: v for k, v in posted.response.headers.items() if k not in dropped
        }
    assert [_timeless(event) for event in first] == [_timeless(event) for event in second]
    assert answerer.prompts[0] == answerer.prompts[1]


def _timeless(event: StreamEvent) -> dict[str, Any]:
    """An event's data without what differs from answer to answer."""
    return {k: v for k, v in event.json.items() if k not in ("answer", "timestamp", "streamDuration", "timings")}


async def test_head_gives_the_stream_s_headers_and_asks_nobody(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        for parameters in ({}, {"query": QUESTION}):
            async with server.session.head(server.url + STREAM, params=parameters) as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == "text/event-stream"
                assert response.headers["Cache-Control"] == "no-cache, no-store, no-transform"
                assert response.headers["X-Accel-Buffering"] == "no"
                assert await response.read() == b""
    assert answerer.prompts == []


# ------------------------------------------------------------------------------------------ heartbeats


def _check_ping(ping: StreamEvent, reader: Reader) -> None:
    assert ping.json == {}
    assert b"event: ping\ndata: {}\n\n" in reader.bytes, "an event that scripts see, without an id"


async def test_heartbeats_go_on_while_the_model_is_silent(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("a", gate := asyncio.Event(), "b"), heartbeat=0.05) as server:
        reader = await server.stream()
        for _ in range(3):
            _check_ping(await reader.until("ping"), reader)
        gate.set()
        events = [event for event in await reader.rest() if event.event != "ping"]
        assert [item["text"] for item in data(events) if "text" in item] == ["b"]


async def test_heartbeats_go_on_while_retrieval_is_silent(small_index: Path) -> None:
    embedder = BlockingEmbedder()
    async with serving(small_index, ScriptedAnswerer("Hello"), embedder, heartbeat=0.05) as server:
        embedder.armed = True
        try:
            reader = await server.stream()
            assert (await reader.next()).event == "start"
            for _ in range(3):
                ping = await reader.next()
                assert ping.event == "ping", "nothing else comes"
                _check_ping(ping, reader)
        finally:
            embedder.go.set()
        assert await reader.text() == "Hello"


async def test_the_loop_ticks_while_twenty_streams_wait_for_a_slow_embedder(small_index: Path) -> None:
    embedder = BlockingEmbedder()
    async with serving(small_index, ScriptedAnswerer("Hello"), embedder) as server:
        embedder.armed = True
        try:
            readers = await asyncio.gather(*(server.stream() for _ in range(20)))
            for reader in readers:
                assert (await reader.next()).event == "start"
            for _ in range(200):  # would hang here if the loop waited for the embedder
                await asyncio.sleep(0)
            async with await server.get("/health") as response:
                assert response.status == 200
        finally:
            embedder.go.set()
        assert await asyncio.gather(*(reader.text() for reader in readers)) == ["Hello"] * 20


# ------------------------------------------------------------------------------------- errors in a stream


FAILURES: list[tuple[Exception, str, int, bool]] = [
    (ModelOverloaded(), "model_overloaded", 503, True),
    (ModelTimeout(), "model_timeout", 504, True),
    (ModelUnavailable(), "model_unavailable", 502, True),
    (ModelUnavailable("Out of credit.", retryable=False), "model_unavailable", 502, False),
    (ModelRefused(), "model_refused", 502, False),
    (ZeroDivisionError("a secret"), "internal", 500, False),
    (ConnectionResetError("a secret"), "internal", 500, False),
]


@pytest.mark.usefixtures("_one_try")
@pytest.mark.parametrize(("failure", "code", "status", "retryable"), FAILURES)
async def test_an_error_ends_the_stream_with_its_code_and_a_duration(
    small_index: Path, failure: Exception, code: str, status: int, retryable: bool
) -> None:
    async with serving(small_index, ScriptedAnswerer("half", failure, "never")) as server:
        reader = await server.stream()
        text, error = data(await reader.rest())
    assert text["text"] == "half"
    assert set(error) == {"error", "done", "sequenceNumber", "timestamp", "streamDuration", "code", "retryable"}
    assert (error["code"], error["retryable"], error["done"], error["sequenceNumber"]) == (code, retryable, True, 1)
    assert error["streamDuration"] >= 0
    assert b"secret" not in reader.bytes
    if isinstance(failure, RequestError):
        assert error["error"] == str(failure)


@pytest.mark.usefixtures("_one_try")
@pytest.mark.parametrize(("failure", "code", "status", "retryable"), FAILURES)
async def test_the_whole_answer_has_the_error_s_status_and_what_was_written(
    small_index: Path, failure: Exception, code: str, status: int, retryable: bool
) -> None:
    async with (
        serving(small_index, ScriptedAnswerer("half", failure)) as server,
        await server.post(CHAT, {"query": QUESTION}) as response,
    ):
        body = await response.json()
        assert response.status == status
        assert (body["code"], body["retryable"], body["done"]) == (code, retryable, True)
        assert body["response"] == "half"
        assert "secret" not in await response.text()


async def test_an_internal_error_shows_its_reference_and_is_logged_with_its_traceback(
    small_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(small_index, ScriptedAnswerer(ZeroDivisionError("a secret"))) as server:
        (error,) = data(await (await server.stream()).rest())
    reference = error["error"].rstrip(".").rpartition(" ")[2]
    (record,) = (record for record in caplog.records if record.exc_info)
    assert reference in record.getMessage()
    assert "a secret" in caplog.text
    assert QUESTION not in caplog.text


@pytest.mark.usefixtures("_one_try")
async def test_exactly_one_end_and_nothing_after_it(small_index: Path) -> None:
    for script in (["a"], ["a", ModelTimeout()], [ModelTimeout()], []):
        async with serving(small_index, ScriptedAnswerer(*script)) as server:
            events = data(await (await server.stream()).rest())
            assert ["done" in item for item in events] == [False] * (len(events) - 1) + [True]


# -------------------------------------------------------------------------------------- the whole answer


async def test_the_whole_answer_as_one_object(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Hel", "lo\n")) as server:
        async with await server.post(CHAT, {"query": QUESTION}) as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            body = await response.json()
        assert response.headers["X-Answer-Id"] == body["answer"]
        streamed = data(await (await server.stream()).rest())
    assert set(body) == {
        "success",
        "response",
        "model_used",
        "ai_used",
        "sources",
        "citations",
        "usage",
        "used_rag",
        "stop_reason",
        "answer",
    }
    assert (body["success"], body["response"], body["stop_reason"]) == (True, "Hello\n", "end_turn")
    assert (body["model_used"], body["ai_used"], body["used_rag"]) == ("scripted", True, True)
    assert body["usage"] == {"input_tokens": 1, "output_tokens": 1}
    assert {"sources": body["sources"]} in streamed
    assert body["citations"] == []


async def test_the_whole_answer_of_the_extractive_answerer_says_that_no_model_wrote_it(small_index: Path) -> None:
    async with (
        serving(small_index, ScriptedAnswerer("Hello", model="extractive")) as server,
        await server.post(CHAT, {"query": QUESTION}) as response,
    ):
        body = await response.json()
        assert (body["model_used"], body["ai_used"]) == ("extractive", False)


async def test_the_whole_answer_and_its_stream_are_one_answer(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        reader = await server.stream(continuity_id="c")
        assert await reader.text() == "Hello"
        async with await server.post(CHAT, {"query": QUESTION, "continuity_id": "c"}) as response:
            body = await response.json()
    assert body["answer"] == reader.response.headers["X-Answer-Id"]
    assert len(answerer.prompts) == 1


async def test_the_whole_answer_cannot_be_resumed(small_index: Path) -> None:
    async with (
        serving(small_index) as server,
        await server.post(CHAT, {"query": QUESTION}, {"Last-Event-ID": "x"}) as response,
    ):
        assert response.status == 400
        assert "last_event_id" in (await response.json())["error"]


async def test_who_leaves_before_the_whole_answer_is_there_lets_it_end(small_index: Path) -> None:
    answerer = ScriptedAnswerer("so far", never())
    async with serving(small_index, answerer, grace=0) as server:
        asking = asyncio.create_task(server.post(CHAT, {"query": QUESTION}))
        while not answerer.prompts:  # noqa: ASYNC110 (the server runs in this loop)
            await asyncio.sleep(0)
        asking.cancel()
        await answerer.closed_early.wait()
        await asyncio.wait([asking])


# --------------------------------------------------------------------------------- leaving and coming back


async def test_a_reader_who_leaves_while_the_model_is_silent_is_noticed_and_the_model_stopped(
    small_index: Path,
) -> None:
    answerer = ScriptedAnswerer("so far", never())
    async with serving(small_index, answerer, grace=0) as server:
        reader = await server.stream()
        await reader.next()
        last = await reader.next()
        reader.leave()
        await answerer.closed_early.wait()
        back = await server.resume(last.id)
        opening, end = await back.rest()
        assert opening.event == "resumed"
        assert (end.json["stopReason"], end.json["sequenceNumber"]) == ("stopped", 1)


async def test_a_reader_who_comes_back_within_grace_misses_nothing(small_index: Path) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    answerer = ScriptedAnswerer("a", gates[0], "b", gates[1], "c")
    async with serving(small_index, answerer) as server:
        reader = await server.stream()
        await reader.next()
        last = await reader.next()
        reader.leave()
        gates[0].set()
        back = await server.resume(last.id)
        assert (await back.next()).event == "resumed"
        assert (await back.next()).json["text"] == "b"
        gates[1].set()
        assert await back.text() == "c"
    assert (len(answerer.prompts), answerer.cancelled) == (1, 0)


async def _whole(server: Server) -> tuple[list[StreamEvent], bytes]:
    """The events of a complete answer, and the bytes of its log."""
    reader = await server.stream()
    _, *events = await reader.rest()
    return events, reader.bytes.partition(b"\n\n")[2]


@pytest.mark.parametrize("by", ["header", "parameter", "body"])
async def test_resuming_at_every_offset_gives_the_rest_byte_for_byte(small_index: Path, by: str) -> None:
    answerer = ScriptedAnswerer("a\n", " b", "🙂", "c")
    async with serving(small_index, answerer) as server:
        events, log = await _whole(server)
        name = events[0].id.partition(".")[0]
        blocks = [block + b"\n\n" for block in log.split(b"\n\n")[:-1]]
        assert len(blocks) == len(events) == 6
        for offset in range(len(events)):
            event_id = f"{name}.{offset}"
            match by:
                case "header":
                    response = await server.get(STREAM, {"Last-Event-ID": event_id}, query=QUESTION)
                case "parameter":
                    response = await server.get(STREAM, None, last_event_id=event_id)
                case _:
                    response = await server.post(STREAM, {"last_event_id": event_id})
            reader = Reader(response)
            opening, *rest = await reader.rest()
            assert (opening.event, opening.id) == ("resumed", event_id)
            assert opening.json == {"answer": name, "offset": offset, "replayed": len(events) - offset}
            assert reader.bytes.partition(b"\n\n")[2] == b"".join(blocks[offset:])
            assert rest == events[offset:], "timestamps and all"
    assert len(answerer.prompts) == 1


async def test_an_answer_cut_after_any_event_and_resumed_is_the_same_answer(small_index: Path) -> None:
    gates = [asyncio.Event() for _ in range(4)]
    script = [step for n, gate in enumerate(gates) for step in (f"{n} ", gate)]
    answerer = ScriptedAnswerer(*script)
    async with serving(small_index, answerer) as server:
        reader = await server.stream()
        last, texts = await reader.next(), []
        for gate in gates:
            last = await reader.next()
            texts.append((last.json["text"], last.json["sequenceNumber"]))
            reader.leave()
            gate.set()
            reader = await server.resume(last.id)
            assert (await reader.next()).event == "resumed"
        assert texts == [("0 ", 1), ("1 ", 2), ("2 ", 3), ("3 ", 4)]
        assert "done" in (await reader.rest())[-1].json
    assert len(answerer.prompts) == 1


@examples(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 400), max_size=6), chunks=st.lists(st.text(min_size=1), min_size=1, max_size=8))
def test_a_line_cut_at_any_byte_loses_no_chunk_and_brings_none_twice(
    small_index: Path, cuts: list[int], chunks: list[str]
) -> None:
    async def check() -> None:
        async with serving(small_index, ScriptedAnswerer(*chunks)) as server:
            events = await _cut_and_resumed(server, cuts)
            assert [event.json["sequenceNumber"] for event in events if "text" in event.json] == [
                *range(1, len(chunks) + 1)
            ]
            assert [event.json["text"] for event in events if "text" in event.json] == [
                chunk.encode(errors="replace").decode() for chunk in chunks
            ]
            assert ["done" in event.json for event in events].count(True) == 1

    asyncio.run(check())


async def _cut_and_resumed(server: Server, cuts: list[int]) -> list[StreamEvent]:
    """What a browser gets whose line is cut after so many bytes each time."""
    events: list[StreamEvent] = []
    last_id = ""
    for cut in [*cuts, 0]:
        headers = {"Last-Event-ID": last_id} if last_id else None
        response = await server.get(STREAM, headers, query=QUESTION, continuity_id="c")
        if response.status == 204:
            break
        read = await (response.content.read(cut) if cut else response.read())
        response.close()
        whole = read_events(read)
        events += [event for event in whole if event.event == "message"]
        last_id = whole[-1].id if whole else last_id
    return events


async def test_coming_back_after_the_end_is_204_which_stops_a_browser(small_index: Path) -> None:
    async with serving(small_index) as server:
        events, _ = await _whole(server)
        for headers, parameters in (
            ({"Last-Event-ID": events[-1].id}, {"query": QUESTION}),
            ({}, {"last_event_id": events[-1].id}),
        ):
            async with await server.get(STREAM, {**EVENT_STREAM, **headers}, **parameters) as response:
                assert response.status == 204
                assert await response.read() == b""


HOSTILE = [
    "xyzzy",
    "A" * 22 + ".0",
    "A" * 22 + ".-1",
    "A" * 22 + ".999999999999999999999",
    "'; DROP TABLE answers; --",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "é🙂",
    "%0d%0aSet-Cookie: x=y",
    "b" * 10_000,
    "undefined",
]


@pytest.mark.parametrize("by", ["header", "parameter"])
@pytest.mark.parametrize("event_id", HOSTILE, ids=lambda value: value[:12])
async def test_an_unknown_or_hostile_event_id_gets_one_error_and_nothing_of_it_is_repeated_or_logged(
    small_index: Path, by: str, event_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        if by == "header":
            reader = await server.stream({"Last-Event-ID": event_id})
        else:
            reader = await server.stream(last_event_id=event_id)
        assert (reader.response.status, reader.response.content_type) == (200, "text/event-stream")
        (event,) = await reader.rest()
    assert (event.event, event.id) == ("message", "")
    assert event.retry is not None
    assert set(event.json) == {"error", "done", "code", "retryable", "sequenceNumber", "timestamp", "streamDuration"}
    assert (event.json["code"], event.json["retryable"], event.json["done"]) == ("answer_expired", True, True)
    assert answerer.prompts == [], "never a silent second answer"
    for shown in (event_id, event_id.encode(errors="replace").decode("latin-1")):
        assert shown not in reader.bytes.decode()
        assert shown not in str(reader.response.headers)
        assert all(shown not in record.getMessage() for record in caplog.records)


async def test_the_event_id_of_an_event_that_is_not_there_yet_is_unknown(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("a", gate := asyncio.Event(), "b")) as server:
        reader = await server.stream()
        await reader.next()
        name, _, offset = (await reader.next()).id.partition(".")
        for ahead in (1, 2, 1000):
            (event,) = await (await server.resume(f"{name}.{int(offset) + ahead}")).rest()
            assert event.json["code"] == "answer_expired"
        gate.set()
        assert await reader.text() == "b"


# ----------------------------------------------------------------------- coming back without an event id


MISSED = [(0, 0), (0.5, 0), (1, 1), (1.5, 1), (2, 2), (10, 3)]  # chunk up to whose moment, chunks got by then


async def _moments(server: Server) -> tuple[list[StreamEvent], list[float]]:
    """The events of a complete answer, named `c`, and when its chunks came."""
    start, *events = await (await server.stream(continuity_id="c")).rest()
    return [start, *events], [event.json["timestamp"] for event in events if "text" in event.json]


@pytest.mark.parametrize("by", ["header", "parameter", "body"])
@pytest.mark.parametrize(("place", "got"), MISSED)
async def test_who_knows_only_when_the_last_chunk_came_gets_what_came_after_it(
    small_index: Path, by: str, place: float, got: int
) -> None:
    answerer = ScriptedAnswerer("a", "b", "c")
    async with serving(small_index, answerer) as server:
        (start, *events), moments = await _moments(server)
        assert moments == sorted(set(moments)), "each names one chunk"
        whole = int(place)
        exact = [moments[0] - 1, *moments, moments[-1] + 1][min(whole, 4)]
        moment = f"{exact + (0.0004 if place != whole else 0):.4f}"
        named = {"query": QUESTION, "reconnection": "true", "continuity_id": "c", "last_chunk_timestamp": moment}
        match by:
            case "header":
                known = {"X-Reconnection": "true", "X-Continuity-Id": "c", "X-Last-Chunk-Timestamp": moment}
                response = await server.get(STREAM, known, query=QUESTION)
            case "parameter":
                response = await server.get(STREAM, None, **named)
            case _:
                response = await server.post(STREAM, named)
        opening, *rest = await Reader(response).rest()
        assert (opening.event, opening.id) == ("resumed", f"{start.json['answer']}.{got}")
        assert opening.json["replayed"] == len(rest)
        assert rest == events[got:]
    assert len(answerer.prompts) == 1


async def test_the_header_of_the_moment_wins_over_its_parameter(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("a", "b")) as server:
        (start, *_), moments = await _moments(server)
        reader = await server.stream(
            {"X-Last-Chunk-Timestamp": str(moments[1])}, continuity_id="c", last_chunk_timestamp=str(moments[0])
        )
        assert (await reader.next()).id == f"{start.json['answer']}.2"
        await reader.rest()


async def test_a_running_answer_is_joined_after_that_moment_too(small_index: Path) -> None:
    answerer = ScriptedAnswerer("a", gate := asyncio.Event(), "b")
    async with serving(small_index, answerer) as server:
        reader = await server.stream(continuity_id="c")
        await reader.next()
        moment = (await reader.next()).json["timestamp"]
        reader.leave()
        back = await server.stream({"X-Reconnection": "true", "X-Last-Chunk-Timestamp": str(moment)}, continuity_id="c")
        assert (await back.next()).event == "resumed"
        gate.set()
        assert await back.text() == "b"
    assert len(answerer.prompts) == 1


async def test_an_event_id_goes_before_a_moment(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("a", "b")) as server:
        (_, first, *_), moments = await _moments(server)
        known = {"Last-Event-ID": first.id, "X-Last-Chunk-Timestamp": str(moments[1])}
        assert await (await server.stream(known, continuity_id="c")).text() == "b"


@pytest.mark.parametrize("named", [{}, {"continuity_id": "unknown"}])
async def test_a_moment_without_an_answer_to_it_is_never_a_silent_second_answer(
    small_index: Path, named: dict[str, str]
) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        reader = await server.stream({"X-Reconnection": "true", "X-Last-Chunk-Timestamp": "1730552400.5"}, **named)
        (event,) = await reader.rest()
        assert (reader.response.status, event.json["code"], event.json["retryable"]) == (200, "answer_expired", True)
    assert answerer.prompts == []


async def test_a_moment_in_the_answer_to_another_question_is_a_conflict(small_index: Path) -> None:
    async with serving(small_index) as server:
        await _moments(server)
        named = {"continuity_id": "c", "last_chunk_timestamp": "1730552400"}
        async with await server.get(STREAM, None, query="Another?", **named) as response:
            assert response.status == 409


# ------------------------------------------------------------------------------------- a log that was cut short


LENGTHY = [f"{n:03} {'x' * 90} " for n in range(30)]


def paced(*chunks: str) -> tuple[ScriptedAnswerer, list[asyncio.Event]]:
    """An answerer that waits after each chunk for its event."""
    gates = [asyncio.Event() for _ in chunks]
    return ScriptedAnswerer(*[step for pair in zip(chunks, gates, strict=True) for step in pair]), gates


async def test_who_was_before_what_is_held_gets_the_whole_text_and_then_the_rest(small_index: Path) -> None:
    answerer, gates = paced(*LENGTHY, "the end")
    async with serving(small_index, answerer, max_log=4000) as server:
        first = await server.stream(continuity_id="c")
        start = await first.next()
        name, seen = start.json["answer"], []
        for gate in gates[:-2]:
            seen.append(await first.next())
            gate.set()
        seen.append(await first.next())
        assert (await server.answers.get(name)).log.first > 1, "its beginning is no longer held"
        readers = [
            await server.resume(start.id),
            await server.resume(seen[0].id),
            await server.stream(continuity_id="c"),
            await server.events(name),
        ]
        for reader in readers:
            gap = await reader.next()
            assert (gap.event, gap.id) == ("gap", f"{name}.{gap.json['offset']}")
            assert gap.retry is not None
            assert 1000 <= gap.retry <= 4000
            assert gap.json["answer"] == name
            assert gap.json["text"] == "".join(LENGTHY[: gap.json["sequenceNumber"]])
            assert gap.json["timestamp"] == seen[gap.json["sequenceNumber"] - 1].json["timestamp"]
            for event in seen[gap.json["sequenceNumber"] :]:
                assert await reader.next() == event, "what others got"
        for gate in gates[-2:]:
            gate.set()
        ends = [await reader.rest() for reader in (first, *readers)]
        assert all(end == ends[0] for end in ends)
        assert ends[0][0].json["text"] == "the end"
        _, whole = await server.answer(name)
        assert whole["text"] == "".join(LENGTHY) + "the end"
    assert len(answerer.prompts) == 1


async def test_who_is_within_what_is_held_sees_nothing_of_it(small_index: Path) -> None:
    answerer, gates = paced(*LENGTHY)
    async with serving(small_index, answerer, max_log=4000) as server:
        reader, events = await server.stream(), []
        start = await reader.next()
        for gate in gates:
            events.append(await reader.next())
            gate.set()
        events += await reader.rest()
        first = (await server.answers.get(start.json["answer"])).log.first
        assert first > 1
        opening, *rest = await (await server.resume(f"{start.json['answer']}.{first}")).rest()
        assert opening.event == "resumed"
        assert rest == events[first:]
        assert all(event.event == "message" for event in events), "a reader who kept up sees none either"


async def test_a_text_that_is_longer_than_may_be_is_ended(small_index: Path) -> None:
    answerer = ScriptedAnswerer(*["x" * 400] * 20, never())
    async with serving(small_index, answerer, max_log=4000) as server:
        async with await server.post(CHAT, {"query": QUESTION}) as response:
            body = await response.json()
        assert (response.status, body["stop_reason"], body["response"]) == (200, "max_tokens", "x" * 4400)
        await answerer.closed_early.wait()


async def test_a_forgotten_answer_is_said_to_be_gone(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, retention=0) as server:
        events, _ = await _whole(server)
        while True:
            (*_, event) = await (await server.resume(events[0].id)).rest()
            if event.json.get("code") == "answer_expired":
                break
    assert len(answerer.prompts) == 1


# --------------------------------------------------------------------------------------------- continuity


async def test_a_continuity_id_joins_the_answer_that_it_names(small_index: Path) -> None:
    answerer = ScriptedAnswerer("a", gate := asyncio.Event(), "b")
    async with serving(small_index, answerer) as server:
        first = await server.stream(continuity_id="c")
        start = await first.next()
        await first.next()
        second = Reader(await server.get(STREAM, {"X-Continuity-Id": "c"}, query=QUESTION))
        other = Reader(await server.post(STREAM, {"query": QUESTION, "continuity_id": "c"}))
        for reader in (second, other):
            joined = await reader.next()
            assert (joined.event, joined.json["answer"]) == ("start", start.json["answer"])
            assert (await reader.next()).json["text"] == "a"
        gate.set()
        ends = [await reader.rest() for reader in (first, second, other)]
        assert ends[0] == ends[1] == ends[2]
    assert len(answerer.prompts) == 1


async def test_the_same_continuity_id_for_another_question_is_409(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        await (await server.stream(continuity_id="c")).rest()
        others: list[dict[str, Any]] = [
            {"query": "Another question?"},
        ]
        for other in others:
            for path in (STREAM, CHAT):
                async with await server.post(path, {**other, "continuity_id": "c"}, EVENT_STREAM) as response:
                    assert response.status == 409
                    assert (await response.json())["code"] == "continuity_conflict"
    assert len(answerer.prompts) == 1


async def test_the_same_question_after_another_history_is_the_same_question(small_index: Path) -> None:
    # A page that asks again has by then put the question into its history.
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        first = await server.stream(continuity_id="c")
        await first.rest()
        history = json.dumps([{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Hel"}])
        again = await server.stream(continuity_id="c", conversation_history=history)
        assert await again.text() == "Hello"
    assert len(answerer.prompts) == 1


async def test_connections_that_race_with_one_continuity_id_ask_once(small_index: Path) -> None:
    answerer = ScriptedAnswerer("a", "b")
    async with serving(small_index, answerer) as server:
        readers = await asyncio.gather(*(server.stream(continuity_id="c") for _ in range(20)))
        streams = await asyncio.gather(*(reader.rest() for reader in readers))
        assert len({reader.response.headers["X-Answer-Id"] for reader in readers}) == 1
        assert all(events[1:] == streams[0][1:] for events in streams)
    assert len(answerer.prompts) == 1


# ---------------------------------------------------------------------------------------- refused for now


async def test_no_more_streams_are_open_than_may(small_index: Path) -> None:
    answerer = ScriptedAnswerer("a", gate := asyncio.Event())
    async with serving(small_index, answerer, max_connections=1) as server:
        first = await server.stream()
        await first.next()
        async with await server.get(STREAM, None, query=QUESTION) as response:
            assert (response.status, (await response.json())["code"]) == (503, "overloaded")
        gate.set()
        await first.rest()
        assert await (await server.stream()).text() == "a"
    assert len(answerer.prompts) == 2


async def test_a_drained_stream_ends_with_a_coded_error_where_nobody_can_go_on_with_it(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("half", never())) as server:
        reader = await server.stream()
        await reader.next()
        last = await reader.next()
        whole = asyncio.create_task(server.post(CHAT, {"query": QUESTION}))
        while len(server.answers._running) < 2:  # noqa: ASYNC110 (the server runs in this loop)
            await asyncio.sleep(0)
        await server.answers.drain(0)
        (end,) = await reader.rest()
        assert (end.json["code"], end.json["retryable"], end.json["done"]) == ("draining", True, True)
        assert end.id == last.id, "it has none of its own: it is no part of the log"
        async with await whole as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
            assert (await response.json())["code"] == "draining"


async def test_a_failure_of_the_request_in_an_answerer_is_still_answered(small_index: Path) -> None:
    async with (
        serving(small_index, ScriptedAnswerer(InvalidRequest("Not like this."))) as server,
        await server.post(CHAT, {"query": QUESTION}) as response,
    ):
        assert (response.status, (await response.json())["error"]) == (500, "Not like this.")


# ----------------------------------------------------------------------------------- with the model's API


def claude(api: MessagesAPI) -> ClaudeAnswerer:
    """Claude, at the stand-in's address."""
    return ClaudeAnswerer("claude-haiku-4-5", ClaudeOptions(api_key="test", base_url=api.url, retries=0))


async def test_one_question_from_end_to_end_with_claude(small_index: Path) -> None:
    async with (
        MessagesAPI(answer("Late renewal", " is fined\n", "Rp 1 million a day.")) as api,
        serving(small_index, claude(api)) as server,
    ):
        reader = await server.stream()
        *texts, sources, done = data(await reader.rest())
        assert "".join(item["text"] for item in texts) == "Late renewal is fined\nRp 1 million a day."
        assert (done["model"], done["stopReason"], done["usedRag"]) == ("claude-haiku-4-5", "end_turn", True)
        assert done["usage"]["output_tokens"] == 15
        (asked,) = api.requests
        shown = json.dumps(asked.body["messages"], ensure_ascii=False)
        for source in sources["sources"]:
            assert source["source"] in shown
        assert QUESTION in shown


async def test_the_request_to_the_model_is_closed_when_the_reader_leaves(small_index: Path) -> None:
    async with (
        MessagesAPI(answer("so far", never())) as api,
        serving(small_index, claude(api), grace=0) as server,
    ):
        reader = await server.stream()
        await reader.next()
        assert (await reader.next()).json["text"] == "so far"
        reader.leave()
        await api.client_left.wait()
        assert len(api.requests) == 1


BREAKS = [error_event("overloaded_error"), CUT]


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("broken", BREAKS)
async def test_a_model_that_breaks_off_is_asked_for_the_rest_and_the_reader_sees_one_answer(
    small_index: Path, broken: Any
) -> None:
    half = answer("Late renewal ", "is fined ").until("content_block_stop").then(broken)
    async with MessagesAPI(answer("Rp 1 million ", "a day.")) as api, serving(small_index, claude(api)) as server:
        api.queue(half, half.until("content_block_delta").then(broken))
        events = data(await (await server.stream()).rest())
        texts = [item for item in events if "text" in item]
        assert "".join(item["text"] for item in texts) == "Late renewal is fined Rp 1 million a day."
        assert [item["sequenceNumber"] for item in texts] == [*range(1, len(texts) + 1)]
        assert ["done" in item for item in events] == [False] * (len(events) - 1) + [True]
        assert events[-1]["stopReason"] == "end_turn"
        assert events[-1]["usage"]["input_tokens"] == 3 * 25, "of all three requests"
        assert len(api.requests) == 3


@pytest.mark.usefixtures("_one_try")
@pytest.mark.parametrize("broken", BREAKS)
async def test_a_model_that_breaks_off_ends_the_answer_with_one_error_and_the_text_is_kept(
    small_index: Path, broken: Any
) -> None:
    reply = answer("half of ", "it").until("content_block_stop").then(broken)
    async with MessagesAPI(reply) as api, serving(small_index, claude(api)) as server:
        events = data(await (await server.stream()).rest())
        assert "".join(item.get("text", "") for item in events) == "half of it"
        assert [item["code"] for item in events if "error" in item] == [
            "model_overloaded" if broken is not CUT else "model_unavailable"
        ]
        assert ["done" in item for item in events].count(True) == 1
        assert "error" in events[-1]
        async with await server.post(CHAT, {"query": QUESTION}) as response:
            assert response.status == (503 if broken is not CUT else 502)
            assert (await response.json())["response"] == "half of it"


@pytest.mark.parametrize(("trusted", "answers"), [(("127.0.0.1/32",), 1), ((), 2)])
async def test_what_a_proxy_asks_a_second_time_is_the_same_answer(
    small_index: Path, trusted: tuple[str, ...], answers: int
) -> None:
    named = {"X-Request-ID": "0f8fad5bd9cb469fa1656764fdd2f29c"}
    async with serving(small_index, trusted_proxies=trusted) as server:
        ids = set()
        for _ in range(2):
            async with await server.post(CHAT, {"query": QUESTION}, named) as response:
                ids.add((await response.json())["answer"])
        assert len(ids) == answers
        async with await server.post(CHAT, {"query": QUESTION, "continuity_id": "mine"}, named) as response:
            assert (await response.json())["answer"] not in ids, "what the asker calls it comes first"
