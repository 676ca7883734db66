"""A log folded to one value."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.answers.events import Citation, Done, Event, Failed, Sources, Text, unframe
from zantara_stream.answers.fold import Folded, fold
from zantara_stream.answers.log import EventLog

CITATION = Citation("p1", "Source", "quote", 3, 8, 0, 5, verified=True)


def folded(*events: Event) -> tuple[Folded, EventLog]:
    """The fold of a log with those events, and the log."""

    async def append() -> EventLog:
        log = EventLog("A")
        for event in events:
            log.append(event)
        return log

    log = asyncio.run(append())
    return fold(log.frames()), log


@given(st.lists(st.text(), max_size=6))
def test_the_text_is_all_its_chunks_untouched(chunks: list[str]) -> None:
    whole, _ = folded(*map(Text, chunks), Done("end_turn"))
    assert whole.text == "".join(chunks)


def test_a_complete_answer() -> None:
    whole, log = folded(Text("Hel"), Text("lo"), CITATION, Sources(({"source": "Source"},)), Done("end_turn", "m"))
    assert whole.text == "Hello"
    assert [citation["quote"] for citation in whole.citations] == ["quote"]
    assert whole.sources == [{"source": "Source"}]
    assert whole.done == unframe(log.frames()[-1])
    assert whole.error is None


def test_an_error_is_not_taken_for_an_end_and_the_text_before_it_stands() -> None:
    whole, log = folded(Text("half"), Failed("model_timeout", "Too long.", retryable=True))
    assert whole.text == "half"
    assert whole.done is None
    assert whole.error == unframe(log.frames()[-1])


def test_an_answer_that_runs_has_no_end_yet() -> None:
    whole, _ = folded(Text("so far"))
    assert (whole.text, whole.done, whole.error) == ("so far", None, None)
