"""Memory learns what was said, loses nothing of it by chance, and forgets for good what it was told to forget."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from postgres import waiting
from sqlalchemy import func, select

from zantara_stream.people import facts as rules
from zantara_stream.people.facts import BRIEF, Statement, brief
from zantara_stream.people.memory import Memory, Remembered
from zantara_stream.people.store import Store
from zantara_stream.people.tables import facts, people

if TYPE_CHECKING:
    from people.conftest import Clock

# Sentences that share too little for one to be taken for another.
PLACES = (
    *("Ubud", "Canggu", "Sanur", "Kuta", "Seminyak", "Amed", "Lovina", "Uluwatu", "Munduk", "Sidemen"),
    *("Jimbaran", "Candidasa", "Medewi", "Bedugul", "Kintamani", "Tabanan", "Gianyar", "Bangli", "Negara", "Pemuteran"),
)
COMPANY, VILLA, NAME = "They own a company.", "They rent a villa in Ubud.", "They are called Anna."


@pytest.fixture
def memory(store: Store, clock: Clock) -> Memory:
    return Memory(store)


async def said(
    memory: Memory, clock: Clock, *texts: str, owner: str = "anna", slot: str = "", summary: str = ""
) -> None:
    """Something is said and learned, a second after the last."""
    clock.now += 1
    await memory.learn(owner, [Statement(text, slot) for text in texts], clock.now, summary)


async def texts(memory: Memory, owner: str = "anna") -> list[str]:
    return [fact.text for fact in (await memory.recall(owner)).facts]


# ----------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("slot", ["my company", ""])
async def test_what_was_said_earlier_does_not_supersede_what_was_learned_since(
    store: Store, clock: Clock, slot: str
) -> None:
    memory, said = Memory(store), clock.now
    clock.now += 10
    await memory.learn("anna", [Statement("My company is a PT PMA.", slot)], clock.now)
    (fact,) = (await memory.recall("anna")).facts
    late = Statement("They plan a CV.", slot, replaces="" if slot else fact.id)
    clock.now += 10
    await memory.learn("anna", [late, Statement("They like tea.")], said)
    assert {fact.text for fact in (await memory.recall("anna")).facts} == {"My company is a PT PMA.", "They like tea."}
    await memory.learn("anna", [late], clock.now)
    assert {fact.text for fact in (await memory.recall("anna")).facts} == {"They plan a CV.", "They like tea."}


async def test_of_somebody_new_nothing_is_remembered(memory: Memory) -> None:
    assert await memory.recall("anna") == Remembered()


async def test_facts_come_in_the_order_in_which_they_were_learned(memory: Memory, clock: Clock) -> None:
    begun = clock.now
    for sentence in (VILLA, COMPANY, NAME):
        await said(memory, clock, sentence)
    remembered = (await memory.recall("anna")).facts
    assert [fact.text for fact in remembered] == [VILLA, COMPANY, NAME]
    assert [fact.learned for fact in remembered] == [begun + 1, begun + 2, begun + 3]
    assert [fact.confirmed for fact in remembered] == [begun + 1, begun + 2, begun + 3]
    assert len({fact.id for fact in remembered}) == 3


async def test_several_things_are_learned_at_once(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, VILLA, COMPANY)
    assert sorted(await texts(memory)) == [COMPANY, VILLA]


async def test_what_is_said_again_is_only_confirmed(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, VILLA)
    (first,) = (await memory.recall("anna")).facts
    clock.now += 60
    await said(memory, clock, VILLA)
    (again,) = (await memory.recall("anna")).facts
    assert (again.id, again.learned, again.confirmed) == (first.id, first.learned, first.learned + 61)


async def test_a_new_statement_of_the_same_thing_takes_the_old_ones_place(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, "They live in Rome.", slot="home")
    await said(memory, clock, COMPANY)
    (old, company) = (await memory.recall("anna")).facts
    await said(memory, clock, "Now it is Ubud.", slot="home")
    remembered = (await memory.recall("anna")).facts
    assert remembered[0] == company
    (new,) = [fact for fact in remembered if fact != company]
    assert (new.text, new.formerly, new.formerly_learned) == ("Now it is Ubud.", "They live in Rome.", old.learned)
    assert (new.slot, new.learned) == ("home", clock.now)


async def test_a_statement_may_name_the_fact_that_it_replaces(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, VILLA, COMPANY)
    villa = next(fact for fact in (await memory.recall("anna")).facts if fact.text == VILLA)
    await memory.learn("anna", [Statement("They moved away.", "", villa.id)], clock.now)
    assert sorted(await texts(memory)) == ["They moved away.", COMPANY]


async def test_another_persons_fact_is_not_replaced_by_its_id(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, VILLA)
    (villa,) = (await memory.recall("anna")).facts
    await memory.learn("budi", [Statement("They moved away.", "", villa.id)], clock.now)
    assert await texts(memory) == [VILLA]
    assert await texts(memory, "budi") == ["They moved away."]


async def test_nothing_said_is_nothing_learned(memory: Memory, clock: Clock) -> None:
    await memory.learn("anna", [], clock.now)
    await said(memory, clock, " … ")
    assert await memory.recall("anna") == Remembered()


async def test_one_remembers_so_much_and_no_more(
    memory: Memory, clock: Clock, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST", 3)
    await said(memory, clock, "They own a boat.", owner="budi")
    for place in PLACES[:5]:
        await said(memory, clock, f"They went to {place}.")
    assert await texts(memory) == [f"They went to {place}." for place in PLACES[2:5]]
    assert await texts(memory, "budi") == ["They own a boat."]
    async with store.reading() as connection:
        assert (await connection.execute(select(func.count()).select_from(facts))).scalar_one() == 4


@pytest.mark.parametrize(
    "given",
    [
        "They love 🏝️ and 👩🏽‍💻 work.",
        "Their name is '; DROP TABLE facts; -- %s :name ?",
        "They said\0nothing.",
        "They\nlive in\r\nUbud.",
        "They write " + "ß" * 8000,
    ],
)
async def test_whatever_is_said_can_be_kept(memory: Memory, clock: Clock, given: str) -> None:
    await said(memory, clock, given, slot="slot\0🙂\n", summary=f"{given}\0")
    remembered = await memory.recall("anna")
    (fact,) = remembered.facts
    assert fact.text == rules.clean(given)
    assert fact.slot == "slot\ufffd🙂\n"
    assert remembered.summary == f"{given}\0".replace("\0", "\ufffd")


# ------------------------------------------------------------------------------------------------ whose it is


@pytest.mark.parametrize(("one", "other"), [("anna", "budi"), ("anna", ""), ("", "anna")])
async def test_nobody_is_remembered_by_what_another_said(memory: Memory, clock: Clock, one: str, other: str) -> None:
    await said(memory, clock, VILLA, owner=one, summary="In a villa.")
    assert await memory.recall(other) == Remembered()
    before = await memory.recall(one)
    await said(memory, clock, COMPANY, owner=other, summary="An owner.")
    assert await memory.forget(other) == 1
    assert await memory.recall(one) == before
    clock.now -= 10
    await said(memory, clock, COMPANY, owner=one)
    assert sorted(await texts(memory, one)) == [COMPANY, VILLA], "what another forgot does not keep one from learning"


async def test_another_persons_fact_is_not_forgotten_by_its_id(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, VILLA, summary="In a villa.")
    await said(memory, clock, COMPANY, owner="budi", summary="An owner.")
    anna, budi = await memory.recall("anna"), await memory.recall("budi")
    assert await memory.forget("budi", anna.facts[0].id) == 0
    assert await memory.forget("anna", "nothing") == 0
    assert (await memory.recall("anna"), await memory.recall("budi")) == (anna, budi)
    clock.now -= 10
    await said(memory, clock, NAME, owner="budi")
    assert len(await texts(memory, "budi")) == 2, "as nothing was forgotten"


# ----------------------------------------------------------------------------------------------------- forgetting


async def test_one_fact_is_forgotten(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, VILLA)
    await said(memory, clock, COMPANY)
    villa, company = (await memory.recall("anna")).facts
    assert await memory.forget("anna", villa.id) == 1
    assert (await memory.recall("anna")).facts == (company,)
    assert await memory.forget("anna", villa.id) == 0


async def test_all_is_forgotten(memory: Memory, clock: Clock, store: Store) -> None:
    await said(memory, clock, VILLA, COMPANY, summary="An owner in a villa.")
    assert await memory.forget("anna") == 2
    assert await memory.recall("anna") == Remembered()
    assert await memory.forget("anna") == 0
    async with store.reading() as connection:
        assert (await connection.execute(select(facts))).all() == []
        assert (await connection.execute(select(people.c.summary))).scalar_one() == ""


@pytest.mark.parametrize("one", [True, False])
async def test_nothing_is_learned_that_was_said_before_something_was_forgotten(
    memory: Memory, clock: Clock, one: bool
) -> None:
    """An answer may be learned from minutes after its question."""
    await said(memory, clock, VILLA)
    (villa,) = (await memory.recall("anna")).facts
    clock.now += 1
    forgotten = clock.now
    assert await memory.forget("anna", villa.id if one else "") == 1
    clock.now += 60
    for since in (forgotten - 1, forgotten):
        await memory.learn("anna", [Statement(VILLA)], since, "In a villa.")
        assert await memory.recall("anna") == Remembered()
    await memory.learn("anna", [Statement(VILLA)], forgotten + 0.001)
    assert await texts(memory) == [VILLA]


async def test_forgetting_all_counts_where_nothing_was_learned_yet(memory: Memory, clock: Clock) -> None:
    asked = clock.now
    assert await memory.forget("anna") == 0
    clock.now += 60
    await memory.learn("anna", [Statement(VILLA)], asked)
    assert await memory.recall("anna") == Remembered()


async def test_what_was_forgotten_is_not_what_stood_there_before(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, "They live in Rome.", slot="home")
    await memory.forget("anna")
    await said(memory, clock, "They live in Ubud.", slot="home")
    (home,) = (await memory.recall("anna")).facts
    assert (home.formerly, home.formerly_learned) == ("", None)


# ------------------------------------------------------------------------------------------------------- summaries


async def test_a_summary_is_made_of_the_facts_where_no_model_wrote_one(memory: Memory, clock: Clock) -> None:
    for place in PLACES:
        await said(memory, clock, f"They went to {place} and liked it there very much.")
    remembered = await memory.recall("anna")
    assert remembered.summary == brief(remembered.facts)
    assert PLACES[-1] in remembered.summary
    assert len(remembered.summary) <= BRIEF


async def test_a_models_summary_stands_until_a_fact_changes(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, VILLA, summary="In a villa.")
    assert (await memory.recall("anna")).summary == "In a villa."
    await said(memory, clock, VILLA)
    assert (await memory.recall("anna")).summary == "In a villa.", "nothing new was said"
    await said(memory, clock, COMPANY)
    remembered = await memory.recall("anna")
    assert remembered.summary == brief(remembered.facts)
    assert COMPANY in remembered.summary


async def test_a_summary_goes_when_a_fact_is_superseded(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, "They live in Rome.", slot="home", summary="In Rome.")
    await said(memory, clock, "Now it is Ubud.", slot="home")
    assert (await memory.recall("anna")).summary == "Now it is Ubud."


async def test_a_summary_goes_when_a_fact_is_forgotten(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, VILLA, COMPANY, summary="An owner in a villa.")
    villa = next(fact for fact in (await memory.recall("anna")).facts if fact.text == VILLA)
    await memory.forget("anna", villa.id)
    assert (await memory.recall("anna")).summary == COMPANY


async def test_a_summary_can_come_with_new_facts_or_alone(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, VILLA, summary="In a villa.")
    await said(memory, clock, COMPANY, summary="An owner in a villa.")
    assert (await memory.recall("anna")).summary == "An owner in a villa."
    await said(memory, clock, summary="They own much.")
    assert (await memory.recall("anna")).summary == "They own much."


async def test_a_summary_of_no_facts_is_none(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, summary="They own much.")
    assert await memory.recall("anna") == Remembered()


# ------------------------------------------------------------------------------------------------ at the same time


async def test_of_what_is_learned_at_once_nothing_is_lost(memory: Memory, clock: Clock) -> None:
    await said(memory, clock, COMPANY)
    sentences = [f"They went to {place}." for place in PLACES]
    await asyncio.gather(*(memory.learn("anna", [Statement(sentence)], clock.now) for sentence in sentences))
    assert sorted(await texts(memory)) == sorted([COMPANY, *sentences])


async def test_what_is_said_twice_at_once_is_learned_once(memory: Memory, clock: Clock, store: Store) -> None:
    await said(memory, clock, COMPANY)
    clock.now += 1
    async with store.writing() as connection:  # both begin before either goes on
        await connection.execute(select(people).with_for_update())
        learning = [asyncio.create_task(memory.learn("anna", [Statement(VILLA)], clock.now)) for _ in range(2)]
        await waiting(store, 2)
    await asyncio.gather(*learning)
    assert await texts(memory) == [COMPANY, VILLA]


async def test_what_is_forgotten_while_it_is_learned_is_not_learned(memory: Memory, clock: Clock) -> None:
    async def learn(place: str) -> None:
        await memory.learn("anna", [Statement(f"They went to {place}.")], clock.now, f"To {place}.")

    await asyncio.gather(*map(learn, PLACES[:10]), memory.forget("anna"), *map(learn, PLACES[10:]))
    assert await memory.recall("anna") == Remembered()
