"""The vector index: normalised vectors in FAISS, searched exactly by inner product."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from .embedding import Vectors

KIND = "Flat"


class VectorIndex:
    """Passage numbers by nearness; `save` and `load` are inverses."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Vectors) -> VectorIndex:
        """An index whose n-th vector is row n. The rows must have length 1."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return cls(index)

    @classmethod
    def load(cls, file: Path) -> VectorIndex:
        """Read what `save` wrote."""
        return cls(faiss.read_index(str(file)))

    def save(self, file: Path) -> None:
        """Write the index to one file."""
        faiss.write_index(self._index, str(file))

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def nearest(self, query: Vectors, count: int) -> list[int]:
        """The numbers of the nearest vectors to one query vector, nearest first."""
        _, numbers = self._index.search(query.reshape(1, -1), min(count, len(self)))
        return [int(number) for number in numbers[0]]

    def similarities(self, query: Vectors, numbers: list[int]) -> NDArray[np.float32]:
        """The exact cosines of the query with the vectors of those numbers."""
        rows = self._index.reconstruct_batch(np.asarray(numbers, np.int64))
        cosines: NDArray[np.float32] = rows @ query.reshape(-1)
        return cosines
