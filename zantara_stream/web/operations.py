"""What operators and their probes ask."""

from __future__ import annotations

from aiohttp import web

from ..answers.answers import Answers
from ..errors import Draining, RequestError
from ..metrics import exposition
from ..people.store import Store
from ..pipeline import Pipeline
from ..retrieval.library import Library
from .siblings import Siblings, as_exposition
from .sse import error_body


class Operations:
    """The handlers of `/health`, `/ready` and `/metrics`."""

    def __init__(
        self, answers: Answers, pipeline: Pipeline, library: Library, store: Store, siblings: Siblings | None = None
    ) -> None:
        self._answers = answers
        self._pipeline = pipeline
        self._library = library
        self._store = store
        self._siblings = siblings

    async def health(self, request: web.Request) -> web.Response:
        """Live: the loop runs."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """Whether a question asked now would be answered; the reason where not."""
        try:
            if self._answers.draining:
                raise Draining
            self._answers.admit()
            self._store.check()
            build = self._pipeline.check()
        except RequestError as error:
            return web.json_response({"ready": False, **error_body(error)}, status=503)
        refused = {"refused": self._library.refused} if self._library.refused else {}
        return web.json_response({"ready": True, "build": build, "model": self._pipeline.model, **refused})

    async def metrics(self, request: web.Request) -> web.Response:
        """What Prometheus reads."""
        return as_exposition(exposition() if self._siblings is None else await self._siblings.exposition())
