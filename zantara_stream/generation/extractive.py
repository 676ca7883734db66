"""Answers without a language model: the sentences that answer best, quoted as they stand."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

from ..config import EXTRACTIVE
from ..retrieval.lexical import words
from ..retrieval.library import Build, Library
from ..retrieval.passages import Passage
from ..retrieval.readers.details import UPDATED_LINE
from ..retrieval.search import Hit, match
from ..retrieval.sentences import sentences
from .answerer import Finish, Part, Prompt, Quote
from .small_talk import reply

# Weights of a sentence's score, fitted on tests/questions/sample.jsonl.
BY_PASSAGE, BY_COVERAGE, BY_NUMBER, BY_TABLE = 0.7, 0.2, 0.1, -0.1
PASSAGES = 5  # whose sentences are weighed
MOST = 3  # sentences quoted
MARGIN = 0.08  # below the best score, beyond which a sentence is left out
ALIKE = 0.7  # share of common words above which one sentence repeats another
OWN_LANGUAGE = 0.75  # of the best passage's score, from which passages of the question's language go first
_NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a passage with its score for a question."""

    hit: Hit
    text: str
    score: float

    @property
    def passage(self) -> Passage:
        """The passage it stands in."""
        return self.hit.passage


class ExtractiveAnswerer:
    """Quotes the documents; announces that it does."""

    model = EXTRACTIVE

    def __init__(self, library: Library) -> None:
        self._library = library

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """The best sentences with where they stand, a citation each, and a note of what they are."""
        chosen = await self._library.run(partial(choose, prompt)) if prompt.hits else []
        if not chosen:
            yield reply(prompt.small_talk or "nothing", prompt.language)
        position = 0
        for sentence, following in zip_longest(chosen, chosen[1:]):
            yield sentence.text
            yield Quote(sentence.passage, sentence.text, (position, position + len(sentence.text)))
            after = _after(sentence, following)
            yield after
            position += len(sentence.text) + len(after)
        if chosen:
            yield reply("extractive", prompt.language)
        yield Finish(made_from=tuple(dict.fromkeys(sentence.hit for sentence in chosen)))

    async def close(self) -> None:
        """Nothing is held."""


def _after(sentence: Sentence, following: Sentence | None) -> str:
    """What stands behind a quoted sentence: where it is from, once for sentences from under the same headings."""
    if following is not None and following.passage.context == sentence.passage.context:
        return "\n"
    return f"\n— {sentence.passage.context}\n\n"


def choose(prompt: Prompt, build: Build) -> list[Sentence]:
    """The sentences to quote, best first."""
    candidates = [
        (hit, hit.passage.text[start:end])
        for hit in _own_language(prompt)[:PASSAGES]
        for start, end in sentences(hit.passage.text, hit.passage.language)
        if not UPDATED_LINE.match(hit.passage.text[start:end])  # the date of the document, which answers nothing
    ]
    scored = sorted(_scored(prompt.query, candidates, build), key=lambda sentence: -sentence.score)
    chosen: list[Sentence] = []
    for sentence in scored:
        if sentence.score < scored[0].score - MARGIN or len(chosen) == MOST:
            break
        if not (chosen and _is_row(sentence.text)) and not any(_alike(sentence.text, other.text) for other in chosen):
            chosen.append(sentence)
    return chosen


def _own_language(prompt: Prompt) -> tuple[Hit, ...]:
    """The passages in the question's language, where there are good ones; else all."""
    bar = OWN_LANGUAGE * max(hit.score for hit in prompt.hits)
    own = tuple(hit for hit in prompt.hits if hit.passage.language == prompt.language)
    return own if any(hit.score >= bar for hit in own) else prompt.hits


def _scored(query: str, candidates: list[tuple[Hit, str]], build: Build) -> Iterator[Sentence]:
    seen = [f"{hit.passage.context}: {text}" for hit, text in candidates]
    vectors = build.embedder.encode([query, *seen])
    terms = build.lexical.terms(query)
    for (hit, text), cosine in zip(candidates, vectors[1:] @ vectors[0], strict=True):
        covered = match(terms, text, hit.passage.language, build.lexical).coverage
        yield Sentence(hit, text, float(cosine) + BY_PASSAGE * hit.score + BY_COVERAGE * covered + _form(text))


def _form(text: str) -> float:
    """Figures are what is mostly asked for; a table's row says little out of its table."""
    return BY_NUMBER * bool(_NUMBER.search(text)) + BY_TABLE * _is_row(text)


def _is_row(text: str) -> bool:
    return " | " in text


def _alike(one: str, other: str) -> bool:
    a, b = set(words(one)), set(words(other))
    return len(a & b) > ALIKE * min(len(a), len(b))
