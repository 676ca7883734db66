"""Where builds keep their vectors: each in a file of its own, or all in Milvus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .encoder import Vectors
from .index import KIND, FaissIndex
from .manifest import VECTORS, Manifest
from .vector_index import VectorIndex


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a build's vectors, as its manifest tells it."""

    kind: str
    probes: int  # how much a search looks into; 0 where it looks at everything
    recall: float  # of the nearest, against all; measured


class VectorStore(Protocol):
    """Where the vectors of an index folder's builds are kept. Raises `IndexUnavailable` where it cannot be used."""

    kind: str  # what it makes of vectors: with another one, another build is needed

    def prepare(self) -> None:
        """See that a build can be written. Raises `CorpusError` where that would harm somebody else's."""
        ...

    def write(self, folder: Path, build: str, vectors: Vectors, levels: Sequence[int]) -> Written:
        """Keep a row and an access level a passage for a build whose draft is `folder`."""
        ...

    def open(self, folder: Path, manifest: Manifest) -> VectorIndex:
        """The vectors of a build, to be searched."""
        ...

    def switch(self, folder: Path) -> None:
        """That build is the current one from now on."""
        ...

    def remove(self, folder: Path) -> None:
        """That build, or draft of one, is about to be deleted; it may have nothing here."""
        ...


class InFiles:
    """Each build's vectors in a file of its folder, in FAISS's format."""

    kind = KIND

    def prepare(self) -> None:
        """Nothing: whoever may write the folder may write the file."""

    def write(self, folder: Path, build: str, vectors: Vectors, levels: Sequence[int]) -> Written:
        """Write the file."""
        index = FaissIndex.build(vectors)
        index.save(folder / VECTORS)
        return Written(index.kind, index.probes, float(index.recall))

    def open(self, folder: Path, manifest: Manifest) -> VectorIndex:
        """Map the file into memory."""
        return FaissIndex.load(folder / VECTORS, manifest.probes)

    def switch(self, folder: Path) -> None:
        """Nothing: the file lies in the folder that is current."""

    def remove(self, folder: Path) -> None:
        """Nothing: the file goes with its folder."""
