"""Finding passages: dense and lexical candidates, scored by both, judged for relevance, and chosen among.

docs/decisions/0004 and 0015 say where the numbers come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .corpus import Corpus
from .encoder import Vectors
from .lexical import LexicalIndex, Weighted, stems, words
from .passages import Passage
from .vector_index import VectorIndex

DEPTH = 100  # candidates taken from each side
DENSE_SHARE = 0.64  # of the score; the rest is BM25 over its best, so that an unsure model decides little

# What makes a passage an answer and not just the nearest there is: its cosine, the share of the query's
# words that it has, and how many telling words those are.
BY_SIMILARITY, BY_COVERAGE, BY_EVIDENCE, BAR = 1.05, 0.6, 0.4, 1.0

LOOKED_AT = 4  # times as many as are wanted are looked at for repeats and crowding
REPEAT = 0.9  # share of common words above which one passage repeats another
CROWD, CROWDED = 5, 0.02  # passages of one document that go free; what each one more costs of the score


@dataclass(frozen=True, slots=True)
class Sought:
    """What is searched for: a vector of length 1, and terms with their weights."""

    vector: Vectors
    terms: Weighted


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates, best first: their numbers, their exact cosines, and their fused scores."""

    numbers: NDArray[np.int64]
    cosines: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Match:
    """How a text meets a query's words: the share that it has, by weight, and their weight in rarest words."""

    coverage: float
    evidence: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found: its cosine with the query, its fused score, and whether it bears on the query at all."""

    passage: Passage
    similarity: float
    score: float
    relevant: bool


class Searched(Protocol):
    """The parts of a build that are searched; one thread at a time may ask them."""

    @property
    def index(self) -> VectorIndex:
        """The passages' vectors."""
        ...

    @property
    def lexical(self) -> LexicalIndex:
        """The passages' words."""
        ...

    @property
    def corpus(self) -> Corpus:
        """The passages themselves."""
        ...


def find(build: Searched, sought: Sought, limit: int, level: int = 0) -> list[Hit]:
    """The best `limit` passages up to an access level, best first.

    One that repeats a better one is left out, and many of one document give way to almost as good ones of others.
    """
    ranking = rank(build, sought, level)
    looked_at = [int(number) for number in ranking.numbers[: limit * LOOKED_AT]]
    passages = build.corpus.passages(looked_at)
    return [
        _hit(build, sought, passages[place], float(ranking.cosines[place]), float(ranking.scores[place]))
        for place in choose(passages, ranking.scores.tolist(), limit)
    ]


def rank(build: Searched, sought: Sought, level: int = 0, depth: int = DEPTH) -> Ranking:
    """The union of the nearest and the wordiest passages, each scored exactly by both sides."""
    allowed = build.corpus.allowed(level)
    bm25 = build.lexical.scores(sought.terms)
    if allowed is not None:
        bm25 = np.where(allowed.passages, bm25, np.float32(0))
    best = float(bm25.max(initial=0.0))
    nearest = np.asarray(build.index.nearest(sought.vector, depth, allowed), np.int64)
    numbers = np.union1d(nearest, _highest(bm25, depth))
    cosines = build.index.similarities(sought.vector, numbers.tolist())
    worded = bm25[numbers] / best if best else np.zeros(len(numbers), np.float32)
    scores = DENSE_SHARE * cosines + (1 - DENSE_SHARE) * worded
    order = np.argsort(-scores, kind="stable")
    return Ranking(numbers[order], cosines[order], scores[order])


def _highest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The places of the highest scores above 0."""
    found = np.flatnonzero(scores > 0)
    if len(found) > count:
        bar = -np.partition(-scores[found], count - 1)[count - 1]
        above, level = found[scores[found] > bar], found[scores[found] == bar]
        found = np.append(above, level[:count])  # equal ones together, lest a tie be cut at random
    return found


def _hit(build: Searched, sought: Sought, passage: Passage, cosine: float, score: float) -> Hit:
    met = match(sought.terms, passage.headed, passage.language, build.lexical)
    similarity = min(1.0, max(0.0, cosine))
    bearing = BY_SIMILARITY * similarity + BY_COVERAGE * met.coverage + BY_EVIDENCE * met.evidence
    return Hit(passage, similarity, score, bearing >= BAR)


def match(terms: Weighted, text: str, language: str, lexical: LexicalIndex) -> Match:
    """Hold a text against the terms of a query."""
    present = set(stems(text, language))
    total = sum(weight * lexical.weight(term) for term, weight in terms)
    found = sum(weight * lexical.weight(term) for term, weight in terms if term & present)
    return Match(found / total if total else 0.0, found / lexical.heaviest)


def choose(passages: Sequence[Passage], scores: Sequence[float], limit: int) -> list[int]:
    """The places of at most `limit` passages to take, in their order, without repeats and crowds."""
    left, chosen = list(range(len(passages))), dict[int, frozenset[str]]()
    taken: Counter[str] = Counter()
    while left and len(chosen) < limit:
        best = max(left, key=lambda place: scores[place] - _crowding(taken[passages[place].document]))
        left.remove(best)
        told = frozenset(words(f"{passages[best].context} {passages[best].text}"))
        if not any(_repeats(told, other) for other in chosen.values()):
            chosen[best] = told
            taken[passages[best].document] += 1
    return sorted(chosen)


def _crowding(taken: int) -> float:
    return CROWDED * max(0, taken - CROWD + 1)


def _repeats(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two texts say the same: nearly all words in common, and every figure."""
    if len(one & other) < REPEAT * len(one | other):
        return False
    return not any(character.isdigit() for word in one ^ other for character in word)
