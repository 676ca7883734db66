from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zantara_stream.retrieval.embedding_cache import (
    CHECK,
    FOLDER,
    KEY,
    EmbeddingCache,
    compact,
    drop_unused,
    prefixes,
    text_key,
)
from zantara_stream.retrieval.encoder import Vectors

MODEL, DIMENSIONS = "ab" * 32, 24
SIZE = KEY + 2 * DIMENSIONS + CHECK
FILE = f"{MODEL[:16]}-{DIMENSIONS}.log"


def _rows(count: int, seed: int = 0, dimensions: int = DIMENSIONS) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _keys(count: int, start: int = 0) -> list[bytes]:
    return [text_key(f"text {number}") for number in range(start, start + count)]


def _kept(index: Path, keys: Sequence[bytes], rows: Vectors) -> Vectors:
    cache = EmbeddingCache.open(index, MODEL, DIMENSIONS)
    given = cache.add(keys, rows)
    cache.close()
    return given


def _found(index: Path, keys: Sequence[bytes]) -> tuple[Vectors, list[bool]]:
    cache = EmbeddingCache.open(index, MODEL, DIMENSIONS)
    vectors, found = cache.find(keys)
    cache.close()
    return vectors, found.tolist()


def test_what_is_added_is_found_as_it_was_given_back(tmp_path: Path) -> None:
    rows, keys = _rows(50), _keys(50)
    given = _kept(tmp_path, keys[:20], rows[:20])
    given = np.concatenate([given, _kept(tmp_path, keys[20:], rows[20:])])
    order = [*range(49, -1, -3), 7, 7]
    vectors, found = _found(tmp_path, [keys[n] for n in order])
    assert all(found)
    np.testing.assert_array_equal(vectors, given[order])
    np.testing.assert_allclose(np.linalg.norm(given, axis=1), 1, atol=1e-6)
    assert np.abs(given @ rows.T - rows @ rows.T).max() < 5e-4
    assert (tmp_path / FOLDER / FILE).stat().st_size == 50 * SIZE


def test_what_is_not_there(tmp_path: Path) -> None:
    assert _found(tmp_path, _keys(3))[1] == [False] * 3
    assert _found(tmp_path, [])[0].shape == (0, DIMENSIONS)
    _kept(tmp_path, _keys(2), _rows(2))
    assert _found(tmp_path, _keys(4))[1] == [True, True, False, False]


def test_a_key_with_the_beginning_of_another_is_not_it(tmp_path: Path) -> None:
    first, other = b"same-beg" + b"a" * 24, b"same-beg" + b"b" * 24
    given = _kept(tmp_path, [first, other], _rows(2))
    vectors, found = _found(tmp_path, [other, first, b"same-beg" + b"c" * 24])
    assert found == [True, True, False]
    np.testing.assert_array_equal(vectors[:2], given[::-1])


def test_the_newest_of_a_key_counts(tmp_path: Path) -> None:
    [key] = _keys(1)
    for seed in range(3):
        given = _kept(tmp_path, [key], _rows(1, seed))
    np.testing.assert_array_equal(_found(tmp_path, [key])[0], given)


def test_another_model_or_size_finds_nothing(tmp_path: Path) -> None:
    _kept(tmp_path, _keys(2), _rows(2))
    file = tmp_path / FOLDER / FILE
    for model, dimensions in ((MODEL[:16] + "0" * 48, DIMENSIONS), (MODEL, DIMENSIONS - 1)):
        cache = EmbeddingCache(file, model, dimensions)
        assert not cache.find(_keys(2))[1].any()
        cache.close()


@pytest.mark.parametrize("cut", range(SIZE + 1))
def test_a_tail_cut_at_any_byte(cut: int, tmp_path: Path) -> None:
    given = _kept(tmp_path, _keys(3), _rows(3))
    file = tmp_path / FOLDER / FILE
    os.truncate(file, 3 * SIZE - cut)
    whole = 3 if cut == 0 else 2
    vectors, found = _found(tmp_path, _keys(3))
    assert found == [True, True, whole == 3]
    np.testing.assert_array_equal(vectors[:whole], given[:whole])
    assert file.stat().st_size == whole * SIZE
    again = _kept(tmp_path, _keys(2, start=2), _rows(2, 1))  # what is appended stands where it should
    vectors, found = _found(tmp_path, _keys(4))
    assert found == [True] * 4
    np.testing.assert_array_equal(vectors[2:], again)


def _zero(data: bytearray, place: int) -> None:
    data[place : place + SIZE] = bytes(SIZE)


def _flip(data: bytearray, place: int) -> None:
    data[place + 40] ^= 1


def _flip_key(data: bytearray, place: int) -> None:
    data[place + 20] ^= 1


def _flip_check(data: bytearray, place: int) -> None:
    data[place + SIZE - 1] ^= 1


def _swap(data: bytearray, place: int) -> None:
    """Another record's vector, which is one, but not of this text."""
    data[place + KEY : place + SIZE] = data[KEY:SIZE]


@pytest.mark.parametrize("damage", [_zero, _flip, _flip_key, _flip_check, _swap])
def test_a_damaged_record_is_none(damage: Callable[[bytearray, int], None], tmp_path: Path) -> None:
    given = _kept(tmp_path, _keys(5), _rows(5))
    file = tmp_path / FOLDER / FILE
    data = bytearray(file.read_bytes())
    damage(data, 2 * SIZE)
    file.write_bytes(data)
    vectors, found = _found(tmp_path, [*_keys(5), bytes(KEY)])
    assert found == [True, True, False, True, True, False]
    np.testing.assert_array_equal(vectors[[0, 1, 3, 4]], given[[0, 1, 3, 4]])


def test_an_older_record_serves_where_the_newest_is_damaged(tmp_path: Path) -> None:
    [key] = _keys(1)
    older = _kept(tmp_path, [key], _rows(1, 0))
    _kept(tmp_path, [key], _rows(1, 1))
    file = tmp_path / FOLDER / FILE
    data = bytearray(file.read_bytes())
    _flip(data, SIZE)
    file.write_bytes(data)
    vectors, found = _found(tmp_path, [key])
    assert found == [True]
    np.testing.assert_array_equal(vectors, older)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99)), max_size=30), st.sets(st.integers(0, 9)), st.booleans()
)
def test_compacting_keeps_the_newest_of_what_is_used(
    tmp_path_factory: pytest.TempPathFactory, added: list[tuple[int, int]], used: set[int], always: bool
) -> None:
    index = tmp_path_factory.mktemp("cache")
    newest = {}
    for number, seed in added:
        newest[number] = _kept(index, _keys(1, number), _rows(1, seed))[0]
    keys = [key for number in sorted(used) for key in _keys(1, number)]
    compact(index, MODEL, DIMENSIONS, prefixes(b"".join(keys)), always=always)
    kept = [number for number in newest if number in used]
    records = (index / FOLDER / FILE).stat().st_size // SIZE
    done = always or 2 * len(kept) < len(added)
    assert records == (len(kept) if done else len(added))
    for number in range(10):
        vectors, found = _found(index, _keys(1, number))
        assert found == [number in (kept if done else newest)]
        if found[0]:
            np.testing.assert_array_equal(vectors[0], newest[number])


def test_compacting_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = _kept(tmp_path, _keys(4), _rows(4))

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            compact(tmp_path, MODEL, DIMENSIONS, prefixes(_keys(1)[0]))
    np.testing.assert_array_equal(_found(tmp_path, _keys(4))[0], given)
    drop_unused(tmp_path, {MODEL})
    assert [file.name for file in (tmp_path / FOLDER).iterdir()] == [FILE]  # the draft is gone


def test_caches_of_models_that_no_build_has(tmp_path: Path) -> None:
    for model in ("a" * 64, "b" * 64, "c" * 64):
        EmbeddingCache.open(tmp_path, model, DIMENSIONS).close()
    drop_unused(tmp_path, {"b" * 64, "c" * 64, "d" * 64})
    names = sorted(file.name for file in (tmp_path / FOLDER).iterdir())
    assert names == [f"{'b' * 16}-{DIMENSIONS}.log", f"{'c' * 16}-{DIMENSIONS}.log"]
    drop_unused(tmp_path / "nowhere", set())


def test_a_file_that_is_read_in_several_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zantara_stream.retrieval.embedding_cache._READ", 7)
    given = _kept(tmp_path, _keys(30), _rows(30))
    vectors, found = _found(tmp_path, _keys(30))
    assert all(found)
    np.testing.assert_array_equal(vectors, given)


def test_half_characters_have_a_key() -> None:
    assert len({text_key("a"), text_key("\ud800"), text_key("\ud801"), text_key("")}) == 4


def test_the_file_is_no_program(tmp_path: Path) -> None:
    _kept(tmp_path, _keys(1), _rows(1))
    assert not (tmp_path / FOLDER / FILE).stat().st_mode & (stat.S_IXUSR | stat.S_IWOTH)
