"""What operators and their probes ask, and the test page."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from ..answers.answers import Answers
from ..errors import RequestError
from ..pipeline import Pipeline
from .sse import error_body

STATIC = Path(__file__).parent / "static"
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Operations:
    """The handlers of `/health` and `/ready`."""

    def __init__(self, answers: Answers, pipeline: Pipeline) -> None:
        self._answers = answers
        self._pipeline = pipeline

    async def health(self, request: web.Request) -> web.Response:
        """Live: the loop runs."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """Whether a question asked now would be answered; the reason where not."""
        try:
            self._answers.admit()
            build = self._pipeline.check()
        except RequestError as error:
            return web.json_response({"ready": False, **error_body(error)}, status=503)
        return web.json_response({"ready": True, "build": build, "model": self._pipeline.model})


async def page(request: web.Request) -> web.FileResponse:
    """The test page and its files, with the headers that keep them to themselves."""
    return web.FileResponse(STATIC / request.match_info.get("file", "index.html"), headers=PAGE_HEADERS)
