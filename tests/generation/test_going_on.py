"""How Claude is asked for the rest of an answer, and what is made of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from messages_api import CREDIT, CUT, Cited, MessagesAPI, answer, citation, error_event, http_error
from passages_made import TEXT, hit

from zantara_stream.errors import ModelError
from zantara_stream.generation.answerer import Finish, Part, Prompt, Quote, Turn
from zantara_stream.generation.claude import _PREFILLED, ClaudeAnswerer, ClaudeOptions
from zantara_stream.generation.prompt import GO_ON, messages

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
