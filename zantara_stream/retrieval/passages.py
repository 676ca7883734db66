"""Passages: what is embedded, found and cited. Exact spans of a document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .documents import JOIN

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
    level: int  # of access: 0 for everybody … 3
    start: int
    end: int
    text: str

    @property
    def context(self) -> str:
        """The headings above the passage, from the document's title down."""
        return context_of(self.title, self.section)

    @property
    def headed(self) -> str:
        """The passage under its headings, as whoever judges it reads it."""
        return f"{self.context}\n{self.text}"


def context_of(title: str, section: str) -> str:
    """A document's title and the headings below it, as one line."""
    return JOIN.join(part for part in (title, section) if part)


def embedded_text(passage: Passage, count: CountTokens, budget: int) -> str:
    """What the model sees of a passage: its headings, which say what it is about, and its text."""
    return f"{fitted(passage.context, count, budget)}\n{passage.text}"


def indexed_text(passage: Passage) -> str:
    """What is indexed of a passage's words: its headings count twice, since they say what it is about."""
    return f"{passage.context}\n{passage.headed}"


def fitted(context: str, count: CountTokens, budget: int) -> str:
    """The end of a context that leaves most of the model's tokens to the passage."""
    while count(context) > budget // _CONTEXT_SHARE:
        context = context[len(context) // 2 :].lstrip()  # the nearest headings say most
    return context
