"""The shape of a FAISS file, checked before FAISS reads it: it follows what the file says of itself out of its bounds.

Only what `FaissIndex.save` writes passes: an `IndexFlatIP`, or an `IndexIVFScalarQuantizer` of bytes over one, with an
array as its direct map. https://github.com/facebookresearch/faiss/blob/main/faiss/impl/index_write.cpp has the format.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLAT, LISTS = b"IxFI", b"IwSq"
INNER_PRODUCT, ARRAY, BYTES = 0, 1, 0  # metric, direct map, quantizer, as the file numbers them
_FULL, _SPARSE = b"full", b"sprs"


def check_file(file: Path) -> None:
    """Raise `ValueError` for a file that is none of ours, whole and consistent."""
    if not file.stat().st_size:
        raise ValueError("it is empty")
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _Walk(content).whole()


class _Walk:
    """A place in the file, and what was read up to it."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._place = 0

    def whole(self) -> None:
        kind, dimensions, count = self._header()
        if kind == FLAT:
            self._rows(dimensions, count)
        else:
            self._lists(dimensions, count)
        _need(self._place == len(self._content), "it is longer than it says")

    def _header(self) -> tuple[bytes, int, int]:
        kind, dimensions, count, _, _, trained, metric = self._read("4siqqqBi")
        _need(kind in (FLAT, LISTS), "it is of another kind")
        _need(dimensions > 0 and count >= 0 and trained == 1 and metric == INNER_PRODUCT, "its header is another")
        return kind, dimensions, count

    def _rows(self, dimensions: int, count: int) -> None:
        _need(self._read("Q") == (dimensions * count,), "its vectors are more or fewer than it says")
        self._skip(4 * dimensions * count)

    def _lists(self, dimensions: int, count: int) -> None:
        lists, probes = self._read("QQ")
        _need(0 < probes <= lists <= count, "its lists are more or fewer than it can have")
        kind, *inner = self._header()
        _need(kind == FLAT and inner == [dimensions, lists], "its lists have other centres")
        self._rows(dimensions, lists)
        _need(self._read("B") == (ARRAY,), "it has no direct map")
        places = self._array(count)
        self._quantizer(dimensions)
        sizes = self._sizes(dimensions, lists)
        _need(int(sizes.sum()) == count, "its lists hold more or fewer than it says")
        which, offset = places >> 32, places & 0xFFFFFFFF
        _need(bool(((which >= 0) & (which < lists)).all()), "its direct map leads out of its lists")
        _need(bool((offset < sizes[which]).all()), "its direct map leads out of a list")
        self._entries(dimensions, count, sizes)

    def _quantizer(self, dimensions: int) -> None:
        kind, _, _, of, code, trained = self._read("iifQQQ")
        _need((kind, of, code, trained) == (BYTES, dimensions, dimensions, 2 * dimensions), "its codes are others")
        self._skip(4 * trained)
        code, _ = self._read("QB")
        _need(code == dimensions, "its codes are others")

    def _sizes(self, dimensions: int, lists: int) -> NDArray[np.int64]:
        kind, number, code, form = self._read("4sQQ4s")
        _need((kind, number, code) == (b"ilar", lists, dimensions), "its lists are others")
        _need(form in (_FULL, _SPARSE), "its lists are others")
        if form == _FULL:
            sizes = self._array(lists)
        else:
            (length,) = self._peek("Q")
            _need(length <= 2 * lists, "its lists are more than it says")
            numbers, held = self._array(length).reshape(-1, 2).T
            _need(bool(((numbers >= 0) & (numbers < lists)).all()), "it has lists that it does not have")
            sizes = np.zeros(lists, np.int64)
            sizes[numbers] = held
        _need(bool((sizes >= 0).all()), "its lists hold less than nothing")
        return sizes

    def _entries(self, dimensions: int, count: int, sizes: NDArray[np.int64]) -> None:
        for size in sizes[sizes > 0].tolist():
            self._skip(dimensions * size)
            numbers = self._numbers(size)
            _need(bool(((numbers >= 0) & (numbers < count)).all()), "a list holds a vector that there is not")

    def _peek(self, form: str) -> tuple[Any, ...]:
        _need(self._place + struct.calcsize("<" + form) <= len(self._content), "it is shorter than it says")
        return struct.unpack_from("<" + form, self._content, self._place)

    def _read(self, form: str) -> tuple[Any, ...]:
        found = self._peek(form)
        self._place += struct.calcsize("<" + form)
        return found

    def _skip(self, size: int) -> None:
        _need(self._place + size <= len(self._content), "it is shorter than it says")
        self._place += size

    def _array(self, length: int) -> NDArray[np.int64]:
        _need(self._read("Q") == (length,), "a part of it is longer or shorter than it says")
        return self._numbers(length)

    def _numbers(self, length: int) -> NDArray[np.int64]:
        start = self._place
        self._skip(8 * length)
        # A copy, so that the file can be let go of.
        return np.frombuffer(self._content, np.int64, length, start).copy()


def _need(fact: bool, otherwise: str) -> None:
    if not fact:
        raise ValueError(otherwise)
