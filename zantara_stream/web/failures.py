"""Errors as responses: one shape, in one place, whatever raised them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ..answers.answer import internal_error
from ..answers.events import frame, to_json
from ..errors import (
    Draining,
    IndexUnavailable,
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    ModelOverloaded,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    NotFound,
    NotNow,
    RequestError,
    TooLarge,
    Unauthenticated,
)
from ..metrics import REFUSALS, REQUESTS
from .sse import error_body, open_stream

ASKING = "/bali-zero/chat"  # what begins the addresses at which answers are asked for
# What an answer can end in; a client that was promised one JSON object gets its status.
_ENDINGS = (
    Draining,
    IndexUnavailable,
    ModelOverloaded,
    ModelTimeout,
    ModelUnavailable,
    ModelRefused,
    Internal,
)
ENDINGS: dict[str, type[RequestError]] = {error.code: error for error in _ENDINGS}


def error_response(error: RequestError, **more: Any) -> web.Response:
    """The failure as JSON with its status, and `Retry-After` where waiting helps."""
    response = _as_json(error_body(error, **more), error.status, type(error))
    if isinstance(error, NotNow):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def ended_response(error: Mapping[str, Any], **more: Any) -> web.Response:
    """An answer that ended in `error` (the terminal event's data), for a client that waited for the whole."""
    kind = ENDINGS.get(error["code"], Internal)
    return _as_json({**error, **more}, kind.status, kind)


def _as_json(body: Mapping[str, Any], status: int, kind: type[RequestError]) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if issubclass(kind, NotNow):
        headers["Retry-After"] = str(kind.retry_after)
    if issubclass(kind, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return web.json_response(body, status=status, headers=headers, dumps=to_json)


@web.middleware
async def failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into the contract's answer."""
    try:
        return await handler(request)
    except RequestError as error:
        return await _refuse(request, error)
    except web.HTTPException as error:
        return _translated(request, error)
    except ConnectionError:
        raise  # the reader has gone: there is nobody to tell
    except Exception as error:
        if request.writer.output_size:
            raise  # a stream has begun: a second response would only garble it
        return await _refuse(request, internal_error(error, f"{request.method} {_route(request)}"))


async def _refuse(request: web.Request, error: RequestError) -> web.StreamResponse:
    _count(request, error)
    if isinstance(error, NotNow) and wants_events(request):
        return await _unavailable(request, error)
    return error_response(error)


def _count(request: web.Request, error: RequestError) -> None:
    REFUSALS.labels(error.code).inc()
    if request.path.startswith(ASKING):
        REQUESTS.labels("refused").inc()


def _route(request: web.Request) -> str:
    """The address without the names in it, which may be what opens somebody's conversation."""
    resource = request.match_info.route.resource
    return "an unknown address" if resource is None else resource.canonical


def wants_events(request: web.Request) -> bool:
    """Whether an `EventSource` is asking, which gives up for ever on any status but 200."""
    return "text/event-stream" in request.headers.get("Accept", "")


async def _unavailable(request: web.Request, error: NotNow) -> web.StreamResponse:
    """A stream that only says when to come back."""
    wait = round(error.retry_after * 1000 * random.uniform(1.0, 1.5))
    data = {"code": error.code, "retryable": True, "retryAfter": error.retry_after}
    async with open_stream(request) as response:
        await response.write(frame(data, event="unavailable", retry=wait))
    return response


def _translated(request: web.Request, error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals in the contract's shape; redirects and the like pass as they are."""
    if error.status < 400:
        raise error
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        refusal = MethodNotAllowed(f"{request.path} takes {allowed}, not {error.method}.")
        _count(request, refusal)
        response = error_response(refusal)
        response.headers["Allow"] = allowed
        return response
    refused = _named(error)
    _count(request, refused)
    return error_response(refused)


def _named(error: web.HTTPException) -> RequestError:
    if isinstance(error, web.HTTPNotFound):
        return NotFound()
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return TooLarge("The body is too large.")
    if error.status >= 500:
        return Internal(error.reason)
    failure = InvalidRequest(error.text or error.reason)
    failure.status = error.status
    if error.status == 403:
        failure.code = "forbidden"
    return failure
