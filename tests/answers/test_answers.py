"""The answers of a node: asked for, found again, stopped, taken over, handed over, forgotten."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from producing import HELLO, LONG, Producer, TestedJournal, complete, never, node, settled

from zantara_stream.answers import answer as one_answer
from zantara_stream.answers import answers as module
from zantara_stream.answers.answer import Answer
from zantara_stream.answers.answers import Answers, Asked, parse_event_id
from zantara_stream.answers.events import Done, Text
from zantara_stream.answers.fold import fold
from zantara_stream.answers.life import CLOSED, FOLLOWED, LEFT, RUNNING
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.errors import (
    AnswerExpired,
    ContinuityConflict,
    Draining,
    HandedOver,
    IndexUnavailable,
    JournalUnavailable,
    Overloaded,
)


async def holds(answers: Answers, name: str) -> bool:
    """Whether the answer can still be found."""
    try:
        return (await answers.get(name)).id == name
    except AnswerExpired:
        return False


# ---------------------------------------------------------------------------------------------- asking


async def test_an_answer_is_what_its_producer_yields() -> None:
    producer = Producer(*HELLO)
    answer = await node(producer).ask(Asked("q", "the request"))
    whole = await complete(answer)
    assert (whole.text, whole.sources) == ("Hello", [{"source": "S"}])
    assert whole.done is not None
    assert (whole.done["stopReason"], whole.done["answer"]) == ("end_turn", answer.id)
    assert [(request, written.text) for request, written in producer.asked] == [("the request", "")]
    assert producer.closed.is_set()


async def test_ids_cannot_be_guessed_and_fit_into_an_event_id() -> None:
    answers = node(Producer(*HELLO), running=100)
    made = {(await answers.ask(Asked("q"))).id for _ in range(50)}
    assert len(made) == 50
    for name in made:
        assert parse_event_id(f"{name}.0") == (name, 0)
    await answers.drain(LONG)


async def test_the_same_continuity_id_is_the_same_answer_and_nothing_is_produced_twice() -> None:
    producer = Producer(*HELLO)
    answers = node(producer)
    one = await answers.ask(Asked("q", continuity="c"))
    assert await answers.ask(Asked("q", continuity="c")) is one
    await complete(one)
    assert await answers.ask(Asked("q", continuity="c")) is one, "also after its end"
    assert len(producer.asked) == 1


async def test_without_a_continuity_id_each_question_is_answered_anew() -> None:
    producer = Producer(*HELLO)
    answers = node(producer)
    one, other = await answers.ask(Asked("q")), await answers.ask(Asked("q"))
    assert one is not other
    await complete(one)
    await complete(other)
    assert len(producer.asked) == 2


async def test_the_same_continuity_id_for_another_question_is_a_conflict() -> None:
    producer = Producer(*HELLO)
    answers = node(producer)
    await answers.ask(Asked("q", continuity="c"))
    with pytest.raises(ContinuityConflict):
        await answers.ask(Asked("other", continuity="c"))
    await answers.drain(LONG)
    assert len(producer.asked) == 1


async def test_an_answer_is_found_by_its_name_for_its_question_only_and_none_is_made() -> None:
    producer = Producer(*HELLO)
    answers = node(producer)
    asked = await answers.ask(Asked("q", continuity="c"))
    assert await answers.named(Asked("q", continuity="c")) is asked
    assert await answers.named(Asked("q", continuity="unknown")) is None
    assert await answers.named(Asked("q")) is None
    with pytest.raises(ContinuityConflict):
        await answers.named(Asked("other", continuity="c"))
    await answers.drain(LONG)
    assert len(producer.asked) == 1


async def test_all_who_ask_at_once_with_one_continuity_id_get_one_answer() -> None:
    producer, journal = Producer(*HELLO), MemoryJournal(LONG)
    nodes = [node(producer, journal), node(producer, journal.peer())]
    asked = [answers.ask(Asked("q", continuity="c")) for answers in nodes for _ in range(10)]
    made = await asyncio.gather(*asked)
    assert len({answer.id for answer in made}) == 1
    await asyncio.gather(*(answers.drain(LONG) for answers in nodes[:1]))
    assert len(producer.asked) == 1


async def test_one_who_leaves_while_it_is_opened_does_not_take_it_from_the_others() -> None:
    producer = Producer(*HELLO)
    answers = node(producer)
    leaving = asyncio.create_task(answers.ask(Asked("q", continuity="c")))
    staying = asyncio.create_task(answers.ask(Asked("q", continuity="c")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await complete(await staying)).text == "Hello"
    assert leaving.cancelled()
    assert len(producer.asked) == 1


async def test_an_answer_whose_asker_left_at_once_is_known_and_ends_by_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_answer, "ARRIVAL", 0.0)
    producer, journal = Producer(never()), MemoryJournal(LONG)
    answers = node(producer, journal, grace=0)
    leaving = asyncio.create_task(answers.ask(Asked("q")))
    await asyncio.sleep(0)
    leaving.cancel()
    await settled()
    await asyncio.gather(*(answer.log.ended() for answer in answers._answers.values()))
    (kept,) = journal._store.answers.values()
    assert kept.closed


async def test_what_admit_raises_refuses_a_new_answer_and_not_one_that_exists() -> None:
    async def refuse() -> None:
        raise IndexUnavailable

    producer = Producer(*HELLO)
    answers = node(producer)
    one = await answers.ask(Asked("q", continuity="c"))
    assert await answers.ask(Asked("q", continuity="c"), refuse) is one
    for continuity in ("", "d"):
        with pytest.raises(IndexUnavailable):
            await answers.ask(Asked("q", continuity=continuity), refuse)
    await complete(one)
    assert len(producer.asked) == 1


async def test_no_more_answers_run_than_may_but_an_existing_one_is_joined() -> None:
    more = asyncio.Event()
    producer = Producer(more, *HELLO)
    answers = node(producer, running=2)
    running = [await answers.ask(Asked("q", continuity=continuity)) for continuity in ("a", "b")]
    with pytest.raises(Overloaded):
        await answers.ask(Asked("q"))
    with pytest.raises(Overloaded):
        answers.admit()
    assert await answers.ask(Asked("q", continuity="a")) is running[0]
    more.set()
    for answer in running:
        await complete(answer)
    answers.admit()
    await complete(await answers.ask(Asked("q")))
    assert len(producer.asked) == 3


async def test_a_journal_with_a_problem_takes_no_new_answers() -> None:
    journal = TestedJournal()
    producer = Producer(*HELLO)
    answers = node(producer, journal)
    journal.broken = True
    with pytest.raises(JournalUnavailable):
        await answers.ask(Asked("q"))
    with pytest.raises(JournalUnavailable):
        answers.admit()
    journal.broken = False
    await answers.tend()  # which sees that it is well again
    assert (await complete(await answers.ask(Asked("q")))).text == "Hello"


# --------------------------------------------------------------------------------------------- finding


async def test_an_event_id_finds_its_answer_and_place() -> None:
    more = asyncio.Event()
    answers = node(Producer(Text("a"), more, Done("end_turn")))
    answer = await answers.ask(Asked("q"))
    with answer.follow() as cursor:
        await cursor.wait()
        assert await answers.find(f"{answer.id}.0") == (answer, 0)
        assert await answers.find(f"{answer.id}.1") == (answer, 1)
        with pytest.raises(AnswerExpired):
            await answers.find(f"{answer.id}.2")  # of the future
        more.set()
        await complete(answer)
    assert await answers.find(f"{answer.id}.2") == (answer, 2)


async def test_nobody_but_its_owner_finds_an_answer_in_whatever_state_it_is() -> None:
    more = asyncio.Event()
    journal = TestedJournal()
    answers = node(Producer(Text("a"), more, Done("end_turn")), journal)
    answer = await answers.ask(Asked("q", owner="anna"))
    unknown = "A" * 22
    for _ in ("running", "closed"):
        assert await answers.get(answer.id, "anna") is answer
        assert (await answers.find(f"{answer.id}.0", "anna"))[0] is answer
        for owner in ("", "made"):
            for name in (answer.id, unknown):
                before = len(journal.asked)
                with pytest.raises(AnswerExpired):
                    await answers.get(name, owner)
                with pytest.raises(AnswerExpired):
                    await answers.find(f"{name}.0", owner)
                assert journal.asked[before:] == ["find", "find"], "both are looked for alike"
        more.set()
        await complete(answer)


async def test_two_people_may_use_the_same_continuity_id() -> None:
    answers = node(Producer(*HELLO))
    made = [await answers.ask(Asked("q", continuity="c", owner=owner)) for owner in ("anna", "made", "")]
    assert len({answer.id for answer in made}) == 3
    for owner, answer in zip(("anna", "made", ""), made, strict=True):
        assert await answers.ask(Asked("q", continuity="c", owner=owner)) is answer
    for answer in made:
        await complete(answer)


@pytest.mark.parametrize("continuity", ["anna/c", "/c", "c\nanna/c"])
async def test_no_continuity_id_names_what_is_another_persons(continuity: str) -> None:
    answers = node(Producer(*HELLO))
    hers = await answers.ask(Asked("q", continuity="c", owner="anna"))
    await complete(hers)
    assert await answers.named(Asked("q", continuity=continuity)) is None
    assert (await answers.ask(Asked("q", continuity=continuity))).id != hers.id
    await answers.drain(LONG)


async def test_the_end_of_what_is_written_here_is_told_once() -> None:
    ended: list[str] = []
    journal = MemoryJournal(LONG)
    answers = Answers(journal, Producer(*HELLO), ended=lambda answer: ended.append(answer.id))
    other = Answers(journal.peer(), Producer(*HELLO), ended=lambda answer: ended.append("elsewhere"))
    answer = await answers.ask(Asked("q"))
    await complete(answer)
    await complete(await other.get(answer.id))
    await complete(answer)
    assert ended == [answer.id]


async def test_another_node_shows_the_same_answer() -> None:
    journal, producer = MemoryJournal(LONG), Producer(*HELLO)
    one = await node(producer, journal).ask(Asked("q", continuity="c"))
    await complete(one)
    other = node(Producer(*HELLO), journal.peer())
    again = await other.ask(Asked("q", continuity="c"))
    assert again is not one
    assert (again.state, again.log.frames()) == (CLOSED, one.log.frames())
    assert await other.find(f"{one.id}.2") == (again, 2)
    assert len(producer.asked) == 1


async def test_an_answer_that_another_node_writes_is_shown_as_the_journal_gets_it() -> None:
    journal, more = MemoryJournal(LONG), asyncio.Event()
    writing = node(Producer(Text("a"), more, Text("b"), Done("end_turn")), journal)
    answer = await writing.ask(Asked("q"))
    await settled()
    showing = node(Producer(*HELLO), journal.peer())
    shown = await showing.get(answer.id)
    assert shown.state == FOLLOWED
    with shown.follow() as cursor:
        assert b'"a"' in cursor.read()
        more.set()
        await complete(answer)
        await showing.tend()
        assert shown.state == CLOSED
        assert b'"b"' in cursor.read()
        assert cursor.exhausted
    assert shown.log.frames() == answer.log.frames()


async def test_what_others_write_is_let_go_of_when_nobody_reads_it() -> None:
    journal = MemoryJournal(LONG)
    answer = await node(Producer(Text("a"), never()), journal).ask(Asked("q"))
    showing = node(Producer(*HELLO), journal.peer())
    await showing.get(answer.id)
    await showing.tend()
    assert answer.id in showing._answers, "somebody may be about to read it"
    await showing.tend()
    assert answer.id not in showing._answers
    assert await holds(showing, answer.id)


A = "A" * 22


@pytest.mark.parametrize(
    "event_id",
    [
        "", ".", "0", A, f"{A}.", f".{A}", f"{A}.-1", f"{A}.+1", f"{A}.01", f"{A}.1.1", f"{A}.1 ", f" {A}.1",
        f"{A}.1\n", f"{A}\n.1", f"{A}.1\x00", f"{A}.1e3", f"{A}.٣", f"{A}.{10**9}", f"{A}x.1", f"{A[1:]}.1",
        f"{A[1:]}é.1", f"{A[1:]}/.1", f"../{A[3:]}.1", "x" * 10_000, f"{A}.{'9' * 5000}", f"{A}.1<script>", "undefined",
    ],
)  # fmt: skip
def test_anything_but_an_event_id_is_treated_as_an_unknown_answer(event_id: str) -> None:
    with pytest.raises(AnswerExpired) as raised:
        parse_event_id(event_id)
    assert str(raised.value) == str(AnswerExpired()), "nothing of it is repeated"


@given(st.text() | st.from_regex(r"[0-9A-Za-z_-]{20,24}\.[0-9]{0,11}"))
def test_parsing_an_event_id_never_fails_otherwise(event_id: str) -> None:
    with suppress(AnswerExpired):
        name, offset = parse_event_id(event_id)
        assert f"{name}.{offset}" == event_id


@pytest.mark.parametrize("name", [A, "", "x", "../../etc/passwd", "A" * 10_000, f"{A}\n", "'; --"])
async def test_an_unknown_or_hostile_id_is_an_answer_that_is_gone(name: str) -> None:
    journal = TestedJournal()
    with pytest.raises(AnswerExpired):
        await node(Producer(*HELLO), journal).get(name)
    assert journal.asked.count("find") == (name == A), "the journal is not bothered with what is no id"


# ------------------------------------------------------------------------------------------- retention


async def test_a_finished_answer_that_nobody_reads_is_forgotten_after_retention() -> None:
    answers = node(Producer(*HELLO), retention=0)
    answer = await answers.ask(Asked("q", continuity="c"))
    await complete(answer)
    await answers.tend()
    assert not await holds(answers, answer.id)
    again = await answers.ask(Asked("another question", continuity="c"))
    assert again is not answer
    await complete(again)


async def test_a_reader_keeps_a_finished_answer() -> None:
    answers = node(Producer(*HELLO), retention=0)
    answer = await answers.ask(Asked("q"))
    with answer.follow() as cursor:
        await answer.log.ended()
        await answers.tend()
        assert await answers.find(f"{answer.id}.4") == (answer, 4)
        cursor.read()
    await answers.tend()
    assert not await holds(answers, answer.id)


async def test_a_finished_answer_is_kept_until_retention_is_over() -> None:
    answers = node(Producer(*HELLO), grace=0)
    answer = await answers.ask(Asked("q"))
    await complete(answer)
    await answers.tend()
    for offset in range(5):
        assert await answers.find(f"{answer.id}.{offset}") == (answer, offset)


async def test_the_retention_counts_from_when_the_last_reader_left() -> None:
    journal = TestedJournal()
    answers = node(Producer(*HELLO), journal)
    answer = await answers.ask(Asked("q"))
    await complete(answer)
    kept = journal._store.answers[answer.id]
    kept.since = 0.0
    await complete(await answers.get(answer.id))
    await answers.tend()
    assert kept.since > 0.0


async def test_only_so_many_finished_answers_are_held_beside_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED", 2)
    answers, made = node(Producer(*HELLO)), []
    for _ in range(4):
        made.append(await answers.ask(Asked("q")))
        await complete(made[-1])
    assert set(answers._answers) == {answer.id for answer in made[2:]}
    for answer in made:
        again, _ = await answers.find(f"{answer.id}.4")
        assert again.log.frames() == answer.log.frames()


async def test_an_answer_that_is_read_is_held_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED", 1)
    answers = node(Producer(*HELLO))
    one = await answers.ask(Asked("q"))
    await complete(one)
    with one.follow():
        for _ in range(3):
            await complete(await answers.ask(Asked("q")))
        assert await answers.get(one.id) is one


# -------------------------------------------------------------------------------------------- taking over


async def _left(journal: MemoryJournal, *events: Text) -> Answer:
    """An answer that was begun by a node that is no more."""
    answer = await node(Producer(*events, never()), journal).ask(Asked("q", "the request", "c"))
    await settled()
    return answer


async def test_what_nobody_writes_is_gone_on_with_where_the_log_ends() -> None:
    journal = MemoryJournal(0)
    begun = await _left(journal, Text("a"), Text("b"))
    producer = Producer(Text("c"), Done("end_turn"))
    answers = node(producer, journal.peer())
    await answers.take_over()
    whole = await complete(answer := await answers.get(begun.id))
    assert [(request, written.text) for request, written in producer.asked] == [("the request", "ab")]
    assert (whole.text, whole.chunks) == ("abc", 3)
    assert answer.log.frames()[:2] == begun.log.frames(), "what was shown stands"


async def test_a_lease_that_has_not_run_out_is_left_to_its_writer() -> None:
    journal = MemoryJournal(LONG)
    begun = await _left(journal, Text("a"))
    producer = Producer(Done("end_turn"))
    answers = node(producer, journal.peer())
    await answers.take_over()
    assert (await answers.get(begun.id)).state == FOLLOWED
    assert producer.asked == []


async def test_those_who_follow_it_are_shown_what_is_written_here_from_then_on() -> None:
    journal = MemoryJournal(0)
    begun = await _left(journal, Text("a"))
    answers = node(Producer(Text("b"), Done("end_turn")), journal.peer())
    shown = await answers.get(begun.id)
    with shown.follow(1) as cursor:
        await answers.take_over()
        assert shown.state == RUNNING
        while not cursor.exhausted:
            await cursor.wait()
            cursor.read()
    assert fold(shown.log.frames()).text == "ab"


async def test_what_is_written_here_is_not_taken_over_here_though_its_lease_ran_out() -> None:
    journal, more = MemoryJournal(0), asyncio.Event()
    producer = Producer(Text("a"), more, Text("b"), Done("end_turn"))
    answers = node(producer, journal)
    answer = await answers.ask(Asked("q"))
    await settled()
    await answers.take_over()
    more.set()
    assert (await complete(answer)).text == "ab"
    assert len(producer.asked) == 1


async def test_a_node_takes_no_more_over_than_it_may_write() -> None:
    journal = TestedJournal(0)
    for _ in range(3):
        await node(Producer(never()), journal).ask(Asked("q"))
    claiming = TestedJournal(0, journal)
    answers = node(Producer(never()), claiming, running=2)
    for _ in range(2):
        await answers.take_over()
        assert len(answers._running) == 2
    assert claiming.asked.count("claim") == 1, "there was no room for more"
    await answers.drain(0)


async def test_a_draining_node_takes_nothing_over() -> None:
    journal = MemoryJournal(0)
    await _left(journal, Text("a"))
    producer = Producer(*HELLO)
    answers = node(producer, journal.peer())
    await answers.drain(0)
    await answers.take_over()
    await settled()
    assert producer.asked == []


async def test_what_is_forgotten_while_it_is_followed_is_said_to_be_gone() -> None:
    journal = MemoryJournal(LONG)
    begun = await _left(journal, Text("a"))
    answers = node(Producer(*HELLO), journal.peer())
    shown = await answers.get(begun.id)
    with shown.follow():
        del journal._store.answers[begun.id]
        await answers.tend()
        assert isinstance(shown.log.broken_off, AnswerExpired)
    assert shown.state == LEFT


# --------------------------------------------------------------------------------------------- the end


async def test_stopping_waits_until_it_is_recorded() -> None:
    producer = Producer(Text("a"), never())
    answers = node(producer)
    answer = await answers.ask(Asked("q"))
    await producer.started.wait()
    await answers.stop(answer, LONG)
    whole = fold(answer.log.frames())
    assert whole.done is not None
    assert (whole.text, whole.done["stopReason"], whole.done["sequenceNumber"]) == ("a", "stopped", 1)
    assert producer.closed.is_set()


async def test_stopping_a_complete_answer_changes_nothing() -> None:
    answers = node(Producer(*HELLO))
    answer = await answers.ask(Asked("q"))
    await complete(answer)
    before = answer.log.frames()
    await answers.stop(answer, LONG)
    assert answer.log.frames() == before


async def test_stopping_what_another_writes_is_given_up_after_a_while_and_not_forgotten() -> None:
    journal = MemoryJournal(LONG)
    begun = await _left(journal, Text("a"))
    answers = node(Producer(*HELLO), journal.peer())
    shown = await answers.get(begun.id)
    await answers.stop(shown, 0)
    assert not shown.log.over
    for _ in range(3):
        await answers.tend()
    assert (await answers.get(begun.id)).stop_wanted


async def test_draining_lets_running_answers_finish_and_takes_no_new_ones() -> None:
    more = asyncio.Event()
    answers = node(Producer(more, *HELLO))
    answer = await answers.ask(Asked("q", continuity="c"))
    drain = asyncio.create_task(answers.drain(LONG))
    await asyncio.sleep(0)
    with pytest.raises(Draining):
        await answers.ask(Asked("q"))
    assert await answers.ask(Asked("q", continuity="c")) is answer
    more.set()
    await drain
    whole = fold(answer.log.frames())
    assert (whole.text, whole.error) == ("Hello", None)


@pytest.mark.parametrize(("durable", "why"), [(False, Draining), (True, HandedOver)])
async def test_what_does_not_finish_while_draining_is_broken_off_and_left(durable: bool, why: type[Draining]) -> None:
    journal, producer = TestedJournal(durable=durable), Producer(Text("half"), never())
    answers = node(producer, journal)
    answer = await answers.ask(Asked("q"))
    await answers.drain(0.01)
    assert type(answer.log.broken_off) is why
    assert producer.closed.is_set()
    assert (answer.state, answer.log.closed) == (LEFT, False), "its terminal event is left to whoever goes on with it"
    assert not journal._store.answers[answer.id].closed


async def test_what_was_handed_over_can_be_taken_at_once_and_is_finished() -> None:
    journal = TestedJournal(LONG, durable=True)
    leaving = node(Producer(Text("a"), never()), journal)
    answer = await leaving.ask(Asked("q", continuity="c"))
    await settled()
    await leaving.drain(0)
    answers = node(Producer(Text("b"), Done("end_turn")), TestedJournal(LONG, journal))
    await answers.take_over()
    whole = await complete(await answers.ask(Asked("q", continuity="c")))
    assert (whole.text, whole.chunks) == ("ab", 2)
    assert (await answers.get(answer.id)).log.frames()[:1] == answer.log.frames()


async def test_a_journal_that_fails_while_draining_does_not_hold_it_up(caplog: pytest.LogCaptureFixture) -> None:
    journal = TestedJournal()
    answers = node(Producer(Text("half"), never()), journal)
    await answers.ask(Asked("q"))
    journal.broken = True
    await answers.drain(0)
    assert "the leases of 1 answers were not released" in caplog.text


async def test_draining_twice_and_with_nothing_running_returns() -> None:
    answers = node(Producer(*HELLO))
    await answers.drain(LONG)
    await answers.drain(0)
    assert answers.draining
