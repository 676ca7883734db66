"""Feedback: the last of a person on an answer, with the answer, and read without whose it is."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from zantara_stream.people import feedback as module
from zantara_stream.people.feedback import Feedback, Feedbacks
from zantara_stream.people.store import Store

if TYPE_CHECKING:
    from people.conftest import Clock

GIVEN = Feedback("a1", 4, "Clear.", "May I stay?", "Sixty days.", {"model": "m", "sources": [{"title": "Visas"}]})


@pytest.fixture
def given(store: Store, clock: Clock) -> Feedbacks:
    return Feedbacks(store)


async def everything(given: Feedbacks) -> list[Feedback]:
    return [one async for one in given.all()]


async def test_it_is_kept_with_the_answer_and_its_time(given: Feedbacks, clock: Clock) -> None:
    assert await everything(given) == []
    await given.give("anna", replace(GIVEN, given=1.0))
    assert await everything(given) == [replace(GIVEN, given=clock.now)]


async def test_the_last_of_a_person_on_an_answer_counts(given: Feedbacks, clock: Clock) -> None:
    await given.give("anna", GIVEN)
    clock.now += 5
    last = Feedback("a1", 1, "", "May I stay longer?", "Ask again.", {})
    await given.give("anna", last)
    assert await everything(given) == [replace(last, given=clock.now)]


async def test_others_and_other_answers_have_their_own(given: Feedbacks, clock: Clock) -> None:
    for owner, answer, rating in (("anna", "a1", 1), ("budi", "a1", 2), ("", "a1", 3), ("anna", "a2", 4)):
        clock.now += 1
        await given.give(owner, replace(GIVEN, answer=answer, rating=rating))
    assert [(one.answer, one.rating) for one in await everything(given)] == [
        ("a1", 1),
        ("a1", 2),
        ("a1", 3),
        ("a2", 4),
    ]


async def test_it_is_read_without_whose_it_is(given: Feedbacks) -> None:
    await given.give("anna-of-secret-key", GIVEN)
    (one,) = await everything(given)
    assert "owner" not in {field.name for field in fields(one)}
    assert "anna" not in repr(one)


@pytest.mark.parametrize("number", range(8))
async def test_all_of_it_is_read_the_oldest_first_whatever_the_page(
    given: Feedbacks, clock: Clock, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    answers = list("hgfedcba"[:number])
    for answer in answers:
        clock.now += 1
        await given.give("anna", replace(GIVEN, answer=answer))
    assert [one.answer for one in await everything(given)] == answers


async def test_what_was_given_in_one_instant_is_read_whole_too(
    given: Feedbacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for owner in ("cem", "anna", "budi"):
        for answer in ("a2", "a1"):
            await given.give(owner, replace(GIVEN, answer=answer, comment=owner))
    assert [(one.answer, one.comment) for one in await everything(given)] == [
        (answer, owner) for answer in ("a1", "a2") for owner in ("anna", "budi", "cem")
    ]


async def test_what_changes_while_it_is_read_hides_nothing_else(
    given: Feedbacks, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for answer in "abcde":
        clock.now += 1
        await given.give("anna", replace(GIVEN, answer=answer))
    read = []
    async for one in given.all():
        read.append((one.answer, one.rating))
        if one.answer == "b":
            clock.now += 1
            await given.give("anna", replace(GIVEN, answer="a", rating=1))
    assert read == [("a", 4), ("b", 4), ("c", 4), ("d", 4), ("e", 4), ("a", 1)]


async def test_whoever_stops_reading_holds_nothing_up(
    given: Feedbacks, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 1)
    for answer in "ab":
        clock.now += 1
        await given.give("anna", replace(GIVEN, answer=answer))
    reading = given.all()
    assert (await anext(reading)).answer == "a"
    await given.give("budi", GIVEN)
    assert len(await everything(given)) == 3


async def test_any_text_can_be_kept(given: Feedbacks) -> None:
    text = "NUL\0 🏝️\n" + "ß" * 8000
    await given.give("anna", Feedback("a1", 5, text, text, text, {"sources": [{"title": text}]}))
    (one,) = await everything(given)
    stored = text.replace("\0", "\ufffd")
    assert (one.comment, one.question, one.text) == (stored, stored, stored)
    assert one.details == {"sources": [{"title": stored}]}


async def test_given_many_times_at_once_it_is_kept_once(given: Feedbacks) -> None:
    await asyncio.gather(*(given.give("anna", replace(GIVEN, rating=1 + number % 5)) for number in range(12)))
    assert len(await everything(given)) == 1
