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

EXACT_LIMIT = 50_000  # vectors; above, looking at each takes longer than embedding the question
TRAINED_ON, STEPS = 40, 6  # vectors a list, rounds of k-means; more of either took longer and found no more
SEED = 1729
TARGET = 0.987  # of the ten nearest that a search of all vectors finds
NEARLY = 0.002  # below the best is as good, where a byte a dimension cannot tell enough apart for the target
LADDER = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
QUERIES, NEAREST = 500, 10  # what the recall is measured on
TIE = 1e-6  # cosines this close are the same
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
        lists.nprobe, recall = _fewest_probes(lists, vectors)
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

    def nearest(self, query: Vectors, count: int, allowed: NDArray[np.bool_] | None = None) -> list[int]:
        """The numbers of the `count` nearest vectors to one query vector, nearest first; fewer where there are fewer.

        Only a number n whose `allowed[n]` is true is given. Raises `ValueError` for a query or an `allowed` of
        another length than the index's.
        """
        row = self._row(query)
        open_to = len(self) if allowed is None else self._open_to(allowed)
        count = min(count, open_to)
        if count <= 0:
            return []
        selector = None if allowed is None else _selector(allowed)
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
        row = self._row(query)
        asked = np.asarray(numbers, np.int64)
        if ((asked < 0) | (asked >= len(self))).any():
            raise IndexError(f"The index has vectors 0 to {len(self) - 1}; asked for {min(numbers)} to {max(numbers)}.")
        cosines: NDArray[np.float32] = self._index.reconstruct_batch(asked) @ row[0]
        return cosines

    def _row(self, query: Vectors) -> Vectors:
        if query.size != self.dimensions:
            raise ValueError(f"The query has shape {query.shape}, the index's vectors {self.dimensions} dimensions.")
        return np.asarray(query, np.float32).reshape(1, -1)

    def _open_to(self, allowed: NDArray[np.bool_]) -> int:
        if allowed.dtype != np.bool_ or allowed.shape != (len(self),):
            raise ValueError(f"`allowed` is {allowed.dtype} of shape {allowed.shape}, for {len(self)} vectors.")
        return int(np.count_nonzero(allowed))


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


def _fewest_probes(index: faiss.IndexIVFScalarQuantizer, vectors: Vectors) -> tuple[int, float]:
    """The fewest lists to visit for the target, or for nearly the best there is; and the recall measured."""
    queries, depth = _like_questions(vectors), min(NEAREST, len(vectors))
    furthest = faiss.knn(queries, vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)[0][:, -1:]
    measured: dict[int, float] = {}
    for probes in sorted({min(step, index.nlist) for step in LADDER}):
        _, numbers = index.search(queries, depth, params=_visiting(probes))
        cosines = np.einsum("qd,qnd->qn", queries, vectors[numbers])
        # By nearness and not by number: of passages that are repeated, either one is right.
        measured[probes] = float(((cosines >= furthest - TIE) & (numbers >= 0)).mean())
        if measured[probes] >= TARGET:
            break
    enough = min(TARGET, max(measured.values()) - NEARLY)
    return next((probes, recall) for probes, recall in measured.items() if recall >= enough)


def _like_questions(vectors: Vectors) -> Vectors:
    """Vectors to measure with: rows pushed off in a random direction, twice as far as they are long.

    A row itself, or the middle of two near ones, lies deeper in its list than a question does and promises a
    recall that questions do not get; docs/decisions/0010 has the comparison.
    """
    random = np.random.default_rng(SEED)
    rows = vectors[random.integers(len(vectors), size=QUERIES)]
    return _unit(rows + 2 * _unit(random.normal(size=rows.shape)))


def _unit(rows: NDArray[np.floating]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
