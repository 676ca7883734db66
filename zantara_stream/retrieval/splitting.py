"""Documents cut into passages by their structure, within the model's tokens."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from .documents import Document, Section
from .passages import CountTokens, Passage, context_of, fitted

Span = tuple[int, int]

PASSAGE_SIZE = 800  # characters; the tokens are counted afterwards, which is 150 times quicker
SCRAP = 150  # characters; less than that says too little by itself
EVEN = 1.15  # times the mean, since pieces end where sentences do


def split(document: Document, count: CountTokens, budget: int) -> list[Passage]:
    """Cut a document by its structure into passages of at most `budget` tokens, headings included.

    `count` counts a text's tokens with the model's special ones. Nothing is left out but headings,
    front matter and blank space; spans never overlap.
    """
    passages: list[Passage] = []
    seen: Counter[str] = Counter()
    for section in document.sections:
        context = context_of(document.title, section.heading)
        room = budget - count(fitted(context, count, budget))
        for start, end in _joined(_spans(document, section, count, room), document.text, count, room):
            text = document.text[start:end]
            passages.append(_passage(document, section, start, end, seen[text]))
            seen[text] += 1
    return passages


def _spans(document: Document, section: Section, count: CountTokens, room: int) -> Iterator[Span]:
    text = document.text[section.start : section.end]
    splitter = MarkdownSplitter if document.markdown else TextSplitter
    for offset, chunk in splitter(_evenly(len(text), PASSAGE_SIZE)).chunk_indices(text):
        pieces = [(0, chunk)]
        if (tokens := count(chunk)) > room:
            pieces = splitter.from_callback(count, _evenly(tokens, room)).chunk_indices(chunk)
        for inner, piece in pieces:
            start = section.start + offset + inner
            yield start, start + len(piece)


def _joined(spans: Iterable[Span], text: str, count: CountTokens, room: int) -> Iterator[Span]:
    """The spans, but that a scrap goes with the one before it where both are within the room."""
    held: Span | None = None
    for span in spans:
        if held and min(_length(held), _length(span)) < SCRAP and count(text[held[0] : span[1]]) <= room:
            held = (held[0], span[1])
            continue
        if held:
            yield held
        held = span
    if held:
        yield held


def _length(span: Span) -> int:
    return span[1] - span[0]


def _evenly(size: int, most: int) -> int:
    """The size of pieces that are much alike, so that none is a scrap; at most `most`."""
    pieces = max(1, math.ceil(size / most))
    return max(1, min(most, math.ceil(EVEN * size / pieces)))


def _passage(document: Document, section: Section, start: int, end: int, repeat: int) -> Passage:
    text = document.text[start:end]
    return Passage(
        id=_identity(document.path, text, repeat),
        document=document.path,
        title=document.title,
        section=section.heading,
        page=document.page(start),
        language=document.language,
        updated=document.updated,
        url=document.url,
        level=document.level,
        start=start,
        end=end,
        text=text,
    )


def _identity(path: str, text: str, repeat: int) -> str:
    """An id that stays while the passage does, wherever in its document it moves."""
    return hashlib.sha256(f"{path}\0{text}\0{repeat}".encode()).hexdigest()[:16]
