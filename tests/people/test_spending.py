"""What is spent in a day: counted for each person and in all, by every server of a store, and ended by midnight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from zantara_stream.errors import NotNow, Overloaded, RateLimited, StoreUnavailable
from zantara_stream.people import spending as module
from zantara_stream.people.rows import accumulate
from zantara_stream.people.spending import DAY, Spending
from zantara_stream.people.store import Store
from zantara_stream.people.tables import spending

if TYPE_CHECKING:
    from people.conftest import Clock

LARGE = 2**40  # tokens; more than an integer of PostgreSQL's has room for


def counting(store: Store, clock: Clock, most: int | None = 100, most_of_one: int | None = 40) -> Spending:
    return Spending(store, most, most_of_one, clock.time)


def refusal(spent: Spending, owner: str) -> NotNow | None:
    try:
        spent.admit(owner)
    except NotNow as error:
        return error
    return None


async def rows(store: Store) -> list[tuple[int, str, int]]:
    async with store.reading() as connection:
        return sorted(tuple(row) for row in await connection.execute(select(spending)))


async def test_a_person_may_spend_as_much_as_one_may(store: Store, clock: Clock) -> None:
    spent = counting(store, clock)
    spent.spend("anna", 39)
    assert refusal(spent, "anna") is None
    spent.spend("anna", 1)
    assert isinstance(refusal(spent, "anna"), RateLimited)
    assert refusal(spent, "budi") is None
    assert refusal(spent, "") is None, "somebody nobody knows has no budget but that of all"


async def test_all_together_may_spend_as_much_as_all_may(store: Store, clock: Clock) -> None:
    spent = counting(store, clock)
    for who, tokens in (("anna", 30), ("budi", 30), ("", 40)):
        assert refusal(spent, who) is None
        spent.spend(who, tokens)
    assert isinstance(refusal(spent, "citra"), Overloaded)
    assert isinstance(refusal(spent, ""), Overloaded)


async def test_the_day_ends_at_midnight_utc(store: Store, clock: Clock) -> None:
    spent = counting(store, clock)
    clock.now = 20_000 * DAY + DAY - 90
    spent.spend("anna", 40)
    error = refusal(spent, "anna")
    assert error is not None
    assert error.retry_after == 91
    clock.now += error.retry_after
    assert refusal(spent, "anna") is None


async def test_what_was_spent_is_known_after_a_start(store: Store, clock: Clock) -> None:
    before = counting(store, clock)
    before.spend("anna", 25)
    await before.keep()
    before.spend("anna", 15)
    await before.keep()
    after = counting(store, clock)
    await after.keep()
    assert (after.spent("anna"), after.spent("")) == (40, 40)
    assert isinstance(refusal(after, "anna"), RateLimited)


async def test_what_another_server_spends_counts_here(store: Store, clock: Clock) -> None:
    here, there = counting(store, clock), counting(store, clock)
    here.spend("anna", 20)
    there.spend("anna", 20)
    await asyncio.gather(here.keep(), there.keep())
    await here.keep()
    assert here.spent("anna") == 40
    assert isinstance(refusal(here, "anna"), RateLimited)


async def test_much_is_counted(store: Store, clock: Clock) -> None:
    spent = counting(store, clock, most=10**12)
    for _ in range(2):
        spent.spend("anna", LARGE)
        await spent.keep()
    assert spent.spent("") == 2 * LARGE


async def test_what_cannot_be_kept_is_kept_the_next_time(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = counting(store, clock)
    spent.spend("anna", 40)
    with monkeypatch.context() as patch:

        async def fails(*_: object, **__: object) -> None:
            raise StoreUnavailable

        patch.setattr(module, "accumulate", fails)
        with pytest.raises(StoreUnavailable):
            await spent.keep()
    assert isinstance(refusal(spent, "anna"), RateLimited), "and counts meanwhile"
    await spent.keep()
    await spent.keep()
    assert [tokens for *_, tokens in await rows(store)] == [40, 40]


async def test_what_is_spent_while_it_is_kept_is_kept_too(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent, add = counting(store, clock), accumulate

    async def adds(*given: object, **values: object) -> None:
        spent.spend("anna", 1)
        await add(*given, **values)  # type: ignore[arg-type]

    spent.spend("anna", 10)
    with monkeypatch.context() as patch:
        patch.setattr(module, "accumulate", adds)
        await spent.keep()
    assert spent.spent("anna") == 12
    await spent.keep()
    assert await rows(store) == [(clock.now // DAY, "", 12), (clock.now // DAY, "anna", 12)]


async def test_days_that_are_over_are_forgotten(store: Store, clock: Clock) -> None:
    spent = counting(store, clock)
    spent.spend("anna", 1)
    await spent.keep()
    clock.now += 2 * DAY
    spent.spend("budi", 1)
    await spent.keep()
    assert {owner for _, owner, _ in await rows(store)} == {"", "budi"}


async def test_without_a_budget_nothing_is_kept_of_anybody(store: Store, clock: Clock) -> None:
    spent = counting(store, clock, None, None)
    spent.spend("anna", LARGE)
    await spent.keep()
    await spent.run()
    assert refusal(spent, "anna") is None
    assert await rows(store) == []


async def test_it_is_kept_from_time_to_time(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.01)
    spent = counting(store, clock)
    running = asyncio.create_task(spent.run())
    spent.spend("anna", 7)
    while not await rows(store):  # noqa: ASYNC110 (it is in the database)
        await asyncio.sleep(0.01)
    running.cancel()
    assert [tokens for *_, tokens in await rows(store)] == [7, 7]
