"""The description of the HTTP API, as OpenAPI has it: `openapi.json` beside this, with the package's version."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

from .. import __version__

FILE = Path(__file__).with_suffix(".json")


def description() -> dict[str, Any]:
    """The whole description, read anew."""
    read: dict[str, Any] = json.loads(FILE.read_bytes())
    read["info"]["version"] = __version__
    return read


@cache
def _text() -> str:
    return json.dumps(description(), ensure_ascii=False)


async def show(request: web.Request) -> web.Response:
    """The handler of `/openapi.json`."""
    return web.Response(text=_text(), content_type="application/json")
