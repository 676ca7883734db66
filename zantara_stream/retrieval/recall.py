"""How much an index that does not look at every vector finds, and the least that it has to look at for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import faiss
import numpy as np
from numpy.typing import NDArray

from .encoder import Vectors

TARGET = 0.987  # of the ten nearest that a search of all vectors finds
NEARLY = 0.002  # below the best is as good, where a byte a dimension cannot tell enough apart for the target
QUERIES, NEAREST = 500, 10  # what the recall is measured on
TIE = 1e-6  # cosines this close are the same
SEED = 1729

# The numbers of the nearest vectors to each row, that many, looking into so much; -1 for one that was not found.
Search = Callable[[Vectors, int, int], NDArray[np.int64]]


def fewest_probes(search: Search, vectors: Vectors, ladder: Iterable[int]) -> tuple[int, float]:
    """The lowest step of the ladder for the target, or for nearly the best there is; and the recall measured."""
    queries, depth = _like_questions(vectors), min(NEAREST, len(vectors))
    furthest = faiss.knn(queries, vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)[0][:, -1:]
    measured: dict[int, float] = {}
    for probes in ladder:
        numbers = search(queries, depth, probes)
        cosines = np.einsum("qd,qnd->qn", queries, vectors[numbers])
        # By nearness and not by number: of passages that are repeated, either one is right.
        measured[probes] = float(((cosines >= furthest - TIE) & (numbers >= 0)).mean())
        if measured[probes] >= TARGET:
            break
    enough = min(TARGET, max(measured.values()) - NEARLY)
    return next((probes, recall) for probes, recall in measured.items() if recall >= enough)


def _like_questions(vectors: Vectors) -> Vectors:
    """Vectors to measure with: rows pushed off in a random direction, twice as far as they are long.

    A row itself, or the middle of two near ones, lies deeper in its list than a question does and promises a
    recall that questions do not get; docs/decisions/0010 has the comparison.
    """
    random = np.random.default_rng(SEED)
    rows = vectors[random.integers(len(vectors), size=QUERIES)]
    return _unit(rows + 2 * _unit(random.normal(size=rows.shape)))


def _unit(rows: NDArray[np.floating]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
