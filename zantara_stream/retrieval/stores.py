"""Which store has a build's vectors: the one that is configured, or the one that the build was written to."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from ..config import FAISS
from ..errors import ConfigError, IndexUnavailable
from .manifest import POINTER, REBUILD, Manifest
from .pointer import Pointer
from .vector_index import VectorIndex
from .vector_store import InFiles, VectorStore


def configured_store(address: str, index: Path) -> VectorStore:
    """The store at an address, as ZANTARA_VECTORS gives it, for an index folder. Raises `ConfigError`.

    Nothing is connected to yet.
    """
    if address == FAISS:
        return InFiles()
    if find_spec("pymilvus") is None:
        raise ConfigError(
            "ZANTARA_VECTORS names Milvus, whose client is not installed: pip install 'zantara-stream[milvus]'"
        )
    from .milvus import InMilvus

    return InMilvus(address, index)


def open_vectors(folder: Path, manifest: Manifest, address: str = FAISS) -> VectorIndex:
    """The vectors of the build in `folder`, from wherever it was written to. Raises `IndexUnavailable`."""
    if POINTER not in manifest.checksums:
        return InFiles().open(folder, manifest)
    if address == FAISS:
        raise IndexUnavailable(
            f"The vectors of build {manifest.build} are in Milvus: set ZANTARA_VECTORS to its address, or {REBUILD}"
        )
    return configured_store(address, folder.parent.parent).open(folder, manifest)


def forgetting(store: VectorStore, tell: Callable[[str], object]) -> Callable[[Path], None]:
    """What has a folder's vectors removed from the store; of those that it cannot reach any more, `tell` hears."""

    def forget(folder: Path) -> None:
        try:
            pointer = Pointer.load(folder)
        except IndexUnavailable as error:
            tell(f"{error}; whatever it names is left where it is")
            return
        if pointer is not None and isinstance(store, InFiles):
            tell(f"{pointer.collection} is left in Milvus at {pointer.milvus}, which is no longer used: drop it there")
        store.remove(folder)

    return forget
