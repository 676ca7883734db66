"""Conversations: every turn once, in its order, for its owner alone, and gone for good when they say so."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from postgres import waiting
from sqlalchemy import select

from zantara_stream.people import conversations as module
from zantara_stream.people.conversations import LOST, RUNNING, Conversations, Earlier, Turn
from zantara_stream.people.store import Store
from zantara_stream.people.tables import conversations, turns

if TYPE_CHECKING:
    from people.conftest import Clock

RETENTION = 30 * 86_400.0
TEXTS = {
    "NUL": "before\0after",
    "emoji": "Is 🏝️👩🏽‍💻 allowed? 🇮🇩",
    "long": "ß🙂" * 4000,
    "newlines": "\n",
    "lines": "a\nb\r\n\n\u2028c",
    "statements": "'; DROP TABLE turns; -- %s :name ?",
    "nothing": "",
}


@pytest.fixture
def kept(store: Store, clock: Clock) -> Conversations:
    return Conversations(store, RETENTION)


def asked(clock: Clock, answer: str, session: str = "visas", owner: str = "anna", **values: Any) -> Turn:
    """A question, a second after the last."""
    clock.now += 1
    return Turn(answer, owner, session, values.pop("question", f"What of {answer}?"), clock.now, **values)


async def begun(kept: Conversations, clock: Clock, answer: str, session: str = "visas", owner: str = "anna") -> Turn:
    """A turn that is being answered."""
    turn = asked(clock, answer, session, owner)
    await kept.begin(turn)
    return turn


async def told(kept: Conversations, clock: Clock, answer: str, session: str = "visas", owner: str = "anna") -> Turn:
    """A turn that was answered."""
    turn = await begun(kept, clock, answer, session, owner)
    assert await kept.end(answer, "complete", f"That of {answer}.")
    return turn


async def astray(store: Store) -> list[str]:
    """The answers of turns that no conversation holds: nobody could read them, and they would never go."""
    of_it = (turns.c.owner == conversations.c.owner) & (turns.c.session == conversations.c.session)
    query = select(turns.c.answer).outerjoin(conversations, of_it).where(conversations.c.session.is_(None))
    async with store.reading() as connection:
        return list(await connection.scalars(query))


def sessions(found: list[module.Conversation]) -> list[str]:
    return [conversation.session for conversation in found]


def answers(found: tuple[Turn, ...] | list[Turn]) -> list[str]:
    return [turn.answer for turn in found]


# ------------------------------------------------------------------------------------ beginning and ending


async def test_a_turn_is_running_until_it_is_ended(kept: Conversations, clock: Clock) -> None:
    turn = asked(clock, "a1", remembers=True)
    assert await kept.turn("a1") is None
    await kept.begin(turn)
    assert await kept.turn("a1") == turn
    assert turn.state == RUNNING
    clock.now += 5
    assert await kept.end("a1", "complete", "Sixty days.", {"model": "m", "sources": [{"n": 1}]})
    assert await kept.turn("a1") == Turn(
        "a1",
        "anna",
        "visas",
        "What of a1?",
        turn.asked,
        remembers=True,
        state="complete",
        ended=turn.asked + 5,
        text="Sixty days.",
        details={"model": "m", "sources": [{"n": 1}]},
    )


async def test_a_takeover_begins_the_same_turn_again_and_changes_nothing(kept: Conversations, clock: Clock) -> None:
    turn = await begun(kept, clock, "a1")
    await begun(kept, clock, "a2")
    before = await kept.read("anna", "visas")
    await kept.begin(turn)
    assert await kept.read("anna", "visas") == before


async def test_a_turn_that_has_ended_is_not_begun_again(kept: Conversations, clock: Clock) -> None:
    turn = await told(kept, clock, "a1")
    await kept.begin(turn)
    ended = await kept.turn("a1")
    assert ended is not None
    assert (ended.state, ended.text) == ("complete", "That of a1.")
    assert await kept.unfinished(clock.now + 1) == []


async def test_an_end_is_recorded_once_by_whoever_comes_first(kept: Conversations, clock: Clock) -> None:
    await begun(kept, clock, "a1")
    assert await kept.end("a1", "stopped", "Half")
    recorded = await kept.turn("a1")
    clock.now += 1
    assert not await kept.end("a1", LOST, "", {"error": "lost"})
    assert await kept.turn("a1") == recorded
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert conversation.updated == clock.now - 1, "nor does the second one use the conversation"


async def test_of_many_ends_at_once_one_is_recorded(kept: Conversations, clock: Clock) -> None:
    await begun(kept, clock, "a1")
    done = await asyncio.gather(*(kept.end("a1", "complete", f"text {number}") for number in range(12)))
    assert done.count(True) == 1
    turn = await kept.turn("a1")
    assert turn is not None
    assert turn.text == f"text {done.index(True)}"


async def test_of_many_ends_outside_of_conversations_one_is_recorded(kept: Conversations, clock: Clock) -> None:
    await begun(kept, clock, "a1", session="")
    done = await asyncio.gather(*(kept.end("a1", "complete") for _ in range(12)))
    assert done.count(True) == 1


async def test_an_answer_that_was_never_begun_has_no_end(kept: Conversations) -> None:
    assert not await kept.end("nothing", "complete", "text")
    assert await kept.turn("nothing") is None


async def test_a_turn_outside_of_conversations_is_forgotten_when_it_ends(kept: Conversations, clock: Clock) -> None:
    turn = await begun(kept, clock, "a1", session="")
    assert await kept.turn("a1") == turn
    assert await kept.unfinished(clock.now + 1) == [turn]
    assert await kept.listed("anna") == []
    assert await kept.read("anna", "") is None
    assert await kept.earlier(asked(clock, "a2", session="")) == Earlier()
    assert await kept.end("a1", "complete", "text")
    assert await kept.turn("a1") is None
    assert not await kept.end("a1", "complete", "text")


async def test_one_that_ends_outside_of_conversations_leaves_the_others(kept: Conversations, clock: Clock) -> None:
    others = [await begun(kept, clock, "a2", session=""), await told(kept, clock, "a3", session="")]
    await begun(kept, clock, "a1", session="")
    await kept.end("a1", "complete", "text")
    assert answers(await kept.unfinished(clock.now + 1)) == [others[0].answer]


async def test_those_without_an_end_are_found_by_when_they_were_asked(kept: Conversations, clock: Clock) -> None:
    first = await begun(kept, clock, "z", owner="")
    await told(kept, clock, "m")
    second = await begun(kept, clock, "a", session="")
    assert await kept.unfinished(first.asked) == []
    assert await kept.unfinished(second.asked) == [first]
    assert await kept.unfinished(second.asked + 0.001) == [first, second]


@pytest.mark.parametrize("name", TEXTS)
async def test_texts_come_back_as_they_were(kept: Conversations, clock: Clock, name: str) -> None:
    given = TEXTS[name]
    details = {"sources": [{"title": given, "pages": [1, None, 0.5]}], "whole": True}
    await kept.begin(asked(clock, "a1", question=given))
    assert await kept.end("a1", "complete", given, details)
    turn = await kept.turn("a1")
    assert turn is not None
    stored = given.replace("\0", "\ufffd")  # which no database must be able to hold
    assert (turn.question, turn.text) == (stored, stored)
    assert turn.details == {"sources": [{"title": stored, "pages": [1, None, 0.5]}], "whole": True}
    await kept.summarise("anna", "visas", given, clock.now)
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert conversation.summary == stored


# ----------------------------------------------------------------------------------------------- what came before


async def test_what_came_before_is_what_was_answered_in_order_and_what_is_still_open(
    kept: Conversations, clock: Clock
) -> None:
    order = ["c", "a", "e", "b", "d"]
    spoken = {answer: await begun(kept, clock, answer) for answer in order}
    for answer in ["b", "c", "e"]:  # not in the order in which they were asked
        await kept.end(answer, "stopped" if answer == "e" else "complete", f"That of {answer}.")
    before = await kept.earlier(spoken["d"])
    assert answers(before.turns) == ["c", "e", "b"]
    assert before.turns[1].text == "That of e."
    assert before.unfinished == ("a",)
    assert before.summary == ""


async def test_neither_the_turn_itself_nor_a_later_one_came_before_it(kept: Conversations, clock: Clock) -> None:
    spoken = [await told(kept, clock, answer) for answer in ("a1", "a2", "a3")]
    later = await begun(kept, clock, "a4")
    assert answers((await kept.earlier(spoken[1])).turns) == ["a1"]
    assert await kept.earlier(spoken[0]) == Earlier()
    assert answers((await kept.earlier(later)).turns) == ["a1", "a2", "a3"]
    assert answers((await kept.earlier(asked(clock, "a5"))).turns) == ["a1", "a2", "a3"], "it need not have begun"


async def test_an_end_without_text_is_nothing_to_tell_but_not_open_either(kept: Conversations, clock: Clock) -> None:
    await begun(kept, clock, "a1")
    await kept.end("a1", "failed")
    assert await kept.earlier(await begun(kept, clock, "a2")) == Earlier()


async def test_of_two_turns_of_the_same_instant_one_came_before_the_other(kept: Conversations, clock: Clock) -> None:
    """Or each would wait for the other's end."""
    first = await begun(kept, clock, "a1")
    second = Turn("a2", "anna", "visas", "And?", first.asked)
    await kept.begin(second)
    open_before = [(await kept.earlier(turn)).unfinished for turn in (first, second)]
    assert open_before == [(), ("a1",)]
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert answers(conversation.turns) == ["a1", "a2"]


async def test_the_summary_stands_for_the_turns_until_its_last(kept: Conversations, clock: Clock) -> None:
    spoken = [await told(kept, clock, f"a{number}") for number in range(1, 5)]
    now = await begun(kept, clock, "a9")
    await kept.summarise("anna", "visas", "They asked of a1 and a2.", spoken[1].asked)
    before = await kept.earlier(now)
    assert before.summary == "They asked of a1 and a2."
    assert answers(before.turns) == ["a3", "a4"]
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert answers(conversation.turns) == ["a1", "a2", "a3", "a4", "a9"], "it is still there to be read"


async def test_a_conversation_of_which_nothing_is_known_has_nothing_before(kept: Conversations, clock: Clock) -> None:
    assert await kept.earlier(asked(clock, "a1")) == Earlier()


# ------------------------------------------------------------------------------------------------- summaries


async def test_a_summary_only_moves_forward(kept: Conversations, clock: Clock) -> None:
    first, second = [await told(kept, clock, answer) for answer in ("a1", "a2")]
    now = await begun(kept, clock, "a3")
    for summary, until in (("two", second.asked), ("one", first.asked), ("again", second.asked)):
        await kept.summarise("anna", "visas", summary, until)
        assert (await kept.earlier(now)).summary == "two"
    await kept.summarise("anna", "visas", "three", now.asked)
    assert (await kept.earlier(await begun(kept, clock, "a4"))).summary == "three"


async def test_no_summary_of_what_was_deleted_comes_after_it(kept: Conversations, clock: Clock) -> None:
    old = await told(kept, clock, "a1")
    clock.now += 1
    await kept.delete("anna", "visas")
    for until in (old.asked, clock.now):
        await kept.summarise("anna", "visas", "They asked of a1.", until)
    new = await told(kept, clock, "a2")
    now = await begun(kept, clock, "a3")
    assert (await kept.earlier(now)).summary == ""
    await kept.summarise("anna", "visas", "They asked of a2.", new.asked)
    assert await kept.earlier(now) == Earlier("They asked of a2.")


async def test_a_summary_of_no_conversation_makes_none(kept: Conversations, clock: Clock) -> None:
    await kept.summarise("anna", "visas", "text", clock.now)
    assert await kept.listed("anna") == []
    assert await kept.earlier(await begun(kept, clock, "a1")) == Earlier()


# ---------------------------------------------------------------------------------------------- conversations


async def test_conversations_are_listed_without_their_turns_the_last_used_first(
    kept: Conversations, clock: Clock
) -> None:
    first = await told(kept, clock, "a1", session="visas")
    await told(kept, clock, "b1", session="taxes")
    clock.now += 10
    await told(kept, clock, "a2", session="visas")
    await begun(kept, clock, "a3", session="visas")
    visas, taxes = await kept.listed("anna")
    assert (visas.session, visas.count, visas.turns) == ("visas", 3, ())
    assert (visas.title, visas.created, visas.updated) == ("What of a1?", first.asked, clock.now)
    assert (taxes.session, taxes.count) == ("taxes", 1)


async def test_a_conversation_is_used_when_it_is_asked_and_when_it_is_answered(
    kept: Conversations, clock: Clock
) -> None:
    await begun(kept, clock, "a1", session="visas")
    await begun(kept, clock, "b1", session="taxes")
    assert sessions(await kept.listed("anna")) == ["taxes", "visas"]
    clock.now += 1
    await kept.end("a1", "complete", "text")
    assert sessions(await kept.listed("anna")) == ["visas", "taxes"]
    await begun(kept, clock, "b2", session="taxes")
    assert sessions(await kept.listed("anna")) == ["taxes", "visas"]


async def test_a_conversation_is_read_whole(kept: Conversations, clock: Clock) -> None:
    for answer in ("z", "a"):
        await told(kept, clock, answer)
    running = await begun(kept, clock, "m")
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert [(turn.answer, turn.text) for turn in conversation.turns] == [
        ("z", "That of z."),
        ("a", "That of a."),
        ("m", ""),
    ]
    assert conversation.turns[2] == running
    assert conversation.count == 3
    assert await kept.read("anna", "taxes") is None


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("How long\n\tis  a visa? \r\n", "How long is a visa?"),
        ("x" * 8000, "x" * module.TITLE),
        ("🏝️ " * 8000, ("🏝️ " * 8000)[: module.TITLE]),
        ("before\0after", "before\ufffdafter"),
    ],
)
async def test_a_title_is_the_first_question_short_and_on_one_line(
    kept: Conversations, clock: Clock, question: str, title: str
) -> None:
    await kept.begin(asked(clock, "a1", question=question))
    await told(kept, clock, "a2")
    (conversation,) = await kept.listed("anna")
    assert conversation.title == title


# ------------------------------------------------------------------------------------------------ whose it is


@pytest.mark.parametrize(("one", "other"), [("anna", "budi"), ("anna", ""), ("", "budi")])
async def test_two_people_with_the_same_session_id_never_see_each_others(
    kept: Conversations, clock: Clock, one: str, other: str
) -> None:
    mine = await told(kept, clock, "a1", owner=one)
    open_one = await begun(kept, clock, "a2", owner=one)
    assert await kept.listed(other) == []
    assert await kept.read(other, "visas") is None
    assert not await kept.delete(other, "visas")
    assert await kept.earlier(asked(clock, "b0", owner=other)) == Earlier()

    theirs = await told(kept, clock, "b1", owner=other)
    await kept.summarise(one, "visas", "Mine.", mine.asked)
    now = await begun(kept, clock, "b2", owner=other)
    assert await kept.earlier(now) == Earlier("", (await _ended(kept, theirs),))
    (conversation,) = await kept.listed(other)
    assert (conversation.title, conversation.count, conversation.summary) == ("What of b1?", 2, "")
    read = await kept.read(other, "visas")
    assert read is not None
    assert (answers(read.turns), read.summary) == (["b1", "b2"], "")

    before = await kept.read(one, "visas")
    assert before is not None
    assert before.updated == open_one.asked, "what others do does not use it"
    assert await kept.delete(other, "visas")
    assert await kept.read(one, "visas") == before
    assert answers(before.turns) == ["a1", "a2"]
    assert before.summary == "Mine."


async def _ended(kept: Conversations, turn: Turn) -> Turn:
    found = await kept.turn(turn.answer)
    assert found is not None
    return found


async def test_sessions_of_one_person_are_kept_apart(kept: Conversations, clock: Clock) -> None:
    await told(kept, clock, "a1", session="visas")
    now = await begun(kept, clock, "b1", session="taxes")
    await kept.summarise("anna", "taxes", "Of taxes.", now.asked)
    visas = await kept.earlier(await begun(kept, clock, "a2", session="visas"))
    assert (visas.summary, answers(visas.turns), visas.unfinished) == ("", ["a1"], ())
    assert await kept.delete("anna", "taxes")
    assert sessions(await kept.listed("anna")) == ["visas"]


# ---------------------------------------------------------------------------------------------------- deletion


async def test_a_deleted_conversation_is_gone(kept: Conversations, clock: Clock) -> None:
    await told(kept, clock, "a1")
    assert await kept.delete("anna", "visas")
    assert await kept.listed("anna") == []
    assert await kept.read("anna", "visas") is None
    assert await kept.turn("a1") is None
    assert await kept.earlier(asked(clock, "a2")) == Earlier()
    assert not await kept.delete("anna", "visas")
    assert not await kept.delete("anna", "never")


async def test_no_word_of_a_deleted_conversation_stays_in_the_database(
    kept: Conversations, clock: Clock, store: Store
) -> None:
    turn = await told(kept, clock, "a1")
    await kept.summarise("anna", "visas", "Of a1.", turn.asked)
    await kept.delete("anna", "visas")
    async with store.reading() as connection:
        row = (await connection.execute(select(conversations))).one()
        assert (row.title, row.summary) == ("", "")
        assert (await connection.execute(select(turns))).all() == []


async def test_one_that_is_deleted_while_it_is_answered_stays_deleted(kept: Conversations, clock: Clock) -> None:
    turn = await begun(kept, clock, "a1")
    clock.now += 1
    assert await kept.delete("anna", "visas")
    clock.now += 1
    await kept.begin(turn)  # by a takeover
    assert await kept.turn("a1") is None
    assert not await kept.end("a1", "complete", "What nobody wants to be kept.")
    assert await kept.listed("anna") == []
    assert await kept.read("anna", "visas") is None


async def test_what_was_asked_in_the_instant_of_the_deletion_is_deleted_too(kept: Conversations, clock: Clock) -> None:
    turn = await begun(kept, clock, "a1")
    await kept.delete("anna", "visas")
    await kept.begin(turn)
    assert await kept.turn("a1") is None


async def test_its_session_id_can_be_used_anew(kept: Conversations, clock: Clock) -> None:
    old = await told(kept, clock, "a1")
    running = await begun(kept, clock, "a2")
    await kept.summarise("anna", "visas", "Of a1.", old.asked)
    clock.now += 1
    await kept.delete("anna", "visas")
    new = await begun(kept, clock, "b1")
    await kept.begin(running)
    assert not await kept.end("a2", "complete", "text")
    assert await kept.earlier(new) == Earlier()
    (conversation,) = await kept.listed("anna")
    assert (conversation.title, conversation.created, conversation.count) == ("What of b1?", new.asked, 1)
    await kept.end("b1", "complete", "That of b1.")
    now = await begun(kept, clock, "b2")
    assert answers((await kept.earlier(now)).turns) == ["b1"]


async def test_deleting_and_beginning_again_at_once_leaves_nothing(
    kept: Conversations, clock: Clock, store: Store
) -> None:
    for number in range(8):
        turn = await begun(kept, clock, f"a{number}", session=f"s{number}")
        clock.now += 1
        await asyncio.gather(kept.begin(turn), kept.delete("anna", f"s{number}"), kept.begin(turn))
    assert await kept.listed("anna") == []
    assert await kept.unfinished(clock.now) == []
    assert await astray(store) == []


async def test_deleting_and_ending_at_once_do_not_wait_for_each_other(
    kept: Conversations, clock: Clock, store: Store
) -> None:
    await begun(kept, clock, "a1")
    clock.now += 1
    async with store.writing() as connection:  # both begin before either goes on
        await connection.execute(select(turns).where(turns.c.answer == "a1").with_for_update())
        ending = asyncio.create_task(kept.end("a1", "complete", "text"))
        await waiting(store, 1)
        deleting = asyncio.create_task(kept.delete("anna", "visas"))
        await waiting(store, 2)
    await asyncio.gather(ending, deleting)
    assert deleting.result()
    assert await kept.turn("a1") is None
    assert await kept.listed("anna") == []


# ------------------------------------------------------------------------------------------------------ bounds


async def test_the_longest_unused_conversations_of_a_person_go(
    kept: Conversations, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    await told(kept, clock, "x1", session="s1", owner="budi")
    for number in (1, 2, 3):
        await told(kept, clock, f"a{number}", session=f"s{number}")
    await told(kept, clock, "a1b", session="s1")
    await begun(kept, clock, "a4", session="s4")
    assert sessions(await kept.listed("anna")) == ["s4", "s1", "s3"]
    assert await kept.turn("a2") is None
    assert await kept.read("anna", "s2") is None
    assert sessions(await kept.listed("budi")) == ["s1"], "others' do not count, and stay"


async def test_those_of_nobody_have_a_bound_of_their_own(
    kept: Conversations, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    monkeypatch.setattr(module, "MOST_OF_NOBODY", 2)
    await told(kept, clock, "b1", session="s1", owner="anna")
    for number in (1, 2, 3):
        await told(kept, clock, f"a{number}", session=f"s{number}", owner="")
    assert sessions(await kept.listed("")) == ["s3", "s2"]
    assert await kept.turn("a1") is None
    assert sessions(await kept.listed("anna")) == ["s1"]


async def test_a_new_conversation_stays_though_its_question_was_asked_first(
    kept: Conversations, clock: Clock, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where many are begun at once, and the first question comes last."""
    monkeypatch.setattr(module, "MOST", 2)
    slow = asked(clock, "a0", session="s0")
    for number in (1, 2):
        await told(kept, clock, f"a{number}", session=f"s{number}")
    await kept.begin(slow)
    assert sessions(await kept.listed("anna")) == ["s2", "s0"]
    assert await astray(store) == []


async def test_the_oldest_turns_of_a_conversation_go(
    kept: Conversations, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 3)
    await told(kept, clock, "x1", owner="budi")
    await told(kept, clock, "y1", session="taxes")
    for answer in ("d", "a", "c", "b", "e"):
        await told(kept, clock, answer)
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert answers(conversation.turns) == ["c", "b", "e"]
    assert conversation.title == "What of d?"
    assert await kept.turn("d") is None
    assert await kept.turn("x1") is not None
    assert await kept.turn("y1") is not None


async def test_a_turn_that_is_begun_again_takes_nobodys_place(
    kept: Conversations, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 3)
    spoken = [await told(kept, clock, f"a{number}") for number in range(3)]
    await kept.begin(spoken[2])
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert answers(conversation.turns) == ["a0", "a1", "a2"]


async def test_conversations_expire_when_they_were_not_used_for_long_enough(kept: Conversations, clock: Clock) -> None:
    await told(kept, clock, "a1", session="s1")
    used = clock.now
    await told(kept, clock, "a2", session="s2")
    await told(kept, clock, "b1", session="s1", owner="")
    clock.now = used + RETENTION
    await kept.expire()
    assert sessions(await kept.listed("anna")) == ["s2", "s1"]
    clock.now += 0.5
    await kept.expire()
    assert sessions(await kept.listed("anna")) == ["s2"]
    assert await kept.turn("a1") is None
    assert await kept.turn("b1") is not None
    clock.now += RETENTION
    await kept.expire()
    assert await kept.listed("anna") == await kept.listed("") == []
    assert await kept.turn("b1") is None


async def test_the_mark_of_a_deleted_conversation_expires_too(kept: Conversations, clock: Clock, store: Store) -> None:
    await told(kept, clock, "a1")
    await kept.delete("anna", "visas")
    clock.now += RETENTION + 1
    await kept.expire()
    async with store.reading() as connection:
        assert (await connection.execute(select(conversations))).all() == []


async def test_a_running_turn_outside_of_conversations_does_not_expire(kept: Conversations, clock: Clock) -> None:
    await begun(kept, clock, "a1", session="")
    clock.now += RETENTION + 1
    await kept.expire()
    assert answers(await kept.unfinished(clock.now)) == ["a1"]


# ------------------------------------------------------------------------------------------------ at the same time


async def test_a_new_conversation_may_be_begun_by_many_at_once(kept: Conversations, clock: Clock, store: Store) -> None:
    many = [asked(clock, f"a{number:02}") for number in range(20)]
    await asyncio.gather(*(kept.begin(turn) for turn in random.Random(7).sample(many, 20)))
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert conversation.turns == tuple(many)
    assert conversation.title in {turn.question for turn in many}
    assert await astray(store) == []


async def test_many_conversations_may_be_begun_at_once(
    kept: Conversations, clock: Clock, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    many = [asked(clock, f"a{number}", session=f"s{number}") for number in range(20)]
    await asyncio.gather(*(kept.begin(turn) for turn in random.Random(7).sample(many, 20)))
    last = await begun(kept, clock, "last", session="last")
    listed = await kept.listed("anna")
    assert (len(listed), listed[0].session) == (4, last.session)
    assert await astray(store) == []


async def test_many_begins_of_one_turn_at_once_begin_it_once(kept: Conversations, clock: Clock) -> None:
    turn = asked(clock, "a1")
    await asyncio.gather(*(kept.begin(turn) for _ in range(12)))
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert conversation.turns == (turn,)


async def test_a_conversation_that_goes_while_a_turn_of_it_begins_is_made_anew(
    kept: Conversations, clock: Clock, store: Store
) -> None:
    await told(kept, clock, "a1")
    this = conversations.c.owner == "anna", conversations.c.session == "visas"
    turn = asked(clock, "a2", question="Anew?")
    async with store.writing() as connection:
        await connection.execute(select(conversations).where(*this).with_for_update())
        beginning = asyncio.create_task(kept.begin(turn))
        await waiting(store, 1)
        await connection.execute(conversations.delete().where(*this))
        await connection.execute(turns.delete().where(turns.c.answer == "a1"))
    await beginning
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert (conversation.title, conversation.turns) == ("Anew?", (turn,))


async def test_a_conversation_that_is_used_while_it_expires_stays(
    kept: Conversations, clock: Clock, store: Store
) -> None:
    await told(kept, clock, "a1")
    clock.now += RETENTION + 1
    async with store.writing() as connection:
        await connection.execute(conversations.update().values(updated=clock.now))
        expiring = asyncio.create_task(kept.expire())
        await waiting(store, 1)
    await expiring
    conversation = await kept.read("anna", "visas")
    assert conversation is not None
    assert answers(conversation.turns) == ["a1"]
