from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from zantara_stream.errors import CorpusError
from zantara_stream.retrieval import vectors
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.vectors import Embedded, Silent, embed
from zantara_stream.testing import HashingEmbedder

TEXTS = ["a permit", "a permit of two words more", "a permit", "the capital", "a house with a garden and a gate"]


class CountingEmbedder(HashingEmbedder):
    """Tells what it embedded, and breaks after so many texts."""

    def __init__(self, breaks_after: int | None = None) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._breaks_after = breaks_after

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        if self._breaks_after is not None and len(self.seen) + len(texts) > self._breaks_after:
            raise RuntimeError("killed")
        self.seen += texts
        return super().encode(texts, progress)


class Counter(Silent):
    """Counts what it hears."""

    def __init__(self) -> None:
        self.total: float | None = None
        self.steps: list[float] = []

    def reset(self, total: float | None = None) -> None:
        self.total = total

    def update(self, n: float | None = 1) -> bool | None:
        self.steps.append(n or 0)
        return None


def _embed(index: Path, texts: Sequence[str], full: bool = False) -> tuple[Embedded, list[str], Counter]:
    embedder, counter = CountingEmbedder(), Counter()
    embedded = embed(texts, embedder, index, counter, full=full)
    return embedded, embedder.seen, counter


def test_equal_texts_are_embedded_once_and_the_longest_first(tmp_path: Path) -> None:
    embedded, seen, counter = _embed(tmp_path, TEXTS)
    assert seen == sorted(set(TEXTS), key=len, reverse=True)
    assert embedded.made == 4
    assert embedded.seconds > 0
    assert counter.total == sum(counter.steps) == len(TEXTS)
    assert len(set(embedded.keys)) == 4
    expected = HashingEmbedder().encode(TEXTS)
    np.testing.assert_allclose(np.sum(embedded.vectors * expected, axis=1), 1, atol=1e-5)


def test_what_is_kept_is_not_embedded_again(tmp_path: Path) -> None:
    first, _, _ = _embed(tmp_path, TEXTS)
    embedded, seen, counter = _embed(tmp_path, ["new", *TEXTS])
    assert seen == ["new"]
    assert embedded.made == 1
    assert counter.steps == [len(TEXTS), 1]  # the kept ones count at once
    np.testing.assert_array_equal(embedded.vectors[1:], first.vectors)
    assert embedded.keys[1:] == first.keys


def test_in_full_everything_is_embedded_again_and_kept(tmp_path: Path) -> None:
    _embed(tmp_path, TEXTS)
    embedded, seen, counter = _embed(tmp_path, TEXTS, full=True)
    assert len(seen) == embedded.made == 4
    assert sum(counter.steps) == len(TEXTS)
    assert _embed(tmp_path, TEXTS)[1] == []


def test_a_killed_run_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "TOGETHER", 3)
    texts = [f"text number {number}" for number in range(20)]
    embedder = CountingEmbedder(breaks_after=10)
    with pytest.raises(RuntimeError, match="killed"):
        embed(texts, embedder, tmp_path, Silent())
    embedded, seen, _ = _embed(tmp_path, texts)
    assert len(embedder.seen) == 9
    assert sorted(embedder.seen + seen) == sorted(texts)
    whole, _, _ = _embed(tmp_path / "other", texts)
    np.testing.assert_array_equal(embedded.vectors, whole.vectors)


def test_what_is_no_number_is_refused_and_not_kept(tmp_path: Path) -> None:
    class Broken(CountingEmbedder):
        def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
            return np.full((len(texts), self.dimensions), np.nan, np.float32)

    with pytest.raises(CorpusError, match="model hashing gives vectors that are not numbers"):
        embed(TEXTS, Broken(), tmp_path, Silent())
    assert len(_embed(tmp_path, TEXTS)[1]) == 4


def test_no_texts(tmp_path: Path) -> None:
    assert _embed(tmp_path, [])[0].vectors.shape == (0, 64)
