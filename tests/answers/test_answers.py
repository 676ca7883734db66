"""The lives of answers: who writes them, who reads them, when they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.answers import answers as module
from zantara_stream.answers.answers import Answer, Answers, Lifetimes, parse_event_id
from zantara_stream.answers.events import Done, Event, Sources, Text
from zantara_stream.answers.fold import Folded, fold
from zantara_stream.errors import (
    AnswerExpired,
    ContinuityConflict,
    Draining,
    ModelOverloaded,
    Overloaded,
)

LONG = 3600.0


class Producer:
    """Writes an answer from a script: events are yielded, exceptions raised, asyncio events awaited."""

    def __init__(self, *script: Event | BaseException | asyncio.Event) -> None:
        self.script = script
        self.asked = 0
        self.started = asyncio.Event()
        self.closed = asyncio.Event()

    async def __call__(self) -> AsyncGenerator[Event, None]:
        self.asked += 1
        self.started.set()
        try:
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.closed.set()


def never() -> asyncio.Event:
    """What is waited for in vain."""
    return asyncio.Event()


def lasting(grace: float = LONG, retention: float = LONG, running: int = 10) -> Answers:
    """Answers whose times do not run out unless it is said."""
    return Answers(Lifetimes(grace, retention, running))


async def complete(answer: Answer) -> Folded:
    """The whole answer, read to its end."""
    with answer.log.follow() as cursor:
        while not cursor.exhausted:
            cursor.read()
            await cursor.wait()
    return fold(answer.log.frames())


def holds(answers: Answers, answer: Answer) -> bool:
    """Whether the answer can still be found."""
    try:
        return answers.find(f"{answer.id}.0") == (answer, 0)
    except AnswerExpired:
        return False


async def settled() -> None:
    """Every callback and timer that is due by now has run, and whatever it made due."""
    for _ in range(5):
        await asyncio.sleep(0)


HELLO = (Text("Hel"), Text("lo"), Sources(({"source": "S"},)), Done("end_turn", "m"))


async def test_an_answer_is_what_its_producer_yields() -> None:
    producer = Producer(*HELLO)
    answer = lasting().ask("q", producer)
    whole = await complete(answer)
    assert (whole.text, whole.sources) == ("Hello", [{"source": "S"}])
    assert whole.done is not None
    assert (whole.done["stopReason"], whole.done["answer"]) == ("end_turn", answer.id)
    assert producer.closed.is_set()


async def test_ids_cannot_be_guessed_and_fit_into_an_event_id() -> None:
    answers = lasting(running=100)
    made = {answers.ask("q", Producer(*HELLO)).id for _ in range(50)}
    assert len(made) == 50
    for name in made:
        assert parse_event_id(f"{name}.0") == (name, 0)
    await answers.drain(LONG)


async def test_the_same_continuity_id_is_the_same_answer_and_nothing_is_produced_twice() -> None:
    answers, first, second = lasting(), Producer(*HELLO), Producer(*HELLO)
    one = answers.ask("q", first, "c")
    assert answers.ask("q", second, "c") is one
    await complete(one)
    assert answers.ask("q", second, "c") is one, "also after its end"
    assert (first.asked, second.asked) == (1, 0)


async def test_without_a_continuity_id_each_question_is_answered_anew() -> None:
    answers, producer = lasting(), Producer(*HELLO)
    one, other = answers.ask("q", producer), answers.ask("q", producer)
    assert one is not other
    await complete(one)
    await complete(other)
    assert producer.asked == 2


async def test_the_same_continuity_id_for_another_question_is_a_conflict() -> None:
    answers, producer = lasting(), Producer(*HELLO)
    answers.ask("q", Producer(*HELLO), "c")
    with pytest.raises(ContinuityConflict):
        answers.ask("other", producer, "c")
    await answers.drain(LONG)
    assert producer.asked == 0


async def test_a_running_answer_whose_reader_left_is_stopped_after_grace_and_what_was_written_is_kept() -> None:
    producer = Producer(Text("so far"), never())
    answer = lasting(grace=0).ask("q", producer)
    with answer.log.follow() as cursor:
        await cursor.wait()
    await producer.closed.wait()
    whole = await complete(answer)
    assert whole.text == "so far"
    assert whole.done is not None
    assert whole.done["stopReason"] == "stopped"


async def test_an_answer_that_nobody_ever_reads_is_stopped_too() -> None:
    producer = Producer(never())
    answer = lasting(grace=0).ask("q", producer)
    await producer.closed.wait()
    await asyncio.wait([answer.task])
    assert answer.log.closed


async def test_a_reader_who_comes_in_time_keeps_the_answer_running() -> None:
    more = asyncio.Event()
    producer = Producer(Text("a"), more, Text("b"), Done("end_turn"))
    answer = lasting(grace=0).ask("q", producer)
    with answer.log.follow() as cursor:
        await cursor.wait()
    with answer.log.follow(1) as cursor:
        await settled()
        more.set()
        while not cursor.exhausted:
            await cursor.wait()
            cursor.read()
    assert fold(answer.log.frames()).text == "ab"


async def test_one_of_two_readers_keeps_the_answer_running() -> None:
    more = asyncio.Event()
    answer = lasting(grace=0).ask("q", Producer(more, Text("a"), Done("end_turn")))
    with answer.log.follow() as staying:
        with answer.log.follow():
            pass
        await settled()
        more.set()
        while not staying.exhausted:
            await staying.wait()
            staying.read()
    done = fold(answer.log.frames()).done
    assert done is not None
    assert done["stopReason"] == "end_turn"


async def test_a_task_cancelled_before_its_first_step_still_closes_its_log() -> None:
    producer = Producer(*HELLO)
    answer = lasting().ask("q", producer)
    answer.stop()
    whole = await complete(answer)
    assert whole.done is not None
    assert (whole.text, whole.done["stopReason"]) == ("", "stopped")
    assert producer.asked == 0


async def test_stopping_closes_the_producer_and_keeps_what_was_written() -> None:
    producer = Producer(Text("a"), never())
    answer = lasting().ask("q", producer)
    with answer.log.follow() as cursor:
        await cursor.wait()
        answer.stop()
        whole = await complete(answer)
    assert producer.closed.is_set()
    assert whole.done is not None
    assert (whole.text, whole.done["stopReason"], whole.done["sequenceNumber"]) == ("a", "stopped", 1)


async def test_stopping_a_complete_answer_changes_nothing() -> None:
    answer = lasting().ask("q", Producer(*HELLO))
    await complete(answer)
    before = answer.log.frames()
    answer.stop()
    await asyncio.wait([answer.task])
    assert answer.log.frames() == before


async def test_a_failure_of_the_model_ends_the_answer_with_its_code() -> None:
    answer = lasting().ask("q", Producer(Text("half"), ModelOverloaded()))
    whole = await complete(answer)
    assert whole.text == "half"
    assert whole.error is not None
    assert (whole.error["code"], whole.error["retryable"]) == ("model_overloaded", True)
    assert whole.error["error"] == str(ModelOverloaded())


def _reference(message: str) -> str:
    """The reference that an internal error's message shows."""
    return message.rstrip(".").rpartition(" ")[2]


def _check_internal(error: dict[str, Any] | Any, caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    assert error is not None
    assert (error["code"], error["retryable"]) == ("internal", False)
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert _reference(error["error"]) in record.getMessage()
    return record


async def test_a_defect_is_logged_with_its_traceback_and_only_its_reference_is_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = lasting().ask("q", Producer(Text("half"), KeyError("secret of the database")))
    whole = await complete(answer)
    record = _check_internal(whole.error, caplog)
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])
    assert b"secret" not in answer.log.since(0)
    assert b"KeyError" not in answer.log.since(0)


async def test_a_producer_that_ends_without_an_end_is_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    answer = lasting().ask("q", Producer(Text("half")))
    whole = await complete(answer)
    _check_internal(whole.error, caplog)
    assert whole.text == "half"


async def test_a_producer_that_breaks_the_grammar_is_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    producer = Producer(Sources(()), Text("too late"), Done("end_turn"))
    whole = await complete(lasting().ask("q", producer))
    _check_internal(whole.error, caplog)
    assert (whole.text, whole.done) == ("", None)
    assert producer.closed.is_set()


@pytest.mark.parametrize("extra", [Text("more"), Done("end_turn"), ValueError("late")])
async def test_what_a_producer_does_after_its_end_is_logged_and_not_shown(
    extra: Event | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    answer = lasting().ask("q", Producer(Text("all"), Done("end_turn"), extra))
    whole = await complete(answer)
    await asyncio.wait([answer.task])
    assert whole.done is not None
    assert len(answer.log.frames()) == 2
    assert any("after its end" in record.getMessage() and record.exc_info for record in caplog.records)


async def test_a_finished_answer_that_nobody_reads_is_forgotten_after_retention() -> None:
    answers = lasting(retention=0)
    answer = answers.ask("q", Producer(*HELLO), "c")
    await settled()
    assert not holds(answers, answer)
    again = answers.ask("another question", Producer(*HELLO), "c")
    assert again is not answer
    await complete(again)


async def test_a_reader_keeps_a_finished_answer() -> None:
    answers = lasting(retention=0)
    answer = answers.ask("q", Producer(*HELLO))
    with answer.log.follow() as cursor:
        await asyncio.wait([answer.task])
        await settled()
        assert answers.find(f"{answer.id}.4") == (answer, 4)
        cursor.read()
    await settled()
    assert not holds(answers, answer)


async def test_a_finished_answer_is_kept_until_retention_is_over() -> None:
    answers = lasting(grace=0)
    answer = answers.ask("q", Producer(*HELLO))
    await complete(answer)
    await settled()
    for offset in range(5):
        assert answers.find(f"{answer.id}.{offset}") == (answer, offset)


async def test_of_finished_answers_only_so_many_are_kept_and_the_oldest_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSED_KEPT", 2)
    answers = lasting()
    made = []
    for _ in range(4):
        made.append(answers.ask("q", Producer(*HELLO)))
        await asyncio.wait([made[-1].task])
    for answer in made[:2]:
        with pytest.raises(AnswerExpired):
            answers.find(f"{answer.id}.0")
    for answer in made[2:]:
        assert answers.find(f"{answer.id}.0") == (answer, 0)


async def test_an_answer_forgotten_while_it_is_read_does_not_take_its_successor_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSED_KEPT", 1)
    answers = lasting(retention=0)
    old = answers.ask("q", Producer(*HELLO), "c")
    with old.log.follow():
        await asyncio.wait([old.task])
        await asyncio.wait([(other := answers.ask("q", Producer(*HELLO))).task])
        assert not holds(answers, old)
        new = answers.ask("q", Producer(never()), "c")
        assert new is not old
    await settled()
    assert not holds(answers, other), "and the time of `old` would have run out too"
    producer = Producer(*HELLO)
    assert answers.ask("q", producer, "c") is new
    await answers.drain(0)
    assert producer.asked == 0


async def test_no_more_answers_run_than_may_but_an_existing_one_is_joined() -> None:
    answers, more = lasting(running=2), asyncio.Event()
    running = [answers.ask("q", Producer(more, *HELLO), continuity) for continuity in ("a", "b")]
    producer = Producer(*HELLO)
    with pytest.raises(Overloaded):
        answers.ask("q", producer)
    with pytest.raises(Overloaded):
        answers.admit()
    assert answers.ask("q", producer, "a") is running[0]
    more.set()
    for answer in running:
        await complete(answer)
    answers.admit()
    await complete(answers.ask("q", producer))
    assert producer.asked == 1


async def test_draining_lets_running_answers_finish_and_takes_no_new_ones() -> None:
    answers, more = lasting(), asyncio.Event()
    answer = answers.ask("q", Producer(more, *HELLO), "c")
    drain = asyncio.create_task(answers.drain(LONG))
    await asyncio.sleep(0)
    with pytest.raises(Draining):
        answers.ask("q", Producer(*HELLO))
    assert answers.ask("q", Producer(*HELLO), "c") is answer
    more.set()
    await drain
    whole = fold(answer.log.frames())
    assert (whole.text, whole.error) == ("Hello", None)


async def test_what_does_not_finish_while_draining_ends_with_that_error() -> None:
    answers, producer = lasting(), Producer(Text("half"), never())
    answer = answers.ask("q", producer)
    await answers.drain(0.01)
    whole = fold(answer.log.frames())
    assert whole.text == "half"
    assert whole.error is not None
    assert (whole.error["code"], whole.error["retryable"]) == ("draining", True)
    assert producer.closed.is_set()


async def test_draining_twice_and_with_nothing_running_returns() -> None:
    answers = lasting()
    await answers.drain(LONG)
    await answers.drain(0)
    assert answers.draining


async def test_an_event_id_finds_its_answer_and_place() -> None:
    answers, more = lasting(), asyncio.Event()
    answer = answers.ask("q", Producer(Text("a"), more, Done("end_turn")))
    with answer.log.follow() as cursor:
        await cursor.wait()
        assert answers.find(f"{answer.id}.0") == (answer, 0)
        assert answers.find(f"{answer.id}.1") == (answer, 1)
        with pytest.raises(AnswerExpired):
            answers.find(f"{answer.id}.2")  # of the future
        more.set()
        await complete(answer)
    assert answers.find(f"{answer.id}.2") == (answer, 2)


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
