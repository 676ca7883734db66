"""The checker finds what it is there to find."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from . import checker


def wire(*numbers: int, end: bool = True, answer: str = "A", last: int = 4) -> bytes:
    """A log of those chunks as a reader gets it."""
    parts = [f'id: {answer}.{n}\ndata: {{"text":"{n} ","sequenceNumber":{n}}}\n\n' for n in numbers]
    parts += [f'id: {answer}.{last}\ndata: {{"done":true,"sequenceNumber":{last - 1}}}\n\n'] if end else []
    return "".join(parts).encode()


JOURNAL = {"A": wire(1, 2, 3)}
PING = b"event: ping\ndata: {}\n\n"


def test_the_checker_is_content_with_what_is_whole() -> None:
    opening = b'retry: 1000\nevent: start\nid: A.0\ndata: {"offset":0}\n\n'
    received = [opening + wire(1, end=False) + b"id: A.2\ndata: {", PING + wire(2, 3)]
    assert checker.problems(received, JOURNAL) == []
    assert checker.text(received) == "1 2 3 "


@pytest.mark.parametrize(
    "received",
    [
        [wire(1, 3)],
        [wire(1, 2, end=False), wire(2, 3)],
        [wire(1, 3, 2)],
        [wire(1, 2, 3), wire()],
        [wire(1, 2, 3, end=False)],
        [wire(1, 2, end=False), wire(3, answer="B")],
        [wire(1, 2, 3).replace(b'"2 "', b'"x "')],
        [wire(1, 2, 3).replace(b'{"text":"2 "', b'{"text": "2 "')],
        [],
    ],
    ids=["lost", "twice", "out of order", "two ends", "no end", "other answer", "other text", "other bytes", "nothing"],
)
def test_the_checker_finds_what_is_wrong(received: list[bytes]) -> None:
    assert checker.problems(received, JOURNAL)


@pytest.mark.parametrize(
    "wrong", [wire(1, 3), wire(1, 2, 2, 3), wire(2, 1, 3), wire(1, 2, 3) + wire(), wire(1, 2, 3, last=5)]
)
def test_the_checker_does_not_trust_the_journal(wrong: bytes) -> None:
    assert checker.problems([wrong], {"A": wrong})


GAP = b'event: gap\nid: A.3\ndata: {"text":"1 2 3 "}\n\n'


def test_a_gap_stands_for_what_was_before_it_and_never_for_another_text() -> None:
    journal = {"A": GAP + wire()}
    seen = [wire(1, 2, end=False), b"retry: 1000\n" + GAP, PING + wire()]
    assert checker.gap_problems(seen, journal, "1 2 3 ") == []
    assert checker.gap_problems([wire(1, 2, 3)], JOURNAL, "1 2 3 ") == []
    assert checker.gap_problems([wire(1, 2, 3)], JOURNAL, "1 2 x ") == ["another text"]
    assert checker.gap_problems(seen, journal, "1 2 x ") == ["another text after a gap"]
    assert checker.gap_problems(seen[:2], journal, "1 2 3 ") == ["the journal has other bytes after a gap"]
    assert checker.gap_problems([wire(1, 2, 3)], journal, "1 2 3 ")


def test_the_checker_counts_the_requests_of_each_question() -> None:
    assert checker.overpaid(["a", "b", "b"], {"a": 1, "b": 1}, {"b": 1}, most=1) == []
    assert checker.overpaid(["a"], {"a": 2}, {}, most=1) == ["'a' was begun 2 times and continued 0 times"]
    assert checker.overpaid(["a"], {"a": 1}, {"a": 2}, most=1) == ["'a' was begun 1 times and continued 2 times"]
    assert checker.overpaid(["a"], {}, {}, most=1) == ["'a' was begun 0 times and continued 0 times"]
    assert checker.overpaid(["a", "b"], {"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 1}) == [
        "'b' was begun 1 times and continued 1 times"
    ]
    assert checker.overpaid(["a"], {"a": 1, "c": 1}, {}, most=1) == ["'c' was asked by nobody"]


def test_the_checker_reads_closed_answers_from_the_file_and_counts_the_others(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "answers.db")
    db.execute("CREATE TABLE answers (answer, closed, frames)")
    db.executemany("INSERT INTO answers VALUES (?, ?, ?)", [("A", 1.0, wire(1)), ("B", None, None), ("C", None, None)])
    db.commit()
    db.close()
    assert checker.journalled(tmp_path / "answers.db") == {"A": wire(1)}
    assert checker.unfinished(tmp_path / "answers.db") == 2
