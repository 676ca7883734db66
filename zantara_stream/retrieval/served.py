"""A build as the event loop asks it: embedding and searching happen in threads beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..errors import IndexUnavailable, VectorsUnavailable
from ..metrics import RETRIEVAL
from .encoder import Encoder, Vectors
from .follow_up import Part, parts
from .gathering import Gathering
from .manifest import Manifest
from .opened import Build
from .reranker import CANDIDATES, Reranker
from .search import Hit, find

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Threads:
    """Where a library works: one thread embeds, one searches, one reranks."""

    def __init__(self) -> None:
        self.embedding = ThreadPoolExecutor(1, "embedding")
        self.searching = ThreadPoolExecutor(1, "searching")
        self.reranking = ThreadPoolExecutor(1, "reranking")

    def end(self) -> None:
        """Begin nothing more; what is being done is finished."""
        for executor in (self.embedding, self.searching, self.reranking):
            executor.shutdown(wait=False, cancel_futures=True)


class Served:
    """One build that any number of questions share. Whoever began with it keeps it, whatever is current by then."""

    def __init__(
        self, build: Build, threads: Threads, reranker: Reranker | None = None, before: Served | None = None
    ) -> None:
        self._build = build
        self._threads = threads
        self._reranker = reranker
        self._gathering = Gathering(build.encoder, threads.embedding)
        if before is not None and before.encoder is build.encoder:
            self._gathering = before._gathering

    @property
    def manifest(self) -> Manifest:
        """What the build says of itself."""
        return self._build.manifest

    @property
    def encoder(self) -> Encoder:
        """What embeds the questions; a build that follows with the same one shares it."""
        return self._build.encoder

    async def run(self, work: Callable[[Build], T]) -> T:
        """Do some work with the build in the searching thread. Raises `VectorsUnavailable`, and tells the log why."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads.searching, work, self._build)
        except IndexUnavailable as error:
            logger.warning("the vectors cannot be asked: %s", error)
            raise VectorsUnavailable from error  # where they are is nothing for who asks

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 a text, embedded together with what others ask for at the time."""
        return await self._gathering.vectors(texts)

    async def search(self, query: str, limit: int, level: int = 0, earlier: Sequence[str] = ()) -> list[Hit]:
        """The best `limit` passages for a question asked after `earlier` ones, up to an access level, best first."""
        asked = parts(query, earlier)
        with RETRIEVAL.labels(stage="embed").time():
            vectors = await self.encode([part.text for part in asked])
        wanted = limit if self._reranker is None else max(limit, CANDIDATES)
        with RETRIEVAL.labels(stage="search").time():
            hits = await self.run(lambda build: find(build, build.sought(asked, vectors), wanted, level))
        return (await self._reranked(asked, hits))[:limit]

    async def _reranked(self, asked: Sequence[Part], hits: list[Hit]) -> list[Hit]:
        if self._reranker is None or not hits:
            return hits
        query = "\n".join(part.text for part in reversed(asked))
        loop = asyncio.get_running_loop()
        with RETRIEVAL.labels(stage="rerank").time():
            passages = [hit.passage for hit in hits]
            order = await loop.run_in_executor(self._threads.reranking, self._reranker.order, query, passages)
        return [hits[place] for place in order]
