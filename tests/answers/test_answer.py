"""One answer: its end, its grace, going on after the model broke off, losing its lease or its journal."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from producing import HELLO, LONG, Producer, TestedJournal, complete, never, node, settled

from zantara_stream.answers import answer as module
from zantara_stream.answers.answer import PAUSES, TAKEOVERS, Answer, Lifetimes, Produce
from zantara_stream.answers.answers import Answers, Asked
from zantara_stream.answers.events import Citation, Done, Event, Sources, Text
from zantara_stream.answers.fold import Folded, fold
from zantara_stream.answers.journal import Committed, Lease, Opening
from zantara_stream.answers.life import CLOSED, FOLLOWED, LEFT, RUNNING
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.answers.writer import BACKLOG
from zantara_stream.errors import JournalUnavailable, ModelError, ModelOverloaded, ModelRefused, ModelUnavailable

CITATION = Citation("p", "S", "a quote", 0, 7, 0, 4, verified=True)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0,) * len(PAUSES))


async def answered(producer: Producer, **lifetimes: Any) -> tuple[Answer, Folded]:
    """An answer by that producer, complete, and what it is then."""
    answer = await node(producer, **lifetimes).ask(Asked("q", "the request"))
    whole = await complete(answer)
    if answer.task is not None:
        await asyncio.wait([answer.task])
    return answer, whole


def failed(error: ModelError, *, begun: bool = False, **usage: int) -> ModelError:
    """That failure, of a request that had been accepted or not, and what it cost."""
    error.begun, error.usage = begun, usage
    return error


# ------------------------------------------------------------------------------------------------ its end


async def test_a_task_cancelled_before_its_first_step_still_closes_its_log() -> None:
    journal, producer = MemoryJournal(LONG), Producer(*HELLO)
    lease = await journal.create(opening := Opening("A"))
    assert isinstance(lease, Lease)
    answer = Answer(opening, "m", Lifetimes(), lambda answer: None)
    answer.write(journal, lease, producer)
    answer.stop()
    whole = await complete(answer)
    assert whole.done is not None
    assert (whole.text, whole.done["stopReason"], whole.done["model"]) == ("", "stopped", "m")
    assert producer.asked == []


async def test_a_failure_of_the_model_ends_the_answer_with_its_code() -> None:
    _, whole = await answered(Producer(Text("half"), ModelRefused()))
    assert whole.text == "half"
    assert whole.error is not None
    assert (whole.error["code"], whole.error["retryable"]) == ("model_refused", False)
    assert whole.error["error"] == str(ModelRefused())


def check_internal(error: Any, caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """The one record in the log of an internal error, whose reference its message shows."""
    assert error is not None
    assert (error["code"], error["retryable"]) == ("internal", False)
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert error["error"].rstrip(".").rpartition(" ")[2] in record.getMessage()
    return record


async def test_a_defect_is_logged_with_its_traceback_and_only_its_reference_is_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer, whole = await answered(Producer(Text("half"), KeyError("secret of the database")))
    record = check_internal(whole.error, caplog)
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])
    assert b"secret" not in answer.log.since(0)
    assert b"KeyError" not in answer.log.since(0)


async def test_a_producer_that_ends_without_an_end_is_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    _, whole = await answered(Producer(Text("half")))
    check_internal(whole.error, caplog)
    assert whole.text == "half"


async def test_a_producer_that_breaks_the_grammar_is_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    producer = Producer(Sources(({"source": "S"},)), Text("too late"), Done("end_turn"))
    _, whole = await answered(producer)
    check_internal(whole.error, caplog)
    assert (whole.text, whole.done) == ("", None)
    assert producer.closed.is_set()


@pytest.mark.parametrize("extra", [Text("more"), Done("end_turn"), ValueError("late")])
async def test_what_a_producer_does_after_its_end_is_logged_and_not_shown(
    extra: Event | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    answer, whole = await answered(Producer(Text("all"), Done("end_turn"), extra))
    assert whole.done is not None
    assert len(answer.log.frames()) == 2
    assert any("after its end" in record.getMessage() and record.exc_info for record in caplog.records)


async def test_a_text_that_is_too_long_is_ended_and_its_producer_closed() -> None:
    producer = Producer(Text("x" * 6), Text("y" * 6), Text("z"), never())
    _, whole = await answered(producer, log=10)
    assert whole.text == "x" * 6 + "y" * 6
    assert whole.done is not None
    assert (whole.done["stopReason"], whole.done["model"]) == ("max_tokens", "m")
    assert producer.closed.is_set()


async def test_a_producer_waits_for_a_journal_that_is_behind() -> None:
    class Holding(MemoryJournal):
        """Keeps nothing until it is let go on."""

        def __init__(self) -> None:
            super().__init__(LONG)
            self.held: list[tuple[Lease, bytes, Committed]] | None = []

        def append(self, lease: Lease, frame: bytes, committed: Committed) -> None:
            if self.held is None:
                super().append(lease, frame, committed)
            else:
                self.held.append((lease, frame, committed))

        def go_on(self) -> None:
            held, self.held = self.held or [], None
            for appended in held:
                super().append(*appended)

    journal = Holding()
    answer = await node(Producer(*[Text("x")] * (3 * BACKLOG), Done("end_turn")), journal).ask(Asked("q"))
    await settled()
    assert journal.held is not None
    assert BACKLOG <= len(journal.held) <= BACKLOG + 1
    assert answer.log.frames() == (), "nothing is shown that the journal does not have"
    journal.go_on()
    assert (await complete(answer)).text == "x" * (3 * BACKLOG)


# ---------------------------------------------------------------------------------------------- its grace


async def test_a_running_answer_whose_reader_left_is_stopped_after_grace_and_what_was_written_is_kept() -> None:
    producer = Producer(Text("so far"), never())
    answer = await node(producer, grace=0).ask(Asked("q"))
    with answer.follow() as cursor:
        await cursor.wait()
        await settled()
        assert not producer.closed.is_set()
    await producer.closed.wait()
    whole = await complete(answer)
    assert whole.text == "so far"
    assert whole.done is not None
    assert whole.done["stopReason"] == "stopped"


async def test_an_answer_that_nobody_ever_reads_is_stopped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ARRIVAL", 0.0)
    producer = Producer(Text("a"), never())
    answer = await node(producer, grace=0).ask(Asked("q"))
    await answer.log.ended()
    assert answer.state == CLOSED


async def test_without_grace_the_first_reader_still_has_time_to_come() -> None:
    answer = await node(Producer(Text("a"), more := asyncio.Event(), Done("end_turn")), grace=0).ask(Asked("q"))
    await settled()
    assert answer.state == RUNNING
    more.set()
    await complete(answer)


async def test_a_reader_who_comes_in_time_keeps_the_answer_running() -> None:
    more = asyncio.Event()
    answer = await node(Producer(Text("a"), more, Text("b"), Done("end_turn")), grace=0).ask(Asked("q"))
    with answer.follow() as cursor:
        await cursor.wait()
    with answer.follow(1) as cursor:
        await settled()
        more.set()
        while not cursor.exhausted:
            await cursor.wait()
            cursor.read()
    assert fold(answer.log.frames()).text == "ab"


async def test_one_of_two_readers_keeps_the_answer_running() -> None:
    more = asyncio.Event()
    answer = await node(Producer(more, Text("a"), Done("end_turn")), grace=0).ask(Asked("q"))
    with answer.follow() as staying:
        with answer.follow():
            pass
        await settled()
        more.set()
        while not staying.exhausted:
            await staying.wait()
            staying.read()
    done = fold(answer.log.frames()).done
    assert done is not None
    assert done["stopReason"] == "end_turn"


async def refused(opening: Opening, written: Folded) -> AsyncGenerator[Event, None]:
    """Fail as a model does."""
    yield Text("a")
    raise ModelRefused


@pytest.mark.parametrize("produce", [Producer(*HELLO), Producer(Text("a"), never()), refused])
async def test_an_answer_that_is_forgotten_goes_at_once_with_its_log(produce: Produce) -> None:
    answers = Answers(MemoryJournal(), produce, Lifetimes(LONG, retention=0.0))
    gc.disable()  # else a collection could be what takes it away
    try:
        answer = await answers.ask(Asked("q", "the request"))
        with answer.follow() as cursor:
            await cursor.wait()
            await settled()
            await answers.stop(answer, LONG)
            cursor.read()
        del cursor
        await settled()
        log = weakref.ref(answer.log)
        del answer
        assert log() is not None
        await answers.tend()
        assert log() is None
    finally:
        gc.enable()


# -------------------------------------------------------------------------- going on after the model broke off


@pytest.mark.parametrize("begun", [True, False])
async def test_an_answer_that_breaks_off_is_gone_on_with_from_what_was_written(begun: bool) -> None:
    broken = failed(ModelUnavailable(), begun=begun)
    producer = Producer(Text("Hel"), CITATION, broken).then(Text("lo"), Done("end_turn", "m"))
    answer, whole = await answered(producer)
    assert (whole.text, whole.chunks, whole.error) == ("Hello", 2, None)
    assert [request for request, _ in producer.asked] == ["the request"] * 2
    assert [written.text for _, written in producer.asked] == ["", "Hel"]
    assert len(producer.asked[1][1].citations) == 1
    assert len(answer.log.frames()) == 4


async def test_what_had_begun_is_gone_on_with_though_nothing_was_written_yet() -> None:
    producer = Producer(failed(ModelOverloaded(), begun=True)).then(*HELLO)
    _, whole = await answered(producer)
    assert (whole.text, whole.error) == ("Hello", None)


async def test_what_broken_tries_cost_is_counted_with_the_rest() -> None:
    def usage(**more: int) -> ModelError:
        return failed(ModelUnavailable(), begun=True, **more)

    producer = Producer(Text("a"), usage(input_tokens=10, output_tokens=1))
    producer.then(Text("b"), usage(input_tokens=20, cache_read_input_tokens=5)).then(Done("end_turn"))
    await answered(producer)
    assert [dict(written.usage) for _, written in producer.asked] == [
        {},
        {"input_tokens": 10, "output_tokens": 1},
        {"input_tokens": 30, "output_tokens": 1, "cache_read_input_tokens": 5},
    ]


async def test_what_was_paid_is_told_of_an_answer_that_was_stopped_too() -> None:
    producer = Producer(Text("a"), failed(ModelUnavailable(), begun=True, input_tokens=10)).then(waiting := never())
    answers = node(producer)
    answer = await answers.ask(Asked("q"))
    with answer.follow() as cursor:
        while len(producer.asked) < 2:  # noqa: ASYNC110 (it goes on in this loop)
            await asyncio.sleep(0)
        assert not waiting.is_set()
        await answers.stop(answer, LONG)
        cursor.read()
    done = fold(answer.log.frames()).done
    assert done is not None
    assert done["usage"] == {"input_tokens": 10}


async def test_the_tries_are_bounded_and_the_partial_answer_is_kept() -> None:
    producer = Producer(Text("x"), failed(ModelOverloaded(), begun=True))
    _, whole = await answered(producer)
    assert len(producer.asked) == len(PAUSES) + 1
    assert whole.text == "x" * (len(PAUSES) + 1)
    assert whole.error is not None
    assert (whole.error["code"], whole.error["retryable"]) == ("model_overloaded", True)


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ((), ModelOverloaded()),  # has been tried again by who asked the model
        ((Text("half"),), ModelUnavailable("Out of credit.", retryable=False)),
        ((Text("half"),), ModelRefused()),
        ((Text("half"),), JournalUnavailable()),
        ((Text("half"),), OSError("the network")),
    ],
)
async def test_what_going_on_would_not_mend_is_not_tried_again(written: tuple[Text, ...], error: Exception) -> None:
    producer = Producer(*written, error).then(*HELLO)
    _, whole = await answered(producer)
    assert len(producer.asked) == 1
    assert whole.error is not None


async def test_an_answer_is_stopped_between_two_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (LONG,))
    producer = Producer(Text("half"), failed(ModelUnavailable(), begun=True)).then(*HELLO)
    answers = node(producer)
    answer = await answers.ask(Asked("q"))
    await producer.closed.wait()
    await settled()
    await answers.stop(answer, LONG)
    whole = fold(answer.log.frames())
    assert whole.done is not None
    assert (whole.text, whole.done["stopReason"], len(producer.asked)) == ("half", "stopped", 1)


async def test_the_pauses_before_the_tries_grow() -> None:
    assert list(PAUSES) == sorted(set(PAUSES))
    assert sum(PAUSES) * 2 <= 10, "readers see no more than a pause"


# ------------------------------------------------------------------------------------------- losing its lease


async def _taken_over(**script: asyncio.Event) -> tuple[Answers, Answer, Producer, Answers, Answer]:
    """A node whose answer another has taken over, its producer, and that other one with the same answer."""
    journal = MemoryJournal(0)
    slow = Producer(Text("a"), script["thaw"], Text("late"), never())
    frozen = node(slow, journal)
    lost = await frozen.ask(Asked("q"))
    await settled()
    taking = node(Producer(Text("b"), script["finish"], Text("c"), Done("end_turn")), journal.peer())
    await taking.take_over()
    return frozen, lost, slow, taking, await taking.get(lost.id)


async def test_a_writer_that_lost_its_lease_ends_by_itself_and_shows_what_the_other_writes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    thaw, finish = asyncio.Event(), asyncio.Event()
    frozen, lost, slow, _, taken = await _taken_over(thaw=thaw, finish=finish)
    with lost.follow() as cursor:
        thaw.set()
        await slow.closed.wait()
        assert (lost.state, lost.lease) == (FOLLOWED, None)
        assert "was taken over by another node" in caplog.text
        await frozen.tend()
        assert fold(lost.log.frames()).text == "ab"
        finish.set()
        await taken.log.ended()
        await frozen.tend()
        while not cursor.exhausted:
            await cursor.wait()
            cursor.read()
    assert lost.state == CLOSED
    assert lost.log.frames() == taken.log.frames()
    assert fold(lost.log.frames()).text == "abc", "the late chunk is nowhere"


async def test_an_answer_that_was_lost_is_not_stopped_by_its_grace_here() -> None:
    thaw, finish = asyncio.Event(), asyncio.Event()
    _, lost, slow, _, taken = await _taken_over(thaw=thaw, finish=finish)
    thaw.set()
    await slow.closed.wait()
    assert lost._timer is None
    finish.set()
    assert (await complete(taken)).text == "abc"


async def test_an_answer_that_was_begun_again_too_often_ends_in_an_error() -> None:
    journal = MemoryJournal(0)
    answer = await node(Producer(Text("a"), never()), journal).ask(Asked("q"))
    await settled()
    for _ in range(TAKEOVERS - 1):
        await journal.claim(1)
    producer = Producer(*HELLO)
    answers = node(producer, journal.peer())
    await answers.take_over()
    whole = await complete(await answers.get(answer.id))
    assert producer.asked == []
    assert (whole.text, whole.done) == ("a", None)
    assert whole.error is not None
    assert (whole.error["code"], "too often" in whole.error["error"]) == ("internal", True)


async def test_an_answer_may_be_begun_again_as_often_as_that() -> None:
    journal = MemoryJournal(0)
    answer = await node(Producer(Text("a"), never()), journal).ask(Asked("q"))
    await settled()
    for _ in range(TAKEOVERS - 2):
        await journal.claim(1)
    answers = node(Producer(Text("b"), Done("end_turn")), journal.peer())
    await answers.take_over()
    assert (await complete(await answers.get(answer.id))).text == "ab"


async def test_the_stop_of_an_answer_that_another_writes_takes_effect_when_it_is_taken_over() -> None:
    journal = MemoryJournal(0)
    begun = await node(Producer(Text("a"), never()), journal).ask(Asked("q"))
    await settled()
    producer = Producer(*HELLO)
    answers = node(producer, journal.peer())
    shown = await answers.get(begun.id)
    stopping = asyncio.create_task(answers.stop(shown, LONG))
    await settled()
    assert not stopping.done()
    await answers.take_over()
    await stopping
    whole = fold(shown.log.frames())
    assert whole.done is not None
    assert (whole.text, whole.done["stopReason"]) == ("a", "stopped")
    assert producer.asked == []


# ----------------------------------------------------------------------------------------- losing its journal


async def test_an_answer_that_cannot_be_recorded_is_broken_off_and_its_producer_closed() -> None:
    journal, more = TestedJournal(), asyncio.Event()
    producer = Producer(Text("a"), more, Text("b"), never())
    answers = node(producer, journal)
    answer = await answers.ask(Asked("q"))
    with answer.follow() as cursor:
        await cursor.wait()
        assert answer.state == RUNNING
        journal.broken = True
        more.set()
        await producer.closed.wait()
        cursor.read()
        assert cursor.exhausted
    assert isinstance(answer.log.broken_off, JournalUnavailable)
    assert (answer.state, answer.log.closed) == (LEFT, False)
    assert fold(answer.log.frames()).text == "a", "what the journal does not have was never shown"
    assert answer.id not in answers._answers


async def test_a_terminal_event_that_cannot_be_recorded_is_not_shown() -> None:
    journal, more = TestedJournal(), asyncio.Event()
    answer = await node(Producer(Text("a"), more, Done("end_turn")), journal).ask(Asked("q"))
    await settled()
    journal.broken = True
    more.set()
    await answer.log.ended()
    assert isinstance(answer.log.broken_off, JournalUnavailable)
    assert fold(answer.log.frames()).done is None


async def test_what_was_broken_off_is_gone_on_with_once_the_journal_is_well() -> None:
    journal, more = TestedJournal(lease=0), asyncio.Event()
    producer = Producer(Text("a"), more, Text("lost")).then(Text("b"), Done("end_turn"))
    answers = node(producer, journal)
    answer = await answers.ask(Asked("q"))
    await settled()
    journal.broken = True
    more.set()
    await answer.log.ended()
    journal.broken = False
    await answers.tend()
    await answers.take_over()
    again = await answers.get(answer.id)
    assert again is not answer
    assert (await complete(again)).text == "ab"


async def test_a_stopped_answer_is_closed_though_its_producer_takes_its_time() -> None:
    letting_go = asyncio.Event()

    async def produce(opening: Opening, written: Folded) -> AsyncGenerator[Event, None]:
        try:
            yield Text("a")
            await never().wait()
        finally:
            await letting_go.wait()

    answers = Answers(MemoryJournal(LONG), produce)
    answer = await answers.ask(Asked("q"))
    await settled()
    stopping = asyncio.create_task(answers.stop(answer, LONG))
    await settled()
    letting_go.set()
    await stopping
    assert answer.state == CLOSED
