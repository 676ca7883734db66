from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zantara_stream.errors import IndexUnavailable
from zantara_stream.retrieval import index as module
from zantara_stream.retrieval import recall
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.index import EXACT_LIMIT, LADDER, FaissIndex
from zantara_stream.retrieval.recall import NEARLY, TARGET
from zantara_stream.retrieval.vector_index import Allowed

EXACT, LISTS = EXACT_LIMIT, 0  # limits that make a small index of either kind


def _unit(rows: np.ndarray) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _vectors(seed: int, rows: int, dimensions: int = 8) -> Vectors:
    return _unit(np.random.default_rng(seed).normal(size=(rows, dimensions)))


def _clustered(seed: int, rows: int, dimensions: int = 32) -> Vectors:
    """Rows about 40 themes that are the same for every seed."""
    random = np.random.default_rng(seed)
    return _unit(1.5 * _vectors(99, 40, dimensions)[random.integers(40, size=rows)] + _vectors(seed, rows, dimensions))


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return _clustered(1, 4000)


@pytest.fixture(scope="module")
def in_lists(vectors: Vectors) -> FaissIndex:
    return FaissIndex.build(vectors, LISTS)


def _recall(index: FaissIndex, vectors: Vectors, queries: Vectors, allowed: np.ndarray | None = None) -> float:
    """The share of the ten truly nearest that the index finds."""
    numbers = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
    shares = []
    for query in queries:
        truth = numbers[np.argsort(-(vectors[numbers] @ query))[:10]]
        shares.append(
            len({*index.nearest(query, 10, None if allowed is None else Allowed(0, allowed))} & {*truth.tolist()}) / 10
        )
    return float(np.mean(shares))


# Every vector looked at


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 40), st.integers(1, 80))
def test_nearest_is_exact_and_best_first(seed: int, rows: int, dimensions: int, count: int) -> None:
    vectors = _vectors(seed, rows, dimensions)
    query = _vectors(seed + 1, 1, dimensions)
    index = FaissIndex.build(vectors)
    assert (len(index), index.dimensions) == (rows, dimensions)
    found = index.nearest(query, count)
    assert len(found) == len(set(found)) == min(count, rows)
    cosines = vectors @ query[0]
    np.testing.assert_allclose(cosines[found], np.sort(cosines)[::-1][:count], atol=1e-5)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 19), max_size=30))
def test_similarities_are_the_cosines_of_those_asked_for(seed: int, numbers: list[int]) -> None:
    vectors, query = _vectors(seed, 20), _vectors(seed + 1, 1)
    found = FaissIndex.build(vectors).similarities(query, numbers)
    np.testing.assert_allclose(found, vectors[numbers] @ query[0], atol=1e-5)


def test_a_query_may_be_a_row_or_a_vector() -> None:
    vectors = _vectors(1, 5)
    index = FaissIndex.build(vectors)
    assert index.nearest(vectors[3], 1) == index.nearest(vectors[3:4], 1) == [3]
    np.testing.assert_allclose(index.similarities(vectors[3], [3]), [1], atol=1e-6)


# Either kind


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 50), st.sampled_from([EXACT, LISTS]))
def test_load_is_the_inverse_of_save(seed: int, rows: int, limit: int) -> None:
    index, query = FaissIndex.build(_vectors(seed, rows), limit), _vectors(seed + 1, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vectors.faiss"
        index.save(file)
        loaded = FaissIndex.load(file)
        assert [found.name for found in file.parent.iterdir()] == [file.name]
    assert (len(loaded), loaded.dimensions) == (len(index), index.dimensions)
    assert (loaded.kind, loaded.probes) == (index.kind, index.probes)
    assert loaded.nearest(query, rows) == index.nearest(query, rows)
    everything = list(range(rows))
    np.testing.assert_array_equal(loaded.similarities(query, everything), index.similarities(query, everything))


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 2**32),
    st.lists(st.booleans(), min_size=1, max_size=150),
    st.integers(0, 60),
    st.sampled_from([EXACT, LISTS]),
)
def test_only_what_is_allowed_is_found_and_as_much_as_was_asked_for(
    seed: int, choice: list[bool], count: int, limit: int
) -> None:
    vectors, query, allowed = _vectors(seed, len(choice)), _vectors(seed + 1, 1), np.array(choice)
    found = FaissIndex.build(vectors, limit).nearest(query, count, Allowed(0, allowed))
    assert all(choice[number] for number in found)
    assert len(found) == len(set(found)) == min(count, sum(choice))
    np.testing.assert_allclose(vectors[found] @ query[0], np.sort(vectors[found] @ query[0])[::-1], atol=0.02)
    if limit == EXACT:
        best = np.sort((vectors @ query[0])[allowed])[::-1][:count]
        np.testing.assert_allclose(vectors[found] @ query[0], best, atol=1e-5)


@pytest.mark.parametrize("limit", [EXACT, LISTS])
def test_an_empty_index_finds_nothing(limit: int, tmp_path: Path) -> None:
    FaissIndex.build(_vectors(1, 3)[:0], limit).save(tmp_path / "vectors.faiss")
    index = FaissIndex.load(tmp_path / "vectors.faiss")
    assert (len(index), index.dimensions, index.kind) == (0, 8, "Flat")
    assert index.nearest(_vectors(1, 1), 5) == index.nearest(_vectors(1, 1), 5, Allowed(0, np.ones(0, bool))) == []
    assert index.similarities(_vectors(1, 1), []).shape == (0,)


@pytest.mark.parametrize("limit", [EXACT, LISTS])
def test_what_does_not_fit_is_refused(limit: int) -> None:
    index = FaissIndex.build(_vectors(1, 20), limit)
    for wrong in (_vectors(1, 1, 9), _vectors(1, 2), np.ones(0, np.float32)):
        with pytest.raises(ValueError, match=r"The query has shape .* 8 dimensions"):
            index.nearest(wrong, 1)
        with pytest.raises(ValueError, match=r"The query has shape .* 8 dimensions"):
            index.similarities(wrong, [1])
    masks: list[np.ndarray] = [np.ones(19, bool), np.ones(21, bool), np.ones(20, np.uint8)]
    for allowed in masks:
        with pytest.raises(ValueError, match=r"`allowed` is .* for 20 vectors"):
            index.nearest(_vectors(1, 1), 1, Allowed(0, allowed))
    for number in (-1, 20):
        with pytest.raises(IndexError, match=r"vectors 0 to 19; asked for .*"):
            index.similarities(_vectors(1, 1), [3, number])


@pytest.mark.parametrize("shape", [(8,), (3, 0), (2, 3, 8)])
def test_what_are_no_rows_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rows of vectors"):
        FaissIndex.build(np.ones(shape, np.float32))


def test_the_size_chooses_the_kind() -> None:
    vectors = _vectors(1, 101)
    exact, lists = FaissIndex.build(vectors[:100], 100), FaissIndex.build(vectors, 100)
    assert (exact.kind, exact.probes, exact.recall) == ("Flat", 0, 1.0)
    assert lists.kind == "IVF40,SQ8"
    assert 0 < lists.probes <= 40


# By lists


def test_questions_find_what_the_build_promised(in_lists: FaissIndex, vectors: Vectors) -> None:
    assert in_lists.kind == "IVF253,SQ8"
    assert in_lists.probes in LADDER
    assert in_lists.probes < 253 / 2
    assert in_lists.recall >= TARGET - 2 * NEARLY
    assert _recall(in_lists, vectors, _clustered(2, 200)) == pytest.approx(in_lists.recall, abs=0.02)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_as_much_is_found_of_the_share_that_is_allowed(share: float, in_lists: FaissIndex, vectors: Vectors) -> None:
    allowed = np.random.default_rng(3).random(len(vectors)) < share
    assert _recall(in_lists, vectors, _clustered(2, 200), allowed) >= in_lists.recall - 0.01


def test_the_few_that_are_allowed_are_found_however_far(in_lists: FaissIndex, vectors: Vectors) -> None:
    query = vectors[7]
    far = np.argsort(vectors @ query)[:30]
    allowed = np.zeros(len(vectors), bool)
    allowed[far] = True
    assert sorted(in_lists.nearest(query, 50, Allowed(0, allowed))) == sorted(far.tolist())


def test_more_lists_are_visited_where_they_hold_too_few(in_lists: FaissIndex, vectors: Vectors) -> None:
    assert len(set(in_lists.nearest(vectors[0], 3500))) == 3500
    assert sorted(in_lists.nearest(vectors[0], 9999)) == list(range(4000))


def test_a_byte_a_dimension_keeps_the_cosines(in_lists: FaissIndex, vectors: Vectors) -> None:
    numbers = [3999, 0, 17, 17]
    np.testing.assert_allclose(in_lists.similarities(vectors[5], numbers), vectors[numbers] @ vectors[5], atol=0.01)


def test_fewer_lists_find_less_and_all_find_everything(in_lists: FaissIndex, vectors: Vectors, tmp_path: Path) -> None:
    in_lists.save(tmp_path / "vectors.faiss")
    found = {}
    for probes in (1, in_lists.probes, 253):
        index = FaissIndex.load(tmp_path / "vectors.faiss", probes)
        assert index.probes == probes
        found[probes] = _recall(index, vectors, _clustered(2, 100))
    assert found[1] < found[in_lists.probes] - 0.1
    assert found[253] >= found[in_lists.probes]
    assert FaissIndex.load(tmp_path / "vectors.faiss").probes == in_lists.probes


def test_the_fewest_lists_that_reach_the_target_are_chosen(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    for target in (0.2, 0.9, 0.95, 1.1):
        monkeypatch.setattr(recall, "TARGET", target)
        index = FaissIndex.build(vectors, LISTS)
        assert index.recall >= min(target, 0.98)
        chosen.append(index.probes)
    assert chosen[0] == LADDER[0]
    assert chosen == sorted(set(chosen))


def test_where_no_number_of_lists_reaches_the_target_nearly_the_best_is_taken_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LADDER", [1, 2, 3])
    vectors = _clustered(1, 4000)
    index = FaissIndex.build(vectors, LISTS)
    assert index.probes == 3
    assert index.recall < TARGET - 2 * NEARLY


def test_a_little_more_recall_is_not_worth_many_more_lists(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "TARGET", 1.1)
    best = _nearly(0.0, vectors, monkeypatch)
    near = _nearly(0.05, vectors, monkeypatch)
    assert near.probes < best.probes
    assert best.recall - 0.05 <= near.recall < best.recall


def _nearly(tolerance: float, vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> FaissIndex:
    monkeypatch.setattr(recall, "NEARLY", tolerance)
    return FaissIndex.build(vectors, LISTS)


def test_of_repeated_vectors_either_one_is_right() -> None:
    assert FaissIndex.build(np.repeat(_clustered(1, 200), 20, axis=0), LISTS).recall >= 0.98


def test_the_same_rows_give_the_same_file_wherever_they_lie(
    vectors: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRAINED_ON", 5)  # of 16 a list: a sample
    np.save(tmp_path / "rows.npy", vectors)
    recalls = set()
    for name, rows in (("memory", vectors), ("mapped", np.load(tmp_path / "rows.npy", mmap_mode="r"))):
        index = FaissIndex.build(rows, LISTS)
        index.save(tmp_path / name)
        recalls.add(index.recall)
    assert len(recalls) == 1
    assert (tmp_path / "memory").read_bytes() == (tmp_path / "mapped").read_bytes()


# The file


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("limit", [EXACT, LISTS])
def test_the_file_is_mapped_and_outlives_its_name(limit: int, tmp_path: Path) -> None:
    vectors, file = _vectors(1, 3000), tmp_path / "vectors.faiss"
    FaissIndex.build(vectors, limit).save(file)
    index = FaissIndex.load(file)
    assert str(file) in Path("/proc/self/maps").read_text()
    file.unlink()
    assert index.nearest(vectors[2999], 1) == [2999]


SEARCHES = """
import sys, os
from pathlib import Path
import numpy as np
from zantara_stream.retrieval.index import FaissIndex
from zantara_stream.retrieval.vector_index import Allowed

index = FaissIndex.load(Path(sys.argv[1]))
query = np.ones(index.dimensions, np.float32)
before = set(os.listdir("/proc/self/task"))
index.similarities(query, index.nearest(query, 500, Allowed(0, np.ones(len(index), bool))))
print(len(set(os.listdir("/proc/self/task")) - before), "torch" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("limit", [EXACT, LISTS])
def test_a_search_starts_no_thread_and_needs_no_torch(limit: int, tmp_path: Path) -> None:
    FaissIndex.build(_clustered(1, 4000), limit).save(tmp_path / "vectors.faiss")
    command = [sys.executable, "-c", SEARCHES, str(tmp_path / "vectors.faiss")]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert printed.split() == ["0", "False"]


def test_more_lists_than_there_are_cannot_be_searched(in_lists: FaissIndex, tmp_path: Path) -> None:
    in_lists.save(tmp_path / "lists")
    FaissIndex.build(_vectors(1, 3)).save(tmp_path / "flat")
    for name, probes in (("lists", 254), ("lists", -1), ("flat", 1)):
        with pytest.raises(IndexUnavailable, match=f"lists, of which {probes} cannot be searched"):
            FaissIndex.load(tmp_path / name, probes)


@pytest.mark.parametrize("limit", [EXACT, LISTS])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(limit: int, kept: float, tmp_path: Path) -> None:
    file = tmp_path / "vectors.faiss"
    FaissIndex.build(_vectors(1, 300), limit).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(IndexUnavailable, match=r"vectors\.faiss cannot be read .*; build the index again"):
        FaissIndex.load(file)


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vectors.faiss"
    with pytest.raises(IndexUnavailable, match="cannot be read"):
        FaissIndex.load(file)
    file.write_bytes(np.random.default_rng(1).bytes(5000))
    with pytest.raises(IndexUnavailable, match="cannot be read"):
        FaissIndex.load(file)
    for other in (faiss.IndexFlatL2(8), faiss.IndexHNSWFlat(8, 4, faiss.METRIC_INNER_PRODUCT)):
        faiss.write_index(other, str(file))
        with pytest.raises(IndexUnavailable, match="cannot be read \\(it is of another kind\\)"):
            FaissIndex.load(file)
