"""What is asked of an index of vectors, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .encoder import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """The passages that somebody of an access level may see: those up to that level, and a truth value for each."""

    level: int
    passages: NDArray[np.bool_]


class VectorIndex(Protocol):
    """The vectors of a build's passages by number, found by nearness; one thread at a time may ask it."""

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        ...

    def __len__(self) -> int: ...

    def nearest(self, query: Vectors, count: int, allowed: Allowed | None = None) -> list[int]:
        """The numbers of the `count` nearest vectors to one query vector, nearest first; fewer where there are fewer.

        Only numbers that are `allowed` are given. Raises `ValueError` for a query or an `allowed` of another length
        than the index's, and `VectorsUnavailable` where the vectors cannot be reached.
        """
        ...

    def similarities(self, query: Vectors, numbers: Sequence[int]) -> NDArray[np.float32]:
        """The cosines of the query with the vectors of those numbers, as they are stored.

        Raises `ValueError` for a query of another length than the index's, `IndexError` for a number it lacks, and
        `VectorsUnavailable` where the vectors cannot be reached.
        """
        ...

    def probe(self) -> None:
        """Raise `VectorsUnavailable` where it cannot be asked now."""
        ...

    def damage(self) -> str:
        """What is wrong with the vectors as they are kept, beyond their build's files; looks at every one."""
        ...


def as_row(query: Vectors, index: VectorIndex) -> Vectors:
    """One query vector as the only row. Raises `ValueError` where it is of another length than the index's."""
    if query.size != index.dimensions:
        raise ValueError(f"The query has shape {query.shape}, the index's vectors {index.dimensions} dimensions.")
    return np.asarray(query, np.float32).reshape(1, -1)


def as_numbers(numbers: Sequence[int], index: VectorIndex) -> NDArray[np.int64]:
    """Numbers of vectors. Raises `IndexError` for one that the index lacks."""
    asked = np.asarray(numbers, np.int64)
    if ((asked < 0) | (asked >= len(index))).any():
        raise IndexError(f"The index has vectors 0 to {len(index) - 1}; asked for {min(numbers)} to {max(numbers)}.")
    return asked


def how_many(allowed: Allowed | None, index: VectorIndex) -> int:
    """How many vectors are allowed. Raises `ValueError` where `allowed` is of another length than the index's."""
    if allowed is None:
        return len(index)
    mask = allowed.passages
    if mask.dtype != np.bool_ or mask.shape != (len(index),):
        raise ValueError(f"`allowed` is {mask.dtype} of shape {mask.shape}, for {len(index)} vectors.")
    return int(np.count_nonzero(mask))
