"""An answer that is gone on with, from the question to the reader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages_api import CUT, MessagesAPI, Stream, answer, error_event
from server import QUESTION, data, serving

from zantara_stream.answers import answer as module
from zantara_stream.answers.events import Citation, Done, Event, Sources, Stamp, Text, encode
from zantara_stream.answers.fold import Folded, fold
from zantara_stream.errors import AnswerExpired
from zantara_stream.generation.answerer import Finish, Turn
from zantara_stream.generation.claude import ClaudeAnswerer, ClaudeOptions
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.pipeline import Pipeline, Question
from zantara_stream.retrieval.library import Library
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
async def library(small_index: Path) -> AsyncIterator[Library]:
    """The small index, open."""
    library = Library(small_index, HashingEmbedder)
    await library.open()
    yield library
    library.close()


def written(events: list[Event]) -> Folded:
    """What a log has to which these were appended."""
    chunks, frames = 0, []
    for offset, event in enumerate(events, 1):
        chunks += isinstance(event, Text)
        frames.append(encode(event, Stamp("A", offset, chunks, 1.0 + offset, 1.0, None)))
    return fold(frames)


async def events_of(pipeline: Pipeline, before: Folded | None = None) -> list[Event]:
    """The events that a pipeline yields."""
    return [event async for event in pipeline.answer(Question(QUESTION), before)]


def comparable(events: list[Event]) -> list[Event]:
    """Without what differs from one run to the next."""
    return [Done(e.stop_reason, e.model, e.usage, e.used_rag) if isinstance(e, Done) else e for e in events]


async def test_an_extractive_answer_made_again_gives_exactly_the_rest_wherever_it_broke(library: Library) -> None:
    pipeline = Pipeline(library, ExtractiveAnswerer(library))
    whole = await events_of(pipeline)
    assert any(isinstance(event, Citation) for event in whole)
    for cut in range(len(whole)):
        rest = await events_of(pipeline, written(whole[:cut]))
        assert comparable(rest) == comparable(whole[cut:])


async def test_an_extractive_answer_over_other_documents_is_not_gone_on_with(library: Library) -> None:
    with pytest.raises(AnswerExpired):
        await events_of(Pipeline(library, ExtractiveAnswerer(library)), Folded(text="What never stood there"))


async def test_where_only_the_end_is_missing_the_model_is_not_asked(library: Library) -> None:
    answerer = ScriptedAnswerer("x")
    before = Folded(text="all", sources=[{"source": "S"}], usage={"output_tokens": 3})
    (done,) = await events_of(Pipeline(library, answerer), before)
    assert (done, answerer.prompts) == (Done("end_turn", "scripted", {"output_tokens": 3}, used_rag=True), [])


async def test_the_model_is_given_what_is_written_and_usage_is_summed(library: Library) -> None:
    answerer = ScriptedAnswerer(" rest", Finish(usage={"input_tokens": 2, "output_tokens": 5}))
    events = await events_of(Pipeline(library, answerer), Folded(text="Half", usage={"input_tokens": 7}))
    assert [prompt.written for prompt in answerer.prompts] == ["Half"]
    assert isinstance(events[-1], Done)
    assert events[-1].usage == {"input_tokens": 9, "output_tokens": 5}
    assert any(isinstance(event, Sources) for event in events)


@given(st.text(), st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), max_size=3), st.text())
def test_a_question_survives_as_text(query: str, turns: list[tuple[str, str]], asker: str) -> None:
    question = Question(query, tuple(Turn(*turn) for turn in turns), asker)
    assert Question.from_json(question.to_json()) == question


# --------------------------------------------------------------------------------------- from end to end

BREAKS: dict[str, Stream] = {
    "error event": answer("Late ", "renewal").until("content_block_stop").then(error_event("overloaded_error")),
    "cut body": answer("Late ", "renewal").until("content_block_stop").then(CUT),
    "end too early": answer("Late ", "renewal").until("message_stop"),
    "malformed JSON": answer("Late ", "renewal").until("content_block_stop").then(b'data: {"type":"cont\n\n'),
    "stall": answer("Late ", "renewal").until("content_block_stop").then(5.0),
}


def claude(api: MessagesAPI) -> ClaudeAnswerer:
    """Claude, at the stand-in's address."""
    return ClaudeAnswerer("claude-haiku-4-5", ClaudeOptions("test", api.url, 0.5, 0))


async def whole(small_index: Path, api: MessagesAPI) -> list[Any]:
    """The data of the events that a reader gets."""
    async with serving(small_index, claude(api)) as server:
        return data(await (await server.stream()).rest())


@pytest.mark.parametrize("how", BREAKS)
async def test_a_model_that_breaks_off_is_gone_on_with_and_readers_see_one_answer(small_index: Path, how: str) -> None:
    async with MessagesAPI() as api:
        api.queue(BREAKS[how], answer(" is fined", "."))
        events = await whole(small_index, api)
    assert "".join(event.get("text", "") for event in events) == "Late renewal is fined."
    assert [event["sequenceNumber"] for event in events if "text" in event] == [1, 2, 3, 4]
    assert [event["stopReason"] for event in events if "done" in event] == ["end_turn"]
    assert len(api.requests) == 2
    assert api.requests[1].body["messages"][-1] == {"role": "assistant", "content": "Late renewal"}
    assert events[-1]["usage"]["input_tokens"] == 50


async def test_a_model_that_always_breaks_ends_in_one_retryable_error_and_the_text_is_kept(small_index: Path) -> None:
    async with MessagesAPI(BREAKS["error event"]) as api:
        events = await whole(small_index, api)
    assert [event["code"] for event in events if "done" in event] == ["model_overloaded"]
    assert events[-1]["retryable"]
    assert "".join(event.get("text", "") for event in events).startswith("Late renewal")
    assert len(api.requests) == 1 + len(module.PAUSES)
