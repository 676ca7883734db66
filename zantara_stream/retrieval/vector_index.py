"""What is asked of an index of vectors, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .encoder import Vectors


class VectorIndex(Protocol):
    """The vectors of a build's passages by number, found by nearness; one thread at a time may ask it."""

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        ...

    def __len__(self) -> int: ...

    def nearest(self, query: Vectors, count: int, allowed: NDArray[np.bool_] | None = None) -> list[int]:
        """The numbers of the `count` nearest vectors to one query vector, nearest first; fewer where there are fewer.

        Only a number n whose `allowed[n]` is true is given. Raises `ValueError` for a query or an `allowed` of
        another length than the index's.
        """
        ...

    def similarities(self, query: Vectors, numbers: Sequence[int]) -> NDArray[np.float32]:
        """The cosines of the query with the vectors of those numbers, as they are stored.

        Raises `ValueError` for a query of another length than the index's, `IndexError` for a number it lacks.
        """
        ...
