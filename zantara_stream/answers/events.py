"""The events of an answer, their order, and their bytes on the wire.

An answer is  text* (citation | text)* sources? (done | error)  and nothing after it. `ORDER` below is
that rule as a table. Each event is encoded once, when it is appended; the journal keeps these bytes, and a
resumed reader gets the same. A log that grows too long begins with a snapshot, the event `gap`, instead.
The framing is Server-Sent Events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer as it was produced, whitespace untouched."""

    text: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A document's own words and the span of the answer that they support (character offsets).

    `document` is its path in the corpus, `page` the one on which the passage begins.
    """

    passage: str
    source: str
    quote: str
    start: int
    end: int
    text_start: int
    text_end: int
    verified: bool
    document: str = ""
    section: str = ""
    page: int | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """The passages that the answer was made from, as the contract's §2 lists them, best first."""

    entries: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is complete, or was stopped."""

    stop_reason: str
    model: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    used_rag: bool = False
    retrieval: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer ended in an error; what was written before it stands."""

    code: str
    message: str
    retryable: bool


Event = Text | Citation | Sources | Done | Failed


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Both usages (tokens by kind) together."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


WRITING, SOURCED, CLOSED = "writing", "sourced", "closed"
ORDER: dict[tuple[str, type], str] = {
    (WRITING, Text): WRITING,
    (WRITING, Citation): WRITING,
    (WRITING, Sources): SOURCED,
    (WRITING, Done): CLOSED,
    (WRITING, Failed): CLOSED,
    (SOURCED, Done): CLOSED,
    (SOURCED, Failed): CLOSED,
}


class Stamp(NamedTuple):  # made for each event: a frozen dataclass takes four times as long
    """What the log knows of an event at the moment it is appended."""

    answer: str
    offset: int  # after the event: resuming from it is slicing
    sequence: int  # text chunks so far
    timestamp: float  # unix seconds
    elapsed: float  # seconds since the answer began
    first_chunk: float | None  # seconds to the first text


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def to_json(value: Mapping[str, Any]) -> str:
    """One line of JSON; what is not valid Unicode in it is replaced when it is encoded."""
    return _ENCODER.encode(value)


def size(text: str) -> int:
    """The bytes of a text."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def frame(data: Mapping[str, Any], *, event: str = "", id: str = "", retry: int | None = None) -> bytes:
    """One event-stream block. `event` and `id` are ours and never hold line ends."""
    head = f"retry: {retry}\n" if retry is not None else ""
    head += f"event: {event}\n" if event else ""
    head += f"id: {id}\n" if id else ""
    return f"{head}data: {to_json(data)}\n\n".encode(errors="replace")


def unframe(block: bytes) -> dict[str, Any]:
    """The JSON object of a block that `frame` made."""
    value: dict[str, Any] = json.loads(_data(block))
    return value


def split(wire: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Each block of joined ones, with the answer and the offset that its id names.

    JSON stands on one line, so a blank line is the end of a block and nothing else.
    """
    for part in wire.split(b"\n\n")[:-1]:
        name = part[part.index(b"id: ") + 4 :].partition(b"\n")[0]
        answer, _, offset = name.decode().rpartition(".")
        yield answer, int(offset), part + b"\n\n"


_TERMINAL = (b'{"done":', b'{"error":')


def closes(block: bytes) -> bool:
    """Whether the block is a terminal event: `done` or `error` is the first thing that it says."""
    return block.startswith(_TERMINAL, block.index(b"data: ") + 6)


def last_sequence(blocks: Sequence[bytes]) -> int:
    """The number of the last text chunk among a log's blocks; 0 before the first one."""
    numbers = (unframe(block).get("sequenceNumber") for block in reversed(blocks))
    return next((number for number in numbers if number is not None), 0)


def is_snapshot(block: bytes) -> bool:
    """Whether the block stands for all events before it."""
    return block.startswith(b"event: gap\n")


def is_text(block: bytes) -> bool:
    """Whether the block is a chunk of text."""
    return _data(block).startswith(b'{"text":')


def _data(block: bytes) -> bytes:
    return block[block.index(b"data: ") + 6 : -2]


def encode(event: Event, stamp: Stamp) -> bytes:
    """The event as the bytes that every reader gets."""
    if isinstance(event, Text):
        return encode_text(event.text, stamp.answer, stamp.offset, stamp.sequence, stamp.timestamp)
    return frame(_payload(event, stamp), id=f"{stamp.answer}.{stamp.offset}")


def encode_text(text: str, answer: str, offset: int, sequence: int, timestamp: float) -> bytes:
    """What nearly all events are, without a stamp or a dictionary made for each: the bytes that `frame` would give."""
    return (
        f'id: {answer}.{offset}\ndata: {{"text":{encode_basestring(text)},'
        f'"sequenceNumber":{sequence},"timestamp":{timestamp!r}}}\n\n'
    ).encode(errors="replace")


def _payload(event: Citation | Sources | Done | Failed, stamp: Stamp) -> dict[str, Any]:
    match event:
        case Citation():
            return {"citation": _citation(event)}
        case Sources(entries):
            return {"sources": [dict(entry) for entry in entries]}
        case Done():
            return {"done": True} | _ending(stamp) | _done(event, stamp)
        case Failed(code, message, retryable):
            return {"error": message, "done": True} | _ending(stamp) | {"code": code, "retryable": retryable}


def _citation(event: Citation) -> dict[str, Any]:
    where = {"document": event.document, "section": event.section, "page": event.page, "url": event.url}
    return {
        "passage": event.passage,
        "source": event.source,
        "quote": event.quote,
        "start": event.start,
        "end": event.end,
        "textStart": event.text_start,
        "textEnd": event.text_end,
        "verified": event.verified,
        **{name: value for name, value in where.items() if value},
    }


def _ending(stamp: Stamp) -> dict[str, Any]:
    return {
        "sequenceNumber": stamp.sequence,
        "timestamp": stamp.timestamp,
        "streamDuration": round(stamp.elapsed, 3),
    }


def _done(event: Done, stamp: Stamp) -> dict[str, Any]:
    timings = {
        "retrieval": event.retrieval,
        "firstChunk": stamp.first_chunk,
        "total": stamp.elapsed,
    }
    return {
        "stopReason": event.stop_reason,
        "usage": dict(event.usage),
        "timings": {name: round(value, 4) for name, value in timings.items() if value is not None},
        "model": event.model,
        "answer": stamp.answer,
        "usedRag": event.used_rag,
    }
