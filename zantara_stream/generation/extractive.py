"""Answers without a language model: the sentences that answer best, quoted as they stand."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

from ..config import EXTRACTIVE
from ..retrieval.documents import UPDATED_LINE
from ..retrieval.encoder import Vectors
from ..retrieval.follow_up import Part as AskedPart
from ..retrieval.follow_up import parts
from ..retrieval.lexical import words
from ..retrieval.opened import Build
from ..retrieval.passages import Passage
from ..retrieval.search import Hit, match
from ..retrieval.sentences import sentences
from ..retrieval.served import Served
from .answerer import Finish, Part, Prompt, Quote, earlier
from .continuation import unwritten
from .expectation import expected, has
from .small_talk import known, reply

# Weights of a sentence's score beside its cosine; docs/decisions/0004 says where they come from.
BY_PASSAGE, BY_WORDS, BY_HEADINGS = 0.8, 0.1, 0.4
BY_NUMBER, BY_FIGURE, BY_TABLE, BY_POINTER = 0.1, 0.15, -0.15, -0.1
PASSAGES = 5  # whose sentences are weighed
MOST = 3  # sentences quoted
MARGIN = 0.08  # below the best score, beyond which a sentence is left out
ALIKE = 0.7  # share of common words above which one sentence repeats another
OWN_LANGUAGE = 0.75  # of the best passage's score, from which passages of the question's language go first
_NUMBER = re.compile(r"\d")
_POINTER = re.compile(r"(?:It|Its|They|Their|Each of them|Ia|Mereka|Ess[oaie]|Ell[aei]|Egli)\b")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a passage with its score for a question."""

    hit: Hit
    text: str
    place: tuple[int, int]  # in the passage
    score: float

    @property
    def passage(self) -> Passage:
        """The passage it stands in."""
        return self.hit.passage


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that might be quoted."""

    hit: Hit
    place: tuple[int, int]  # in the passage

    @property
    def text(self) -> str:
        """Its words."""
        return self.hit.passage.text[slice(*self.place)]

    @property
    def headed(self) -> str:
        """The sentence under its headings, which say of what it is."""
        return f"{self.hit.passage.context}: {self.text}"


class ExtractiveAnswerer:
    """Quotes the documents; announces that it does."""

    model = EXTRACTIVE

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """The best sentences with where they stand, a citation each, and a note of what they are."""
        async with aclosing(unwritten(self._parts(prompt), prompt.written)) as parts:
            async for part in parts:
                yield part

    async def _parts(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        searched = prompt.served if prompt.hits and not prompt.small_talk else None
        chosen = await chosen_of(prompt, searched) if searched else []
        if not chosen:
            yield _unquoted(prompt)
        position = 0
        for sentence, following in zip_longest(chosen, chosen[1:]):
            yield sentence.text
            yield Quote(sentence.passage, sentence.text, (position, position + len(sentence.text)), sentence.place)
            after = _after(sentence, following)
            yield after
            position += len(sentence.text) + len(after)
        if chosen:
            yield reply("extractive", prompt.language)
        yield Finish(made_from=tuple(dict.fromkeys(sentence.hit for sentence in chosen)))

    async def prepare(self) -> None:
        """Nothing is needed but the index."""

    async def close(self) -> None:
        """Nothing is held."""


def _unquoted(prompt: Prompt) -> str:
    """What is said where no document is quoted."""
    kind = prompt.small_talk or "nothing"
    if kind == "known":
        return known(prompt.facts, prompt.language)
    if kind == "not_remembered" and prompt.person.key:
        kind = "memory_off"  # somebody known is only refused where memory is off, on the server or for the question
    return reply(kind, prompt.language, prompt.person.called)


def _after(sentence: Sentence, following: Sentence | None) -> str:
    """What stands behind a quoted sentence: where it is from, once for sentences from under the same headings."""
    if following is not None and following.passage.context == sentence.passage.context:
        return "\n"
    return f"\n— {sentence.passage.context}\n\n"


async def chosen_of(prompt: Prompt, served: Served) -> list[Sentence]:
    """The sentences to quote from the passages of a prompt, best first."""
    weighed = await served.run(lambda build: candidates(prompt))
    if not weighed:
        return []
    asked = parts(prompt.query, earlier(prompt.history))
    vectors = await served.encode([*(part.text for part in asked), *(candidate.headed for candidate in weighed)])
    return await served.run(partial(choose, asked, weighed, vectors))


def candidates(prompt: Prompt) -> list[Candidate]:
    """The sentences of the best passages of a prompt."""
    return [
        Candidate(hit, (start, end))
        for hit in _own_language(prompt)[:PASSAGES]
        for start, end in sentences(hit.passage.text, hit.passage.language)
        if not UPDATED_LINE.match(hit.passage.text[start:end])  # the date of the document, which answers nothing
    ]


def choose(asked: Sequence[AskedPart], weighed: Sequence[Candidate], vectors: Vectors, build: Build) -> list[Sentence]:
    """The sentences to quote, best first.

    `vectors` are those of the parts of the question, then those of the candidates with their headings.
    """
    scored = sorted(_scored(asked, weighed, vectors, build), key=lambda sentence: -sentence.score)
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


def _scored(
    asked: Sequence[AskedPart], weighed: Sequence[Candidate], vectors: Vectors, build: Build
) -> Iterator[Sentence]:
    sought = build.sought(asked, vectors[: len(asked)])
    terms = sought.terms
    kinds = next(filter(None, (expected(part.text) for part in asked)), [])
    for candidate, cosine in zip(weighed, vectors[len(asked) :] @ sought.vector, strict=True):
        hit, text = candidate.hit, candidate.text
        language = hit.passage.language
        own, headed = (match(terms, seen, language, build.lexical).coverage for seen in (text, candidate.headed))
        worded = BY_WORDS * own + BY_HEADINGS * headed
        yield Sentence(hit, text, candidate.place, float(cosine) + BY_PASSAGE * hit.score + worded + _form(text, kinds))


def _form(text: str, kinds: list[str]) -> float:
    """A figure of a kind that is asked for counts, any figure a little.

    A row says little out of its table, nor does a sentence that points back at one that is not quoted.
    """
    figures = BY_FIGURE * sum(has(kind, text) for kind in kinds) + BY_NUMBER * bool(_NUMBER.search(text))
    return figures + BY_TABLE * _is_row(text) + BY_POINTER * bool(_POINTER.match(text))


def _is_row(text: str) -> bool:
    return " | " in text


def _alike(one: str, other: str) -> bool:
    a, b = set(words(one)), set(words(other))
    return len(a & b) > ALIKE * min(len(a), len(b))
