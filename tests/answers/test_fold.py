"""A log folded to one value, a snapshot of it, and the place in it that a moment names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.answers.events import (
    CLOSED,
    ORDER,
    SOURCED,
    WRITING,
    Citation,
    Done,
    Event,
    Failed,
    Sources,
    Stamp,
    Text,
    encode,
    unframe,
)
from zantara_stream.answers.fold import Folded, fold, offset_after, snapshot

CITATION = Citation("p1", "Source", "quote", 3, 8, 0, 5, verified=True)
SOURCES = Sources(({"source": "Source"},))
START = 1730552400.0

EVENTS = st.lists(st.builds(Text, st.text()) | st.just(CITATION), max_size=8)


def frames(*events: Event) -> list[bytes]:
    """Those events as the journal has them, one a second."""
    made, chunks = [], 0
    for offset, event in enumerate(events, 1):
        chunks += isinstance(event, Text)
        made.append(encode(event, Stamp("A", offset, chunks, START + offset, float(offset), 1.0)))
    return made


@given(st.lists(st.text(), max_size=6))
def test_the_text_is_all_its_chunks_untouched(chunks: list[str]) -> None:
    whole = fold(frames(*map(Text, chunks), Done("end_turn")))
    assert whole.text == "".join(chunks)
    assert whole.chunks == len(chunks)


def test_a_complete_answer() -> None:
    log = frames(Text("Hel"), Text("lo"), CITATION, SOURCES, Done("end_turn", "m"))
    whole = fold(log)
    assert whole.text == "Hello"
    assert [citation["quote"] for citation in whole.citations] == ["quote"]
    assert whole.sources == [{"source": "Source"}]
    assert whole.done == unframe(log[-1])
    assert whole.error is None
    assert (whole.first, whole.last) == (START + 1, START + 2)


def test_an_error_is_not_taken_for_an_end_and_the_text_before_it_stands() -> None:
    log = frames(Text("half"), Failed("model_timeout", "Too long.", retryable=True))
    whole = fold(log)
    assert whole.text == "half"
    assert whole.done is None
    assert whole.error == unframe(log[-1])


def test_an_answer_that_runs_has_no_end_yet() -> None:
    whole = fold(frames(Text("so far")))
    assert (whole.text, whole.done, whole.error) == ("so far", None, None)


def test_of_an_empty_log_nothing_is_known() -> None:
    assert fold([]) == Folded()
    assert (Folded().first, Folded().last, Folded().state) == (None, 0.0, WRITING)


@pytest.mark.parametrize("before", [(), (Text("x"),), (Text("x"), CITATION), (Text("x"), SOURCES), (SOURCES,)])
def test_where_a_folded_log_stands_is_where_its_grammar_stands(before: tuple[Event, ...]) -> None:
    state = WRITING
    for event in before:
        state = ORDER[state, type(event)]
    assert fold(frames(*before)).state == state
    for end in (Done("end_turn"), Failed("internal", "Broken.", retryable=False)):
        assert fold(frames(*before, end)).state == CLOSED
    assert {state for state, _ in ORDER} == {WRITING, SOURCED}


# ------------------------------------------------------------------------------------------ snapshots


@given(EVENTS, EVENTS)
def test_a_snapshot_stands_for_all_before_it(before: list[Event], after: list[Event]) -> None:
    log = frames(*before, *after, SOURCES, Done("end_turn"))
    short = [snapshot("A", len(before), fold(log[: len(before)])), *log[len(before) :]]
    assert fold(short) == fold(log)


def test_a_snapshot_says_what_a_reader_needs_who_knows_nothing_else() -> None:
    block = snapshot("A", 3, fold(frames(Text("Hel"), Text("lo"), CITATION)))
    assert block.startswith(b"event: gap\nid: A.3\ndata: ")
    data = unframe(block)
    assert (data["answer"], data["offset"], data["text"], data["sequenceNumber"]) == ("A", 3, "Hello", 2)
    assert data["citations"] == [unframe(frames(CITATION)[0])["citation"]]
    assert (data["first"], data["timestamp"]) == (START + 1, START + 2)


def test_a_snapshot_replaces_whatever_a_reader_had() -> None:
    whole = fold(frames(Text("Hel"), CITATION))
    whole.add(unframe(snapshot("A", 3, fold(frames(Text("Hel"), Text("lo"), CITATION)))))
    assert (whole.text, whole.chunks, len(whole.citations)) == ("Hello", 2, 1)


# ------------------------------------------------------------------------------ the place of a moment

LOG = frames(Text("a"), CITATION, Text("b"), Text("c"), SOURCES, Done("end_turn"))  # offsets 1 to 6, one a second


@pytest.mark.parametrize(
    ("moment", "offset"),
    [(0, 0), (START + 0.999, 0), (START + 1, 1), (START + 2.5, 1), (START + 3, 3), (START + 4, 4), (START + 99, 4)],
)
def test_a_moment_names_the_place_behind_the_last_text_that_is_not_later(moment: float, offset: int) -> None:
    assert offset_after(LOG, moment) == offset


def test_no_moment_names_a_place_behind_sources_or_the_end() -> None:
    # Whoever comes back with a timestamp need not have seen them: they carry none, or the last text's.
    assert offset_after(LOG, float("inf")) == 4
    assert offset_after([], START) == 0


def test_a_moment_before_a_snapshots_last_text_begins_with_it() -> None:
    short = [snapshot("A", 3, fold(LOG[:3])), *LOG[3:]]
    assert [offset_after(short, START + seconds) for seconds in (1, 2, 3, 4)] == [0, 0, 3, 4]
