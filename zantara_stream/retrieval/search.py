"""Finding passages: dense and lexical candidates, scored by both, and judged for relevance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .corpus import Corpus
from .embedding import Vectors
from .index import VectorIndex
from .lexical import LexicalIndex, stems
from .passages import Passage

DEPTH = 50  # candidates taken from each side
DENSE_SHARE = 0.6  # of the score; the rest is BM25 over its best, so that an unsure model decides little


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found: its cosine with the query, how much of the query's words it has, and the fused score."""

    passage: Passage
    similarity: float
    coverage: float
    score: float


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
        Hit(passage, _unit(cosines[place]), coverage(terms, passage, lexical), float(scores[place]))
        for place, passage in zip(order, passages, strict=True)
    ]


def coverage(terms: list[frozenset[str]], passage: Passage, lexical: LexicalIndex) -> float:
    """The share, by weight, of a query's terms that a passage or its headings have."""
    present = set(stems(f"{passage.context}\n{passage.text}", passage.language))
    weights = [(lexical.weight(term), bool(term & present)) for term in terms]
    total = sum(weight for weight, _ in weights)
    return sum(weight for weight, found in weights if found) / total if total else 0.0


def _unit(cosine: float) -> float:
    return min(1.0, max(0.0, float(cosine)))
