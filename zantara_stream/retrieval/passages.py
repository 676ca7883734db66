"""Passages: what is embedded, found and cited. Exact spans of a document, within the model's tokens."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from .documents import Document, Section
from .readers.outline import JOIN

PASSAGE_SIZE = 800  # characters; the tokens are counted afterwards, which is 150 times quicker
_CONTEXT_SHARE = 3  # the context takes at most a third of the tokens

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document's text, with what a reader needs to know of it."""

    id: str
    document: str
    title: str
    section: str
    page: int | None
    language: str
    updated: str
    url: str
    start: int
    end: int
    text: str

    @property
    def context(self) -> str:
        """The headings above the passage, from the document's title down."""
        return _context(self.title, self.section)


def _context(title: str, section: str) -> str:
    return JOIN.join(part for part in (title, section) if part)


def embedded_text(passage: Passage, count: CountTokens, budget: int) -> str:
    """What the model sees of a passage: its headings, which say what it is about, and its text."""
    return f"{_fitted(passage.context, count, budget // _CONTEXT_SHARE)}\n{passage.text}"


def _fitted(context: str, count: CountTokens, budget: int) -> str:
    while count(context) > budget:
        context = context[len(context) // 2 :].lstrip()  # the nearest headings say most
    return context


def split(document: Document, count: CountTokens, budget: int) -> list[Passage]:
    """Cut a document by its structure into passages of at most `budget` tokens, headings included.

    `count` counts a text's tokens with the model's special ones. Nothing is left out but headings,
    front matter and blank space; spans never overlap.
    """
    passages: list[Passage] = []
    seen: Counter[str] = Counter()
    for section in document.sections:
        context = _context(document.title, section.heading)
        room = budget - count(_fitted(context, count, budget // _CONTEXT_SHARE))
        for start, end in _spans(document, section, count, room):
            text = document.text[start:end]
            passages.append(_passage(document, section, start, end, seen[text]))
            seen[text] += 1
    return passages


def _spans(document: Document, section: Section, count: CountTokens, room: int) -> Iterator[tuple[int, int]]:
    text = document.text[section.start : section.end]
    splitter = MarkdownSplitter if document.markdown else TextSplitter
    for offset, chunk in splitter(PASSAGE_SIZE).chunk_indices(text):
        pieces = [(0, chunk)]
        if count(chunk) > room:
            pieces = splitter.from_callback(count, room).chunk_indices(chunk)
        for inner, piece in pieces:
            start = section.start + offset + inner
            yield start, start + len(piece)


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
        start=start,
        end=end,
        text=text,
    )


def _identity(path: str, text: str, repeat: int) -> str:
    """An id that stays while the passage does, wherever in its document it moves."""
    return hashlib.sha256(f"{path}\0{text}\0{repeat}".encode()).hexdigest()[:16]
