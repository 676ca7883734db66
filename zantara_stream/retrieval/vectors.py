"""The vectors of a build's texts: those that are kept, and the others embedded and kept from then on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import CorpusError
from .embedding import Embedder
from .embedding_cache import EmbeddingCache, text_key
from .encoder import Vectors

TOGETHER = 256  # texts embedded between two writes to the cache: what a killed build loses at most


class Progress(Protocol):
    """Hears how long the embedding is and how far it has come; tqdm is one."""

    def reset(self, total: float | None = None) -> None:
        """There are `total` passages."""
        ...

    def update(self, n: float | None = 1) -> bool | None:
        """`n` more are done."""
        ...


class Silent:
    """A `Progress` that nobody sees."""

    def reset(self, total: float | None = None) -> None:
        """Nothing."""

    def update(self, n: float | None = 1) -> bool | None:
        """Nothing."""
        return None


Lots = Iterable[Sequence[str]]  # texts that are embedded together
Encode = Callable[[Lots, Progress], Iterator[Vectors]]  # the rows of each lot, in their order


def encode_here(embedder: Embedder) -> Encode:
    """Embed in this process, one lot after the other."""
    return lambda lots, progress: (embedder.encode(texts, progress.update) for texts in lots)


@dataclass(frozen=True, slots=True)
class Embedded:
    """A normalised row and a key a text."""

    vectors: Vectors
    keys: list[bytes]
    made: int  # texts whose vector was not kept
    seconds: float  # that those took


def embed(
    texts: Sequence[str],
    embedder: Embedder,
    index: Path,
    progress: Progress,
    *,
    full: bool = False,
    encode: Encode | None = None,
) -> Embedded:
    """Embed the texts whose vectors the index folder's cache lacks, or all where `full`; equal texts once.

    `encode` does it in the embedder's place. Raises `CorpusError` where the model gives what is no vector.
    """
    keys = [text_key(text) for text in texts]
    progress.reset(len(keys))
    cache = EmbeddingCache.open(index, embedder.sha256, embedder.dimensions)
    try:
        vectors, found = cache.find(keys)
        if full:
            found[:] = False
        lacking = _rows(keys, found)
        progress.update(len(keys) - len(lacking))
        began = time.perf_counter()
        lots = _lots(texts, lacking)
        together = ([texts[lacking[key][0]] for key in lot] for lot in lots)
        for lot, made in zip(lots, (encode or encode_here(embedder))(together, progress), strict=True):
            if not np.isfinite(made).all():
                raise CorpusError(f"The embedding model {embedder.name} gives vectors that are not numbers.")
            for key, vector in zip(lot, cache.add(lot, made), strict=True):
                vectors[lacking[key]] = vector
        return Embedded(vectors, keys, len(lacking), time.perf_counter() - began)
    finally:
        cache.close()


def _rows(keys: Sequence[bytes], found: NDArray[np.bool_]) -> dict[bytes, list[int]]:
    """The rows of each key that was not found."""
    rows: dict[bytes, list[int]] = defaultdict(list)
    for row in map(int, np.flatnonzero(~found)):
        rows[keys[row]].append(row)
    return rows


def _lots(texts: Sequence[str], lacking: dict[bytes, list[int]]) -> list[list[bytes]]:
    """Their keys, as they are embedded together."""
    # The longest first: what memory does not suffice for fails at once, and like lengths pad little.
    order = sorted(lacking, key=lambda key: -len(texts[lacking[key][0]]))
    return [order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER)]
