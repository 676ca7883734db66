"""A day's budget as those meet it who ask: told so, before anything is searched, and until when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest
from messages_api import OUTPUT_TOKENS, USAGE, MessagesAPI, answer
from server import CHAT, EVENT_STREAM, PAGE, QUESTION, STREAM, Reader, Server, serving

from zantara_stream import app as composition
from zantara_stream.app import PEOPLE, create_app
from zantara_stream.config import MEMORY, Settings
from zantara_stream.generation.answerer import Prompt
from zantara_stream.parts import make_answerer
from zantara_stream.people.person import Person
from zantara_stream.people.spending import DAY
from zantara_stream.testing import ScriptedAnswerer

SECRET = "a secret for tests, of which nobody else knows"
KNOWN: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET}


def as_person(name: str) -> dict[str, str]:
    """The header that says who asks."""
    return {"Authorization": f"Bearer {jwt.encode({'sub': name, 'exp': 4_000_000_000}, SECRET)}"}


async def asked(server: Server, headers: dict[str, str] | None = None) -> Any:
    """The status, the body and the headers of a question's response."""
    async with await server.post(CHAT, {"query": QUESTION}, {"Origin": PAGE, **(headers or {})}) as response:
        return response.status, await response.json(), response.headers


async def test_a_person_who_has_spent_it_is_told_until_when(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, daily_tokens_person=100, **KNOWN) as server:
        assert (await asked(server, as_person("anna")))[0] == 200
        server.app[PEOPLE].spending.spend(answerer.prompts[0].person.key, 100)
        status, body, headers = await asked(server, as_person("anna"))
        assert (status, body["code"], body["retryable"]) == (429, "rate_limited", True)
        assert "in one day" in body["error"]
        assert 0 < int(headers["Retry-After"]) <= DAY + 1
        assert headers["Access-Control-Allow-Origin"] == PAGE
        assert (await asked(server, as_person("budi")))[0] == 200
    assert len(answerer.prompts) == 2, "nothing is searched or paid for who is refused"


async def test_where_all_have_spent_it_everybody_is_told(small_index: Path) -> None:
    async with serving(small_index, daily_tokens=100) as server:
        first = await server.stream(continuity_id="c")
        last = next(event.id for event in await first.rest() if event.id)
        server.app[PEOPLE].spending.spend("", 100)
        status, body, _ = await asked(server)
        assert (status, body["code"]) == (503, "overloaded")
        unavailable = await (await server.stream(EVENT_STREAM)).rest()
        assert [event.event for event in unavailable] == ["unavailable"]
        assert unavailable[0].json["retryAfter"] > 0
        again = Reader(await server.get(STREAM, {"Last-Event-ID": last}))
        assert (await again.next()).event == "resumed", "coming back costs nothing"
        async with server.session.get(f"{server.url}/ready") as response:
            assert response.status == 200


async def test_whose_tokens_are_paid_is_told(small_index: Path) -> None:
    spent: list[tuple[str, int]] = []
    async with MessagesAPI(answer("Late renewal ", "is fined.")) as api:
        environment = {"ANTHROPIC_API_KEY": "test", "ANTHROPIC_BASE_URL": api.url}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            answerer = make_answerer(Settings(), environment, lambda *paid: spent.append(paid))
            async for _ in answerer.answer(Prompt(QUESTION, person=Person("anna"))):
                pass
        await answerer.close()
    assert spent == [("anna", sum({**USAGE, "output_tokens": OUTPUT_TOKENS}.values()))]


def test_what_is_paid_is_counted_against_the_budget(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def made(settings: Settings, **more: Any) -> ScriptedAnswerer:
        given.update(more)
        return ScriptedAnswerer("Hello")

    monkeypatch.setattr(composition, "make_answerer", made)
    app = create_app(Settings(index=small_index, journal=MEMORY, database_url=MEMORY, daily_tokens=5))
    given["spend"]("anna", 3)
    assert app[PEOPLE].spending.spent("") == 3
