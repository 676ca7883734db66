"""The build that is served, and its exchange for a newer one while answers run."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ..config import FAISS
from ..errors import IndexUnavailable, VectorsUnavailable, ZantaraError
from ..metrics import INDEX_BUILT, INDEX_INFO, INDEX_REFUSED
from . import language
from .embedding import load_encoder, model_name
from .manifest import ENCODER, REBUILD, Manifest, check, current_build
from .opened import Build, LoadEncoder
from .reranker import Reranker
from .served import Served, Threads
from .watching import State, look

logger = logging.getLogger(__name__)

WATCHED = 0.5  # seconds between two looks at which build is current
PROBED = 2.0  # seconds between two looks at whether vectors that are kept elsewhere can be reached


def inspect(folder: Path, embedding_model: str) -> Manifest:
    """The manifest of the current build, held against its files and the configured model; nothing is loaded.

    Raises `IndexUnavailable`.
    """
    build = current_build(folder)
    manifest = Manifest.load(build)
    check_configured(manifest, model_name(embedding_model))
    check(build, manifest)
    return manifest


def check_configured(manifest: Manifest, model: str) -> None:
    """Hold a build against the name of the configured embedding model. Raises `IndexUnavailable`."""
    if manifest.model != model:
        raise IndexUnavailable(
            f"The index was built with the embedding model {manifest.model}, the server is set to {model}: "
            f"set ZANTARA_EMBEDDING_MODEL, or {REBUILD}"
        )


class Library:
    """Serves the current build of an index folder, and takes up another as soon as that is made current.

    A build that is damaged, or not of the embedding model `model`, is refused, and the one before it goes on.
    """

    def __init__(
        self,
        folder: Path,
        load_encoder: LoadEncoder = load_encoder,
        model: str | None = None,
        load_reranker: Callable[[], Reranker] | None = None,
        vectors: str = FAISS,
    ) -> None:
        self._folder = folder
        self._load_encoder = load_encoder
        self._model = model
        self._load_reranker = load_reranker
        self._vectors = vectors
        self._reranker: Reranker | None = None
        self._threads = Threads()
        self._served: Served | None = None
        self._seen = State()  # of the folder, when its current build was last taken up or refused
        self._opening = asyncio.Lock()
        self._woken = asyncio.Event()
        self.ready = asyncio.Event()  # set once there is a build that is served
        self.tried = asyncio.Event()  # set once it was opened or refused
        self.refused = ""  # why the build that is current by name is not served
        self._passing = False  # whether that may mend itself
        self._away: VectorsUnavailable | None = None  # since its vectors cannot be reached

    @property
    def current(self) -> Served:
        """The build that is served. Raises `IndexUnavailable` with the reason where there is none to be asked."""
        if self._served is None:
            raise IndexUnavailable(self.refused or "The document index is still being opened.")
        if self._away is not None:
            raise self._away
        return self._served

    async def open(self) -> None:
        """Open the index; where that fails, `current` says why."""
        with suppress(IndexUnavailable):
            await self.reload()
        self.tried.set()

    async def prepare(self) -> None:
        """Load what tells languages, which the first question would do else."""
        await asyncio.to_thread(language.load)

    async def serve(self, every: float = WATCHED) -> None:
        """Open the index, then take up each build that is made current, until cancelled."""
        await self.open()
        before, probed = self._seen, time.monotonic()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), every)
            if time.monotonic() - probed >= PROBED:
                await self._probe()
                probed = time.monotonic()
            now = await asyncio.to_thread(look, self._folder)
            if self._woken.is_set() or self._is_news(now, before):
                self._woken.clear()
                await self.open()
            before = now

    async def _probe(self) -> None:
        """See whether the vectors can be reached; a build that was refused because they could not is tried again."""
        if self._passing:
            self.wake()
        if self._served is not None:
            before = self._away
            try:
                await self._served.run(lambda build: build.index.probe())
                self._away = None
            except VectorsUnavailable as error:
                self._away = error
            if before is not None and self._away is None:
                logger.info("the vectors can be reached again")

    def _is_news(self, now: State, before: State) -> bool:
        """Whether another build may be there: CURRENT was written, or the files it names came to rest otherwise."""
        return now.current != self._seen.current or now == before != self._seen

    def wake(self) -> None:
        """Let `serve` open the current build now, even one that was refused as it is; safe in a signal's handler."""
        self._woken.set()

    async def reload(self) -> Manifest:
        """Serve the current build, if it is not yet. Raises `IndexUnavailable` where it is refused.

        What was begun is finished even if whoever asked leaves.
        """
        return await asyncio.shield(asyncio.create_task(self._reload()))

    async def _reload(self) -> Manifest:
        async with self._opening:
            try:
                self._seen = await asyncio.to_thread(look, self._folder)
                return await self._take_up(await asyncio.to_thread(current_build, self._folder))
            except ZantaraError as error:
                self._passing = isinstance(error, VectorsUnavailable)
                raise self._refuse(str(error)) from error
            except Exception as error:
                logger.exception("the index %s cannot be opened", self._folder)
                problem = f"The index {self._folder} cannot be opened ({type(error).__name__})."
                raise self._refuse(problem) from error

    async def _take_up(self, folder: Path) -> Manifest:
        if self._served is None or self._served.manifest.build != folder.name:
            build = await asyncio.to_thread(self._open, folder)
            _tell(build.manifest)
            self._served = Served(build, self._threads, self._reranker, self._served)
            self.ready.set()
        self.refused, self._passing = "", False
        return self._served.manifest

    def _open(self, folder: Path) -> Build:
        if self._load_reranker is not None and self._reranker is None:
            self._reranker = self._load_reranker()
        manifest = Manifest.load(folder)
        if manifest.build != folder.name:
            raise IndexUnavailable(f"The index {folder} is named {manifest.build} in its manifest: {REBUILD}")
        if self._model is not None:
            check_configured(manifest, self._model)
        build = Build.open(folder, self._encoder_of(manifest), self._vectors)
        build.warm()
        return build

    def _encoder_of(self, manifest: Manifest) -> LoadEncoder:
        """How to load a build's encoder: not at all where it is that of the build before, file by file."""
        served, files = self._served, manifest.below(ENCODER)
        if served is None or not files or served.manifest.below(ENCODER) != files:
            return self._load_encoder
        return lambda _: served.encoder

    def _refuse(self, problem: str) -> IndexUnavailable:
        if self.refused == problem and self._passing:  # told already
            return IndexUnavailable(problem)
        self.refused = problem
        INDEX_REFUSED.inc()
        if self._served is None:
            logger.error("no question is answered: %s", problem)
        else:
            logger.error("a newer index is refused, build %s goes on: %s", self._served.manifest.build, problem)
        return IndexUnavailable(problem)

    def close(self) -> None:
        """End the threads; what they are doing is finished first."""
        self._threads.end()


def _tell(manifest: Manifest) -> None:
    created = datetime.fromisoformat(manifest.created)
    INDEX_INFO.clear()
    INDEX_INFO.labels(build=manifest.build, model=manifest.model).set(1)
    INDEX_BUILT.set(created.timestamp())
    logger.info("the index is open, build %s, %d passages", manifest.build, manifest.passages)
