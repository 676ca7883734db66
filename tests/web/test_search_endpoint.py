"""The retrieval alone, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from server import QUESTION, SEARCH, Server, serving

KEYS = ["passage", "document", "source", "section", "page", "text", "start", "end", "similarity", "score"]


async def found(server: Server, **body: Any) -> list[dict[str, Any]]:
    """The results of a search."""
    async with await server.post(SEARCH, body) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        answer = await response.json()
    assert list(answer) == ["results"]
    results: list[dict[str, Any]] = answer["results"]
    return results


async def test_results_are_passages_best_first(small_index: Path) -> None:
    async with serving(small_index) as server:
        results = await found(server, query=QUESTION)
    assert all(list(result) == KEYS for result in results)
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert len({result["passage"] for result in results}) == len(results) > 1
    best = results[0]
    assert (best["document"], best["source"], best["section"]) == ("permits/renewal.md", "Renewing a permit", "Fees")
    assert "fined" in best["text"]
    for result in results:
        assert 0 <= result["similarity"] <= 1
        assert result["similarity"] == round(result["similarity"], 4)


async def test_spans_are_of_the_document_s_text(small_index: Path, small_corpus: Path) -> None:
    async with serving(small_index) as server:
        results = await found(server, query=QUESTION, limit=50)
    plain = [result for result in results if not result["document"].endswith(".html")]
    assert len(plain) > 2
    for result in plain:
        text = (small_corpus / result["document"]).read_text(encoding="utf-8")
        assert text[result["start"] : result["end"]] == result["text"]


async def test_passages_that_do_not_answer_are_found_too(small_index: Path) -> None:
    async with serving(small_index) as server:
        assert await found(server, query="xyzzy")
        assert await found(server, query="Ciao!"), "small talk is searched for here"


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_as_many_as_wanted(small_index: Path, limit: int) -> None:
    async with serving(small_index) as server:
        everything = await found(server, query=QUESTION, limit=50)
        assert await found(server, query=QUESTION, limit=limit) == everything[:limit]


@pytest.mark.parametrize("limit", [0, -1, 51, 1.5, "10", None, True, [1]])
async def test_a_limit_that_is_none_is_refused(small_index: Path, limit: object) -> None:
    async with serving(small_index) as server, await server.post(SEARCH, {"query": "x", "limit": limit}) as response:
        assert response.status == 400
        assert "limit must be a whole number from 1 to 50" in (await response.json())["error"]


@pytest.mark.parametrize("query", ["", "  ", None, 5])
async def test_a_search_needs_a_query(small_index: Path, query: object) -> None:
    async with serving(small_index) as server, await server.post(SEARCH, {"query": query}) as response:
        assert response.status == 400
        assert "query" in (await response.json())["error"]


async def test_two_searches_at_once(small_index: Path) -> None:
    async with serving(small_index) as server:
        first, second = await found(server, query=QUESTION), await found(server, query="company capital account")
        assert first[0]["document"] != second[0]["document"] == "companies/capital.txt"
