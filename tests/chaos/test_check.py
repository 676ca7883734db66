"""The checker finds each kind of violation in a doctored history; and a plan is its seed's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.redis_journal import Content, Logged
from faults.upstream import text_of

from .check import violations
from .history import CONNECTION, MODEL, READER, RUN, History, as_text, read
from .plan import plan

QUESTION = "Short question?"
TEXT = text_of(QUESTION)
HALF = len(TEXT) // 2
Lines = list[dict[str, Any]]


def block(offset: int, **data: Any) -> bytes:
    """An event of the answer A."""
    return f"id: A.{offset}\ndata: {json.dumps(data)}\n\n".encode()


FIRST, SECOND = block(1, text=TEXT[:HALF], sequenceNumber=1), block(2, text=TEXT[HALF:], sequenceNumber=2)
END = block(3, done=True, sequenceNumber=2)
WIRE = FIRST + SECOND + END


def connection(reader: str, received: bytes) -> dict[str, Any]:
    """A line of what one connection got."""
    return {"what": CONNECTION, "reader": reader, "question": QUESTION, "received": as_text(received)}


def whole() -> tuple[Lines, Content]:
    """A run in which all is well: two readers, one of them cut, and a takeover that cost a second request."""
    lines: Lines = [
        {"what": RUN, "seed": 1},
        {"what": MODEL, "question": QUESTION, "written": 0, "broken": ""},
        {"what": MODEL, "question": QUESTION, "written": HALF, "broken": ""},
        connection("r1", WIRE),
        connection("r2", FIRST + b"id: A.2\ndata: \xf0\x9f"),  # cut within a character
        connection("r2", SECOND + END),
        *({"what": READER, "reader": name, "question": QUESTION, "finished": True, "why": ""} for name in ("r1", "r2")),
    ]
    return lines, Content({"A": Logged(QUESTION, "c", wire=WIRE, epochs=[1, 2], closed=True)})


def received(lines: Lines, place: int, wire: bytes) -> None:
    """Let a connection have got something else."""
    lines[place]["received"] = as_text(wire)


def in_both(lines: Lines, content: Content, wire: bytes) -> None:
    """Let readers have got what is wrong in the journal, too."""
    received(lines, 3, wire)
    received(lines, 4, wire)
    del lines[5]
    content.answers["A"].wire = wire


ERROR = block(3, error="Broken", done=True, retryable=True, sequenceNumber=2)
DOCTORED: dict[str, Callable[[Lines, Content], object]] = {
    "lost": lambda lines, content: received(lines, 5, END),
    "twice": lambda lines, content: received(lines, 5, FIRST + SECOND + END),
    "other bytes": lambda lines, content: received(lines, 3, WIRE.replace(b'"text": ', b'"text":')),
    "no end": lambda lines, content: received(lines, 3, FIRST + SECOND),
    "two ends": lambda lines, content: received(lines, 3, WIRE + END),
    "another text": lambda lines, content: in_both(lines, content, WIRE.replace(TEXT[:3].encode(), b"???")),
    "stopped early": lambda lines, content: in_both(lines, content, FIRST + block(2, done=True, sequenceNumber=1)),
    "an error that nothing explains": lambda lines, content: in_both(lines, content, FIRST + SECOND + ERROR),
    "never finished": lambda lines, content: lines[-1].update(finished=False, why="waits"),
    "read nothing": lambda lines, content: lines.append({**lines[-1], "reader": "r3"}),
    "nobody read": lambda lines, content: lines.__delitem__(slice(1, None)),
    "another's answer": lambda lines, content: setattr(content.answers["A"], "question", "Other?"),
    "begun twice": lambda lines, content: lines.append(dict(lines[1])),
    "continued too often": lambda lines, content: lines.append(dict(lines[2])),
    "continued without a takeover": lambda lines, content: content.answers["A"].epochs.pop(),
    "never asked": lambda lines, content: lines.__delitem__(slice(1, 3)),
    "asked by nobody": lambda lines, content: lines.append({**lines[1], "question": "Other?"}),
    "answered for nobody": lambda lines, content: content.answers.update(B=Logged("B?", closed=True, epochs=[1])),
    "one name twice": lambda lines, content: content.answers.update(B=Logged(QUESTION, "c", closed=True)),
    "a lease of nobody": lambda lines, content: content.running.append("A:2"),
    "not closed": lambda lines, content: setattr(content.answers["A"], "closed", False),
    "a log that is wrong": lambda lines, content: content.answers["A"].problems.append("epochs [2, 1]"),
    "gone from the journal": lambda lines, content: content.answers.clear(),
}


def test_the_checker_is_content_with_what_is_whole() -> None:
    assert violations(*whole()) == []


def test_a_break_of_the_model_explains_a_request_and_enough_of_them_an_error() -> None:
    lines, content = whole()
    content.answers["A"].epochs = [1]
    lines[1]["broken"] = "stall"
    assert violations(lines, content) == []
    in_both(lines, content, FIRST + SECOND + ERROR)
    lines += [{**lines[1], "written": HALF}] * 3
    assert violations(lines, content) == []


@pytest.mark.parametrize("doctor", DOCTORED.values(), ids=DOCTORED)
def test_the_checker_finds_what_is_wrong(doctor: Callable[[Lines, Content], object]) -> None:
    lines, content = whole()
    doctor(lines, content)
    assert violations(lines, content)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.note(CONNECTION, received=as_text(b"\xf0\x9f caf\xc3\xa9\n\n"))
    (line,) = read(history.file)  # while it is written
    assert line["received"].encode("utf-8", "surrogateescape") == b"\xf0\x9f caf\xc3\xa9\n\n"
    history.close()


def test_a_plan_is_its_seeds() -> None:
    assert plan(7, 60, 3) == plan(7, 60, 3) != plan(8, 60, 3)
    assert sum(one.pause for one in plan(7, 60, 3)) < 60
    assert {one.fault for one in plan(7, 600, 3)} >= {"kill", "freeze", "kill Redis", "rolling restart"}
