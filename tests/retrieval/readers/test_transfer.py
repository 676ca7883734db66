from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import strategies as made
from hypothesis import given, settings

from zantara_stream.retrieval.documents import Document, Section, Unreadable
from zantara_stream.retrieval.readers.transfer import decoded, encoded, encoded_problem

DOCUMENT = Document(
    "a.pdf", "T", "One. Zwölf 😀\n", (Section("S › T", 0, 4), Section("", 5, 12)), "de", "2026-01-31",
    "https://example.com", (0, 5), True, 3, "draft", True,
)  # fmt: skip


def test_every_field_comes_back() -> None:
    line = encoded(DOCUMENT)
    assert line.count(b"\n") == 1
    assert decoded(line, "a.pdf") == DOCUMENT
    assert decoded(encoded(replace(DOCUMENT, sections=(), pages=())), "a.pdf").pages == ()


@settings(deadline=None, max_examples=50)
@given(made.documents())
def test_every_document_comes_back(document: Document) -> None:
    assert decoded(encoded(document), document.path) == document


def test_its_path_is_the_one_that_was_asked_for() -> None:
    assert decoded(encoded(DOCUMENT), "other.pdf").path == "other.pdf"


def test_a_problem_comes_back_on_one_short_line() -> None:
    for reason, shown in (
        ("is\n damaged", "is damaged"),
        ("x" * 400, "x" * 300),
        ("in caf\udce9", r"in caf\udce9"),
        ("é", "é"),
    ):
        with pytest.raises(Unreadable) as caught:
            decoded(encoded_problem(reason), "a.pdf")
        assert str(caught.value) == shown


def _with(**changes: Any) -> bytes:
    return json.dumps(asdict(DOCUMENT) | changes).encode()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"problem": 1}',
        _with(text=1),
        _with(level="0"),
        _with(level=True),
        _with(markdown=1),
        _with(title="half \ud800"),
        _with(pages=[0, "1"]),
        _with(pages=1),
        _with(sections=[["S", 0, 4]]),
        _with(sections=[{"heading": "S", "start": 0, "end": 14}]),
        _with(sections=[{"heading": "S", "start": -1, "end": 4}]),
        _with(sections=[{"heading": "S", "start": 5, "end": 4}]),
        json.dumps({name: value for name, value in asdict(DOCUMENT).items() if name != "level"}).encode(),
    ],
)
def test_what_is_no_document_is_not_taken_for_one(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - from JSON, from UTF-8 and from ours
        decoded(line, "a.pdf")
