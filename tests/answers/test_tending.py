"""What is done from time to time: leases kept, answers taken over and forgotten, a journal that fails and recovers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from producing import HELLO, LONG, Producer, TestedJournal, complete, never, node, settled

from zantara_stream.answers import tending
from zantara_stream.answers.answers import Answers, Asked
from zantara_stream.answers.events import Done, Text
from zantara_stream.answers.life import LEFT
from zantara_stream.answers.tending import tend
from zantara_stream.errors import AnswerExpired, IndexUnavailable, JournalUnavailable

ROUNDS = 3


def ready() -> None:
    """Everything is ready."""


def not_ready() -> None:
    """Nothing is ready."""
    raise IndexUnavailable


@asynccontextmanager
async def tended(answers: Answers, is_ready: Callable[[], object] = ready) -> AsyncIterator[None]:
    """Answers that are tended in quick succession; whatever ends that is raised here."""
    task = asyncio.create_task(tend(answers, 0.001, is_ready))
    try:
        yield
        assert not task.done(), "it goes on for ever"
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_the_leases_of_running_answers_are_renewed_again_and_again() -> None:
    journal = TestedJournal()
    answers = node(Producer(never()), journal)
    running = {(await answers.ask(Asked("q"))).id for _ in range(2)}
    async with tended(answers):
        await journal.until("renew", ROUNDS)
        assert {lease.answer for lease in journal.renewed} == running
    await answers.drain(0)


async def test_the_lease_of_an_answer_that_is_over_is_not() -> None:
    journal = TestedJournal()
    answers = node(Producer(*HELLO), journal)
    await complete(await answers.ask(Asked("q")))
    async with tended(answers):
        await journal.until("renew", ROUNDS)
        assert journal.renewed == []


async def test_finished_answers_are_forgotten_after_their_retention() -> None:
    journal = TestedJournal()
    answers = node(Producer(*HELLO), journal, retention=0)
    answer = await answers.ask(Asked("q"))
    await complete(answer)
    async with tended(answers):
        await journal.until("expire", ROUNDS)
    with pytest.raises(AnswerExpired):
        await answers.get(answer.id)


async def _begun(journal: TestedJournal) -> str:
    """An answer that nobody writes any more."""
    answer = await node(Producer(Text("a"), never()), journal).ask(Asked("q"))
    await settled()
    return answer.id


async def test_what_nobody_writes_is_gone_on_with_once_all_is_ready() -> None:
    journal, producer, well = TestedJournal(0), Producer(Text("b"), Done("end_turn")), False

    def is_ready() -> None:
        if not well:
            raise IndexUnavailable

    answer = await _begun(journal)
    answers = node(producer, journal)
    async with tended(answers, is_ready):
        await journal.until("expire", ROUNDS)
        assert "claim" not in journal.asked
        well = True
        await journal.until("claim")
        assert (await complete(await answers.get(answer))).text == "ab"
    assert len(producer.asked) == 1


async def test_what_waited_too_long_for_that_is_taken_up_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # So that its readers are told, rather than kept waiting for ever.
    monkeypatch.setattr(tending, "PATIENCE", -1.0)
    journal = TestedJournal(0)
    answer = await _begun(journal)
    answers = node(Producer(IndexUnavailable()), journal)
    async with tended(answers, not_ready):
        await journal.until("claim")
        whole = await complete(await answers.get(answer))
    assert whole.error is not None
    assert (whole.text, whole.error["code"]) == ("a", "index_unavailable")


def _of_the_journal(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(r.levelno, r.getMessage()) for r in caplog.records if r.name == tending.__name__]


async def test_a_journal_that_fails_and_recovers_is_one_line_in_the_log_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    journal = TestedJournal()
    answers = node(Producer(*HELLO), journal)
    failed = (logging.ERROR, "the journal memory:// cannot be used: the disk is full")
    recovered = (logging.WARNING, "the journal memory:// can be used again")
    async with tended(answers):
        await journal.until("expire", ROUNDS)
        assert _of_the_journal(caplog) == []
        for times in (1, 2):
            journal.broken = True
            await journal.until("probe", ROUNDS)
            assert _of_the_journal(caplog) == [failed, recovered] * (times - 1) + [failed]
            with pytest.raises(JournalUnavailable):
                answers.admit()
            journal.broken = False
            await journal.until("expire", ROUNDS)
            assert _of_the_journal(caplog) == [failed, recovered] * times
            answers.admit()


async def test_a_journal_that_fails_while_an_answer_is_written_is_noticed_as_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal, more = TestedJournal(), asyncio.Event()
    answers = node(Producer(more, *HELLO), journal)
    answer = await answers.ask(Asked("q"))
    async with tended(answers):
        journal.broken = True
        more.set()
        await answer.log.ended()
        assert isinstance(answer.log.broken_off, JournalUnavailable)
        await journal.until("probe", ROUNDS)
    assert len(_of_the_journal(caplog)) == 1


async def test_what_others_write_is_broken_off_when_nothing_can_be_seen_of_it() -> None:
    journal = TestedJournal(LONG)
    answer = await _begun(journal)
    broken = TestedJournal(LONG, journal)
    answers = node(Producer(*HELLO), broken)
    shown = await answers.get(answer)
    async with tended(answers):
        with shown.follow() as cursor:
            cursor.read()
            broken.broken = True
            await shown.log.ended()
            assert isinstance(shown.log.broken_off, JournalUnavailable)
            assert cursor.exhausted
    assert shown.state == LEFT


async def test_what_others_write_is_shown_to_who_follows_it_here() -> None:
    journal, more = TestedJournal(LONG), asyncio.Event()
    writing = node(Producer(Text("a"), more, Text("b"), Done("end_turn")), journal)
    answer = await writing.ask(Asked("q"))
    await settled()
    answers = node(Producer(*HELLO), TestedJournal(LONG, journal))
    shown = await answers.get(answer.id)
    async with tended(answers):
        following = asyncio.create_task(complete(shown))
        more.set()
        assert (await following).text == "ab"
    assert shown.log.frames() == answer.log.frames()
