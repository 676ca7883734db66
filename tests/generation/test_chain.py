"""A chain of models."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from messages_api import MessagesAPI, Reply, answer, error_event, http_error
from metrics_read import rise, value
from server import data, serving

from zantara_stream.errors import (
    AnswerExpired,
    ModelError,
    ModelOverloaded,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
)
from zantara_stream.generation.answerer import Finish, Part, Prompt
from zantara_stream.generation.breaker import CLOSED, FAILURES, OPEN, TRYING
from zantara_stream.generation.chain import Chain
from zantara_stream.generation.claude import ClaudeAnswerer, ClaudeOptions
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.testing import ScriptedAnswerer


async def parts(chain: Chain, prompt: Prompt | None = None) -> list[Part]:
    """What a chain answers."""
    async with aclosing(chain.answer(prompt or Prompt("q"))) as made:
        return [part async for part in made]


def finish(made: list[Part]) -> str:
    """The model that is said to have answered."""
    assert isinstance(made[-1], Finish)
    return made[-1].model


@pytest.mark.parametrize("error", [ModelOverloaded(), ModelTimeout(), ModelUnavailable("no credit", retryable=False)])
async def test_the_next_one_writes_where_one_cannot(error: ModelError) -> None:
    one, other = ScriptedAnswerer(error, model="one"), ScriptedAnswerer("Hello", model="other")
    with rise("zantara_upstream_retries_total", reason="fallback") as fallbacks:
        made = await parts(Chain([one, other]))
    assert (made[0], finish(made), fallbacks.by) == ("Hello", "other", 1)


async def test_nothing_is_asked_of_the_next_where_one_can() -> None:
    one, other = ScriptedAnswerer("Hello", model="one"), ScriptedAnswerer("Hello", model="other")
    assert finish(await parts(Chain([one, other]))) == "one"
    assert other.prompts == []


@pytest.mark.parametrize("script", [(ModelRefused(),), ("Hel", ModelOverloaded())])
async def test_what_was_refused_or_begun_is_not_asked_of_another(script: tuple[str | Exception, ...]) -> None:
    other = ScriptedAnswerer("Hello", model="other")
    with pytest.raises(ModelError):
        await parts(Chain([ScriptedAnswerer(*script, model="one"), other]))
    assert other.prompts == []


async def test_where_none_can_the_last_one_s_failure_is_told() -> None:
    chain = Chain([ScriptedAnswerer(ModelTimeout()), ScriptedAnswerer(ModelUnavailable("last"))])
    with pytest.raises(ModelUnavailable, match="last"):
        await parts(chain)


async def test_one_that_keeps_failing_is_left_alone_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = ScriptedAnswerer(ModelOverloaded(), model="failing"), ScriptedAnswerer("Hello", model="other")
    chain = Chain([one, other])
    for _ in range(FAILURES + 3):
        assert finish(await parts(chain)) == "other"
    assert len(one.prompts) == FAILURES
    assert value("zantara_breaker_open", model="failing") == 1
    monkeypatch.setattr(chain.links[0].breaker, "_until", 0.0)
    one.scripts = [("Well again",)]
    assert finish(await parts(chain)) == "failing"
    assert value("zantara_breaker_open", model="failing") == 0


async def test_one_alone_that_keeps_failing_says_when_to_come_back_at_no_cost() -> None:
    one = ScriptedAnswerer(ModelTimeout(), model="one")
    chain = Chain([one])
    for _ in range(FAILURES):
        with pytest.raises(ModelTimeout):
            await parts(chain)
    with pytest.raises(ModelOverloaded, match=r"is tried again in [1-9] seconds") as refused:
        await parts(chain)
    assert refused.value.retryable
    assert len(one.prompts) == FAILURES


async def test_a_refusal_is_no_failure_of_the_provider() -> None:
    chain = Chain([ScriptedAnswerer(ModelRefused())])
    for _ in range(FAILURES + 1):
        with pytest.raises(ModelRefused):
            await parts(chain)
    assert chain.links[0].breaker.state == CLOSED


async def test_one_who_leaves_while_it_is_tried_does_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain([ScriptedAnswerer(ModelUnavailable(retryable=False)).then(asyncio.Event())])
    with pytest.raises(ModelUnavailable):
        await parts(chain)
    breaker = chain.links[0].breaker
    assert breaker.state == OPEN
    monkeypatch.setattr(breaker, "_until", 0.0)
    trying = asyncio.create_task(parts(chain))
    await asyncio.sleep(0)
    assert breaker.state == TRYING
    trying.cancel()
    await asyncio.wait([trying])
    assert breaker.admits()


async def test_requests_are_counted_by_model_and_code() -> None:
    one, other = ScriptedAnswerer(ModelOverloaded(), model="counted"), ScriptedAnswerer("Hello", model="other")
    with (
        rise("zantara_upstream_requests_total", model="counted", code="model_overloaded") as failed,
        rise("zantara_upstream_requests_total", model="other", code="ok") as well,
        rise("zantara_upstream_requests_total", model="extractive", code="ok") as quoted,
    ):
        await parts(Chain([one, other]))
        await parts(Chain([ExtractiveAnswerer()]))
    assert (failed.by, well.by, quoted.by) == (1, 1, 0), "whoever quotes asks nobody"


def claude(api: MessagesAPI, model: str, **options: float) -> ClaudeAnswerer:
    """One model at the stand-in."""
    return ClaudeAnswerer(model, ClaudeOptions("key", api.url, retries=0, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reply",
    [
        http_error(529),
        http_error(401),
        http_error(500),
        answer(asyncio.Event(), "late"),
        answer().until("message_stop"),
    ],
    ids=["overloaded", "key refused", "broken", "silent", "ended too early"],
)
async def test_the_answer_says_which_model_gave_it(small_index: Path, reply: Reply) -> None:
    async with MessagesAPI(answer("Hello")) as api:
        api.queue(reply)
        chain = Chain([claude(api, "claude-haiku-4-5", first_token=0.3), claude(api, "claude-haiku-5-5")])
        async with serving(small_index, chain, memory="off") as server:
            done = data(await (await server.stream()).rest())[-1]
        asked = [request.body["model"] for request in api.requests]
    assert (done["stopReason"], done["model"]) == ("end_turn", "claude-haiku-5-5")
    assert asked == ["claude-haiku-4-5", "claude-haiku-5-5"], "each once: nothing is paid twice"


async def test_where_no_model_answers_the_documents_are_quoted(small_index: Path) -> None:
    async with MessagesAPI(http_error(529)) as api:
        chain = Chain([claude(api, "claude-haiku-4-5"), ExtractiveAnswerer()])
        async with serving(small_index, chain, memory="off") as server:
            said = data(await (await server.stream()).rest())
    assert said[-1]["model"] == "extractive"
    assert any("citation" in event for event in said)
    assert any("sources" in event for event in said)


async def test_what_broke_off_is_gone_on_with_by_the_next_model_where_the_first_cannot(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zantara_stream.answers.answer.PAUSES", (0.0,))
    broken = answer("Late renewal ").until("content_block_stop").then(error_event("overloaded_error"))
    async with MessagesAPI(answer("is fined.")) as api:
        api.queue(broken, http_error(529))
        chain = Chain([claude(api, "claude-haiku-4-5"), claude(api, "claude-haiku-5-5")])
        async with serving(small_index, chain, memory="off") as server:
            said = data(await (await server.stream()).rest())
    assert "".join(event.get("text", "") for event in said) == "Late renewal is fined."
    assert (said[-1]["stopReason"], said[-1]["model"]) == ("end_turn", "claude-haiku-5-5")


async def test_what_a_model_has_begun_is_not_gone_on_with_by_quoting() -> None:
    chain = Chain([ScriptedAnswerer(ModelOverloaded("busy"), model="one"), ExtractiveAnswerer()])
    with pytest.raises(ModelOverloaded, match="busy"):
        await parts(chain, Prompt("q", written="Something that no document says"))
    with pytest.raises(AnswerExpired):
        await parts(Chain([ExtractiveAnswerer()]), Prompt("q", written="Something that no document says"))


async def test_a_model_that_is_silent_in_the_middle_is_given_up() -> None:
    async with MessagesAPI(answer("Hello ", asyncio.Event())) as api:
        chain = Chain([claude(api, "claude-haiku-4-5", silence=0.2)])
        with pytest.raises(ModelTimeout):
            await parts(chain)
        await api.client_left.wait()
        await chain.close()


async def test_a_model_that_writes_slowly_but_steadily_is_not_given_up() -> None:
    async with MessagesAPI(answer("a", 0.15, "b", 0.15, "c", 0.15, "d", 0.15, "e")) as api:
        chain = Chain([claude(api, "claude-haiku-4-5", first_token=0.4, silence=0.4)])
        made = await parts(chain)
        await chain.close()
    assert "".join(part for part in made if isinstance(part, str)) == "abcde"
