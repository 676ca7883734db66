"""Tickets over HTTP: what an `EventSource` shows in the place of a token, for one answer, and for nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from server import ANSWERS_BY_ID, CHAT, EVENT_STREAM, PAGE, QUESTION, SEARCH, STREAM, Reader, Server, never, serving
from tokens_made import SECRET, token

from zantara_stream.people import tickets
from zantara_stream.people.identity import Identity, email_key
from zantara_stream.people.person import Person
from zantara_stream.testing import ScriptedAnswerer

TICKETS = "/bali-zero/tickets"
JWT: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET}
UNKNOWN = "A" * 22
OTHER = "What does the notary check?"


def bearer(subject: str) -> dict[str, str]:
    """The header that shows the token of somebody."""
    return {"Authorization": f"Bearer {token(subject, email=f'{subject}@example.com', name=subject.title())}"}


ANNA, MADE = bearer("anna"), bearer("made")


class Clock:
    """The time that tickets look at."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        """Unix seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """It, to be set."""
    clock = Clock()
    monkeypatch.setattr(tickets, "time", clock)
    return clock


async def issued(server: Server, headers: Mapping[str, str] = ANNA, **body: str) -> str:
    """A new ticket of somebody."""
    async with await server.post(TICKETS, body, headers) as response:
        assert response.status == 201
        return str((await response.json())["ticket"])


async def opened(server: Server, ticket: str, last: str = "", **parameters: str) -> Reader:
    """A stream as an `EventSource` asks for it; `last` is the id of the last event that it has got."""
    headers = {**EVENT_STREAM, "Origin": PAGE, **({"Last-Event-ID": last} if last else {})}
    return await server.stream(headers, ticket=ticket, **parameters)


async def answered(server: Server, ticket: str, last: str = "", **parameters: str) -> tuple[str, str]:
    """The id and the text of the answer that a ticket opens."""
    reader = await opened(server, ticket, last, **parameters)
    assert reader.response.status == 200
    first, *events = await reader.rest()
    assert events[-1].json["done"] is True
    return first.json["answer"], "".join(event.json.get("text", "") for event in events)


async def refused(server: Server, status: int, path: str, method: str = "GET", **parameters: str) -> str:
    """The words of a request's refusal with that status."""
    headers = {**EVENT_STREAM, "Origin": PAGE}
    async with server.session.request(method, server.url + path, params=parameters, headers=headers) as response:
        assert response.status == status
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert status != 401 or response.headers["WWW-Authenticate"] == "Bearer"
        return await response.text()


async def code(reader: Reader) -> str:
    """What a stream of one error says."""
    (event,) = await reader.rest()
    return str(event.json["code"])


# ------------------------------------------------------------------------------------------------ getting one


async def test_a_ticket_is_for_whoever_has_a_token(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        async with await server.post(TICKETS, {}, ANNA) as response:
            assert response.status == 201
            assert response.headers["Cache-Control"] == "no-store"
            body = await response.json()
        assert set(body) == {"ticket", "expiresIn"}
        assert body["expiresIn"] == 60
        assert len(body["ticket"]) >= 43
        assert await issued(server) != body["ticket"]
        await refused(server, 401, TICKETS, "POST")
        await refused(server, 401, TICKETS, "POST", ticket=body["ticket"])


async def test_a_body_is_not_needed_and_one_that_is_no_question_refused(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        async with await server.send(TICKETS, b"", ANNA) as response:
            assert response.status == 201
        for body in (b"[]", b"{", b'{"query": ""}', b'{"query": 5}', b'{"query": "%b"}' % (b"x" * 8001)):
            async with await server.send(TICKETS, body, ANNA) as response:
                assert response.status == 400
        async with await server.send(TICKETS, b'{"query": null}', ANNA) as response:
            assert response.status == 201


async def test_without_identities_there_are_none(small_index: Path) -> None:
    async with serving(small_index) as server:
        await refused(server, 401, TICKETS, "POST")
        reader = await server.stream(ticket="whatever")
        assert await reader.text() == "Hello, world", "where nobody is asked, it is not looked at"


# ------------------------------------------------------------------------------------------------ starting


async def test_an_event_source_with_a_ticket_is_its_person(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        _, text = await answered(server, await issued(server))
        assert text == "Hello"
        (prompt,) = answerer.prompts
        assert prompt.person == Person(key=Identity("anna").key, name="Anna")


async def test_its_person_has_their_level_of_when_it_is_used(small_index: Path, tmp_path: Path) -> None:
    file = tmp_path / "collaborators.toml"
    file.write_text('[[collaborator]]\nid = "anna"\nname = "Anna of the file"\nlevel = 2\n')
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, collaborators=file, **JWT) as server:
        await answered(server, await issued(server))
        assert answerer.prompts[-1].person == Person(key=Identity("anna").key, name="Anna of the file", level=2)


async def test_the_same_address_gives_the_same_answer_and_no_second(small_index: Path) -> None:
    for named in ({}, {"continuity_id": "c"}, {"continuity_id": "c", "session_id": "s"}):
        answerer = ScriptedAnswerer("Hello").then("a second answer")
        async with serving(small_index, answerer, **JWT) as server:
            ticket = await issued(server)
            first = await answered(server, ticket, **named)
            assert [await answered(server, ticket, **named) for _ in range(3)] == [first] * 3
            assert len(answerer.prompts) == 1


async def test_the_same_address_many_times_at_once_starts_one_answer(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello").then("a second answer")
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server)
        found = await asyncio.gather(*(answered(server, ticket) for _ in range(8)))
        assert len(set(found)) == len(answerer.prompts) == 1


async def test_each_ticket_starts_its_own_answer(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        found = {await answered(server, await issued(server)) for _ in range(3)}
        assert len(found) == len(answerer.prompts) == 3


async def test_two_tickets_may_open_one_answer_by_its_continuity_id(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        found = {await answered(server, await issued(server), continuity_id="c") for _ in range(2)}
        assert len(found) == len(answerer.prompts) == 1
        await answered(server, await issued(server, MADE), continuity_id="c")
        assert len(answerer.prompts) == 2, "and another person's is another"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"continuity_id": "c"}),
        ({"continuity_id": "c"}, {}),
        ({"continuity_id": "c"}, {"continuity_id": "d"}),
        ({}, {"query": OTHER}),
        ({"continuity_id": "c"}, {"query": OTHER}),
        ({"continuity_id": "c"}, {"query": OTHER, "continuity_id": "d"}),
    ],
)
async def test_a_used_ticket_starts_no_other_answer(
    small_index: Path, first: dict[str, str], second: dict[str, str]
) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server)
        mine = await answered(server, ticket, **first)
        error = await refused(server, 403, STREAM, ticket=ticket, **{"query": QUESTION, **second})
        assert "used for another answer" in error
        assert ticket not in error
        assert await answered(server, ticket, **first) == mine, "and it stays good for its own"
        assert len(answerer.prompts) == 1


async def test_another_question_under_the_same_continuity_id_is_a_conflict_as_ever(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server)
        await answered(server, ticket, continuity_id="c")
        await refused(server, 409, STREAM, ticket=ticket, query=OTHER, continuity_id="c")
        assert len(answerer.prompts) == 1


async def test_of_many_at_once_one_uses_the_ticket(small_index: Path) -> None:
    for differing in ("continuity_id", "query"):
        answerer = ScriptedAnswerer("Hello")
        async with serving(small_index, answerer, **JWT) as server:
            ticket = await issued(server)
            readers = await asyncio.gather(
                *(opened(server, ticket, **{differing: f"permit {number}"}) for number in range(6))
            )
            assert sorted(reader.response.status for reader in readers) == [200] + [403] * 5
            (served,) = (reader for reader in readers if reader.response.status == 200)
            assert await served.text() == "Hello"
            assert len(answerer.prompts) == 1


# ------------------------------------------------------------------------------------------------ for one question


async def test_a_ticket_for_a_question_is_for_no_other(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server, query=f"  {QUESTION} ")
        for more in ({}, {"continuity_id": "c"}, {"last_chunk_timestamp": "1"}):
            error = await refused(server, 403, STREAM, ticket=ticket, query=OTHER, **more)
            assert "for another question" in error
            assert QUESTION not in error
        await answered(server, ticket)
        await refused(server, 403, STREAM, ticket=ticket, query=OTHER)
        assert [prompt.query for prompt in answerer.prompts] == [QUESTION]


async def test_nor_does_it_resume_the_answer_to_another(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Hel", "lo"), **JWT) as server:
        name, text = await answered(server, await issued(server), query=OTHER)
        bound = await issued(server, query=QUESTION)
        await refused(server, 403, STREAM, ticket=bound, last_event_id=f"{name}.1")
        await refused(server, 403, f"{ANSWERS_BY_ID}/{name}/events", ticket=bound)
        await refused(server, 403, f"{ANSWERS_BY_ID}/{name}/events", ticket=bound, last_event_id=f"{name}.1")
        assert await answered(server, await issued(server, query=OTHER), f"{name}.0") == (name, text)


# ------------------------------------------------------------------------------------------------ going on


async def test_the_browser_s_reconnection_resumes_the_answer(small_index: Path, clock: Clock) -> None:
    answerer = ScriptedAnswerer("Hel", gate := asyncio.Event(), "lo").then("a second answer")
    async with serving(small_index, answerer, grace=600, **JWT) as server:
        ticket = await issued(server)
        reader = await opened(server, ticket)
        first, chunk = await reader.next(), await reader.next()
        reader.leave()
        clock.now += 61
        again = await opened(server, ticket, chunk.id)
        resumed = await again.next()
        assert (resumed.event, resumed.json["answer"]) == ("resumed", first.json["answer"])
        gate.set()
        *rest, done = await again.rest()
        assert "".join(event.json.get("text", "") for event in rest) == "lo"
        over = await opened(server, ticket, done.id)
        assert over.response.status == 204
        assert len(answerer.prompts) == 1


async def test_after_its_time_the_same_address_still_shows_its_answer(small_index: Path, clock: Clock) -> None:
    for named in ({}, {"continuity_id": "c"}):
        answerer = ScriptedAnswerer("Hello").then("a second answer")
        async with serving(small_index, answerer, **JWT) as server:
            ticket = await issued(server)
            mine = await answered(server, ticket, **named)
            clock.now += 61
            assert await answered(server, ticket, **named) == mine
            await refused(server, 403, STREAM, ticket=ticket, query=OTHER)
            assert len(answerer.prompts) == 1


async def test_after_its_time_it_starts_nothing_even_where_its_answer_never_began(
    small_index: Path, clock: Clock
) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server)
        server.answers.draining = True
        assert [event.event for event in await (await opened(server, ticket)).rest()] == ["unavailable"]
        server.answers.draining = False
        clock.now += 61
        assert await code(await opened(server, ticket)) == "answer_expired"
        assert answerer.prompts == []


async def test_one_whose_answer_was_refused_for_now_starts_it_when_the_browser_comes_back(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server)
        server.answers.draining = True
        assert [event.event for event in await (await opened(server, ticket)).rest()] == ["unavailable"]
        server.answers.draining = False
        assert (await answered(server, ticket))[1] == "Hello"
        assert len(answerer.prompts) == 1


async def test_a_time_of_the_last_chunk_resumes_too(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server)
        assert await code(await opened(server, ticket, last_chunk_timestamp="1")) == "answer_expired"
        assert answerer.prompts == []
        mine = await answered(server, ticket)
        assert await answered(server, ticket, last_chunk_timestamp="1") == mine
        assert len(answerer.prompts) == 1


async def test_a_ticket_may_be_used_to_resume_alone_and_then_opens_that_answer_only(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", "lo")
    async with serving(small_index, answerer, **JWT) as server:
        name, _ = await answered(server, await issued(server))
        other, _ = await answered(server, await issued(server), query=OTHER)
        ticket = await issued(server)
        assert await answered(server, ticket, f"{name}.1") == (name, "lo")
        assert await answered(server, ticket, f"{name}.0") == (name, "Hello")
        await refused(server, 403, STREAM, ticket=ticket, last_event_id=f"{other}.1")
        await refused(server, 403, STREAM, ticket=ticket, query=QUESTION)
        await refused(server, 403, f"{ANSWERS_BY_ID}/{other}/events", ticket=ticket)
        assert len(answerer.prompts) == 2


async def test_nobody_resumes_another_s_answer(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hel", "lo")
    async with serving(small_index, answerer, **JWT) as server:
        name, _ = await answered(server, await issued(server))
        his = await issued(server, MADE)
        for answer in (name, UNKNOWN, "x"):
            assert await code(await opened(server, his, f"{answer}.1")) == "answer_expired"
            reader = await server.events(answer, EVENT_STREAM, ticket=his)
            assert await code(reader) == "answer_expired"
        await answered(server, his)
        assert len(answerer.prompts) == 2, "and his ticket was not used up by that"


async def test_an_answer_is_followed_by_its_id_with_a_ticket(small_index: Path, clock: Clock) -> None:
    async with serving(small_index, ScriptedAnswerer("Hel", "lo"), **JWT) as server:
        started = await issued(server)
        name, text = await answered(server, started)
        for ticket in (started, await issued(server)):
            assert await (await server.events(name, EVENT_STREAM, ticket=ticket)).text() == text
            assert await (await server.events(name, {"Last-Event-ID": f"{name}.1"}, ticket=ticket)).text() == "lo"
            reader = await server.events(name, {"Last-Event-ID": f"{UNKNOWN}.1"}, ticket=ticket)
            assert await code(reader) == "answer_expired"
        clock.now += 61
        assert await (await server.events(name, EVENT_STREAM, ticket=started)).text() == text


async def test_after_a_restart_a_used_ticket_resumes_its_answer(small_index: Path, tmp_path: Path) -> None:
    files: dict[str, Any] = {
        "journal": f"sqlite:///{tmp_path}/answers.db",
        "database_url": f"sqlite:///{tmp_path}/people.db",
    }
    async with serving(small_index, ScriptedAnswerer("Hel", "lo"), **files, **JWT) as server:
        ticket, unused = await issued(server), await issued(server)
        name, text = await answered(server, ticket)
    second = ScriptedAnswerer("of the second process")
    async with serving(small_index, second, **files, **JWT) as server:
        assert await answered(server, ticket, f"{name}.1") == (name, "lo")
        assert await answered(server, ticket) == (name, text)
        await refused(server, 403, STREAM, ticket=ticket, query=OTHER)
        assert second.prompts == []
        assert (await answered(server, unused))[1] == "of the second process"


# ------------------------------------------------------------------------------------------------ none


@pytest.mark.parametrize("ticket", ["", " ", "nothing", "A" * 43, "A" * 5000, "\0", "é🎫", "'; --", "%", "undefined"])
async def test_what_is_no_ticket_opens_nothing(small_index: Path, ticket: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        mine = await issued(server)
        for path in (STREAM, f"{ANSWERS_BY_ID}/{UNKNOWN}/events"):
            error = await refused(server, 401, path, query=QUESTION, ticket=ticket)
            assert not ticket.strip() or len(ticket) < 3 or ticket not in error
        await refused(server, 401, STREAM, query=QUESTION, ticket=f"{mine}x")
        await refused(server, 401, STREAM, query=QUESTION, ticket=mine.swapcase())
        assert answerer.prompts == []


async def test_a_huge_one_is_cut_and_blanks_do_not_count(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        mine = await issued(server)
        await refused(server, 401, STREAM, query=QUESTION, ticket=mine + "x" * 5000)
        await answered(server, f" {mine} ")


async def test_one_that_was_not_used_in_time_is_too_old(small_index: Path, clock: Clock) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        name, _ = await answered(server, await issued(server))
        in_time, late = await issued(server), await issued(server)
        clock.now += 59.9
        await answered(server, in_time)
        clock.now += 0.2
        error = await refused(server, 401, STREAM, query=QUESTION, ticket=late)
        assert "get a new one" in error
        await refused(server, 401, STREAM, ticket=late, last_event_id=f"{name}.1")
        await refused(server, 401, f"{ANSWERS_BY_ID}/{name}/events", ticket=late)
        assert len(answerer.prompts) == 2


ELSEWHERE = [
    ("POST", CHAT),
    ("POST", SEARCH),
    ("POST", TICKETS),
    ("POST", "/bali-zero/feedback"),
    ("GET", "/bali-zero/conversations"),
    ("GET", "/bali-zero/conversations/some"),
    ("DELETE", "/bali-zero/conversations/some"),
    ("GET", "/bali-zero/memory"),
    ("DELETE", "/bali-zero/memory"),
    ("DELETE", "/bali-zero/memory/some"),
    ("GET", f"{ANSWERS_BY_ID}/{{}}"),
    ("HEAD", f"{ANSWERS_BY_ID}/{{}}"),
    ("POST", f"{ANSWERS_BY_ID}/{{}}/events"),
    ("DELETE", f"{ANSWERS_BY_ID}/{{}}/events"),
    ("GET", "/bali-zero/chat-stream/"),
    ("GET", f"{ANSWERS_BY_ID}/a%2Fb/events"),
]


@pytest.mark.parametrize(("method", "path"), ELSEWHERE)
async def test_tickets_are_for_streams_and_stops_and_nothing_else(small_index: Path, method: str, path: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        used, unused = await issued(server), await issued(server)
        name, _ = await answered(server, used)
        for ticket in (used, unused):
            await refused(server, 401, path.format(name), method, ticket=ticket, query=QUESTION)
        assert len(answerer.prompts) == 1


async def test_a_long_history_goes_in_the_body_of_a_question_with_a_ticket(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    history = [{"role": "user", "content": "permits " * 2000}, {"role": "assistant", "content": "Yes."}]
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server)
        for query, status in ((QUESTION, 200), (QUESTION, 200), (OTHER, 403)):
            body = {"query": query, "conversation_history": history}
            async with await server.post(f"{STREAM}?ticket={ticket}", body) as response:
                assert response.status == status
        assert len(answerer.prompts) == 1, "the second time the ticket opened the same answer"
        await refused(server, 401, STREAM, "POST", ticket="unknown")


async def test_an_answer_is_stopped_with_its_ticket_or_a_new_one_of_its_owner(small_index: Path) -> None:
    for new in (False, True):
        answerer = ScriptedAnswerer("Hel", never()).then("Other.")
        async with serving(small_index, answerer, **JWT) as server:
            ticket, spent, his = await issued(server), await issued(server), await issued(server, MADE)
            reader = await opened(server, ticket)
            name = (await reader.next()).json["answer"]
            await answered(server, spent, query="Hello")
            path = f"{ANSWERS_BY_ID}/{name}"
            await refused(server, 404, path, "DELETE", ticket=his)
            await refused(server, 403, path, "DELETE", ticket=spent)
            params = {"ticket": await issued(server) if new else ticket}
            async with server.session.delete(server.url + path, params=params) as response:
                assert (response.status, (await response.json())["state"]) == (200, "stopped")
            assert (await reader.rest())[-1].json["stopReason"] == "stopped"


async def test_a_probe_does_not_use_a_ticket_up(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server)
        for path in (STREAM, f"{ANSWERS_BY_ID}/{UNKNOWN}/events"):
            for query in (QUESTION, OTHER):
                asking = server.session.head(server.url + path, params={"ticket": ticket, "query": query})
                async with asking as response:
                    assert response.status == 200
            async with server.session.head(server.url + path, params={"ticket": "unknown"}) as response:
                assert response.status == 401
        await answered(server, ticket)
        assert len(answerer.prompts) == 1


async def test_a_token_counts_before_a_ticket(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        his = await issued(server, MADE)
        await (await server.stream(ANNA, ticket=his)).rest()
        assert answerer.prompts[-1].person.name == "Anna"
        await (await server.stream(ANNA, ticket="unknown")).rest()
        reader = await server.stream({"Authorization": "Bearer undefined"}, ticket=his)
        assert reader.response.status == 401
        reader = await server.stream({"Authorization": "Bearer "}, ticket=his)
        assert await reader.text() == "Hello", "none is shown there, and the ticket was not used yet"
        assert answerer.prompts[-1].person.name == "Made"


async def test_an_address_beside_a_ticket_is_its_person_s_or_refused(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        ticket = await issued(server)
        await refused(server, 403, STREAM, query=QUESTION, ticket=ticket, user_email="made@example.com")
        assert answerer.prompts == []
        await answered(server, ticket, user_email="ANNA@example.com")
        assert len(answerer.prompts) == 1


# ------------------------------------------------------------------------------------------------ of trusted addresses


async def test_with_trusted_addresses_tickets_are_of_those(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, trust_email=True) as server:
        await refused(server, 401, TICKETS, "POST")
        ticket = await issued(server, {}, user_email="anna@example.com")
        await answered(server, ticket)
        assert answerer.prompts[-1].person == Person(key=email_key("anna@example.com"))
        await refused(server, 403, STREAM, query=OTHER, ticket=ticket)
        await refused(server, 401, STREAM, query=OTHER, ticket="unknown")
        await answered(server, ticket, user_email="made@example.com")
        assert answerer.prompts[-1].person == Person(key=email_key("made@example.com")), "who is named asks"
