"""The retrieval alone."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..answers.events import to_json
from ..retrieval.library import Library
from ..retrieval.search import Hit
from .asker import asker
from .parameters import read_limit, read_query, read_values


class Search:
    """The handler of `/bali-zero/search`."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def search(self, request: web.Request) -> web.Response:
        """The passages nearest to the query that the asker may see, best first, relevant or not."""
        values = await read_values(request)
        query, limit = read_query(values), read_limit(values)
        hits = await self._library.current.search(query, limit, asker(request).level)
        return web.json_response({"results": [_result(hit) for hit in hits]}, dumps=to_json)


def _result(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {
        "passage": passage.id,
        "document": passage.document,
        "source": passage.title,
        "section": passage.section,
        "page": passage.page,
        "text": passage.text,
        "start": passage.start,
        "end": passage.end,
        "similarity": round(hit.similarity, 4),
        "score": round(hit.score, 4),
    }
