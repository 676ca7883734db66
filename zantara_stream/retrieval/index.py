"""The vector index: normalised vectors in FAISS by inner product, searched whole while few, by lists when many.

Up to `EXACT_LIMIT` vectors a search looks at every one. Above, the vectors lie in about 4·√n lists of near
ones (IVF), a byte a dimension (SQ8), and a search visits the few lists nearest to the query: how many is
measured when the index is built. docs/decisions/0010 has what that costs and what it finds.

A search is one thread: FAISS shares out queries among threads, and here one comes at a time (only similarities
of more than 1,000 numbers are shared out). So nothing is set that the rest of the process would feel, and building
uses every core.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from ..errors import IndexUnavailable
from .encoder import Vectors
from .faiss_file import check_file
from .recall import SEED, TARGET, fewest_probes
from .vector_index import Allowed, as_numbers, as_row, how_many

EXACT_LIMIT = 50_000  # vectors; above, looking at each takes longer than embedding the question
TRAINED_ON, STEPS = 40, 6  # vectors a list, rounds of k-means; more of either took longer and found no more
LADDER = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
KIND = f"Flat to {EXACT_LIMIT}, then IVF of 4√n lists with SQ8 for a recall of {TARGET}"


class FaissIndex:
    """The `VectorIndex` in one file of a build. `save` and `load` are inverses but for `recall`, which is not kept.

    kind: "Flat", or the lists and their code ("IVF4000,SQ8"); probes: the lists that a search visits, 0 for
    Flat; recall: the share of the ten nearest that it finds, measured when built, 1 for Flat.
    """

    def __init__(self, index: Any, recall: float = math.nan) -> None:
        self._index = index
        self._lists = int(index.nlist) if isinstance(index, faiss.IndexIVF) else 0
        self.kind = f"IVF{self._lists},SQ8" if self._lists else "Flat"
        self.probes = int(index.nprobe) if self._lists else 0
        self.recall = recall if self._lists else 1.0

    @classmethod
    def build(cls, vectors: Vectors, exact_limit: int = EXACT_LIMIT) -> FaissIndex:
        """An index whose n-th vector is row n; the rows must have length 1, and may lie in a mapped file.

        The same rows give the same index on the same machine. Raises `ValueError` for what are no rows.
        """
        if vectors.ndim != 2 or not vectors.shape[1]:
            raise ValueError(f"An index is built of rows of vectors, not of an array of shape {vectors.shape}.")
        if len(vectors) <= exact_limit:
            whole = faiss.IndexFlatIP(vectors.shape[1])
            whole.add(vectors)
            return cls(whole)
        lists = _in_lists(vectors)

        def search(queries: Vectors, depth: int, probes: int) -> NDArray[np.int64]:
            found: NDArray[np.int64] = lists.search(queries, depth, params=_visiting(probes))[1]
            return found

        ladder = sorted({min(step, lists.nlist) for step in LADDER})
        lists.nprobe, recall = fewest_probes(search, vectors, ladder)
        return cls(lists, recall)

    @classmethod
    def load(cls, file: Path, probes: int = 0) -> FaissIndex:
        """Map what `save` wrote into memory; `probes` other than 0 replaces the number found at the build.

        Raises `IndexUnavailable` for a file that is none, or where it has fewer lists than `probes`.
        """
        try:
            check_file(file)
            index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        except (OSError, ValueError, RuntimeError) as error:
            raise IndexUnavailable(
                f"The vector index {file} cannot be read ({error}); build the index again."
            ) from error
        loaded = cls(index)
        if not 0 <= probes <= loaded._lists:
            raise IndexUnavailable(f"{file} has {loaded._lists} lists, of which {probes} cannot be searched.")
        loaded.probes = probes or loaded.probes
        return loaded

    def save(self, file: Path) -> None:
        """Write the index to one file."""
        faiss.write_index(self._index, str(file))

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def nearest(self, query: Vectors, count: int, allowed: Allowed | None = None) -> list[int]:
        """The numbers of the `count` nearest vectors to one query vector, nearest first; fewer where there are fewer.

        Only numbers that are `allowed` are given. Raises `ValueError` for a query or an `allowed` of another length
        than the index's.
        """
        row = as_row(query, self)
        open_to = how_many(allowed, self)
        count = min(count, open_to)
        if count <= 0:
            return []
        selector = None if allowed is None else _selector(allowed.passages)
        # As many open vectors are looked at as if all were open; and twice as many lists while they hold too few.
        probes = min(self._lists, math.ceil(self.probes * len(self) / open_to))
        while len(found := self._search(row, count, probes, selector)) < count and probes < self._lists:
            probes = min(self._lists, 2 * probes)
        return found

    def _search(self, row: Vectors, count: int, probes: int, selector: faiss.IDSelector | None) -> list[int]:
        parameters = _visiting(probes) if self._lists else faiss.SearchParameters()
        parameters.sel = selector
        _, numbers = self._index.search(row, count, params=parameters)
        return [int(number) for number in numbers[0] if number >= 0]

    def similarities(self, query: Vectors, numbers: Sequence[int]) -> NDArray[np.float32]:
        """The cosines of the query with the vectors of those numbers, as they are stored: exact, or to a byte.

        Raises `ValueError` for a query of another length than the index's, `IndexError` for a number it lacks.
        """
        row = as_row(query, self)
        cosines: NDArray[np.float32] = self._index.reconstruct_batch(as_numbers(numbers, self)) @ row[0]
        return cosines

    def probe(self) -> None:
        """Nothing: a file that is mapped is there."""

    def damage(self) -> str:
        """Nothing: they are one of their build's files."""
        return ""


def _visiting(probes: int) -> faiss.SearchParameters:
    parameters = faiss.SearchParametersIVF()
    parameters.nprobe = probes
    return parameters


def _selector(allowed: NDArray[np.bool_]) -> faiss.IDSelector:
    bits = np.packbits(allowed, bitorder="little")
    return faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]  # typed as in C++; it keeps the array


def _in_lists(vectors: Vectors) -> faiss.IndexIVFScalarQuantizer:
    count, dimensions = vectors.shape
    lists = min(count, round(4 * math.sqrt(count)))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimensions), dimensions, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.min_points_per_centroid = 1  # or it warns of small collections on the console
    index.cp.seed, index.cp.niter = SEED, STEPS
    index.train(vectors[_sample(count, TRAINED_ON * lists)])
    index.add(vectors)
    index.make_direct_map()  # where each number lies, for `similarities`; in the file it takes eight bytes a vector
    return index


def _sample(count: int, size: int) -> NDArray[np.int64]:
    """At most `size` of `count` numbers, in order, so that a file of rows is read forwards."""
    chosen = np.random.default_rng(SEED).choice(count, min(size, count), replace=False)
    return np.sort(chosen)
