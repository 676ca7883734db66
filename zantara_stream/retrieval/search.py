"""Finding passages: dense and lexical candidates, scored by both, and judged for relevance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .corpus import Corpus
from .embedding import Vectors
from .index import VectorIndex
from .lexical import LexicalIndex, Term, stems
from .passages import Passage

DEPTH = 50  # candidates taken from each side
DENSE_SHARE = 0.6  # of the score; the rest is BM25 over its best, so that an unsure model decides little


# What makes a passage an answer and not just the nearest there is: its cosine, the share of the query's
# words that it has, and how many telling words those are. The weights were fitted on tests/questions;
# docs/decisions/0004 has what they do there.
BY_SIMILARITY, BY_COVERAGE, BY_EVIDENCE, BAR = 0.8, 0.4, 0.6, 1.0


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


def find(
    query: str, vector: Vectors, limit: int, index: VectorIndex, lexical: LexicalIndex, corpus: Corpus
) -> list[Hit]:
    """The best `limit` passages for a query, best first; the union of both sides, each scored exactly."""
    terms = lexical.terms(query)
    bm25 = lexical.scores(terms)
    best = float(bm25.max(initial=0.0))
    wordy = np.argsort(-bm25, kind="stable")[:DEPTH]
    numbers = sorted({*index.nearest(vector, DEPTH), *(int(n) for n in wordy if bm25[n] > 0)})
    cosines = index.similarities(vector, numbers)
    lexical_part = bm25[numbers] / best if best else np.zeros(len(numbers))
    scores = DENSE_SHARE * cosines + (1 - DENSE_SHARE) * lexical_part
    order = sorted(range(len(numbers)), key=lambda place: (-scores[place], numbers[place]))[:limit]
    passages = corpus.passages([numbers[place] for place in order])
    return [
        _hit(
            passage,
            float(cosines[place]),
            float(scores[place]),
            match(terms, f"{passage.context}\n{passage.text}", passage.language, lexical),
        )
        for place, passage in zip(order, passages, strict=True)
    ]


def _hit(passage: Passage, cosine: float, score: float, match: Match) -> Hit:
    similarity = min(1.0, max(0.0, cosine))
    bearing = BY_SIMILARITY * similarity + BY_COVERAGE * match.coverage + BY_EVIDENCE * match.evidence
    return Hit(passage, similarity, score, bearing >= BAR)


def match(terms: list[Term], text: str, language: str, lexical: LexicalIndex) -> Match:
    """Hold a text against the terms of a query."""
    present = set(stems(text, language))
    total = sum(lexical.weight(term) for term in terms)
    found = sum(lexical.weight(term) for term in terms if term & present)
    return Match(found / total if total else 0.0, found / lexical.heaviest)
