"""The measures of a ranking, as trec_eval computes them: gains are grades, the discount is logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Measures:
    """What one ranking is worth, or the mean of several."""

    ndcg10: float
    recall10: float
    recall100: float
    mrr10: float


def measure(ranked: Sequence[str], grades: Mapping[str, int]) -> Measures:
    """Hold documents, best first, against the grades of those that are relevant (at least one, above 0)."""
    return Measures(
        ndcg10=_ndcg(ranked, grades, 10),
        recall10=_recall(ranked, grades, 10),
        recall100=_recall(ranked, grades, 100),
        mrr10=_mrr(ranked, grades, 10),
    )


def mean(measured: Sequence[Measures]) -> Measures:
    """The mean of each measure. Raises `StatisticsError` for none."""
    return Measures(*(fmean(getattr(each, f.name) for each in measured) for f in fields(Measures)))


def _ndcg(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    best = sorted(grades.values(), reverse=True)
    return _dcg([grades.get(document, 0) for document in ranked[:k]]) / _dcg(best[:k])


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains, 1))


def _recall(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    return sum(document in grades for document in ranked[:k]) / len(grades)


def _mrr(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    return next((1 / place for place, document in enumerate(ranked[:k], 1) if document in grades), 0.0)
