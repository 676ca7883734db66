"""Answers written by Claude: the real SDK against a stand-in of the API on a real socket."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages_api import (
    CREDIT,
    CUT,
    ERRORS,
    OUTPUT_TOKENS,
    USAGE,
    Cited,
    Failure,
    MessagesAPI,
    Reply,
    Request,
    Stream,
    Thinking,
    answer,
    beginning,
    citation,
    continuing,
    error_event,
    http_error,
)
from passages_made import BLOCKS, TEXT, hit, passage

from zantara_stream.errors import ModelError, ModelOverloaded, ModelRefused, ModelTimeout, ModelUnavailable
from zantara_stream.generation.answerer import Finish, Part, Prompt, Quote, Turn
from zantara_stream.generation.citations import Stored, verified
from zantara_stream.generation.claude import (
    _PREFILLED,
    AS_JSON,
    MAX_TOKENS,
    THINKING_TOKENS,
    ClaudeAnswerer,
    ClaudeOptions,
    Events,
)
from zantara_stream.generation.prompt import GO_ON, MARKED, SYSTEM
from zantara_stream.retrieval.passages import Passage

KEY = "sk-ant-not-a-key"
PATIENT, IMPATIENT = 60.0, 0.5  # seconds of silence; the second where silence is what is tested
QUESTION = Prompt("What does renewal cost?", hits=(hit(),))
Make = Callable[..., ClaudeAnswerer]


@pytest.fixture
async def make(api: MessagesAPI) -> AsyncIterator[Make]:
    """Makes answerers that ask the stand-in; closed at the end."""
    async with AsyncExitStack() as stack:

        def _make(
            model: str = "claude-haiku-4-5", *, url: str = "", silence: float = PATIENT, retries: int = 0
        ) -> ClaudeAnswerer:
            made = ClaudeAnswerer(model, ClaudeOptions(KEY, url or api.url, silence, retries, first_token=silence))
            stack.push_async_callback(made.close)
            return made

        yield _make


async def parts_of(answerer: ClaudeAnswerer, prompt: Prompt = QUESTION) -> list[Part]:
    async with aclosing(answerer.answer(prompt)) as parts:
        return [part async for part in parts]


async def error_of(answerer: ClaudeAnswerer, prompt: Prompt = QUESTION) -> tuple[ModelError, list[Part]]:
    """The error that an answer ends in, and what came before it."""
    parts: list[Part] = []
    try:
        async with aclosing(answerer.answer(prompt)) as stream:
            async for part in stream:
                parts.append(part)
    except ModelError as error:
        return error, parts
    pytest.fail(f"no error after {parts}")


def texts_in(parts: list[Part]) -> list[str]:
    return [part for part in parts if isinstance(part, str)]


# --- Text, usage, stop reasons ---------------------------------------------------------------------


async def test_text_passes_chunk_by_chunk_with_usage_and_stop_reason(api: MessagesAPI, make: Make) -> None:
    chunks = ["Hello", ",  ", "\n\n", " wörld\u2028", "\x85😀", "\ud800", " \t"]
    api.queue(answer(*chunks))
    *texts, finish = await parts_of(make())
    assert texts == chunks
    assert finish == Finish("end_turn", {**USAGE, "output_tokens": OUTPUT_TOKENS})


async def test_text_is_passed_before_the_next_is_written(api: MessagesAPI, make: Make) -> None:
    go_on = asyncio.Event()
    api.queue(answer("first", go_on, "second"))
    async with aclosing(make().answer(QUESTION)) as parts:
        assert await anext(parts) == "first"
        assert api.open == 1
        go_on.set()
        assert await anext(parts) == "second"
        assert isinstance(await anext(parts), Finish)


# Halves of surrogate pairs, separators that are line ends to `str.splitlines`, and the frame's own characters.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udc00\u2028\u2029\x85\x0b\x0c\r\n 😀é\\\"'"))


def as_json_pairs(text: str) -> str:
    """JSON makes one character of two halves that meet."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@settings(max_examples=40, deadline=None)
@given(chunks=st.lists(ANY_TEXT, max_size=6), at_a_time=st.integers(0, 9))
async def test_any_text_passes_unchanged_however_it_is_sent(chunks: list[str], at_a_time: int) -> None:
    async with MessagesAPI(answer(*chunks, at_a_time=at_a_time)) as server:
        answerer = ClaudeAnswerer("claude-haiku-4-5", ClaudeOptions(KEY, server.url, PATIENT, 0))
        try:
            *texts, finish = await parts_of(answerer)
        finally:
            await answerer.close()
    assert texts == [as_json_pairs(chunk) for chunk in chunks if chunk]
    assert isinstance(finish, Finish)


def decoded(pieces: list[bytes]) -> list[dict[str, Any] | str]:
    events = Events()
    return [event for piece in pieces for event in events.take(piece)]


def _text(event: dict[str, Any] | str) -> Any:
    """The text of an event that is one."""
    if isinstance(event, str):
        return event
    return event["delta"]["text"] if event["type"] == "content_block_delta" else None


@given(chunks=st.lists(ANY_TEXT, min_size=1, max_size=4), data=st.data())
def test_events_are_the_same_at_any_cut(chunks: list[str], data: st.DataObject) -> None:
    body = b"".join(step for step in answer(*chunks).steps if isinstance(step, bytes))
    if data.draw(st.booleans(), label="carriage returns"):
        body = body.replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=20), label="cuts"))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    events = decoded([body])
    assert decoded(pieces) == events
    assert decoded([body[place : place + 1] for place in range(len(body))]) == events
    assert [text for event in events if (text := _text(event)) is not None] == [
        as_json_pairs(chunk) for chunk in chunks
    ]


async def test_what_local_servers_add_is_passed_over(api: MessagesAPI, make: Make) -> None:
    comment, done = b": hello\n\n", b"data: [DONE]\n\n"
    api.queue(Stream((comment, b'event: new\ndata: {"type":"new"}\n\n', *answer("text").steps, done)))
    assert texts_in(await parts_of(make())) == ["text"]


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("end_turn", "end_turn"),
        ("stop_sequence", "end_turn"),
        ("max_tokens", "max_tokens"),
        ("model_context_window_exceeded", "max_tokens"),
        ("refusal", "refusal"),
        ("something_new", "end_turn"),
    ],
)
async def test_stop_reasons(api: MessagesAPI, make: Make, reason: str, meaning: str) -> None:
    api.queue(answer("text", stop_reason=reason))
    finish = (await parts_of(make()))[-1]
    assert isinstance(finish, Finish)
    assert finish.stop_reason == meaning


async def test_a_refusal_without_a_word_is_an_error(api: MessagesAPI, make: Make) -> None:
    api.queue(answer(stop_reason="refusal"))
    error, parts = await error_of(make())
    assert (type(error), error.code, error.retryable) == (ModelRefused, "model_refused", False)
    assert error.usage == {**USAGE, "output_tokens": OUTPUT_TOKENS}, "it was paid for"
    assert not parts


async def test_thinking_is_not_shown(api: MessagesAPI, make: Make) -> None:
    api.queue(answer(Thinking("hmm"), "The answer."))
    assert texts_in(await parts_of(make())) == ["The answer."]


async def test_text_of_a_blocks_start_counts(api: MessagesAPI, make: Make) -> None:
    start = b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Early "}}\n\n'
    rest = answer("text").steps[2:]
    api.queue(Stream((start, *rest)))
    assert texts_in(await parts_of(make())) == ["Early ", "text"]


# --- Citations -------------------------------------------------------------------------------------


async def test_citations_become_quotes_at_the_end_of_their_block(api: MessagesAPI, make: Make) -> None:
    other = passage("The sponsor writes a letter.", document="letters.md", lead="")
    first, place = citation(0, BLOCKS[1], (1, 2)), (35, 63)
    second = citation(1, "The sponsor writes a letter.")
    api.queue(answer("It costs ", Cited(("Rp 3 ", "million"), (first, second)), ", they say.", Cited(("!",), (first,))))
    parts = await parts_of(make(), Prompt("?", hits=(hit(), hit(other))))
    given_passage = QUESTION.hits[0].passage
    quotes = [
        Quote(given_passage, BLOCKS[1], (9, 21), place),
        Quote(other, "The sponsor writes a letter.", (9, 21), (0, 28)),
    ]
    assert parts[:-1] == [
        "It costs ",
        "Rp 3 ",
        "million",
        *quotes,
        ", they say.",
        "!",
        Quote(given_passage, BLOCKS[1], (32, 33), place),
    ]
    assert "".join(texts_in(parts))[9:21] == "Rp 3 million"
    for quote in quotes:
        assert verified(quote, stored_as(quote.passage)) is not None


@pytest.mark.parametrize("place", [2, -1, None, "0", 0.0, 10**9])
async def test_a_citation_of_no_passage_is_dropped(
    api: MessagesAPI, make: Make, place: Any, caplog: pytest.LogCaptureFixture
) -> None:
    good = citation(0, BLOCKS[0])
    api.queue(answer(Cited(("text",), (citation(place, TEXT), good))))
    parts = await parts_of(make())
    assert [part.text for part in parts if isinstance(part, Quote)] == [BLOCKS[0]]
    assert "not given" in caplog.text


async def test_a_citation_without_its_words_has_those_of_its_blocks(api: MessagesAPI, make: Make) -> None:
    api.queue(answer(Cited(("text",), (citation(0, "", (1, 3)),))))
    parts = await parts_of(make())
    assert [part.text for part in parts if isinstance(part, Quote)] == [BLOCKS[1] + BLOCKS[2]]


async def test_a_repeated_sentence_is_quoted_from_the_block_that_was_cited(api: MessagesAPI, make: Make) -> None:
    found = passage("It is free. Ask the office. It is free.")
    api.queue(answer(Cited(("text",), tuple(citation(0, "It is free.", (n, n + 1)) for n in (0, 2)))))
    parts = await parts_of(make(), Prompt("?", hits=(hit(found),)))
    quotes = [part for part in parts if isinstance(part, Quote)]
    assert [quote.place for quote in quotes] == [(0, 12), (28, 39)]
    spans = [verified(quote, stored_as(found)) for quote in quotes]
    assert spans == [("It is free.", found.start + start, found.start + start + 11) for start in (0, 28)]


async def test_words_that_are_not_those_of_the_cited_blocks_do_not_hold(api: MessagesAPI, make: Make) -> None:
    api.queue(answer(Cited(("text",), (citation(0, BLOCKS[1], (0, 1)), citation(0, BLOCKS[1], (1, 2))))))
    quotes = [part for part in await parts_of(make()) if isinstance(part, Quote)]
    assert [verified(quote, stored_as(passage())) is not None for quote in quotes] == [False, True]


def stored_as(found: Passage) -> Stored:
    """The store of a document that holds nothing but a passage."""
    text = " " * found.start + found.text
    return lambda path, start, end: text[start:end] if path == found.document else None


@pytest.mark.parametrize("blocks", [("one", None), (None, None), (-1, 1), (2, 2), (3, 2), (0, 9), (9, 10)])
async def test_odd_block_places_do_no_harm_to_a_citation_with_words(
    api: MessagesAPI, make: Make, blocks: tuple[Any, Any]
) -> None:
    api.queue(answer(Cited(("text",), (citation(0, BLOCKS[1], blocks),))))
    (quote,) = (part for part in await parts_of(make()) if isinstance(part, Quote))
    assert (quote.text, quote.place) == (BLOCKS[1], None)
    assert verified(quote, stored_as(passage())) is not None


# --- Failures --------------------------------------------------------------------------------------

UNFINISHED = answer("Hello, ").until("content_block_stop")

REFUSALS: list[tuple[Failure, type[ModelError], str, bool, str]] = [
    (http_error(400), ModelUnavailable, "model_unavailable", False, "did not accept the request"),
    (http_error(400, CREDIT), ModelUnavailable, "model_unavailable", False, "out of credit"),
    (http_error(401), ModelUnavailable, "model_unavailable", False, "ANTHROPIC_API_KEY"),
    (http_error(402), ModelUnavailable, "model_unavailable", False, "out of credit"),
    (http_error(403), ModelUnavailable, "model_unavailable", False, "ANTHROPIC_API_KEY"),
    (http_error(404), ModelUnavailable, "model_unavailable", False, "ZANTARA_MODEL"),
    (http_error(413), ModelUnavailable, "model_unavailable", False, "too long"),
    (http_error(429), ModelOverloaded, "model_overloaded", True, "limits how fast"),
    (http_error(500), ModelUnavailable, "model_unavailable", True, "internal error"),
    (http_error(504), ModelTimeout, "model_timeout", True, "too long"),
    (http_error(529), ModelOverloaded, "model_overloaded", True, "busy"),
    (Failure(502, b"<html>Bad Gateway</html>"), ModelUnavailable, "model_unavailable", True, "internal error"),
    (Failure(503, b""), ModelOverloaded, "model_overloaded", True, "busy"),
    (Failure(401, b'"no"'), ModelUnavailable, "model_unavailable", False, "ANTHROPIC_API_KEY"),
]


@pytest.mark.parametrize(("reply", "kind", "code", "retryable", "words"), REFUSALS)
async def test_a_refused_request(
    api: MessagesAPI, make: Make, reply: Failure, kind: type[ModelError], code: str, retryable: bool, words: str
) -> None:
    api.default = reply
    error, parts = await error_of(make())
    assert (type(error), error.code, error.retryable) == (kind, code, retryable)
    assert words in str(error)
    assert not parts
    assert (error.begun, error.usage) == (False, {}), "nothing of it was paid for"
    assert_for_people(error, api)


BROKEN: list[tuple[Stream, type[ModelError], str]] = [
    (UNFINISHED, ModelUnavailable, "broke off"),
    (answer("Hello, ").until("message_delta"), ModelUnavailable, "broke off"),
    (answer("Hello, ").until("message_stop"), ModelUnavailable, "broke off"),
    (Stream(()), ModelUnavailable, "broke off"),
    (UNFINISHED.then(CUT), ModelUnavailable, "broke off"),
    (UNFINISHED.then(b'event: content_block_delta\ndata: {"type":"content_bl', CUT), ModelUnavailable, "broke off"),
    (UNFINISHED.then(b'data: {"text":"\xf0\x9f\x98', CUT), ModelUnavailable, "broke off"),
    (UNFINISHED.then(b'data: {"text":"\xf0\x9f\x98'), ModelUnavailable, "broke off"),
    (UNFINISHED.then(b"data: {nope}\n\n"), ModelUnavailable, "cannot be read"),
    (UNFINISHED.then(b'data: {"type":"\xff"}\n\n'), ModelUnavailable, "cannot be read"),
    (UNFINISHED.then(b"data: 5\n\n"), ModelUnavailable, "cannot be read"),
    (UNFINISHED.then(b"data: null\n\n"), ModelUnavailable, "cannot be read"),
    (UNFINISHED.then(b'data: {"type":"content_block_delta"}\n\n'), ModelUnavailable, "cannot be read"),
    (UNFINISHED.then(b'data: {"type":"content_block_delta","delta":[]}\n\n'), ModelUnavailable, "cannot be read"),
    (UNFINISHED.then(error_event("overloaded_error")), ModelOverloaded, "busy"),
    (UNFINISHED.then(error_event("rate_limit_error", "slow down")), ModelOverloaded, "limits how fast"),
    (UNFINISHED.then(error_event("api_error", "Internal server error")), ModelUnavailable, "internal error"),
    (UNFINISHED.then(error_event("timeout_error", "slow")), ModelTimeout, "too long"),
    (UNFINISHED.then(error_event("never_heard_of", "?!")), ModelUnavailable, "internal error"),
    (UNFINISHED.then(b'data: {"type":"error"}\n\n'), ModelUnavailable, "internal error"),
]


@pytest.mark.parametrize(("reply", "kind", "words"), BROKEN)
async def test_a_stream_that_breaks_keeps_what_came(
    api: MessagesAPI, make: Make, reply: Stream, kind: type[ModelError], words: str
) -> None:
    api.default = reply
    error, parts = await error_of(make(retries=2))
    assert (type(error), error.retryable) == (kind, True)
    assert words in str(error)
    assert parts == (["Hello, "] if reply.steps else [])
    assert len(api.requests) == 1  # what was read of a stream is not asked for again
    assert error.begun
    assert error.usage == (usage_after(reply) if reply.steps else {})
    assert_for_people(error, api)


def usage_after(reply: Stream) -> dict[str, int]:
    """What is known by the end of a damaged stream: the input from its beginning, the output once it has ended."""
    ended = any(isinstance(step, bytes) and b'"message_delta"' in step for step in reply.steps)
    return {**USAGE, "output_tokens": OUTPUT_TOKENS} if ended else USAGE


def assert_for_people(error: ModelError, api: MessagesAPI) -> None:
    """The message says nothing that only the operator or an attacker should know, and reads like a sentence."""
    words = str(error)
    raw = [KEY, "127.0.0.1", api.url, "req_1", "Error", "Exception", "{", "<", "httpx", "aiohttp"]
    assert not [secret for secret in (*raw, *(message for _, message in ERRORS.values())) if secret in words]
    assert words[0].isupper()
    assert words.endswith(".")


@pytest.mark.parametrize(
    "reply", [answer("Hello, ", asyncio.Event()), answer(asyncio.Event()), answer("late", hold=asyncio.Event())]
)
async def test_silence_is_a_timeout_and_closes_the_request(api: MessagesAPI, make: Make, reply: Stream) -> None:
    api.default = reply
    error, _ = await error_of(make(silence=IMPATIENT))
    assert (type(error), error.code, error.retryable) == (ModelTimeout, "model_timeout", True)
    assert error.begun is (reply.hold is None)
    assert error.usage == (USAGE if reply.hold is None else {})
    await api.client_left.wait()
    assert_for_people(error, api)


async def test_an_unreachable_server(api: MessagesAPI, make: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"  # bound, and nobody listens
        error, parts = await error_of(make(url=url))
        assert (type(error), error.code, error.retryable) == (ModelUnavailable, "model_unavailable", True)
        assert "cannot be reached" in str(error)
        assert (error.begun, error.usage) == (False, {})
        assert not parts
        with pytest.raises(ModelUnavailable):
            await make(url=url).probe()


# --- Retries ---------------------------------------------------------------------------------------


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which the SDK waits before it tries again, which then take none."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(anyio, "sleep", wait)
    return waited


@pytest.mark.parametrize("status", [429, 500, 529])
async def test_a_busy_provider_is_asked_again_when_it_says(
    api: MessagesAPI, make: Make, waits: list[float], status: int
) -> None:
    api.queue(http_error(status, retry_after=7), http_error(status, retry_after=11), answer("at last"))
    assert texts_in(await parts_of(make(retries=2))) == ["at last"]
    assert waits == [7, 11]
    assert api.requests[0].body == api.requests[2].body


async def test_a_provider_that_stays_busy(api: MessagesAPI, make: Make, waits: list[float]) -> None:
    api.default = http_error(529)
    error, _ = await error_of(make(retries=2))
    assert isinstance(error, ModelOverloaded)
    assert len(api.requests) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("status", [401, 402, 403, 404, 413])
async def test_what_waiting_does_not_mend_is_asked_once(api: MessagesAPI, make: Make, status: int) -> None:
    api.default = http_error(status)
    await error_of(make(retries=2))
    assert len(api.requests) == 1


# --- Leaving ---------------------------------------------------------------------------------------


async def test_closing_the_answer_closes_the_request(api: MessagesAPI, make: Make) -> None:
    api.queue(answer("Hello, ", asyncio.Event(), "world"), answer("again"))
    answerer = make()
    parts = answerer.answer(QUESTION)
    assert await anext(parts) == "Hello, "
    assert not api.client_left.is_set()
    await parts.aclose()
    await api.client_left.wait()
    assert api.left == 1
    assert texts_in(await parts_of(answerer)) == ["again"]


@pytest.mark.parametrize(
    "reply", [answer("Hello, ", asyncio.Event()), answer(asyncio.Event()), answer("late", hold=asyncio.Event())]
)
async def test_cancelling_a_reader_closes_the_request(api: MessagesAPI, make: Make, reply: Reply) -> None:
    api.default = reply
    task = asyncio.create_task(parts_of(make()))
    await api.asked.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    await api.client_left.wait()


async def test_a_complete_answer_is_left_by_nobody(api: MessagesAPI, make: Make) -> None:
    api.default = answer("Hello")
    answerer = make()
    for _ in range(3):
        await parts_of(answerer)
    assert (api.left, len(api.requests)) == (0, 3)


async def test_many_answers_at_once(api: MessagesAPI, make: Make) -> None:
    go_on = asyncio.Event()
    count = 150  # more than the connections that are kept alive
    api.default = answer("one", go_on, "two")
    answerer = make()
    streams = [answerer.answer(QUESTION) for _ in range(count)]
    assert await asyncio.gather(*map(anext, streams)) == ["one"] * count
    assert api.open == count
    go_on.set()
    rest = await asyncio.gather(*(_rest(stream) for stream in streams))
    assert all(parts[0] == "two" and isinstance(parts[-1], Finish) for parts in rest)


async def _rest(stream: Any) -> list[Part]:
    return [part async for part in stream]


# --- Servers that know no search_result blocks -----------------------------------------------------


def kinds(body: Any) -> list[str]:
    return [block["type"] for block in body["messages"][-1]["content"]]


async def test_plain_passages_for_a_server_without_citable_ones(
    api: MessagesAPI, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    api.queue(http_error(400), answer("one"), answer("two"))
    answerer = make()
    assert texts_in(await parts_of(answerer)) == ["one"]
    assert texts_in(await parts_of(answerer)) == ["two"]
    refused, plain, straight = (request.body for request in api.requests)
    assert kinds(refused) == ["search_result", "text"]
    assert kinds(plain) == kinds(straight) == ["text", "text", "text"], "the passage, the end of the data, the question"
    assert re.match(r'<passage-[0-9a-f]{8} number="1"', plain["messages"][-1]["content"][0]["text"])
    assert TEXT in plain["messages"][-1]["content"][0]["text"]
    assert [request.body["system"] for request in api.requests] == [SYSTEM, *[f"{SYSTEM}\n\n{MARKED}"] * 2]
    assert caplog.text.count("cited by markers") == 1


async def test_a_request_refused_without_passages_too_proves_nothing(api: MessagesAPI, make: Make) -> None:
    api.queue(http_error(400), http_error(400), answer("again"))
    answerer = make()
    error, _ = await error_of(answerer)
    assert not error.retryable
    await parts_of(answerer)
    assert [kinds(request.body)[0] for request in api.requests] == ["search_result", "text", "search_result"]


@pytest.mark.parametrize(
    ("reply", "prompt"), [(http_error(400, CREDIT), QUESTION), (http_error(400), Prompt("nothing was found"))]
)
async def test_other_refusals_are_not_tried_again(api: MessagesAPI, make: Make, reply: Reply, prompt: Prompt) -> None:
    api.default = reply
    await error_of(make(), prompt)
    assert len(api.requests) == 1


async def test_markers_of_plain_passages_become_quotes(api: MessagesAPI, make: Make) -> None:
    letter = passage("The sponsor writes a letter.", document="letters.md", lead="")
    api.queue(http_error(400), answer("Renewal costs Rp 3 mil", "lion [", "1]. A sponsor's", " letter", " [2]", "."))
    parts = await parts_of(make(), Prompt("?", hits=(hit(), hit(letter))))
    assert texts_in(parts) == ["Renewal costs Rp 3 mil", "lion", ". A sponsor's", " letter", "."]
    given_passage = QUESTION.hits[0].passage
    assert [part for part in parts if isinstance(part, Quote)] == [
        Quote(given_passage, BLOCKS[1].strip(), (0, 26), (35, 62)),
        Quote(letter, letter.text, (28, 46), (0, 28)),
    ]


async def test_brackets_are_text_to_a_server_that_cites_and_to_one_without_passages(
    api: MessagesAPI, make: Make
) -> None:
    api.default = answer("Renewal [1]", " costs.")
    answerer = make()
    for prompt in (QUESTION, Prompt("nothing was found"), Prompt("Hello!", small_talk="greeting")):
        assert texts_in(await parts_of(answerer, prompt)) == ["Renewal [1]", " costs."]


async def test_a_marker_that_never_ends_is_text(api: MessagesAPI, make: Make) -> None:
    api.queue(http_error(400), answer("It costs Rp 3 [", "1", stop_reason="max_tokens"))
    assert "".join(texts_in(await parts_of(make()))) == "It costs Rp 3 [1"


# --- Going on with an answer that broke off ---------------------------------------------------------

WHOLE = "Renewal costs Rp 3 million for one year, and a late one is fined."
WRITTEN = "Renewal costs Rp 3 million "
BEGUN = Prompt(QUESTION.query, hits=QUESTION.hits, written=WRITTEN)
NO_PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."


def refusing(*names: str) -> Callable[[Request], Reply]:
    """A server that refuses requests with those: a prefill, or search results."""

    def reply(request: Request) -> Reply:
        if "prefill" in names and beginning(request)[1]:
            return http_error(400, NO_PREFILL)
        if "search_result" in names and "search_result" in json.dumps(request.body["messages"]):
            return http_error(400)
        return continuing(WHOLE)(request)

    return reply


def forms(api: MessagesAPI) -> list[tuple[bool, bool]]:
    """Of each request, whether it had a prefill and whether search results."""
    return [
        (beginning(request)[1], "search_result" in json.dumps(request.body["messages"])) for request in api.requests
    ]


@pytest.mark.parametrize(
    "model",
    [
        "claude-haiku-4-5",
        "claude-haiku-4-5-20251001",
        "claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929",
        "claude-opus-4-5-20251101",
        "claude-opus-4-1",
        "claude-opus-4-1-20250805",
        "claude-opus-4-0",
        "claude-sonnet-4-0",
        "claude-sonnet-4-20250514",
        "claude-opus-4-20250514",
        "claude-3-5-haiku-latest",
        "claude-3-7-sonnet-20250219",
        "claude-3-haiku-20240307",
    ],
)
def test_models_that_take_a_prefill(model: str) -> None:
    assert _PREFILLED.match(model)


@pytest.mark.parametrize(
    "model",
    [
        "claude-haiku-5-5",
        "claude-sonnet-4-6",
        "claude-opus-4-6",
        "claude-opus-4-7-20260416",
        "claude-sonnet-4-10",
        "claude-opus-4-50",
        "claude-opus-4-10",
        "claude-sonnet-5-5",
        "claude-opus-5-20260101",
        "claude-fable-5",
        "llama3",
        "some-local-model",
        "",
    ],
)
def test_models_that_do_not_or_that_nobody_knows(model: str) -> None:
    assert not _PREFILLED.match(model)


@pytest.mark.parametrize(("model", "prefilled"), [("claude-haiku-4-5", True), ("claude-sonnet-4-6", False)])
async def test_only_the_rest_is_written(api: MessagesAPI, make: Make, model: str, prefilled: bool) -> None:
    api.default = continuing(WHOLE)
    *texts, finish = await parts_of(make(model), BEGUN)
    assert WRITTEN + "".join(texts_in(texts)) == WHOLE
    assert len(texts) > 2, "as it comes"
    assert isinstance(finish, Finish)
    assert forms(api) == [(prefilled, True)]


async def test_a_new_answer_has_neither_prefill_nor_quoting_turn(api: MessagesAPI, make: Make) -> None:
    api.default = answer("text")
    for model in ("claude-haiku-4-5", "claude-sonnet-4-6"):
        await parts_of(make(model))
    assert [[turn["role"] for turn in request.body["messages"]] for request in api.requests] == [["user"]] * 2


async def test_a_model_that_is_not_known_to_take_a_prefill_is_asked_in_words(api: MessagesAPI, make: Make) -> None:
    api.default = continuing(WHOLE)
    await parts_of(make("llama3"), BEGUN)
    *_, shown, asked = api.requests[0].body["messages"]
    assert shown == {"role": "assistant", "content": WRITTEN.rstrip()}
    assert asked == {"role": "user", "content": GO_ON}


@pytest.mark.parametrize("repeated", [1, 2, 3, 99])
async def test_words_that_the_model_repeats_are_dropped(api: MessagesAPI, make: Make, repeated: int) -> None:
    api.default = continuing(WHOLE, repeated=repeated)
    for place in range(1, len(WHOLE) + 1):
        parts = await parts_of(make("llama3"), Prompt("?", written=WHOLE[:place]))
        assert WHOLE[:place] + "".join(texts_in(parts)) == WHOLE


async def test_an_answer_that_was_complete_only_ends(api: MessagesAPI, make: Make) -> None:
    api.default = continuing(WHOLE)
    for model in ("claude-haiku-4-5", "llama3"):
        (finish,) = await parts_of(make(model), Prompt("?", written=WHOLE))
        assert isinstance(finish, Finish)


async def test_a_refused_prefill_is_replaced_by_words_and_remembered(
    api: MessagesAPI, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    api.default = refusing("prefill")
    answerer = make()
    for _ in range(2):
        assert WRITTEN + "".join(texts_in(await parts_of(answerer, BEGUN))) == WHOLE
    assert forms(api) == [(True, True), (False, True), (False, True)]
    assert "cited by markers" not in caplog.text


async def test_a_server_without_search_results_keeps_its_prefill(api: MessagesAPI, make: Make) -> None:
    api.default = refusing("search_result")
    answerer = make()
    for _ in range(2):
        assert WRITTEN + "".join(texts_in(await parts_of(answerer, BEGUN))) == WHOLE
    assert forms(api) == [(True, True), (False, True), (False, False), (True, False)], "then it was remembered"


async def test_going_on_on_an_account_without_credit_is_asked_once(api: MessagesAPI, make: Make) -> None:
    api.queue(http_error(400, CREDIT))
    await error_of(make(), BEGUN)
    assert len(api.requests) == 1


MARKED_WHOLE = (
    "A permit is renewed at the office [1]. It costs Rp 3 million [1], or a[1] 🙂.\n\n- In five days [1]\n- Office [1]"
)
UNMARKED_WHOLE = MARKED_WHOLE.replace(" [1]", "")


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "llama3"])
@pytest.mark.parametrize("repeated", [0, 2, 99])
async def test_a_marked_answer_may_break_anywhere(api: MessagesAPI, make: Make, model: str, repeated: int) -> None:
    api.queue(http_error(400))
    api.default = continuing(UNMARKED_WHOLE, size=5, repeated=repeated, marked=MARKED_WHOLE)
    answerer = make(model)
    whole = quotes_in(await parts_of(answerer))
    assert len(whole) == 4
    for place in range(len(UNMARKED_WHOLE) + 1):
        parts = await parts_of(answerer, Prompt("?", hits=QUESTION.hits, written=UNMARKED_WHOLE[:place]))
        assert UNMARKED_WHOLE[:place] + "".join(texts_in(parts)) == UNMARKED_WHOLE
        rest = quotes_in(parts)
        assert {span: quote for span, quote in whole.items() if span[1] >= place}.items() <= rest.items()
        assert rest.items() <= whole.items()


def quotes_in(parts: list[Part]) -> dict[tuple[int, int], str]:
    """What is quoted, by the span that it supports."""
    return {part.supports: part.text for part in parts if isinstance(part, Quote)}


async def test_a_server_that_takes_neither_is_learned_from_in_time(api: MessagesAPI, make: Make) -> None:
    api.default = refusing("prefill", "search_result")
    answerer = make()
    for _ in range(3):
        assert WRITTEN + "".join(texts_in(await parts_of(answerer, BEGUN))) == WHOLE
    assert forms(api)[-1] == (False, False)
    assert forms(api)[-2] == (False, False), "straight, the last time"
    assert len(api.requests) == 3 + 2 + 1


async def test_a_server_that_refuses_everything_is_asked_each_way_once_and_nothing_is_learned(
    api: MessagesAPI, make: Make
) -> None:
    api.default = http_error(400)
    answerer = make()
    error, parts = await error_of(answerer, BEGUN)
    assert (error.begun, error.retryable, parts) == (False, False, [])
    assert forms(api) == [(True, True), (False, True), (False, False)]
    api.queue(continuing(WHOLE))
    await parts_of(answerer, BEGUN)
    assert forms(api)[-1] == (True, True)


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "llama3"])
async def test_quotes_of_the_rest_count_from_the_beginning_of_the_answer(
    api: MessagesAPI, make: Make, model: str
) -> None:
    api.queue(
        answer(
            " for ",
            Cited(
                (
                    "one ",
                    "year",
                ),
                (citation(0, BLOCKS[1]),),
            ),
            ".",
        )
    )
    parts = await parts_of(make(model), BEGUN)
    whole = WRITTEN + "".join(texts_in(parts))
    assert whole == "Renewal costs Rp 3 million for one year."
    (quote,) = (part for part in parts if isinstance(part, Quote))
    start, end = quote.supports
    assert whole[start:end] == "one year"


async def test_white_space_that_a_cited_block_repeats_is_not_among_what_its_quote_supports(
    api: MessagesAPI, make: Make
) -> None:
    api.queue(answer(Cited((" for one year.",), (citation(0, BLOCKS[1]),))))
    text, quote, finish = await parts_of(make(), BEGUN)
    assert text == "for one year."
    assert isinstance(quote, Quote)
    assert quote.supports == (len(WRITTEN), len(WRITTEN) + len("for one year."))
    assert isinstance(finish, Finish)


async def test_an_answer_that_is_begun_anew_in_cited_blocks_is_not_doubled(api: MessagesAPI, make: Make) -> None:
    cited = citation(0, BLOCKS[1])
    api.queue(answer("Renewal costs ", Cited(("Rp 3 million",), (cited,)), " for ", Cited(("one year",), (cited,))))
    parts = await parts_of(make("llama3"), Prompt("?", hits=QUESTION.hits, written="Renewal costs Rp 3 million "))
    assert texts_in(parts) == ["for ", "one year"]
    assert [part.supports for part in parts if isinstance(part, Quote)] == [(31, 39)], "of what is new, once"


async def test_what_was_held_back_as_a_repetition_and_was_none_is_given_at_the_end(
    api: MessagesAPI, make: Make
) -> None:
    api.queue(answer("Rp 3"))
    assert texts_in(await parts_of(make("llama3"), Prompt("?", written="Rp 3 million, once "))) == ["Rp 3"]


async def test_a_refusal_after_words_is_no_error(api: MessagesAPI, make: Make) -> None:
    api.queue(answer(stop_reason="refusal"))
    (finish,) = await parts_of(make(), BEGUN)
    assert isinstance(finish, Finish)
    assert finish.stop_reason == "refusal"


@pytest.mark.parametrize(
    ("reply", "silence"),
    [
        (http_error(429), PATIENT),
        (http_error(529), PATIENT),
        (answer("for", asyncio.Event()), IMPATIENT),
        (answer("for").until("message_stop"), PATIENT),
    ],
)
async def test_a_break_of_the_rest_tells_what_it_cost(
    api: MessagesAPI, make: Make, reply: Reply, silence: float
) -> None:
    api.default = reply
    error, _ = await error_of(make(silence=silence), BEGUN)
    assert error.begun is isinstance(reply, Stream)
    assert bool(error.usage) is error.begun
    assert error.retryable


# --- The request -----------------------------------------------------------------------------------


async def test_the_request(api: MessagesAPI, make: Make) -> None:
    history = (Turn("user", "Hello"), Turn("assistant", "Good day"))
    api.queue(answer("text"))
    await parts_of(make(), Prompt("What does renewal cost?", history, QUESTION.hits))
    request = api.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/messages")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert "anthropic-version" in request.headers
    assert set(request.body) == {"model", "max_tokens", "system", "messages", "stream"}
    assert request.body["model"] == "claude-haiku-4-5"
    assert request.body["max_tokens"] == MAX_TOKENS
    assert request.body["stream"] is True
    assert request.body["system"] == SYSTEM
    assert [turn["role"] for turn in request.body["messages"]] == ["user", "assistant", "user"]
    found, question = request.body["messages"][-1]["content"]
    assert found == {
        "type": "search_result",
        "source": "permits/renewal.md",
        "title": QUESTION.hits[0].passage.context,
        "content": [{"type": "text", "text": piece} for piece in BLOCKS],
        "citations": {"enabled": True},
    }
    assert question == {"type": "text", "text": "What does renewal cost?"}
    assert KEY not in json.dumps(request.body)


@pytest.mark.parametrize(
    ("model", "thinking", "tokens"),
    [
        ("claude-haiku-4-5", None, MAX_TOKENS),
        ("claude-haiku-5-5", {"type": "disabled"}, MAX_TOKENS),
        ("claude-sonnet-5-5", None, THINKING_TOKENS),
        ("claude-opus-5-5", None, THINKING_TOKENS),
        ("some-local-model", None, MAX_TOKENS),
    ],
)
async def test_thinking_is_disabled_where_it_can_be(
    api: MessagesAPI, make: Make, model: str, thinking: object, tokens: int
) -> None:
    api.default = answer("text")
    answerer = make(model)
    assert answerer.model == model
    await parts_of(answerer)
    assert api.requests[0].body["model"] == model
    assert api.requests[0].body.get("thinking") == thinking
    assert api.requests[0].body["max_tokens"] == tokens


async def test_without_options_the_sdks_variables_hold(api: MessagesAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from the environment")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
    api.queue(answer("text"))
    answerer = ClaudeAnswerer()
    assert texts_in(await parts_of(answerer)) == ["text"]
    await answerer.close()
    assert api.requests[0].headers["Authorization"] == "Bearer from the environment"


# --- Texts that nobody waits for -------------------------------------------------------------------

FORM = {"type": "object", "properties": {}, "additionalProperties": False}
ASKED = [{"role": "user", "content": "Write."}]


async def written(answerer: ClaudeAnswerer, schema: dict[str, Any] | None = None) -> tuple[str, Finish]:
    return await answerer.write("Be short.", ASKED, most=100, within=PATIENT, schema=schema)


async def test_a_text_is_written_whole(api: MessagesAPI, make: Make) -> None:
    api.queue(answer("one ", Thinking("hmm"), Cited(("two",), (citation(0, TEXT),)), stop_reason="max_tokens"))
    assert await written(make()) == ("one two", Finish("max_tokens", {**USAGE, "output_tokens": OUTPUT_TOKENS}))
    body = {"model": "claude-haiku-4-5", "max_tokens": 100, "system": "Be short.", "messages": ASKED, "stream": True}
    assert api.requests[0].body == body


async def test_a_schema_is_sent_and_where_it_is_refused_put_in_words(
    api: MessagesAPI, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    api.queue(answer("{}"), http_error(400), answer("{}"), answer("{}"), answer("text"))
    answerer = make()
    for _ in range(3):
        assert (await written(answerer, FORM))[0] == "{}"
    assert (await written(answerer))[0] == "text"
    sent, refused, in_words, remembered, without = (request.body for request in api.requests)
    assert sent == refused
    assert sent["output_config"] == {"format": {"type": "json_schema", "schema": FORM}}
    assert in_words == remembered == {**without, "system": f"Be short.\n\n{AS_JSON}\n{json.dumps(FORM)}"}
    assert without["system"] == "Be short."
    assert caplog.text.count("does not take a schema") == 1


async def test_what_is_learned_of_schemas_says_nothing_of_citations(api: MessagesAPI, make: Make) -> None:
    api.queue(http_error(400), answer("{}"), answer("text"))
    answerer = make()
    await written(answerer, FORM)
    await parts_of(answerer)
    assert kinds(api.requests[-1].body) == ["search_result", "text"]


async def test_a_text_that_takes_too_long_is_given_up_though_it_goes_on(api: MessagesAPI, make: Make) -> None:
    word: list[str | float] = ["word ", 0.01]
    api.default = answer(*word * 10_000)
    with pytest.raises(ModelTimeout) as caught:
        await make().write("Be short.", ASKED, most=100, within=IMPATIENT)
    assert (caught.value.begun, caught.value.usage) == (True, USAGE)
    await api.client_left.wait()


# --- Probing ---------------------------------------------------------------------------------------


async def test_probe_asks_for_the_model_and_pays_nothing(api: MessagesAPI, make: Make) -> None:
    await make().probe()
    assert [(request.method, request.path) for request in api.requests] == [("GET", "/v1/models/claude-haiku-4-5")]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (http_error(401), ModelUnavailable, "ANTHROPIC_API_KEY"),
        (http_error(429), ModelOverloaded, "limits how fast"),
        (http_error(500), ModelUnavailable, "internal error"),
    ],
)
async def test_probe_says_what_is_wrong(
    api: MessagesAPI, make: Make, reply: Failure, kind: type[ModelError], words: str
) -> None:
    api.model_reply = reply
    with pytest.raises(kind, match=words):
        await make().probe()


async def test_a_local_server_need_not_list_its_models(api: MessagesAPI, make: Make) -> None:
    api.model_reply = http_error(404)
    await make().probe()


async def test_the_provider_itself_must_know_the_model(
    api: MessagesAPI, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def here(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", here)
    api.model_reply = http_error(404)
    with pytest.raises(ModelUnavailable, match="ZANTARA_MODEL"):
        await make(url=api.url.replace("127.0.0.1", "api.anthropic.com")).probe()
    assert len(api.requests) == 1
