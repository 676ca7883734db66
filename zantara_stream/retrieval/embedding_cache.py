"""Vectors kept from build to build by the texts that they are of, so that no text is embedded twice.

One append-only file a model, of records of one size:

    sha256 of the text (32 bytes) | the vector in float16 | CRC-32 of both, seeded with the model's sha256

It is written while texts are embedded, so it is also what a killed build goes on from. float16 halves the disk
and moves a cosine by less than 1e-4; every vector takes that way, new ones too, so that it does not show
when a text was embedded. Only time is lost with the file: it may be deleted whenever no build runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .encoder import Vectors
from .manifest import sync

FOLDER = "embeddings"
KEY, CHECK = 32, 4  # bytes
_READ = 4096  # records at a time, 3 MB at 384 dimensions

Prefixes = NDArray[np.uint64]


def text_key(text: str) -> bytes:
    """The key of a text: its sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def prefixes(keys: bytes, size: int = KEY) -> Prefixes:
    """The first 8 bytes of each key, as numbers; `keys` holds one every `size` bytes, of which a part is none."""
    whole = len(keys) // size * size
    first = np.frombuffer(keys[:whole], [("prefix", ">u8"), ("rest", f"V{size - 8}")])["prefix"]
    return first.astype(np.uint64)


class EmbeddingCache:
    """The kept vectors of one model; one process at a time may have it open.

    In memory are 16 bytes a record: the first 8 of its key, and its place in the file.
    """

    def __init__(self, file: Path, model_sha256: str, dimensions: int) -> None:
        self._file = file
        self._dimensions = dimensions
        self._size = KEY + 2 * dimensions + CHECK
        self._seed = crc32(f"zantara embeddings 1 {model_sha256} {dimensions}".encode())
        file.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._records = os.fstat(self._descriptor).st_size // self._size
        os.ftruncate(self._descriptor, self._records * self._size)  # a torn tail is what a killed build left
        firsts = np.concatenate([np.empty(0, np.uint64), *map(self._firsts, range(0, self._records, _READ))])
        self._order = np.argsort(firsts, kind="stable")  # so that of one key the newest is the last
        self._sorted = firsts[self._order]

    @classmethod
    def open(cls, index: Path, model_sha256: str, dimensions: int) -> Self:
        """The cache of a model in an index folder."""
        return cls(index / FOLDER / f"{model_sha256[:16]}-{dimensions}.log", model_sha256, dimensions)

    def _firsts(self, start: int) -> Prefixes:
        return prefixes(os.pread(self._descriptor, _READ * self._size, start * self._size), self._size)

    def find(self, keys: Sequence[bytes]) -> tuple[Vectors, NDArray[np.bool_]]:
        """A row of length 1 a key, and which were there; the rows of the others hold nothing.

        What `add` keeps is found after the next opening.
        """
        vectors = np.empty((len(keys), self._dimensions), np.float32)
        found = np.zeros(len(keys), np.bool_)
        wanted = prefixes(b"".join(keys))
        starts, ends = np.searchsorted(self._sorted, wanted), np.searchsorted(self._sorted, wanted, "right")
        for row in map(int, np.flatnonzero(ends > starts)):
            for place in self._order[starts[row] : ends[row]][::-1]:
                record = self._read(int(place))
                if record[:KEY] == keys[row] and self._whole(record):
                    vectors[row], found[row] = self._vectors(record)[0], True
                    break
        return vectors, found

    def add(self, keys: Sequence[bytes], vectors: Vectors) -> Vectors:
        """Append a row a key, and give the rows as `find` will. A later record of a key counts, not an earlier."""
        records = b"".join(self._record(key, row) for key, row in zip(keys, vectors.astype("<f2"), strict=True))
        rest = memoryview(records)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        return self._vectors(records)

    def compact(self, used: Prefixes, *, always: bool = False) -> None:
        """Drop the records whose keys do not begin with one of `used`, where they are more than half, or `always`.

        The file is replaced by another: open it again to use it.
        """
        newest = np.append(self._sorted[1:] != self._sorted[:-1], True)[: self._records]
        kept = np.sort(self._order[newest & np.isin(self._sorted, used)])
        if 2 * len(kept) >= self._records and not always:
            return
        draft = self._file.with_suffix(".draft")
        with draft.open("wb") as stream:
            for place in kept:
                record = self._read(int(place))
                stream.write(record if self._whole(record) else b"")
        sync(draft)
        os.replace(draft, self._file)
        sync(self._file.parent)

    def close(self) -> None:
        """Have everything on the disk, and let go of the file."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def _read(self, place: int) -> bytes:
        return os.pread(self._descriptor, self._size, place * self._size)

    def _record(self, key: bytes, row: NDArray[np.float16]) -> bytes:
        content = key + row.tobytes()
        return content + crc32(content, self._seed).to_bytes(CHECK, "little")

    def _whole(self, record: bytes) -> bool:
        return crc32(record[:-CHECK], self._seed) == int.from_bytes(record[-CHECK:], "little")

    def _vectors(self, records: bytes) -> Vectors:
        layout = [("key", f"V{KEY}"), ("vector", "<f2", self._dimensions), ("check", f"V{CHECK}")]
        vectors = np.frombuffer(records, np.dtype(layout))["vector"].astype(np.float32)
        rows: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return rows


def compact(index: Path, model_sha256: str, dimensions: int, used: Prefixes, *, always: bool = False) -> None:
    """`EmbeddingCache.compact` of the cache of a model in an index folder."""
    cache = EmbeddingCache.open(index, model_sha256, dimensions)
    try:
        cache.compact(used, always=always)
    finally:
        cache.close()


def drop_unused(index: Path, used: set[str]) -> None:
    """Delete the caches of models that are not among `used` (sha256), and drafts that a killed build left."""
    for file in (index / FOLDER).glob("*"):
        if file.suffix == ".draft" or not any(file.name.startswith(f"{model[:16]}-") for model in used):
            file.unlink()
