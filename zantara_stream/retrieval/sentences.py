"""Sentences, list items and table rows of a text, as exact spans."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sentencex import get_sentence_boundaries

Span = tuple[int, int]

_ITEM = r"(?:[-*+•]|\d{1,3}[.)])[ \t]+"
# A line break ends a unit before a blank line, a list item, a table row, a quotation or a heading.
_UNIT_END = re.compile(rf"\n(?=[ \t]*(?:\n|{_ITEM}|\||>|#))|(?<=\|)[ \t]*\n")
_MARKERS = re.compile(rf"(?:[ \t\n]|{_ITEM}|>[ \t]?|#{{1,6}}[ \t])*")
_ROW_RULE = re.compile(r"[|:\-\s]*")
_WORD = re.compile(r"\w")
_CLOSING = re.compile(r"[*_]+(?=\s|$)")  # of emphasis that ends with its sentence
# Abbreviations of the field that sentencex takes for the end of an Indonesian sentence.
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:Rp|PT|CV|UD|Jl|No|Tn|Ny|Bpk|Sdr|Tbk|hlm|ca|approx|art)\.\s*$")


def sentences(text: str, language: str) -> list[Span]:
    """The spans of the sentences of `text`, in order, without list markers and surrounding space.

    Table rows are one sentence each; rules of tables and blank stretches are none.
    """
    return [span for unit in _units(text) for span in _in_unit(text, unit, language)]


def partition(text: str, language: str) -> list[Span]:
    """`text` cut into pieces that begin with its sentences and together are the whole of it."""
    starts = [start for start, _ in sentences(text, language)]
    if not starts:
        return [(0, len(text))] if text.strip() else []
    return list(zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True))


def _units(text: str) -> Iterator[Span]:
    start = 0
    for end in _UNIT_END.finditer(text):
        yield start, end.start()
        start = end.end()
    yield start, len(text)


def _in_unit(text: str, unit: Span, language: str) -> Iterator[Span]:
    body = text[unit[0] : unit[1]]
    if body.lstrip().startswith("|"):
        spans = [] if _ROW_RULE.fullmatch(body) else [(0, len(body))]
    else:
        spans = _boundaries(body, language)
    for start, end in spans:
        yield from _trimmed(text, unit[0] + start, unit[0] + end)


def _boundaries(body: str, language: str) -> list[Span]:
    merged: list[Span] = []
    for boundary in get_sentence_boundaries(language, body):
        start, end = boundary["start_index"], boundary["end_index"]
        closing = _CLOSING.match(body, start, end)
        if merged and closing and not body[start - 1].isspace():
            start = closing.end()
            merged[-1] = (merged[-1][0], start)
        if merged and _joins(body, merged[-1], (start, end)):
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _joins(body: str, before: Span, after: Span) -> bool:
    piece = body[before[0] : before[1]]
    return bool(_ABBREVIATION.search(piece)) or not _WORD.search(body[after[0] : after[1]])


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    match = _MARKERS.match(text, start, end)
    start = match.end() if match else start
    end = start + len(text[start:end].rstrip())
    if _WORD.search(text[start:end]):
        yield start, end
