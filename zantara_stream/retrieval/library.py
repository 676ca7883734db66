"""The build that is being served: opened once, checked, and searched off the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import IndexUnavailable, ZantaraError
from .corpus import Corpus
from .embedding import Embedder, checked_weights, model_name
from .index import VectorIndex
from .language import sure_language
from .lexical import LexicalIndex
from .manifest import CORPUS, LEXICAL, VECTORS, Manifest, check, check_model, current_build
from .search import Hit, find

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Build:
    """One build, open for searching by one thread at a time."""

    manifest: Manifest
    index: VectorIndex
    lexical: LexicalIndex
    corpus: Corpus
    embedder: Embedder

    @classmethod
    def open(cls, folder: Path, load_embedder: Callable[[], Embedder]) -> Build:
        """Check and open the current build of an index folder. Raises `IndexUnavailable`."""
        build = current_build(folder)
        manifest = Manifest.load(build)
        check(build, manifest)
        embedder = load_embedder()
        check_model(manifest, embedder.name, embedder.sha256, embedder.dimensions)
        index = VectorIndex.load(build / VECTORS)
        lexical = LexicalIndex.load(build / LEXICAL, manifest.languages)
        if not len(index) == lexical.size == manifest.passages:
            raise IndexUnavailable(f"The parts of the index {build} do not belong together; build it again.")
        return cls(manifest, index, lexical, Corpus(build / CORPUS), embedder)

    def warm(self) -> None:
        """Search once, so that the first question does not wait for what is loaded at first use."""
        self.search("warm", 1)
        self.language("warm")

    def language(self, query: str) -> str | None:
        """The language of a query, where it is clearly English or one of the documents'."""
        return sure_language(query, {"en", *self.manifest.languages})

    def search(self, query: str, limit: int) -> list[Hit]:
        """The best `limit` passages, best first."""
        return find(query, self.embedder.encode([query]), limit, self.index, self.lexical, self.corpus)


def inspect(folder: Path, embedding_model: str) -> Manifest:
    """The manifest of the current build, held against its files and the configured model, loading neither.

    Raises `IndexUnavailable`, or `ConfigError` for the model.
    """
    build = current_build(folder)
    manifest = Manifest.load(build)
    check_model(manifest, model_name(embedding_model), checked_weights(embedding_model)[1])
    check(build, manifest)
    return manifest


class Library:
    """Searches the current build in a thread of its own, so that no stream waits for it."""

    def __init__(self, folder: Path, load_embedder: Callable[[], Embedder]) -> None:
        self._folder = folder
        self._load_embedder = load_embedder
        self._thread = ThreadPoolExecutor(1, "retrieval")
        self._build: Build | None = None
        self._problem = IndexUnavailable("The document index is still being opened.")

    async def open(self) -> None:
        """Open the index; where that fails, `current` says why."""
        loop = asyncio.get_running_loop()
        try:
            build = await loop.run_in_executor(self._thread, Build.open, self._folder, self._load_embedder)
            await loop.run_in_executor(self._thread, build.warm)
            self._build = build
        except ZantaraError as error:
            self._problem = IndexUnavailable(str(error))
        except Exception as error:
            self._problem = IndexUnavailable(f"The index {self._folder} cannot be opened ({type(error).__name__}).")
            logger.exception("the index %s cannot be opened", self._folder)

    @property
    def current(self) -> Build:
        """The build that is served. Raises `IndexUnavailable` with the reason where there is none."""
        if self._build is None:
            raise self._problem
        return self._build

    async def run(self, work: Callable[[Build], T]) -> T:
        """Do some work with the current build in the retrieval thread. Raises `IndexUnavailable`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self.current)

    async def search(self, query: str, limit: int) -> list[Hit]:
        """The best `limit` passages, best first. Raises `IndexUnavailable`."""
        return await self.run(lambda build: build.search(query, limit))

    def close(self) -> None:
        """End the thread; what it is doing is finished first."""
        self._thread.shutdown(wait=False, cancel_futures=True)
