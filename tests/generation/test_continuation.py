"""Going on with an answer that broke off: the seam, what is made anew, and how Claude is asked for the rest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages_api import CREDIT, CUT, Cited, MessagesAPI, answer, citation, error_event, http_error
from passages_made import TEXT, hit, passage

from zantara_stream.errors import AnswerExpired, ModelError
from zantara_stream.generation.answerer import Finish, Part, Prompt, Quote, Turn
from zantara_stream.generation.claude import _PREFILLED, ClaudeAnswerer, ClaudeOptions
from zantara_stream.generation.continuation import CHANGED, Seam, unwritten
from zantara_stream.generation.prompt import GO_ON, messages

TEXTS = st.lists(st.sampled_from(["renew", "a", "the", "10.000", "é🙂", " ", " ", "\n", "\n\n", "."]), max_size=20).map(
    "".join
)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    """The text in pieces, cut at those places."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def joined(written: str, pieces: list[str], *, shown: bool) -> str:
    """What a reader has in the end."""
    seam = Seam(written, shown=shown)
    return written + "".join(seam.take(piece) for piece in pieces) + seam.finish()


@given(TEXTS, st.integers(0, 60), st.lists(st.integers(0, 99), max_size=4))
def test_after_a_prefill_the_text_is_whole_wherever_it_broke(text: str, cut: int, cuts: list[int]) -> None:
    written = text[:cut]
    rest = text[len(written.rstrip()) :]  # the prefill had no white space at its end
    assert joined(written, pieces_of(rest, cuts), shown=False) == text


@given(TEXTS, st.lists(st.integers(0, 99), max_size=4))
def test_an_answer_from_its_beginning_passes_as_it_is(text: str, cuts: list[int]) -> None:
    assert joined("", pieces_of(text, cuts), shown=True) == text


@pytest.mark.parametrize("at_a_time", [1, 3, 100])
@pytest.mark.parametrize(
    ("written", "rest", "whole"),
    [
        ("Late renew", "al is fined", "Late renewal is fined"),
        ("Late renew", "renewal is fined", "Late renewal is fined"),
        ("Late renewal", " is fined", "Late renewal is fined"),
        ("Late renewal", "renewal is fined", "Late renewal is fined"),
        ("Late renewal", "Late renewal is fined", "Late renewal is fined"),
        ("It is very", " very good", "It is very very good"),
        ("Rp 10.000", ".000 a day", "Rp 10.000.000 a day"),
        ("Rp 1", "1 million", "Rp 1 million"),
        ("the cat the", "the dog", "the cat the dog"),
        ("the cat the", " cat", "the cat the cat"),
        ("One.\n\n", "\n\nTwo.", "One.\n\nTwo."),
        ("One.\n", "\n\nTwo.", "One.\n\nTwo."),
        ("One. ", "Two.", "One. Two."),
        ("all of it", "", "all of it"),
        ("the permit", "the", "the permitthe"),
    ],
)
def test_what_a_model_repeats_that_was_shown_the_beginning_is_dropped(
    written: str, rest: str, whole: str, at_a_time: int
) -> None:
    pieces = [rest[start : start + at_a_time] for start in range(0, len(rest), at_a_time)]
    assert joined(written, pieces, shown=True) == whole


# --------------------------------------------------------------------------------------------- made anew


async def made(*parts: Part) -> AsyncGenerator[Part, None]:
    """An answer that is made anew."""
    for part in parts:
        yield part


@given(st.integers(0, 11))
async def test_what_is_written_is_skipped_wherever_it_ends(cut: int) -> None:
    quote = Quote(passage(), "Hello", (0, 5))
    rest = [part async for part in unwritten(made("Hello", quote, " world", Finish()), "Hello world"[:cut])]
    assert "".join(part for part in rest if isinstance(part, str)) == "Hello world"[cut:]
    assert [part for part in rest if not isinstance(part, str)] == [quote, Finish()]


async def test_an_answer_that_would_not_begin_the_same_is_not_gone_on_with() -> None:
    with pytest.raises(AnswerExpired, match=CHANGED):
        [part async for part in unwritten(made("Another beginning"), "Hello")]


# ------------------------------------------------------------------------------------------------ Claude

WRITTEN = "Renewal costs "
HALF = Prompt("What does renewal cost?", (Turn("user", "Hi"),), (hit(),), written=WRITTEN)


@pytest.fixture
async def api() -> AsyncIterator[MessagesAPI]:
    """The stand-in."""
    async with MessagesAPI() as server:
        yield server


async def asked(api: MessagesAPI, model: str = "claude-haiku-4-5", times: int = 1) -> list[Part]:
    """What the model adds to the half of an answer."""
    answerer = ClaudeAnswerer(model, ClaudeOptions("test", api.url, 0.5, 0))
    try:
        for _ in range(times):
            parts = [part async for part in answerer.answer(HALF)]
    finally:
        await answerer.close()
    return parts


def endings(api: MessagesAPI) -> list[str]:
    """The role of the last message of each request, and whether passages were citable."""
    return [
        f"{request.body['messages'][-1]['role']} {'search_result' in str(request.body['messages'])}"
        for request in api.requests
    ]


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("claude-haiku-4-5", True),
        ("claude-haiku-4-5-20251001", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-3-5-haiku-latest", True),
        ("claude-sonnet-4-6", False),
        ("claude-opus-4-10", False),
        ("claude-haiku-5-5", False),
        ("llama3", False),
    ],
)
def test_which_models_take_a_prefill(model: str, takes: bool) -> None:
    assert bool(_PREFILLED.match(model)) is takes


def test_a_prefill_ends_the_request_without_white_space() -> None:
    *_, last = messages(HALF, citations=True, prefill=True)
    assert last == {"role": "assistant", "content": "Renewal costs"}


def test_other_models_are_shown_the_beginning_and_asked_for_the_rest() -> None:
    *_, shown, last = messages(HALF, citations=True, prefill=False)
    assert shown == {"role": "assistant", "content": "Renewal costs"}
    assert last == {"role": "user", "content": GO_ON}


async def test_a_prefilled_answer_goes_on_and_its_quotes_count_from_the_beginning(api: MessagesAPI) -> None:
    cited = Cited((" Rp 3 million.",), (citation(0, TEXT[:5]),))
    api.queue(answer(cited))
    text, quote, finish = await asked(api)
    assert text == "Rp 3 million."
    assert isinstance(quote, Quote)
    assert quote.supports == (len(WRITTEN), len(WRITTEN) + len("Rp 3 million."))
    assert isinstance(finish, Finish)
    assert endings(api) == ["assistant True"]


async def test_a_model_that_was_shown_the_beginning_may_repeat_its_end(api: MessagesAPI) -> None:
    api.queue(answer("co", "sts Rp", " 3 million."))
    parts = await asked(api, "claude-haiku-5-5")
    assert "".join(part for part in parts if isinstance(part, str)) == "Rp 3 million."
    assert endings(api) == ["user True"]


async def test_what_was_held_back_is_given_at_the_end(api: MessagesAPI) -> None:
    api.queue(answer("Ren"))  # which might have become a repetition
    text, _ = await asked(api, "claude-haiku-5-5")
    assert text == "Ren"


async def test_a_server_that_refuses_a_prefill_is_asked_otherwise_and_that_is_remembered(api: MessagesAPI) -> None:
    api.queue(http_error(400, "prefill is not supported"), answer("Rp 3 million."), answer("Rp 3 million."))
    await asked(api, times=2)
    assert endings(api) == ["assistant True", "user True", "user True"]


async def test_a_server_that_refuses_citable_passages_may_take_a_prefill(api: MessagesAPI) -> None:
    api.queue(http_error(400), http_error(400), answer("Rp 3 million."), answer("Rp 3 million."))
    await asked(api, times=2)
    assert endings(api) == ["assistant True", "user True", "user False", "assistant False"]


async def test_an_account_without_credit_is_asked_once(api: MessagesAPI) -> None:
    api.queue(http_error(400, CREDIT))
    with pytest.raises(ModelError):
        await asked(api)
    assert len(api.requests) == 1


BREAKS = {
    "error event": answer("half").until("content_block_stop").then(error_event("overloaded_error")),
    "cut body": answer("half").until("content_block_stop").then(CUT),
    "end too early": answer("half").until("message_stop"),
    "malformed JSON": answer("half").until("content_block_stop").then(b'data: {"type":"cont\n\n'),
    "cut UTF-8": answer("half").until("content_block_stop").then(b'data: {"type":"\xf0\x9f\n\n'),
    "stall": answer("half").until("content_block_stop").then(5.0),
}


@pytest.mark.parametrize("how", BREAKS)
async def test_a_break_in_mid_answer_says_that_it_had_begun_and_what_was_paid(api: MessagesAPI, how: str) -> None:
    api.queue(BREAKS[how])
    with pytest.raises(ModelError) as caught:
        await asked(api)
    assert caught.value.begun
    assert caught.value.retryable
    assert caught.value.usage["input_tokens"] == 25


@pytest.mark.parametrize("status", [429, 529, 500])
async def test_a_refusal_before_the_stream_says_that_nothing_had_begun(api: MessagesAPI, status: int) -> None:
    api.queue(http_error(status))
    with pytest.raises(ModelError) as caught:
        await asked(api)
    assert not caught.value.begun
    assert caught.value.usage == {}
