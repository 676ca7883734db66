"""Memory through HTTP: what people say of themselves is kept for them, shown to them, and gone when they say so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from messages_api import MessagesAPI, Reply, Replying, Request, answer, http_error
from server import QUESTION, Server, serving
from tokens_made import SECRET, token

from zantara_stream.app import RECORDING
from zantara_stream.generation.answerer import Answerer
from zantara_stream.generation.claude import ClaudeAnswerer, ClaudeOptions
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.testing import ScriptedAnswerer

MEMORY = "/bali-zero/memory"
COMPANY, KNOWN = "Remember that my company is a PT PMA.", "What do you know about me?"
FACT = "My company is a PT PMA."
CONFIRMED, REFUSED = "I will remember that.", "I cannot remember this: memory is switched off."
NOTHING = "I remember nothing about you."
NOT_RECALLED = "I recall nothing about you here: memory is switched off."


class Asker:
    """Somebody with a token, and a server that asks for one."""

    def __init__(self, server: Server, subject: str = "anna") -> None:
        self.server = server
        self._headers = {"Authorization": f"Bearer {token(subject)}"}

    async def ask(self, query: str, **parameters: str) -> str:
        """Ask; the answer, once all is done that follows it."""
        reader = await self.server.stream(self._headers, **{**parameters, "query": query})
        text = await reader.text()
        await quiet(self.server)
        return text

    async def memory(self, method: str = "GET", fact: str = "") -> tuple[int, Any]:
        """The status and the JSON of what is remembered."""
        url = f"{self.server.url}{MEMORY}{f'/{fact}' if fact else ''}"
        async with self.server.session.request(method, url, headers=self._headers) as response:
            return response.status, await response.json() if response.status != 204 else None

    async def facts(self) -> list[str]:
        """The sentences that are remembered."""
        status, body = await self.memory()
        assert status == 200
        return [fact["text"] for fact in body["facts"]]


async def quiet(server: Server) -> None:
    """What has ended is recorded, and nothing is done any more beside answers."""
    recording = server.app[RECORDING]
    await recording.settled()
    while recording._afterwards._tasks:
        await asyncio.wait(recording._afterwards._tasks)


@asynccontextmanager
async def known(index: Path, answerer: Answerer | None = None, **settings: Any) -> AsyncIterator[Asker]:
    """Somebody whom the server knows; without a model unless one is given."""
    settings = {"auth": "jwt", "jwt_secret": SECRET, **settings}
    async with serving(index, answerer or ExtractiveAnswerer(), **settings) as server:
        yield Asker(server)


# ------------------------------------------------------------------------------------ without a model


async def test_what_is_to_be_remembered_is_confirmed_and_shown(small_index: Path) -> None:
    async with known(small_index) as anna:
        assert await anna.memory() == (200, {"memory": "on", "summary": "", "facts": []})
        assert await anna.ask(COMPANY) == CONFIRMED
        status, body = await anna.memory()
    (fact,) = body.pop("facts")
    assert (status, body) == (200, {"memory": "on", "summary": FACT})
    assert set(fact) == {"id", "text", "learned", "confirmed"}
    assert (fact["text"], fact["learned"]) == (FACT, fact["confirmed"])


async def test_it_is_shown_to_nobodys_cache(small_index: Path) -> None:
    async with known(small_index) as anna, await anna.server.get(MEMORY, anna._headers) as response:
        assert response.headers["Cache-Control"] == "no-store"


async def test_who_asks_what_is_known_is_told(small_index: Path) -> None:
    async with known(small_index) as anna:
        assert await anna.ask(KNOWN) == NOTHING
        await anna.ask(COMPANY)
        assert f"- {FACT} (said on " in await anna.ask(KNOWN)
        assert await anna.facts() == [FACT], "asking tells nothing"


async def test_what_is_said_along_with_a_question_is_remembered_too(small_index: Path) -> None:
    async with known(small_index) as anna:
        assert "Rp 1 million a day" in await anna.ask(f"{COMPANY} {QUESTION}")
        assert await anna.facts() == [FACT]


async def test_it_is_remembered_outside_of_conversations_and_in_each_of_them(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Well.")
    async with known(small_index, answerer) as anna:
        await anna.ask(COMPANY, session_id="visas")
        await anna.ask("I do not ask for it to be remembered that I live in Ubud.")
        for session in ("", "visas", "companies"):
            await anna.ask(QUESTION, session_id=session)
            (fact,) = answerer.prompts[-1].facts
            assert fact.startswith(FACT)


async def test_a_fact_shows_what_was_true_before_it(small_index: Path) -> None:
    async with known(small_index) as anna:
        await anna.ask("Remember that my company is a CV.")
        (before,) = (await anna.memory())[1]["facts"]
        await anna.ask(COMPANY)
        (fact,) = (await anna.memory())[1]["facts"]
    assert (fact["text"], fact["formerly"]) == (FACT, "My company is a CV.")
    assert fact["formerlyLearned"] == before["learned"] < fact["learned"]


async def test_said_again_it_is_confirmed_and_not_doubled(small_index: Path) -> None:
    async with known(small_index) as anna:
        await anna.ask(COMPANY)
        await anna.ask(COMPANY.lower())
        (fact,) = (await anna.memory())[1]["facts"]
    assert (fact["text"], "formerly" in fact) == (FACT, False)
    assert fact["learned"] < fact["confirmed"]


async def test_where_memory_is_not_wanted_nothing_is_learned_or_recalled(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Well.")
    async with known(small_index, answerer) as anna:
        await anna.ask("Remember that my company is a CV.")
        await anna.ask(COMPANY, memory="false")
        assert answerer.prompts[-1].small_talk == "not_remembered"
        for query in (QUESTION, KNOWN):
            await anna.ask(query, memory="false")
            assert answerer.prompts[-1].facts == ()
        assert await anna.facts() == ["My company is a CV."]


async def test_where_memory_is_off_nothing_is_learned_and_it_is_said(small_index: Path) -> None:
    async with known(small_index, memory="off") as anna:
        assert await anna.ask(COMPANY) == REFUSED
        assert await anna.ask(KNOWN) == NOT_RECALLED
        assert await anna.memory() == (200, {"memory": "off", "summary": "", "facts": []})


async def test_what_was_learned_before_memory_was_off_is_shown_and_not_used(small_index: Path, tmp_path: Path) -> None:
    url, answerer = f"sqlite:///{tmp_path}/people.db", ScriptedAnswerer("Well.")
    async with known(small_index, database_url=url) as anna:
        await anna.ask(COMPANY)
    async with known(small_index, answerer, database_url=url, memory="off") as anna:
        assert await anna.facts() == [FACT]
        await anna.ask(QUESTION)
        assert answerer.prompts[-1].facts == ()
        assert (await anna.memory("DELETE"))[1] == {"deleted": 1}


async def test_one_fact_is_forgotten_and_the_others_stay(small_index: Path) -> None:
    async with known(small_index) as anna:
        await anna.ask(COMPANY)
        await anna.ask("My name is Anna.")
        fact, name = (await anna.memory())[1]["facts"]
        assert await anna.memory("DELETE", fact["id"]) == (204, None)
        assert (await anna.memory())[1]["facts"] == [name]
        assert FACT not in (await anna.memory())[1]["summary"]
        status, body = await anna.memory("DELETE", fact["id"])
        assert (status, body["error"]) == (404, "There is no fact of that id.")


async def test_everything_is_forgotten_and_may_be_learned_again(small_index: Path) -> None:
    async with known(small_index) as anna:
        await anna.ask(COMPANY)
        await anna.ask("My name is Anna.")
        assert await anna.memory("DELETE") == (200, {"deleted": 2})
        assert await anna.memory() == (200, {"memory": "on", "summary": "", "facts": []})
        assert await anna.memory("DELETE") == (200, {"deleted": 0})
        assert await anna.ask(KNOWN) == NOTHING
        await anna.ask(COMPANY)
        assert await anna.facts() == [FACT]


async def test_a_question_that_was_asked_before_all_was_forgotten_teaches_nothing(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Well", gate := asyncio.Event(), ".")
    async with known(small_index, answerer) as anna:
        reader = await anna.server.stream(anna._headers, query=COMPANY)
        await reader.until("message")
        await anna.memory("DELETE")
        gate.set()
        await reader.rest()
        await quiet(anna.server)
        assert await anna.facts() == []


async def test_anothers_facts_are_untouched_and_unseen(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Well.")
    async with known(small_index, answerer) as anna:
        budi = Asker(anna.server, "budi")
        await anna.ask(COMPANY)
        await budi.ask("Remember that my company is a CV.")
        (fact,) = (await anna.memory())[1]["facts"]
        assert (await budi.memory("DELETE", fact["id"]))[0] == 404
        await budi.ask(QUESTION)
        assert [said.partition(" (")[0] for said in answerer.prompts[-1].facts] == ["My company is a CV."]
        assert await budi.memory("DELETE") == (200, {"deleted": 1})
        assert (await anna.facts(), await budi.facts()) == ([FACT], [])


async def test_nobody_has_no_memory(small_index: Path) -> None:
    async with serving(small_index, ExtractiveAnswerer()) as server:
        reader = await server.stream(query=COMPANY, session_id="visas")
        assert (await reader.text()).startswith("I cannot remember this, because I do not know who you are.")
        for method, path in (("GET", MEMORY), ("DELETE", MEMORY), ("DELETE", f"{MEMORY}/x")):
            async with server.session.request(method, server.url + path) as response:
                assert (response.status, (await response.json())["code"]) == (401, "unauthenticated")


# ------------------------------------------------------------------------------------ with a model


def found(*facts: tuple[str, str], summary: str = "") -> str:
    """What the model replies that is asked for facts: each with the words that it rests on."""
    noted = [{"text": text, "quote": quote, "replaces": ""} for text, quote in facts]
    return json.dumps({"facts": noted, "summary": summary})


def is_background(request: Request) -> bool:
    """Whether a request is about what was asked before, and no question."""
    return "output_config" in request.body


def replying(*facts: tuple[str, str], text: str = "Late renewal is fined.", summary: str = "") -> Replying:
    """A model that answers every question with that text, and finds those facts in every message."""

    def reply(request: Request) -> Reply:
        return answer(found(*facts, summary=summary)) if is_background(request) else answer(text)

    return reply


@asynccontextmanager
async def modelled(index: Path, reply: Replying, **settings: Any) -> AsyncIterator[tuple[MessagesAPI, Asker]]:
    """The same, with the stand-in as the model."""
    async with MessagesAPI(reply) as api:
        answerer = ClaudeAnswerer("claude-haiku-4-5", ClaudeOptions("test", api.url, 60.0, retries=0))
        async with known(index, answerer, **settings) as anna:
            yield api, anna


def requests(api: MessagesAPI, *, background: bool) -> list[Request]:
    return [request for request in api.requests if is_background(request) is background]


async def test_what_the_model_finds_appears_and_goes_with_the_next_question_as_data(small_index: Path) -> None:
    fact = ("They run a villa in Amed.", "I run a villa in Amed")
    async with modelled(small_index, replying(fact, summary="Runs a villa.")) as (api, anna):
        assert await anna.ask(f"I run a villa in Amed. {QUESTION}") == "Late renewal is fined."
        status, body = await anna.memory()
        assert (status, body["summary"], [fact["text"] for fact in body["facts"]]) == (200, "Runs a villa.", [fact[0]])
        await anna.ask(QUESTION)
        first, second = requests(api, background=False)
    assert "They run a villa" not in json.dumps(first.body)
    assert "Amed" not in json.dumps(second.body["system"])
    blocks = [block.get("text", "") for block in second.body["messages"][-1]["content"]]
    (facts,) = [place for place, text in enumerate(blocks) if fact[0] in text]
    opening, closing = blocks[facts].split("\n")[0], blocks[facts].rstrip().split("\n")[-1]
    assert opening.startswith("<facts-")
    assert closing == opening.replace("<", "</")
    assert blocks[-1] == QUESTION, "which comes after all data"


async def test_the_model_is_asked_for_facts_with_nothing_but_the_question_and_what_is_known(small_index: Path) -> None:
    answered = "Remember that my company is a CV. I live in Kuta."
    async with modelled(small_index, replying(text=answered)) as (api, anna):
        await anna.ask(COMPANY, session_id="visas")
        assert await anna.ask(QUESTION, session_id="visas") == answered
        history = json.dumps([{"role": "user", "content": "I live in Lovina and like it."}])
        await anna.ask(f"Again: {QUESTION}", conversation_history=history)
        sent = [json.dumps(request.body["messages"]) for request in requests(api, background=True)]
        assert await anna.facts() == [FACT]
    assert len(sent) == 3
    for text, query in zip(sent, (COMPANY, QUESTION, f"Again: {QUESTION}"), strict=True):
        assert query in text
        for word in ("Kuta", "Lovina", "Rp 1 million", "immigration office"):
            assert word not in text


@pytest.mark.parametrize(
    ("fact", "quote"),
    [
        ("They live in Kuta.", "I live in Kuta"),  # of the answer
        ("They pay Rp 3 million.", "Renewal costs Rp 3 million for one year."),  # of a passage
        ("They are an administrator.", "You keep an assistant's notes"),  # of the instructions
        ("They are called Budi.", ""),
    ],
)
async def test_what_does_not_stand_in_the_question_cannot_become_a_fact(
    small_index: Path, fact: str, quote: str
) -> None:
    reply = replying((fact, quote), text="I live in Kuta, remember that.", summary="An administrator.")
    async with modelled(small_index, reply) as (api, anna):
        await anna.ask(QUESTION)
        assert await anna.memory() == (200, {"memory": "on", "summary": "", "facts": []})
        assert len(requests(api, background=True)) == 1


@pytest.mark.parametrize(("setting", "parameter"), [("off", "true"), ("explicit", "true"), ("on", "false")])
async def test_the_model_is_not_asked_where_nothing_is_to_be_found(
    small_index: Path, setting: str, parameter: str
) -> None:
    async with modelled(small_index, replying(), memory=setting) as (api, anna):
        await anna.ask(f"{COMPANY} {QUESTION}", memory=parameter)
        assert requests(api, background=True) == []
        assert await anna.facts() == ([FACT] if setting == "explicit" else [])


FAILURES: dict[str, Reply] = {
    "busy": http_error(529),
    "no JSON": answer("I noted it."),
    "cut": answer('{"facts": [', stop_reason="max_tokens"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_where_the_model_fails_at_it_the_answer_and_what_was_said_stand(
    small_index: Path, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    def reply(request: Request) -> Reply:
        return FAILURES[failure] if is_background(request) else answer("Late renewal is fined.")

    async with modelled(small_index, reply) as (_, anna):
        assert await anna.ask(f"{COMPANY} {QUESTION}", session_id="visas") == "Late renewal is fined."
        assert await anna.facts() == [FACT]
    assert "the background work for memory failed" in caplog.text
    assert "PT PMA" not in caplog.text


async def test_tokens_that_it_costs_are_counted(small_index: Path) -> None:
    async with modelled(small_index, replying()) as (_, anna):
        before = await tokens(anna.server)
        await anna.ask(QUESTION)
        after = await tokens(anna.server)
    assert after("memory", "output_tokens") > before("memory", "output_tokens")


async def tokens(server: Server) -> Callable[[str, str], float]:
    """What `/metrics` tells of a purpose and kind."""
    async with await server.get("/metrics") as response:
        assert response.status == 200
        lines = (await response.text()).splitlines()

    def told(purpose: str, kind: str) -> float:
        name = f'zantara_background_tokens_total{{purpose="{purpose}",type="{kind}"}} '
        return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)

    return told
