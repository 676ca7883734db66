"""What operators ask, with the token that the settings name: a newer index now, a document's text as it was indexed."""

from __future__ import annotations

import hmac

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from ..answers.events import to_json
from ..errors import Forbidden, NotFound, Unauthenticated
from ..retrieval.library import Library
from .asker import is_own


class Admin:
    """The handlers below `/admin`."""

    def __init__(self, library: Library, token: str) -> None:
        self._library = library
        self._token = token.encode()

    def guarded(self, handler: Handler, *, open_to_own: bool = False) -> Handler:
        """The same handler, for whoever sends the token; if so told, for this machine itself where none is set."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if self._token or not (open_to_own and is_own(request)):
                self._admit(request)
            return await handler(request)

        return answer

    def _admit(self, request: web.Request) -> None:
        if not self._token:
            raise Forbidden("This is for operators: set ZANTARA_ADMIN_TOKEN, and send it as Authorization: Bearer.")
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        sent = given.strip().encode("utf-8", "surrogateescape")  # the very bytes
        if scheme.lower() != "bearer" or not hmac.compare_digest(sent, self._token):
            raise Unauthenticated("This is for operators: send ZANTARA_ADMIN_TOKEN as Authorization: Bearer.")

    async def reload(self, request: web.Request) -> web.Response:
        """Take up the build that is current; refused with the reason where it is damaged or of another model."""
        manifest = await self._library.reload()
        return web.json_response({"build": manifest.build, "passages": manifest.passages, "model": manifest.model})

    async def document(self, request: web.Request) -> web.Response:
        """A document's text as it was indexed, which the spans of citations and passages count in."""
        path, served = request.match_info["path"], self._library.current
        found = await served.run(lambda build: build.corpus.document(path))
        if found is None:
            raise NotFound(f"Build {served.manifest.build} of the index has no such document.")
        return web.json_response({"build": served.manifest.build, **found}, dumps=to_json)
