from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zantara_stream.retrieval.embedding import Vectors
from zantara_stream.retrieval.index import VectorIndex


def _vectors(seed: int, rows: int, dimensions: int = 8) -> Vectors:
    made = np.random.default_rng(seed).normal(size=(rows, dimensions))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 40), st.integers(1, 80))
def test_nearest_is_exact_and_best_first(seed: int, rows: int, dimensions: int, count: int) -> None:
    vectors = _vectors(seed, rows, dimensions)
    query = _vectors(seed + 1, 1, dimensions)
    index = VectorIndex.build(vectors)
    assert (len(index), index.dimensions) == (rows, dimensions)
    found = index.nearest(query, count)
    assert len(found) == len(set(found)) == min(count, rows)
    cosines = vectors @ query[0]
    np.testing.assert_allclose(cosines[found], np.sort(cosines)[::-1][:count], atol=1e-5)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 19), min_size=1, max_size=30))
def test_similarities_are_the_cosines_of_those_asked_for(seed: int, numbers: list[int]) -> None:
    vectors, query = _vectors(seed, 20), _vectors(seed + 1, 1)
    found = VectorIndex.build(vectors).similarities(query, numbers)
    np.testing.assert_allclose(found, vectors[numbers] @ query[0], atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 50))
def test_load_is_the_inverse_of_save(seed: int, rows: int) -> None:
    index, query = VectorIndex.build(_vectors(seed, rows)), _vectors(seed + 1, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vectors.faiss"
        index.save(file)
        loaded = VectorIndex.load(file)
    assert (len(loaded), loaded.dimensions) == (len(index), index.dimensions)
    assert loaded.nearest(query, rows) == index.nearest(query, rows)
    everything = list(range(rows))
    np.testing.assert_array_equal(loaded.similarities(query, everything), index.similarities(query, everything))


def test_a_query_may_be_a_row_or_a_vector() -> None:
    vectors = _vectors(1, 5)
    index = VectorIndex.build(vectors)
    assert index.nearest(vectors[3], 1) == index.nearest(vectors[3:4], 1) == [3]
    np.testing.assert_allclose(index.similarities(vectors[3], [3]), [1], atol=1e-6)
