"""The events' shapes as the contract's §2 gives them, and their framing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.answers.events import (
    ORDER,
    Citation,
    Done,
    Event,
    Failed,
    Sources,
    Stamp,
    Text,
    added,
    closes,
    encode,
    frame,
    is_snapshot,
    last_sequence,
    size,
    split,
    to_json,
    unframe,
)
from zantara_stream.answers.fold import Folded, snapshot
from zantara_stream.testing import EventReader, read_events

ANSWER = "AAAAAAAAAAAAAAAAAAAAAA"
STAMP = Stamp(ANSWER, offset=3, sequence=2, timestamp=1730552400.123, elapsed=1.23456, first_chunk=0.51239)

AWKWARD = st.sampled_from(
    ["\n", "\r", "\r\n", "\n\n", "\u2028", "\u2029", "\x85", "\x00", "data: ", "id: ", "🙂", "\\u2028"]
)
TEXTS = st.lists(st.text() | AWKWARD | st.characters(categories=["Cs"]), max_size=4).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=10)


def written(value: Any) -> Any:
    """What a reader gets of a value: halves of surrogate pairs become question marks."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case list():
            return [written(item) for item in value]
        case dict():
            return {written(key): written(item) for key, item in value.items()}
    return value


@given(OBJECTS)
def test_unframe_is_the_inverse_of_frame(data: dict[str, Any]) -> None:
    assert unframe(frame(data)) == written(data)


@given(OBJECTS, NAMES, NAMES, st.none() | st.integers(0, 9999))
def test_a_frame_is_one_event_with_one_line_of_data(
    data: dict[str, Any], event: str, name: str, retry: int | None
) -> None:
    block = frame(data, event=event, id=name, retry=retry)
    *lines, last, rest = block.split(b"\n")
    assert b"\r" not in block
    assert (last, rest) == (b"", b""), "it ends with one blank line"
    assert b"" not in lines, "and has no other"
    assert sum(line.startswith(b"data: ") for line in lines) == 1
    (read,) = read_events(block)
    assert (read.event, read.id, read.retry) == (event or "message", name, retry)
    assert read.json == written(data)


@given(st.lists(OBJECTS, max_size=4), st.data())
def test_readers_get_the_same_events_wherever_the_bytes_are_cut(
    items: list[dict[str, Any]], data: st.DataObject
) -> None:
    stream = b"".join(frame(item) for item in items)
    cut = data.draw(st.integers(0, len(stream)))
    reader = EventReader()
    events = [*reader.feed(stream[:cut]), *reader.feed(stream[cut:])]
    assert [event.json for event in events] == [written(item) for item in items]


def test_the_fields_of_a_frame_stand_in_this_order() -> None:
    block = frame({"answer": "A"}, event="start", id="A.0", retry=2300)
    assert block == b'retry: 2300\nevent: start\nid: A.0\ndata: {"answer":"A"}\n\n'


def test_text_stays_as_it_is_and_not_escaped() -> None:
    assert to_json({"text": "  àè 🙂\u2028\n"}) == '{"text":"  àè 🙂\u2028\\n"}'


CITATION = Citation("p1", "Renewing a permit", "Rp 3 million", 10, 22, 0, 30, verified=True)
PLACED = replace(
    CITATION, document="permits/renewal.pdf", section="Fees › Renewal", page=2, url="https://example.com/renewal"
)
SOURCE = {"source": "Renewing a permit", "snippet": "Renewal costs …", "similarity": 0.9512}
DONE = Done("end_turn", "claude-haiku-4-5", {"input_tokens": 5, "output_tokens": 7}, used_rag=True, retrieval=0.04321)

SHAPES: list[tuple[Event, dict[str, Any]]] = [
    (Text(" Hello\n"), {"text": " Hello\n", "sequenceNumber": 2, "timestamp": 1730552400.123}),
    (
        CITATION,
        {
            "citation": {
                "passage": "p1",
                "source": "Renewing a permit",
                "quote": "Rp 3 million",
                "start": 10,
                "end": 22,
                "textStart": 0,
                "textEnd": 30,
                "verified": True,
            }
        },
    ),
    (Sources((SOURCE,)), {"sources": [SOURCE]}),
    (
        DONE,
        {
            "done": True,
            "sequenceNumber": 2,
            "timestamp": 1730552400.123,
            "streamDuration": 1.235,
            "stopReason": "end_turn",
            "usage": {"input_tokens": 5, "output_tokens": 7},
            "timings": {"retrieval": 0.0432, "firstChunk": 0.5124, "total": 1.2346},
            "model": "claude-haiku-4-5",
            "answer": ANSWER,
            "usedRag": True,
        },
    ),
    (
        Failed("model_overloaded", "The language model is busy.", retryable=True),
        {
            "error": "The language model is busy.",
            "done": True,
            "sequenceNumber": 2,
            "timestamp": 1730552400.123,
            "streamDuration": 1.235,
            "code": "model_overloaded",
            "retryable": True,
        },
    ),
]


@pytest.mark.parametrize(("event", "data"), SHAPES, ids=lambda value: type(value).__name__)
def test_each_event_has_the_shape_of_the_contract(event: Event, data: dict[str, Any]) -> None:
    (read,) = read_events(encode(event, STAMP))
    assert read.json == data
    assert (read.event, read.id) == ("message", f"{ANSWER}.3"), "unnamed, so that onmessage gets it"


def test_a_citation_says_where_it_stands_as_far_as_that_is_known() -> None:
    plain, placed = (unframe(encode(event, STAMP))["citation"] for event in (CITATION, PLACED))
    assert placed == plain | {
        "document": "permits/renewal.pdf",
        "section": "Fees › Renewal",
        "page": 2,
        "url": "https://example.com/renewal",
    }


def test_every_kind_of_event_has_a_shape_here() -> None:
    assert {type(event) for event, _ in SHAPES} == {kind for _, kind in ORDER}


def test_the_bytes_of_a_text_event() -> None:
    assert encode(Text("Hello"), STAMP) == (
        b'id: AAAAAAAAAAAAAAAAAAAAAA.3\ndata: {"text":"Hello","sequenceNumber":2,"timestamp":1730552400.123}\n\n'
    )


@given(st.text(), st.integers(0, 10**6), st.integers(1_000_000_000_000, 2_000_000_000_000))
def test_a_text_is_framed_as_all_events_are(text: str, number: int, moment: int) -> None:
    stamp = STAMP._replace(sequence=number, timestamp=moment / 1000)
    data = {"text": text, "sequenceNumber": number, "timestamp": moment / 1000}
    assert encode(Text(text), stamp) == frame(data, id=f"{ANSWER}.{STAMP.offset}")
    assert size(text) == len(text.encode(errors="replace"))


def test_an_error_says_that_it_is_one_before_it_says_done() -> None:
    # Old pages looked at `done` first and took failures for success.
    data = encode(Failed("internal", "Something broke.", retryable=False), STAMP)
    assert data.index(b'"error"') < data.index(b'"done"')


def test_timings_leave_out_what_never_happened() -> None:
    stamp = Stamp(ANSWER, 1, 0, 1730552400.0, 0.25, None)
    assert unframe(encode(Done("stopped"), stamp))["timings"] == {"total": 0.25}


def test_event_ids_are_safe_for_every_parser() -> None:
    (event,) = read_events(encode(Text("x"), STAMP))
    assert re.fullmatch(r"[0-9A-Za-z._-]{1,128}", event.id)


def test_json_of_one_event_is_one_line_for_any_parser() -> None:
    line = to_json({"text": "a\nb\r\nc\x0b\x0c"})
    assert json.loads(line) == {"text": "a\nb\r\nc\x0b\x0c"}
    assert len(re.findall(r"[\n\r\x0b\x0c\x00]", line)) == 0


# ------------------------------------------------------------------------------- what is told from bytes


@given(st.lists(st.tuples(NAMES, st.integers(0, 10**9), st.sampled_from(["", "gap"]), OBJECTS), max_size=5))
def test_joined_blocks_of_several_answers_are_told_apart(items: list[tuple[str, int, str, dict[str, Any]]]) -> None:
    blocks = [(name, offset, frame(data, event=event, id=f"{name}.{offset}")) for name, offset, event, data in items]
    assert list(split(b"".join(block for *_, block in blocks))) == blocks


@given(TEXTS)
def test_no_text_can_pass_for_another_event_or_for_the_end(text: str) -> None:
    blocks = [encode(event, STAMP) for event in (Text(text), Sources(({text: text},)), Done(text))]
    assert [block for *_, block in split(b"".join(blocks))] == blocks
    assert [closes(block) for block in blocks] == [False, False, True]
    assert not any(map(is_snapshot, blocks))


def test_half_a_block_at_the_end_is_no_block() -> None:
    block = encode(Text("x"), STAMP)
    assert [found for *_, found in split(block + block[:-1])] == [block]
    assert list(split(b"")) == []


@pytest.mark.parametrize("event", [event for event, _ in SHAPES], ids=lambda value: type(value).__name__)
def test_terminal_events_and_no_others_close_a_log(event: Event) -> None:
    assert closes(encode(event, STAMP)) == isinstance(event, Done | Failed)


def test_a_snapshot_is_told_from_the_events() -> None:
    block = snapshot(ANSWER, 7, Folded(text='{"done":true}', chunks=3))
    assert is_snapshot(block)
    assert not closes(block)
    assert list(split(block)) == [(ANSWER, 7, block)]
    assert not any(is_snapshot(encode(event, STAMP)) for event, _ in SHAPES)


def test_the_last_number_is_that_of_the_last_text_whatever_follows_it() -> None:
    texts = [encode(Text("x"), STAMP._replace(offset=place, sequence=place)) for place in (1, 2)]
    cited, listed = encode(CITATION, STAMP), encode(Sources((SOURCE,)), STAMP)
    assert [last_sequence(blocks) for blocks in ([], [cited], texts, [*texts, cited, listed])] == [0, 0, 2, 2]
    assert last_sequence([snapshot(ANSWER, 7, Folded(chunks=5)), cited]) == 5


USAGES = st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "cache"]), st.integers(0, 1000))


@given(USAGES, USAGES)
def test_usages_are_added_kind_by_kind(one: dict[str, int], other: dict[str, int]) -> None:
    both = added(one, other)
    assert set(both) == set(one) | set(other)
    assert both == added(other, one)
    assert sum(both.values()) == sum(one.values()) + sum(other.values())
    assert added(one, {}) == one
