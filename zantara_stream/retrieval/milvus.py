"""The vectors of builds in Milvus: a collection a build, and an alias that leads to the current one.

    collection zantara_<index folder>_<build>: number (primary key), level (the least that may see it), vector
    alias      zantara_<index folder>

Builds are found by the collection's name, which stands in a file of their folder; so `CURRENT` alone switches, with
the words and documents that belong to the vectors, and whoever began with a build keeps it. The alias is for others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient

from ..errors import CorpusError, IndexUnavailable
from .builds import build_folders
from .encoder import Vectors
from .index import EXACT_LIMIT
from .manifest import REBUILD, Manifest
from .milvus_connection import MilvusConnection
from .pointer import Pointer
from .recall import TARGET, fewest_probes
from .vector_index import Allowed, as_numbers, as_row, how_many
from .vector_store import Written

NUMBER, LEVEL, VECTOR = "number", "level", "vector"
LINKS, BREADTH = 16, 200  # of each vector to others in the graph (HNSW), looked at when it is put there
LADDER = [100, 150, 200, 300, 400, 600, 800]  # vectors that a search keeps in sight; no fewer than it is asked for
KIND = f"Milvus FLAT to {EXACT_LIMIT}, then HNSW{LINKS} for a recall of {TARGET}"
TOGETHER = 1000  # vectors in one message, of which Milvus takes up to 64 MB
MOST, BROADEST = 16_384, 32_768  # that Milvus gives for one search, that it keeps in sight
PATIENCE = 600.0  # seconds for what grows with the collection: an index, loading it


class InMilvus:
    """The `VectorStore` of an index folder in Milvus at an address."""

    kind = KIND

    def __init__(self, address: str, index: Path) -> None:
        self._milvus = MilvusConnection(address)
        self._index = index
        self._alias = "zantara_" + re.sub(r"\W", "_", index.resolve().name, flags=re.ASCII)

    def prepare(self) -> None:
        """See that Milvus can be asked, and that the alias is not of another index of this name."""
        if not self._milvus.call("has_collection", self._alias):
            return
        current = self._milvus.call("describe_alias", self._alias)["collection_name"]
        if current not in {self._named(folder.name) for folder in build_folders(self._index)}:
            raise CorpusError(
                f"In Milvus at {self._milvus.name}, {self._alias} leads to {current}, which is no build of "
                f"{self._index}: where that is of another index, name a database of its own in ZANTARA_VECTORS, "
                "or call this folder otherwise; where it is a rest, drop the alias and its collection."
            )

    def _named(self, build: str) -> str:
        """The collection of a build."""
        return f"{self._alias}_{re.sub(r'[^A-Za-z0-9]', '_', build)}"

    def write(self, folder: Path, build: str, vectors: Vectors, levels: Sequence[int]) -> Written:
        """Make the build's collection. A row and an access level a passage."""
        collection = self._named(build)
        pointer = Pointer(collection, len(vectors), _sha256([vectors]), self._milvus.name)
        pointer.save(folder)  # first, so that whatever becomes of the build, its collection is found
        self._milvus.call("create_collection", collection, schema=_schema(vectors.shape[1]))
        for start in range(0, len(vectors), TOGETHER):
            rows = [
                {NUMBER: number, LEVEL: levels[number], VECTOR: vectors[number]}
                for number in range(start, min(start + TOGETHER, len(vectors)))
            ]
            self._milvus.call("insert", collection, rows, timeout=PATIENCE)
        self._milvus.call("flush", collection, timeout=PATIENCE)
        in_graph = len(vectors) > EXACT_LIMIT
        self._milvus.call("create_index", collection, _indexes(in_graph), timeout=PATIENCE)
        self._milvus.call("load_collection", collection, timeout=PATIENCE)
        written = MilvusIndex(self._milvus, pointer, 0)
        if not in_graph:
            return Written("Milvus FLAT", 0, 1.0)
        probes, recall = fewest_probes(partial(_numbers, written), vectors, LADDER)
        return Written(f"Milvus HNSW{LINKS}", probes, recall)

    def open(self, folder: Path, manifest: Manifest) -> MilvusIndex:
        """The build's collection, in Milvus's memory."""
        pointer = Pointer.load(folder)
        if pointer is None:
            raise IndexUnavailable(f"Build {manifest.build} has no vectors in Milvus: {REBUILD}")
        self._milvus.call("load_collection", pointer.collection, timeout=PATIENCE)
        return MilvusIndex(self._milvus, pointer, manifest.probes)

    def switch(self, folder: Path) -> None:
        """Let the alias lead to the build; those before the one before it may leave Milvus's memory."""
        pointer = Pointer.load(folder)
        if pointer is not None:
            way = "alter_alias" if self._milvus.call("has_collection", self._alias) else "create_alias"
            self._milvus.call(way, pointer.collection, self._alias)
            self._release(folder)

    def _release(self, current: Path) -> None:
        spared = {current.name, Manifest.load(current).previous}
        for folder, pointer in self._pointers():
            if folder.name not in spared:
                self._milvus.call("release_collection", pointer.collection)

    def _pointers(self) -> Iterator[tuple[Path, Pointer]]:
        """The builds that have their vectors here; one that is damaged cannot say."""
        for folder in build_folders(self._index):
            with suppress(IndexUnavailable):
                pointer = Pointer.load(folder)
                if pointer is not None:
                    yield folder, pointer

    def remove(self, folder: Path) -> None:
        """Drop the collection of that build, or of a draft of one."""
        pointer = Pointer.load(folder)
        if pointer is not None:
            self._milvus.call("drop_collection", pointer.collection)


class MilvusIndex:
    """The `VectorIndex` in one collection: a question is one call, its similarities another.

    Raises `IndexUnavailable` where the collection has not as many vectors as the build gave it.
    """

    def __init__(self, milvus: MilvusConnection, pointer: Pointer, probes: int) -> None:
        self._milvus = milvus
        self._pointer = pointer
        self._probes = probes
        (vector,) = (f for f in self._call("describe_collection")["fields"] if f["name"] == VECTOR)
        self._dimensions = int(vector["params"]["dim"])
        self._count = int(self._call("query", filter="", output_fields=["count(*)"])[0]["count(*)"])
        if self._count != pointer.count:
            raise IndexUnavailable(f"{pointer.collection} has {self._count} of {pointer.count} vectors: {REBUILD}")

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        return self._dimensions

    def __len__(self) -> int:
        return self._count

    def nearest(self, query: Vectors, count: int, allowed: Allowed | None = None) -> list[int]:
        """The numbers of the `count` nearest vectors, nearest first, at most `MOST`; fewer where there are fewer.

        Milvus looks only at those of the access level, and what it gives is held against `allowed`.
        """
        row = as_row(query, self)
        count = min(count, how_many(allowed, self), MOST)
        if count <= 0:
            return []
        level = "" if allowed is None else f"{LEVEL} <= {allowed.level}"
        probes = max(self._probes, count) if self._probes else 0
        (found,) = self.search(row, count, probes, level)
        while len(found) < count and 0 < probes < min(len(self), BROADEST):  # those of this level lie far apart
            probes = min(2 * probes, BROADEST)
            (found,) = self.search(row, count, probes, level)
        return [number for number in found if allowed is None or allowed.passages[number]]

    def search(self, rows: Vectors, count: int, probes: int, level: str = "") -> list[list[int]]:
        """The numbers of the nearest to each row, with `probes` vectors in sight, up to a level."""
        parameters = {"metric_type": "IP", "params": {"ef": probes} if probes else {}}
        found = self._call(
            "search", list(rows), limit=count, filter=level, search_params=parameters, output_fields=[NUMBER]
        )
        return [[int(hit[NUMBER]) for hit in hits] for hits in found]

    def similarities(self, query: Vectors, numbers: Sequence[int]) -> NDArray[np.float32]:
        """The cosines of the query with the vectors of those numbers, as they are stored."""
        row = as_row(query, self)
        cosines: NDArray[np.float32] = self._vectors(as_numbers(numbers, self)) @ row[0]
        return cosines

    def damage(self) -> str:
        """Whether all vectors are as the build gave them."""
        starts = range(0, self._count, TOGETHER)
        lots = (self._vectors(np.arange(start, min(start + TOGETHER, self._count))) for start in starts)
        same = _sha256(lots) == self._pointer.sha256
        return "" if same else f"the vectors in {self._pointer.collection} are not as they were built"

    def _vectors(self, numbers: NDArray[np.int64]) -> Vectors:
        asked = np.unique(numbers).tolist()
        found = self._call("get", ids=asked, output_fields=[NUMBER, VECTOR]) if asked else []
        if len(found) != len(asked):
            raise IndexUnavailable(
                f"Milvus lacks {len(asked) - len(found)} vectors of {self._pointer.collection}: {REBUILD}"
            )
        kept = {int(row[NUMBER]): row[VECTOR] for row in found}
        rows = np.array([kept[number] for number in numbers.tolist()], np.float32)
        return rows.reshape(len(numbers), self._dimensions)

    def probe(self) -> None:
        """See that Milvus answers, and has the collection in memory: after a restart it may have to load it."""
        self._call("load_collection")

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._milvus.call(method, self._pointer.collection, *arguments, **options)


def _schema(dimensions: int) -> Any:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(NUMBER, DataType.INT64, is_primary=True)
    schema.add_field(LEVEL, DataType.INT64)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dimensions)
    return schema


def _indexes(in_graph: bool) -> Any:
    indexes = MilvusClient.prepare_index_params()
    graph = {"index_type": "HNSW", "params": {"M": LINKS, "efConstruction": BREADTH}}
    indexes.add_index(VECTOR, metric_type="IP", **(graph if in_graph else {"index_type": "FLAT"}))
    return indexes


def _numbers(index: MilvusIndex, rows: Vectors, depth: int, probes: int) -> NDArray[np.int64]:
    """What `fewest_probes` measures with."""
    found = index.search(rows, depth, probes)
    return np.array([numbers + [-1] * (depth - len(numbers)) for numbers in found], np.int64)


def _sha256(lots: Iterable[Vectors]) -> str:
    digest = hashlib.sha256()
    for lot in lots:
        digest.update(np.ascontiguousarray(lot, np.float32).data)
    return digest.hexdigest()
