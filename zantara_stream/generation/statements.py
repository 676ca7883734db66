"""What a marked statement of an answer rests on: the one sentence of the passage that says it best.

A marker says which passage; the sentence is found here, by the telling words and the figures that it shares with
the statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..retrieval.lexical import LexicalIndex, Term, stems, words
from ..retrieval.passages import Passage
from ..retrieval.sentences import sentences
from .answerer import Quote
from .citations import Span, drop
from .markers import Marker

REACH = 1000  # characters before a marker in which its statement begins
_FIGURE = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_GROUPING = re.compile(r"[.,](?=[0-9]{3}(?![0-9]))")
_BETWEEN = " \t\r\n,;:."  # two statements of one sentence


class Statements:
    """An answer as it grows, beginning with what is `written`, and the passages that its markers name."""

    def __init__(self, passages: Sequence[Passage], language: str, written: str = "") -> None:
        self._passages = passages
        self._language = language
        self._text = written
        self._marked = 0  # where the last marker stood
        self._last: Span | None = None  # what it stood behind
        self._support: Support | None = None

    def add(self, text: str) -> None:
        """The answer goes on."""
        self._text += text

    def quotes(self, marker: Marker, position: int) -> Iterator[Quote]:
        """The quote that each passage of a marker has for the statement before that position of the answer.

        A passage that has nothing for it is dropped, and counted.
        """
        span = self._statement(position)
        self._marked, self._last = position, span
        for number in marker.passages:
            passage = self._passages[number]
            place = self._place(passage, span)
            if span is None or place is None:
                drop("passage %s does not have what is said to rest on it", passage.id)
            else:
                yield Quote(passage, passage.text[slice(*place)], span, place)

    def _place(self, passage: Passage, span: Span | None) -> Span | None:
        if span is None:
            return None
        if self._support is None:
            self._support = Support(self._passages)
        return self._support.best(passage, self._text[slice(*span)])

    def _statement(self, position: int) -> Span | None:
        """The sentence, list item or row that ends there, or what of it follows the last marker."""
        before = max(self._text.rfind("\n\n", 0, position), position - REACH, 0)
        found = sentences(self._text[before:position], self._language)
        if not found or self._text[before + found[-1][1] : position].strip():
            return None
        start, end = before + found[-1][0], before + found[-1][1]
        if not start < self._marked <= position:
            return start, end
        since = self._text[self._marked : end]
        return (end - len(since.lstrip(_BETWEEN)), end) if words(since) else self._last


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a passage: its span, its words as they are indexed, and its figures."""

    span: Span
    forms: frozenset[str]
    figures: frozenset[str]


class Support:
    """Finds the sentences of some passages that support a statement."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._sentences = {passage.id: list(_sentences(passage)) for passage in passages}
        texts = [
            (passage.text[slice(*sentence.span)], passage.language)
            for passage in passages
            for sentence in self._sentences[passage.id]
            if sentence.forms
        ]
        # Over these few sentences, so that what all of them say tells none of them.
        self._lexical = LexicalIndex.build(*zip(*texts, strict=True)) if texts else None

    def best(self, passage: Passage, statement: str) -> Span | None:
        """The sentence that shares most with the statement; None where none shares a telling word or a figure.

        It is the weight of the words that it shares, in rarest words, and a figure weighs as much as one of these.
        """
        weights, named = self._weights(_FIGURE.sub(" ", statement)), figures(statement)
        best, most = None, 0.0
        for sentence in self._sentences[passage.id]:
            shared = sum(weight for term, weight in weights if term & sentence.forms)
            shared += len(named & sentence.figures)
            if shared > most:
                best, most = sentence.span, shared
        return best

    def _weights(self, statement: str) -> list[tuple[Term, float]]:
        if self._lexical is None:
            return []
        heaviest = self._lexical.heaviest
        return [(term, self._lexical.weight(term) / heaviest) for term in self._lexical.terms(statement)]


def _sentences(passage: Passage) -> Iterator[Sentence]:
    for span in sentences(passage.text, passage.language):
        text = passage.text[slice(*span)]
        yield Sentence(span, frozenset(stems(text, passage.language)), figures(text))


def figures(text: str) -> frozenset[str]:
    """The figures in a text, however their thousands and decimals are set apart."""
    return frozenset(_GROUPING.sub("", figure).replace(",", ".") for figure in _FIGURE.findall(text))
