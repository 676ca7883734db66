"""Who may ask: the Origin and Host of every request, and the CORS headers of every response.

aiohttp-cors serves the routes and their preflights; what it cannot reach (404, 405, errors) gets the
same headers from `complete`, the one place that writes them.
"""

from __future__ import annotations

import re

import aiohttp_cors
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from ..errors import Forbidden, Misdirected

METHODS = ("GET", "POST", "DELETE", "OPTIONS")
REQUEST_HEADERS = (
    "Content-Type",
    "Authorization",
    "Accept",
    "Cache-Control",
    "Last-Event-ID",
    "X-Session-Id",
    "X-Continuity-Id",
    "X-Reconnection",
    "X-Last-Chunk-Timestamp",
)
EXPOSED = ("Content-Type", "Cache-Control", "X-Accel-Buffering", "X-Answer-Id", "Retry-After")
MAX_AGE = 3600  # seconds a browser may remember a preflight
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\]\\]+))(?::[0-9]{1,5})?")


class OriginPolicy:
    """The allowed origins and host names of this server."""

    def __init__(self, origins: tuple[str, ...], hosts: frozenset[str]) -> None:
        self._origins = frozenset(origins)
        self._hosts = hosts

    def install(self, app: web.Application) -> None:
        """Put the policy on every route that `app` has by now."""
        options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
            allow_credentials=True,
            expose_headers=EXPOSED,
            allow_headers=REQUEST_HEADERS,
            allow_methods=METHODS,
            max_age=MAX_AGE,
        )
        cors = aiohttp_cors.setup(app, defaults={origin: options for origin in sorted(self._origins)})
        for resource in tuple(app.router.resources()):
            cors.add(resource)
            for route in tuple(resource):
                cors.add(route)
        app.on_response_prepare.append(self.complete)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse foreign hosts and origins before anything else is looked at."""
        if not self._host_allowed(request):
            raise Misdirected
        if not self._origin_allowed(request):
            raise Forbidden("Pages of this origin may not ask here; the operator can add it to ZANTARA_CORS_ORIGINS.")
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            # A browser must get past the preflight to see the 404 or 405 of the request itself.
            if _is_preflight(request) and refusal.status in (403, 404, 405):
                return web.Response()
            raise

    def _host_allowed(self, request: web.Request) -> bool:
        host = request.headers.get(hdrs.HOST)
        return host is None or _host_name(host) in self._hosts

    def _origin_allowed(self, request: web.Request) -> bool:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None:
            return origin in self._origins or _same_host(origin, request)
        # Images and the like of a foreign page send no Origin, but may make the server spend money.
        site = request.headers.get("Sec-Fetch-Site", "none")
        return site in ("none", "same-origin") or not request.path.startswith("/bali-zero/")

    async def complete(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add what CORS asks for to any response, whoever made it."""
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin not in self._origins:
            return
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(EXPOSED)
        if _is_preflight(request):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = ", ".join(METHODS)
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ", ".join(REQUEST_HEADERS)
            response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(MAX_AGE)


def _is_preflight(request: web.Request) -> bool:
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def _same_host(origin: str, request: web.Request) -> bool:
    # The scheme is not compared: behind a TLS proxy the page's is https and ours is http.
    return origin.partition("://")[2].lower() == request.headers.get(hdrs.HOST, "").lower() != ""


def _host_name(host: str) -> str:
    """The name in a Host header, lower case, without port and brackets; "" for one that makes no sense."""
    match = _HOST.fullmatch(host.lower())
    return (match[1] or match[2]) if match else ""
