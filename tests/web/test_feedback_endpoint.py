"""What people think of answers is kept with the answer, once a person, and refused where it makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from server import CHAT, QUESTION, Server, never, serving
from tokens_made import SECRET, token

from zantara_stream.app import PEOPLE
from zantara_stream.people.feedback import Feedback
from zantara_stream.testing import ScriptedAnswerer

FEEDBACK = "/bali-zero/feedback"
NOBODY: Mapping[str, str] = {}


async def answered(server: Server, headers: Mapping[str, str] = NOBODY) -> str:
    """The id of an answer."""
    async with await server.post(CHAT, {"query": QUESTION}, headers) as response:
        return str((await response.json())["answer"])


async def rated(server: Server, body: Any, headers: Mapping[str, str] = NOBODY) -> tuple[int, Any]:
    """The status and the JSON that a rating gets."""
    async with await server.post(FEEDBACK, body, headers) as response:
        return response.status, await response.json()


async def kept(server: Server) -> list[Feedback]:
    """All feedback."""
    return [given async for given in server.app[PEOPLE].feedback.all()]


async def test_a_rating_is_kept_with_the_question_the_answer_and_its_sources(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("It is ", "fined.")) as server:
        name = await answered(server)
        assert await rated(server, {"answer": name, "rating": 4, "comment": " Good. "}) == (
            201,
            {"answer": name, "rating": 4},
        )
        (given,) = await kept(server)
    assert (given.answer, given.rating, given.comment) == (name, 4, "Good.")
    assert (given.question, given.text) == (QUESTION, "It is fined.")
    assert given.details["model"] == "scripted"
    assert given.details["sources"][0]["document"] == "permits/renewal.md"


async def test_a_second_rating_takes_the_place_of_the_first(small_index: Path) -> None:
    async with serving(small_index) as server:
        name = await answered(server)
        for rating in (1, 5):
            assert (await rated(server, {"answer": name, "rating": rating}))[0] == 201
        assert [given.rating for given in await kept(server)] == [5]


async def test_a_running_answer_can_be_rated(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("half", never())) as server:
        reader = await server.stream()
        name = (await reader.next()).json["answer"]
        await reader.next()
        assert (await rated(server, {"answer": name, "rating": 1}))[0] == 201
        assert [given.text for given in await kept(server)] == ["half"]
        reader.response.close()


async def test_only_ones_own_answer_can_be_rated(small_index: Path) -> None:
    anna, made = ({"Authorization": f"Bearer {token(person)}"} for person in ("anna", "made"))
    async with serving(small_index, auth="jwt", jwt_secret=SECRET) as server:
        name = await answered(server, anna)
        for unknown in (name, "A" * 22, "nonsense"):
            status, error = await rated(server, {"answer": unknown, "rating": 1}, made)
            assert (status, error["code"]) == (404, "answer_not_found")
        assert await kept(server) == []
        assert (await rated(server, {"answer": name, "rating": 1}, anna))[0] == 201


NO_RATINGS: list[object] = [0, 6, "5", 4.5, True, None, []]


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        ({"rating": 1}, 400, "answer is missing"),
        ({"answer": " ", "rating": 1}, 400, "answer is missing"),
        ({"answer": 5, "rating": 1}, 400, "answer must be text, not a number."),
        ({"answer": "x"}, 400, "rating must be a whole number from 1 to 5."),
        *(({"answer": "x", "rating": bad}, 400, "rating must be") for bad in NO_RATINGS),
        ({"answer": "x", "rating": 1, "comment": 5}, 400, "comment must be text, not a number."),
        ({"answer": "x", "rating": 1, "comment": "x" * 4001}, 413, "comment has 4,001 characters; at most 4,000"),
    ],
)
async def test_what_makes_no_sense_is_refused(small_index: Path, body: Any, status: int, problem: str) -> None:
    async with serving(small_index) as server:
        found, error = await rated(server, body)
        assert (found, problem in error["error"]) == (status, True)
        assert await kept(server) == []
