"""A model that breaks off in mid-answer, end to end: its readers see one whole answer, or one error at last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from messages_api import (
    CUT,
    OUTPUT_TOKENS,
    USAGE,
    Cited,
    MessagesAPI,
    Reply,
    Replying,
    Request,
    Step,
    Stream,
    answer,
    beginning,
    citation,
    continuing,
    error_event,
    http_error,
)
from server import Server, data, never, serving

from zantara_stream.answers import answer as one_answer
from zantara_stream.generation.claude import ClaudeAnswerer, ClaudeOptions

TEXT = (
    "Late renewal is fined Rp 1.000.000 a day.\n\n- **At most** Rp 10.000.000, perché\u2028no 🙂.\n"
    "- Very, very late: \tno."
)
PREFILLED, ASKED_IN_WORDS = "claude-haiku-4-5", "claude-sonnet-4-6"
PATIENT, IMPATIENT = 60.0, 0.5  # seconds of silence; the second where silence is what is tested
TRIES = 4  # the first one too
SIZE = 7  # characters of a piece

STALL = "stall"
BREAKS: dict[str, tuple[bytes | Step, ...]] = {
    "busy": (error_event("overloaded_error"),),
    "internal error": (error_event("api_error", "Internal server error"),),
    "cut body": (CUT,),
    "cut in an event": (b'event: content_block_delta\ndata: {"type":"content_bl', CUT),
    "clean end too early": (),
    "malformed JSON": (b'event: content_block_delta\ndata: {"type":"content_block_delta","del\n\n',),
    "cut UTF-8": (b'data: {"type":"\xf0\x9f\x98', CUT),
    "not UTF-8": (b'data: {"type":"\xf0\x9f"}\n\n',),
}
every_break = pytest.mark.parametrize("broken", [*BREAKS, STALL])
both_ways = pytest.mark.parametrize("model", [PREFILLED, ASKED_IN_WORDS])


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on at once."""
    monkeypatch.setattr(one_answer, "PAUSES", (0.0,) * (TRIES - 1))


@asynccontextmanager
async def mended(
    index: Path, default: Replying, model: str = PREFILLED, silence: float = PATIENT
) -> AsyncIterator[tuple[MessagesAPI, Server]]:
    """A server whose model is the stand-in."""
    async with MessagesAPI(default) as api:
        answerer = ClaudeAnswerer(model, ClaudeOptions("test", api.url, silence, retries=0))
        async with serving(index, answerer) as server:
            yield api, server


def breaking(broken: str, pieces: int) -> Callable[[Request], Reply]:
    """What writes some pieces of the text, or of the rest of it, and breaks in that way."""

    def reply(request: Request) -> Reply:
        whole = continuing(TEXT, size=SIZE)(request)
        assert isinstance(whole, Stream)
        begun = whole.until("content_block_delta", pieces + 1)
        return begun.then(never()) if broken == STALL else begun.then(*BREAKS[broken])

    return reply


def silence_for(broken: str) -> float:
    return IMPATIENT if broken == STALL else PATIENT


async def events_of(server: Server) -> list[Any]:
    """The data of one answer's events."""
    events = data(await (await server.stream()).rest())
    assert_one_sequence(events)
    return events


def assert_one_sequence(events: list[Any]) -> None:
    """Text is counted without gaps, and there is one end, which is the last event."""
    texts = [event["sequenceNumber"] for event in events if "text" in event]
    assert texts == [*range(1, len(texts) + 1)]
    assert ["done" in event for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["sequenceNumber"] == len(texts)


def text_of(events: list[Any]) -> str:
    return "".join(event.get("text", "") for event in events)


# --- Mended ------------------------------------------------------------------------------------------------


@every_break
@both_ways
async def test_an_answer_that_broke_off_is_written_to_its_end(small_index: Path, model: str, broken: str) -> None:
    async with mended(small_index, continuing(TEXT), model, silence_for(broken)) as (api, server):
        api.queue(breaking(broken, 4))
        events = await events_of(server)
        assert text_of(events) == TEXT
        assert "error" not in events[-1]
        assert events[-1]["stopReason"] == "end_turn"
        assert len(api.requests) == 2
        assert beginning(api.requests[1]) == (TEXT[: 4 * SIZE].rstrip(), model == PREFILLED)
        if broken == STALL:
            await api.client_left.wait()


@both_ways
@pytest.mark.parametrize("pieces", range(0, 13, 3))
@pytest.mark.parametrize("repeated", [0, 2])
async def test_it_matters_not_where_it_breaks_nor_what_the_model_repeats(
    small_index: Path, model: str, pieces: int, repeated: int
) -> None:
    async with mended(small_index, continuing(TEXT, size=5, repeated=repeated), model) as (api, server):
        api.queue(breaking("cut body", pieces))
        assert text_of(await events_of(server)) == TEXT
        assert len(api.requests) == 2


async def test_a_message_that_lacks_only_its_last_event_is_ended_without_more_text(small_index: Path) -> None:
    async with mended(small_index, continuing(TEXT)) as (api, server):
        api.queue(answer(TEXT).until("message_stop"))
        events = await events_of(server)
        assert text_of(events) == TEXT
        assert events[-1]["stopReason"] == "end_turn"
        assert len(api.requests) == 2


async def test_the_end_counts_what_every_try_cost(small_index: Path) -> None:
    async with mended(small_index, continuing(TEXT)) as (api, server):
        api.queue(breaking("busy", 2), breaking("cut body", 2))
        done = (await events_of(server))[-1]
        assert done["usage"]["input_tokens"] == 3 * USAGE["input_tokens"]
        assert done["usage"]["output_tokens"] == 2 * USAGE["output_tokens"] + OUTPUT_TOKENS


async def test_a_reader_sees_the_rest_as_it_is_written(small_index: Path) -> None:
    gate = asyncio.Event()
    async with mended(small_index, answer(" two", gate, " three")) as (api, server):
        api.queue(answer("One").until("content_block_stop").then(CUT))
        reader = await server.stream()
        await reader.until("start")
        assert [(await reader.next()).json["text"] for _ in range(2)] == ["One", " two"]
        gate.set()
        assert await reader.text() == " three"


async def test_other_readers_and_the_whole_answer_have_the_same(small_index: Path) -> None:
    async with mended(small_index, continuing(TEXT)) as (api, server):
        api.queue(breaking("cut UTF-8", 5))
        first, second = [await server.stream(continuity_id="one") for _ in range(2)]
        assert await first.text() == await second.text() == TEXT
        _, whole = await server.answer(first.response.headers["X-Answer-Id"])
        assert whole["text"] == TEXT
        assert len(api.requests) == 2


async def test_a_provider_that_is_busy_after_the_break_is_asked_again(small_index: Path) -> None:
    async with mended(small_index, continuing(TEXT)) as (api, server):
        api.queue(breaking("cut body", 3), http_error(529))
        assert text_of(await events_of(server)) == TEXT
        assert len(api.requests) == 3


async def test_a_refused_prefill_does_not_stop_the_mending(small_index: Path) -> None:
    async with mended(small_index, continuing(TEXT)) as (api, server):
        api.queue(breaking("cut body", 3), http_error(400, "This model does not support assistant message prefill."))
        assert text_of(await events_of(server)) == TEXT
        assert [beginning(request)[1] for request in api.requests] == [False, True, False]


# --- Citations ---------------------------------------------------------------------------------------------

FINE = "Late renewal is fined Rp 1 million a day."


def place_of(request: Request, words: str) -> int:
    """Which of the passages that the model is given has those words."""
    return next(place for place, block in enumerate(passages_of(request)) if words in json.dumps(block))


def passages_of(request: Request) -> list[Any]:
    """What the model is given, before its question."""
    question = next(turn for turn in request.body["messages"] if not isinstance(turn["content"], str))
    return list(question["content"])


def cited_as_asked(request: Request, words: str) -> dict[str, Any]:
    """A citation of the block that has those words and no more."""
    place = place_of(request, words)
    blocks = [block["text"].strip() for block in passages_of(request)[place]["content"]]
    number = blocks.index(words)
    return citation(place, words, (number, number + 1))


@both_ways
async def test_citations_before_and_after_the_break_name_their_own_words(small_index: Path, model: str) -> None:
    def begins(request: Request) -> Reply:
        cited = Cited(("Late renewal",), (cited_as_asked(request, FINE),))
        return answer("It says: ", cited, " is fi").until("message_delta").then(CUT)

    def ends(request: Request) -> Reply:
        cited = Cited(("Rp 1 million", " a day"), (cited_as_asked(request, FINE),))
        return answer("ned ", cited, ".")

    async with mended(small_index, ends, model) as (api, server):
        api.queue(begins)
        events = await events_of(server)
    text = text_of(events)
    assert text == "It says: Late renewal is fined Rp 1 million a day."
    cited = [event["citation"] for event in events if "citation" in event]
    assert [text[one["textStart"] : one["textEnd"]] for one in cited] == ["Late renewal", "Rp 1 million a day"]
    assert [(one["quote"], one["verified"]) for one in cited] == [(FINE, True)] * 2
    assert [len(event["sources"]) > 0 for event in events if "sources" in event] == [True], "once"


@both_ways
async def test_markers_before_and_after_the_break_are_citations_and_no_text(small_index: Path, model: str) -> None:
    def knows_no_search_results(request: Request) -> Reply:
        if "search_result" in json.dumps(request.body["messages"]):
            return http_error(400)
        number = place_of(request, FINE) + 1
        if not beginning(request)[0]:
            return answer(f"Late renewal is fined [{number}", "]. It is Rp 1 mi").until("message_delta").then(CUT)
        return answer("llion a day [", f"{number}]", ".")

    async with mended(small_index, knows_no_search_results, model) as (_, server):
        events = await events_of(server)
    text = text_of(events)
    assert text == "Late renewal is fined. It is Rp 1 million a day."
    cited = [event["citation"] for event in events if "citation" in event]
    supported = [text[one["textStart"] : one["textEnd"]] for one in cited]
    assert supported == ["Late renewal is fined", "It is Rp 1 million a day"]
    assert [(one["quote"], one["verified"]) for one in cited] == [(FINE, True)] * 2
    assert all(one["document"] for one in cited)


# --- Not mended --------------------------------------------------------------------------------------------


@every_break
async def test_a_model_that_always_breaks_ends_in_one_error_and_the_text_is_kept(
    small_index: Path, broken: str
) -> None:
    async with mended(small_index, breaking(broken, 2), silence=silence_for(broken)) as (api, server):
        events = await events_of(server)
        assert len(api.requests) == TRIES
        written = ""
        for _ in range(TRIES):
            written = TEXT[: len(written.rstrip()) + 2 * SIZE]
        assert text_of(events) == written
        assert events[-1]["retryable"] is True
        assert events[-1]["code"] in ("model_overloaded", "model_unavailable", "model_timeout")
        assert "sources" not in events[-2]


async def test_a_model_that_breaks_before_its_first_word_is_asked_again_too(small_index: Path) -> None:
    async with mended(small_index, breaking("cut body", 0)) as (api, server):
        (error,) = await events_of(server)
        assert (error["code"], error["retryable"], len(api.requests)) == ("model_unavailable", True, TRIES)


@pytest.mark.parametrize("reply", [http_error(429), http_error(529), http_error(401)])
async def test_what_is_refused_before_it_began_is_not_begun_again(small_index: Path, reply: Reply) -> None:
    async with mended(small_index, reply) as (api, server):
        (error,) = await events_of(server)
        assert "error" in error
        assert len(api.requests) == 1


async def test_what_trying_again_does_not_mend_ends_at_once(small_index: Path) -> None:
    poor = answer("Late ").until("content_block_stop").then(error_event("billing_error", "no credit"))
    async with mended(small_index, poor) as (api, server):
        text, error = await events_of(server)
        assert (text["text"], error["retryable"], len(api.requests)) == ("Late ", False, 1)


async def test_an_answer_is_stopped_while_it_pauses(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pausing = asyncio.Event()

    def drawn(least: float, most: float) -> float:
        pausing.set()
        return most

    monkeypatch.setattr(one_answer, "PAUSES", (3600.0,))
    monkeypatch.setattr(one_answer, "random", SimpleNamespace(uniform=drawn))
    async with mended(small_index, breaking("cut body", 2)) as (api, server):
        reader = await server.stream()
        await pausing.wait()
        await server.answer(reader.response.headers["X-Answer-Id"], "DELETE")
        events = data(await reader.rest())
        assert_one_sequence(events)
        assert text_of(events) == TEXT[: 2 * SIZE]
        assert events[-1]["stopReason"] == "stopped"
        assert events[-1]["usage"] == USAGE
        assert len(api.requests) == 1
