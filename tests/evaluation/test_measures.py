from __future__ import annotations

from dataclasses import astuple
from math import log
from statistics import StatisticsError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.evaluation.measures import Measures, mean, measure

HALF = 0.6309297535714574  # 1 / log2(3), what a document counts in the second place


@pytest.mark.parametrize(
    ("ranked", "grades", "expected"),
    [
        (["a"], {"a": 1}, (1, 1, 1, 1)),
        (["x", "a"], {"a": 1}, (HALF, 1, 1, 1 / 2)),
        (["x", "a"], {"a": 3}, (HALF, 1, 1, 1 / 2)),  # the ideal is as much more
        ([], {"a": 1}, (0, 0, 0, 0)),
        (["x", "y"], {"a": 1}, (0, 0, 0, 0)),
        (["a"], {"a": 1, "b": 1}, (1 / (1 + HALF), 1 / 2, 1 / 2, 1)),
        (["b", "a"], {"a": 2, "b": 1}, ((1 + 2 * HALF) / (2 + HALF), 1, 1, 1)),
        ([*"0123456789", "a"], {"a": 1}, (0, 0, 1, 0)),  # the eleventh
        ([*"012345678", "a"], {"a": 1}, (1 / 3.4594316186372973, 1, 1, 1 / 10)),  # log2(11)
        ([str(n) for n in range(100)] + ["a"], {"a": 1}, (0, 0, 0, 0)),
        ([f"r{n}" for n in range(12)], {f"r{n}": 1 for n in range(12)}, (1, 10 / 12, 1, 1)),
    ],
)
def test_by_hand(ranked: list[str], grades: dict[str, int], expected: tuple[float, ...]) -> None:
    assert astuple(measure(ranked, grades)) == pytest.approx(expected)


def _slowly(ranked: list[str], grades: dict[str, int]) -> list[float]:
    """The four measures by their definitions, place by place."""
    gained = ideal = reciprocal = 0.0
    ordered = sorted(grades.values())[::-1]
    for place in range(1, 11):
        discount = log(2) / log(place + 1)
        if place <= len(ordered):
            ideal += ordered[place - 1] * discount
        if place <= len(ranked) and ranked[place - 1] in grades:
            gained += grades[ranked[place - 1]] * discount
            reciprocal = reciprocal or 1 / place
    recalls = [len(set(ranked[:k]) & set(grades)) / len(grades) for k in (10, 100)]
    return [gained / ideal, *recalls, reciprocal]


@given(
    st.permutations([str(n) for n in range(130)]),
    st.integers(0, 130),
    st.dictionaries(st.integers(0, 150).map(str), st.integers(1, 4), min_size=1, max_size=40),
)
def test_as_their_definitions_say(order: list[str], found: int, grades: dict[str, int]) -> None:
    measured = measure(order[:found], grades)
    assert astuple(measured) == pytest.approx(_slowly(order[:found], grades))
    assert all(0 <= value <= 1.0000001 for value in astuple(measured))


@given(st.dictionaries(st.integers(0, 50).map(str), st.integers(1, 4), min_size=1, max_size=100))
def test_no_order_is_better_than_that_of_the_grades(grades: dict[str, int]) -> None:
    best = sorted(grades, key=lambda document: -grades[document])
    assert measure(best, grades).ndcg10 == pytest.approx(1)
    assert measure(best[::-1], grades).ndcg10 <= 1.0000001


def test_mean() -> None:
    assert mean([Measures(1, 0, 0.5, 0), Measures(0, 0, 1, 1)]) == Measures(0.5, 0, 0.75, 0.5)
    with pytest.raises(StatisticsError):
        mean([])
