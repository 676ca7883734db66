"""Each metric moves with what it counts, and only then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from messages_api import OUTPUT_TOKENS, USAGE, MessagesAPI, answer
from metrics_read import rise, value
from producing import HELLO, LONG, Producer, TestedJournal, complete, node
from prometheus_client import REGISTRY
from server import QUESTION, SEARCH, STREAM, serving

from zantara_stream import measuring
from zantara_stream.answers.answers import Asked
from zantara_stream.answers.events import Done, Text
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.errors import ModelTimeout, ModelUnavailable
from zantara_stream.generation.claude import DEFAULT_MODEL, ClaudeAnswerer, ClaudeOptions
from zantara_stream.generation.prices import BYTES_PER_TOKEN, Prices
from zantara_stream.testing import ScriptedAnswerer
from zantara_stream.web import sse

WORDS = ("Late ", "renewal ", "is fined.")


async def seen(what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    while not what():  # noqa: ASYNC110 (what is looked at tells nobody)
        await asyncio.sleep(0.001)


async def test_an_answer_moves_what_is_measured_of_answers(small_index: Path, tmp_path: Path) -> None:
    hold = asyncio.Event()
    with (
        rise("zantara_answers_total", outcome="end_turn", model="scripted") as ended,
        rise("zantara_answer_duration_seconds_count") as durations,
        rise("zantara_requests_total", kind="new") as new,
        rise("zantara_requests_total", kind="join") as joined,
        rise("zantara_chunks_total") as chunks,
        rise("zantara_time_to_first_chunk_seconds_count") as first,
        rise("zantara_chunk_gap_seconds_count") as gaps,
        rise("zantara_connection_duration_seconds_count") as streams,
        rise("zantara_disconnects_total", cause="end") as at_end,
        rise("zantara_retrieval_seconds_count", stage="search") as searches,
        rise("zantara_journal_commit_seconds_count") as commits,
    ):
        async with serving(
            small_index, ScriptedAnswerer(*WORDS, hold), journal=f"sqlite:///{tmp_path / 'answers.db'}"
        ) as server:
            one = await server.stream(continuity_id="c")
            other = await server.stream(continuity_id="c")
            await one.until("message")
            await other.until("message")
            assert (value("zantara_connections"), value("zantara_answers_running")) == (2, 1)
            hold.set()
            await one.rest()
            await other.rest()
            assert value("zantara_answers_running") == 0
        assert value("zantara_connections") == 0
    assert (ended.by, durations.by, new.by, joined.by, first.by) == (1, 1, 1, 1, 1)
    assert (chunks.by, gaps.by, streams.by, at_end.by, searches.by) == (3, 2, 2, 2, 1)
    assert commits.by > 0


async def test_one_who_comes_back_is_counted_with_the_chunks_that_are_replayed(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer(*WORDS)) as server:
        reader = await server.stream()
        first = await reader.until("message")
        await reader.rest()
        with (
            rise("zantara_requests_total", kind="resume") as resumed,
            rise("zantara_requests_total", kind="new") as new,
            rise("zantara_replayed_chunks_total") as replayed,
        ):
            await (await server.resume(first.id)).rest()
    assert (resumed.by, new.by, replayed.by) == (1, 0, 2)


async def test_one_who_leaves_is_counted_and_what_is_written_for_nobody(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = asyncio.Event()
    answerer = ScriptedAnswerer("Four", hold, "x" * 40)
    with (
        rise("zantara_disconnects_total", cause="left") as left,
        rise("zantara_abandoned_tokens_total") as abandoned,
    ):
        async with serving(small_index, answerer, grace=600) as server:
            reader = await server.stream()
            name = (await reader.until("message")).id.partition(".")[0]
            answer = await server.answers.get(name)
            reader.leave()
            await seen(lambda: not answer.log.readers)
            hold.set()
            await answer.log.ended()
    assert (left.by, abandoned.by) == (1, 40 / BYTES_PER_TOKEN)


async def test_nothing_is_abandoned_while_somebody_reads(small_index: Path) -> None:
    with rise("zantara_abandoned_tokens_total") as abandoned:
        async with serving(small_index, ScriptedAnswerer(*WORDS)) as server:
            await (await server.stream()).rest()
    assert abandoned.by == 0


async def test_an_extractive_answer_costs_nothing_that_could_be_abandoned() -> None:
    producer = Producer(Text("x" * 40), Done("end_turn", "extractive"))
    answers = node(producer)
    with rise("zantara_abandoned_tokens_total") as abandoned, rise("zantara_answer_duration_seconds_count") as measured:
        answer = await answers.ask(Asked("q"))
        await answer.log.ended()
        measuring.measure_end(answer)
    assert (abandoned.by, measured.by) == (0, 1)


async def test_a_failure_is_counted_by_its_code(small_index: Path) -> None:
    with rise("zantara_answers_total", outcome="model_timeout", model="scripted") as failed:
        async with serving(small_index, ScriptedAnswerer(ModelTimeout(retryable=False))) as server:
            await (await server.stream()).rest()
    assert failed.by == 1


async def test_an_answer_that_broke_off_and_is_gone_on_with_counts_as_a_retry(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zantara_stream.answers.answer.PAUSES", (0.0,))
    answerer = ScriptedAnswerer("Late ", ModelUnavailable()).then("renewal")
    with rise("zantara_upstream_retries_total", reason="broken_off") as retried:
        async with serving(small_index, answerer) as server:
            await (await server.stream()).rest()
    assert retried.by == 1


def claude(api: MessagesAPI) -> ClaudeAnswerer:
    """One that counts what it pays for."""
    prices = Prices()

    def paid(model: str, usage: Mapping[str, int], owner: str) -> None:
        prices.count(model, usage)

    return ClaudeAnswerer(options=ClaudeOptions(api_key="test", base_url=api.url, retries=0, paid=paid))


async def test_tokens_are_counted_with_what_they_cost(small_index: Path) -> None:
    async with MessagesAPI(answer("Late renewal ", "is fined.")) as api:
        with (
            rise("zantara_tokens_total", type="input") as asked,
            rise("zantara_tokens_total", type="output") as written,
            rise("zantara_tokens_total", type="cache_read") as cached,
            rise("zantara_cost_dollars_total", model=DEFAULT_MODEL) as cost,
        ):
            async with serving(small_index, claude(api), memory="off") as server:
                await (await server.stream()).rest()
    assert (asked.by, written.by, cached.by) == (USAGE["input_tokens"], OUTPUT_TOKENS, USAGE["cache_read_input_tokens"])
    assert cost.by == pytest.approx((25 * 1 + 5 * 1.25 + 7 * 0.1 + 15 * 5) / 1_000_000)


async def test_what_was_written_until_it_was_stopped_is_counted_too(small_index: Path) -> None:
    async with MessagesAPI(answer("x" * 400, asyncio.Event())) as api:
        with (
            rise("zantara_tokens_total", type="input") as asked,
            rise("zantara_tokens_total", type="output") as written,
        ):
            async with serving(small_index, claude(api), memory="off") as server:
                reader = await server.stream()
                name = (await reader.until("message")).id.partition(".")[0]
                await server.answer(name, "DELETE")
                await reader.rest()
                await api.client_left.wait()
    assert (asked.by, written.by) == (USAGE["input_tokens"], 400 / BYTES_PER_TOKEN)


async def test_a_refusal_is_counted_by_its_code(small_index: Path) -> None:
    with (
        rise("zantara_refusals_total", reason="invalid_request") as refusals,
        rise("zantara_requests_total", kind="refused") as refused,
        rise("zantara_refusals_total", reason="answer_expired") as expired,
    ):
        async with serving(small_index) as server:
            (await server.get(STREAM, query=" ")).close()
            (await server.post(SEARCH, {"query": ""})).close()
            (await server.get("/nowhere")).close()
            await (await server.resume("A" * 22 + ".3")).rest()
    assert (refusals.by, refused.by, expired.by) == (3, 1, 1), "only one of them asked for an answer"


async def test_a_reader_that_takes_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck:
        def abort(self) -> None:
            pass

        headers: ClassVar[dict[str, str]] = {}

        async def write(self, data: bytes) -> None:
            await asyncio.Event().wait()

    answers = node(Producer(*HELLO))
    answer = await answers.ask(Asked("q"))
    with (
        answer.follow() as cursor,
        rise("zantara_write_deadline_exceeded_total") as exceeded,
        rise("zantara_disconnects_total", cause="write_deadline") as disconnects,
    ):
        stuck: Any = Stuck()
        with sse.Connections(15, 1)._swept(sse.Connection(cursor, stuck, stuck)) as connection:
            running = asyncio.create_task(connection.run(b"first"))
            await asyncio.sleep(0)
            for seconds in (1, 2):  # a transport may take a while to end
                connection.sweep(time.monotonic() + sse.WRITE_DEADLINE + seconds, 1)
            running.cancel()
            await asyncio.wait([running])
    assert (exceeded.by, disconnects.by) == (1, 1)


async def test_one_who_comes_back_to_what_is_no_longer_held_is_counted(small_index: Path) -> None:
    chunks = ["x"] * 40  # their events are longer than the log may be, their text is not
    hold = asyncio.Event()
    async with serving(small_index, ScriptedAnswerer("first ", hold, *chunks), max_log=1000) as server:
        reader = await server.stream()
        first = await reader.until("message")
        hold.set()
        await reader.rest()
        with rise("zantara_gaps_total") as gaps:
            await (await server.resume(first.id)).rest()
    assert gaps.by == 1


async def test_a_takeover_is_counted_and_so_is_the_one_who_comes_too_late() -> None:
    journal = MemoryJournal(LONG)
    hold = asyncio.Event()
    slow = node(Producer(Text("Hel"), hold, Text("lost")), journal=TestedJournal(of=journal))
    answer = await slow.ask(Asked("q"))
    await seen(lambda: bool(answer.log.tail))
    with rise("zantara_takeovers_total") as takeovers, rise("zantara_fenced_appends_total") as fenced:
        assert answer.lease is not None
        await journal.release([answer.lease])
        fast = node(Producer(Text("lo"), Done("end_turn")), journal=TestedJournal(of=journal))
        await fast.take_over()
        await complete(await fast.get(answer.id))
        hold.set()
        assert answer.task is not None
        await asyncio.wait([answer.task])
    assert (takeovers.by, fenced.by) == (1, 1)


async def test_a_server_that_stops_says_so() -> None:
    answers = node(Producer(*HELLO))
    await answers.drain(0)
    assert value("zantara_draining") == 1


async def test_a_blocked_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "LAG_PERIOD", 0.01)
    with rise("zantara_event_loop_lag_seconds_sum") as lag, rise("zantara_event_loop_lag_seconds_count") as looks:
        task = asyncio.create_task(measuring.measure_loop())
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 (what must never happen)
        await seen(lambda: value("zantara_event_loop_lag_seconds_count") > looks.before)
        task.cancel()
    assert lag.by > 0.2


async def test_the_loop_is_watched_while_a_server_runs(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "LAG_PERIOD", 0.01)
    async with serving(small_index):
        before = value("zantara_event_loop_lag_seconds_count")
        await seen(lambda: value("zantara_event_loop_lag_seconds_count") > before)


async def test_no_label_names_a_person_a_question_or_an_answer(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer(*WORDS)) as server:
        reader = await server.stream(query=QUESTION, user_email="quince@example.com")
        name = (await reader.until("message")).id.partition(".")[0]
        await reader.rest()
        async with await server.get("/metrics") as response:
            said = await response.text()
    assert 'zantara_answers_total{model="scripted",outcome="end_turn"}' in said
    for private in (name, "quince", "permit"):
        assert private not in said


def test_every_metric_is_ours_by_name_and_explained() -> None:
    ours = [metric for metric in REGISTRY.collect() if metric.name.startswith("zantara_")]
    assert len(ours) > 30
    assert [metric.name for metric in ours if not metric.documentation] == []


async def test_what_has_not_happened_yet_is_0_so_that_the_first_time_is_a_rise(small_index: Path) -> None:
    async with (
        serving(small_index, ScriptedAnswerer(model="fresh")) as server,
        await server.get("/metrics") as response,
    ):
        said = await response.text()
    for outcome in ("end_turn", "refusal", "model_timeout", "model_overloaded", "internal"):
        assert f'zantara_answers_total{{model="fresh",outcome="{outcome}"}} 0.0' in said
    assert 'zantara_refusals_total{reason="rate_limited"}' in said
