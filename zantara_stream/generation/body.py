"""The bytes of a provider's response, as they come.

The SDK opens the request: authentication, retries and status errors are its own. What it has between a connection and
whoever reads a body that is not packed takes a tenth of all that is done with a chunk (docs/decisions/0031).
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any, cast

from aiohttp import ClientError

from . import sdk


def broken() -> tuple[type[Exception], type[Exception], type[OSError]]:
    """What reading it may raise, where the line breaks."""
    return sdk.httpx2.HTTPError, ClientError, OSError


def pieces(response: Any) -> AsyncIterable[bytes]:
    """What comes of the body; `response` is one of the SDK's, with its streaming left to whoever reads it."""
    if response.headers.get("content-encoding", "identity") != "identity":
        return cast(AsyncIterable[bytes], response.iter_bytes())
    stream = response.http_response.stream
    content = received(stream)
    return cast(AsyncIterable[bytes], stream if content is None else content.iter_any())


def received(stream: Any) -> Any:
    """What aiohttp has received, behind the SDK's two wrappings of it; None where they are others."""
    return getattr(getattr(getattr(stream, "_stream", None), "_aiohttp_response", None), "content", None)
