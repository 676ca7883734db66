"""Tickets: each starts one answer and opens no other, for a short time, and nobody can use what the database holds."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from zantara_stream.people.store import Store
from zantara_stream.people.tables import tickets
from zantara_stream.people.tickets import LIFETIME, Ticket, Tickets

if TYPE_CHECKING:
    from people.conftest import Clock

RETENTION = 600.0
ANNA = {"key": "anna", "level": 2, "languages": ["id", "en"]}


@pytest.fixture
def issued(store: Store, clock: Clock) -> Tickets:
    return Tickets(store, RETENTION)


async def found(issued: Tickets, ticket: str) -> Ticket:
    ticket_found = await issued.find(ticket)
    assert ticket_found is not None
    return ticket_found


async def rows(store: Store) -> list[dict[str, Any]]:
    async with store.reading() as connection:
        return [dict(row._mapping) for row in await connection.execute(select(tickets))]


# --------------------------------------------------------------------------------------------------------- finding


async def test_a_ticket_tells_whose_it_is(issued: Tickets) -> None:
    ticket = await found(issued, await issued.issue(ANNA))
    assert ticket.identity == ANNA
    assert (ticket.question, ticket.fresh, ticket.used) == ("", True, None)


async def test_each_ticket_is_its_own(issued: Tickets) -> None:
    anna, budi = await issued.issue(ANNA), await issued.issue({"key": "budi"})
    assert anna != budi
    assert (await found(issued, budi)).identity == {"key": "budi"}
    assert await issued.use(await found(issued, budi), "b1")
    assert (await found(issued, anna)).used is None
    assert await issued.use(await found(issued, anna), "a1")
    assert (await found(issued, budi)).used == "b1"


async def test_a_ticket_can_be_a_part_of_an_address_and_is_not_guessed(issued: Tickets) -> None:
    ticket = await issued.issue(ANNA)
    assert set(ticket) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(ticket) >= 43, "256 bits"


@pytest.mark.parametrize("guess", ["", "nothing", "%", "_" * 43, "🎫", "\0"])
async def test_what_was_never_issued_is_not_found(issued: Tickets, guess: str) -> None:
    await issued.issue(ANNA)
    assert await issued.find(guess) is None


async def test_what_the_database_holds_opens_nothing(issued: Tickets, store: Store) -> None:
    query = "May I stay?"
    ticket = await issued.issue(ANNA, query)
    await issued.use(await found(issued, ticket), "a1")
    (row,) = await rows(store)
    kept = json.dumps(row)
    assert ticket not in kept
    assert query not in kept
    for value in row.values():
        assert await issued.find(str(value)) is None


async def test_an_identity_of_any_text_comes_back(issued: Tickets) -> None:
    ticket = await issued.issue({"name": "Ni Wayan 🌺\0", "lines": ["a\nb"], "none": None})
    assert (await found(issued, ticket)).identity == {"name": "Ni Wayan 🌺\ufffd", "lines": ["a\nb"], "none": None}


# ---------------------------------------------------------------------------------------------------- which question


async def test_a_ticket_for_a_question_is_for_no_other(issued: Tickets) -> None:
    ticket = await found(issued, await issued.issue(ANNA, "May I stay? 🏝️"))
    assert ticket.is_for("May I stay? 🏝️")
    assert not ticket.is_for("May I stay?")
    assert not ticket.is_for("")


async def test_a_ticket_for_no_question_is_for_any(issued: Tickets) -> None:
    ticket = await found(issued, await issued.issue(ANNA))
    assert ticket.is_for("May I stay?")
    assert ticket.is_for("")


# ------------------------------------------------------------------------------------------------------------- using


async def test_a_ticket_is_used_for_one_answer_and_no_other(issued: Tickets) -> None:
    ticket = await found(issued, await issued.issue(ANNA))
    assert await issued.use(ticket, "a1")
    assert await issued.use(ticket, "a1")
    assert not await issued.use(ticket, "a2")
    assert not await issued.use(ticket, "")
    assert await issued.use(ticket, "a1"), "and a try changes nothing"


async def test_a_used_one_opens_its_answer_as_long_as_that_is_there(issued: Tickets, clock: Clock) -> None:
    ticket = await issued.issue(ANNA)
    await issued.use(await found(issued, ticket), "a1")
    clock.now += LIFETIME + RETENTION - 0.001
    await issued.expire()
    again = await found(issued, ticket)
    assert (again.used, again.fresh, again.identity) == ("a1", False, ANNA)
    assert await issued.use(again, "a1")
    assert not await issued.use(again, "a2")


async def test_a_used_one_may_still_start_its_answer_for_as_long_as_it_would_have(
    issued: Tickets, clock: Clock
) -> None:
    ticket = await issued.issue(ANNA)
    await issued.use(await found(issued, ticket), "a1")
    clock.now += LIFETIME - 0.001
    assert (await found(issued, ticket)).fresh
    clock.now += 0.001
    assert not (await found(issued, ticket)).fresh


async def test_an_unused_one_ends_with_its_time(issued: Tickets, clock: Clock) -> None:
    ticket = await issued.issue(ANNA)
    clock.now += LIFETIME - 0.001
    last = await found(issued, ticket)
    assert last.fresh
    clock.now += 0.001
    assert await issued.find(ticket) is None
    assert not await issued.use(last, "a1"), "though it was found in time"
    assert await issued.find(ticket) is None


async def test_it_may_be_used_until_its_time_is_over(issued: Tickets, clock: Clock) -> None:
    ticket = await found(issued, await issued.issue(ANNA))
    clock.now += LIFETIME - 0.001
    assert await issued.use(ticket, "a1")
    clock.now += 60
    assert await issued.use(ticket, "a1")


async def test_two_answers_at_once_get_one_ticket_once(issued: Tickets, clock: Clock) -> None:
    for _ in range(5):
        written = await issued.issue(ANNA)
        ticket = await found(issued, written)
        names = [f"a{number}" for number in range(8)]
        done = await asyncio.gather(*(issued.use(ticket, name) for name in names))
        assert done.count(True) == 1
        assert (await found(issued, written)).used == names[done.index(True)]


async def test_one_answer_may_use_it_many_times_at_once(issued: Tickets) -> None:
    ticket = await found(issued, await issued.issue(ANNA))
    assert all(await asyncio.gather(*(issued.use(ticket, "a1") for _ in range(8))))


async def test_one_that_is_gone_cannot_be_used(issued: Tickets, clock: Clock, store: Store) -> None:
    written = await issued.issue(ANNA)
    ticket = await found(issued, written)
    await issued.use(ticket, "a1")
    clock.now += LIFETIME + RETENTION
    await issued.expire()
    assert await rows(store) == []
    assert await issued.find(written) is None
    assert not await issued.use(ticket, "a1")


# ----------------------------------------------------------------------------------------------------------- expiry


async def test_those_go_whose_time_is_over_and_no_others(issued: Tickets, clock: Clock) -> None:
    old_unused, old_used = await issued.issue(ANNA), await issued.issue(ANNA)
    await issued.use(await found(issued, old_used), "a1")
    clock.now += LIFETIME
    new_unused = await issued.issue(ANNA)
    await issued.expire()
    assert await issued.find(old_unused) is None
    assert (await found(issued, old_used)).used == "a1"
    assert (await found(issued, new_unused)).fresh
    clock.now += RETENTION
    await issued.expire()
    assert [await issued.find(ticket) for ticket in (old_unused, old_used, new_unused)] == [None] * 3


async def test_an_unused_one_is_kept_until_its_last_instant(issued: Tickets, clock: Clock, store: Store) -> None:
    ticket = await issued.issue(ANNA)
    clock.now += LIFETIME - 0.001
    await issued.expire()
    assert (await found(issued, ticket)).fresh
    clock.now += 0.001
    await issued.expire()
    assert await rows(store) == []
