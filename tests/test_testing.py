"""The public doubles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.answers.events import frame
from zantara_stream.generation.answerer import Finish, Prompt
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer, StreamEvent, follow_events, read_events

STREAM = (
    frame({"answer": "a"}, event="start", id="a.0", retry=1500)
    + frame({"text": "é😀\n"}, id="a.1")
    + b": a comment\n\n"
    + frame({}, event="ping")
    + b"data: two\ndata: lines\n\n"
)
EVENTS = [
    StreamEvent("start", "a.0", '{"answer":"a"}', 1500),
    StreamEvent("message", "a.1", '{"text":"é😀\\n"}'),
    StreamEvent("ping", "a.1", "{}"),
    StreamEvent("message", "a.1", "two\nlines"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_a_stream_reads_the_same_however_it_is_cut(places: list[int]) -> None:
    cuts = [0, *sorted(places), len(STREAM)]
    assert read_events([STREAM[a:b] for a, b in pairwise(cuts)]) == EVENTS


def test_the_end_of_a_cut_stream_is_not_dispatched() -> None:
    assert read_events(STREAM[:-1]) == EVENTS[:-1]
    assert read_events(STREAM)[1].json == {"text": "é😀\n"}


async def test_events_as_they_come() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for place in range(0, len(STREAM), 7):
            yield STREAM[place : place + 7]

    assert [event async for event in follow_events(pieces())] == EVENTS


def test_common_words_make_texts_near() -> None:
    done: list[int] = []
    vectors = HashingEmbedder().encode(["a permit for Bali", "the permit of Bali", "swimming"], done.append)
    assert done == [1, 1, 1]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


async def test_a_script_is_played_in_order() -> None:
    released = asyncio.Event()
    released.set()
    answerer = ScriptedAnswerer("a", 0.0, released, "b", model="mine")
    parts = [part async for part in answerer.answer(Prompt("q"))]
    assert parts == ["a", "b", Finish(usage={"input_tokens": 1, "output_tokens": 1})]
    assert (answerer.model, answerer.prompts, answerer.cancelled) == ("mine", [Prompt("q")], 0)


async def test_a_script_may_end_by_itself_or_raise() -> None:
    assert [part async for part in ScriptedAnswerer(Finish("max_tokens")).answer(Prompt("q"))] == [Finish("max_tokens")]
    with pytest.raises(ValueError, match="broken"):
        await anext(ScriptedAnswerer(ValueError("broken")).answer(Prompt("q")))


async def test_an_answer_that_is_closed_early_is_counted() -> None:
    answerer = ScriptedAnswerer("a", "b")
    parts = answerer.answer(Prompt("q"))
    await anext(parts)
    await parts.aclose()
    assert answerer.cancelled == 1
    assert answerer.closed_early.is_set()


async def test_each_call_plays_its_script_and_the_last_one_ever_after() -> None:
    answerer = ScriptedAnswerer("a", ValueError("broken")).then("b", Finish()).then("c", Finish())
    with pytest.raises(ValueError, match="broken"):
        [part async for part in answerer.answer(Prompt("q"))]
    for written, rest in [("a", "b"), ("ab", "c"), ("abc", "c")]:
        assert [part async for part in answerer.answer(Prompt("q", written=written))] == [rest, Finish()]
    assert [prompt.written for prompt in answerer.prompts] == ["", "a", "ab", "abc"]
