"""The record of questions: every turn once and whole, whatever ends its answer, and what is learned beside it."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from producing import HELLO, Producer, TestedJournal, complete, never, settled
from sqlalchemy import event, text, update

from zantara_stream import afterwards
from zantara_stream import recording as module
from zantara_stream.afterwards import LEFT_OUT, LONG, MOST, SHORT, Kept
from zantara_stream.answers.answer import Answer, Lifetimes
from zantara_stream.answers.answers import Answers, Asked
from zantara_stream.answers.events import Done, Event, Text
from zantara_stream.answers.fold import Folded, fold
from zantara_stream.answers.journal import Journal, Opening
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.config import EXPLICIT, OFF, ON
from zantara_stream.errors import ModelRefused, ModelUnavailable, StoreUnavailable
from zantara_stream.generation.answerer import Turn as Said
from zantara_stream.generation.background import Findings, Noted
from zantara_stream.metrics import BACKGROUND_TOKENS
from zantara_stream.people.conversations import LOST, Conversations, Earlier, Turn
from zantara_stream.people.facts import Statement
from zantara_stream.people.memory import Memory
from zantara_stream.people.person import NOBODY, Person
from zantara_stream.people.store import Store
from zantara_stream.people.tables import turns
from zantara_stream.people.tickets import Tickets
from zantara_stream.pipeline import Question, Recalled
from zantara_stream.recording import Recording

ANNA, BUDI = Person("anna"), Person("budi")
HOUR = 3600.0
COMPANY = "Remember that my company is a PT PMA."
FACT = "My company is a PT PMA."
SECRET = "The villa in Ubud is my secret."


class Sweeps(Tickets):
    """Tickets that tell when a sweep has come to its end, which is with them."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, HOUR)
        self.ended: asyncio.Queue[None] = asyncio.Queue()

    async def expire(self) -> None:
        await super().expire()
        self.ended.put_nowait(None)


@dataclass
class Reading:
    """A background that plays a script; `hold` is waited for in every call, `most` of them were running at once."""

    facts: list[Findings | Exception] = field(default_factory=list)  # one a call, and nothing after them
    summary: tuple[str, Mapping[str, int]] | Exception = ("They planned a visa.", {})
    hold: asyncio.Event | None = None
    messages: list[tuple[str, tuple[tuple[str, str], ...], str]] = field(default_factory=list)
    summarised: list[tuple[tuple[Said, ...], str]] = field(default_factory=list)
    running: int = 0
    most: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def find_facts(self, message: str, known: Sequence[tuple[str, str]], summary: str = "") -> Findings:
        self.messages.append((message, tuple(known), summary))
        await self._wait()
        found = self.facts.pop(0) if self.facts else Findings()
        if isinstance(found, Exception):
            raise found
        return found

    async def summarise(self, turns: Sequence[Said], before: str = "") -> tuple[str, Mapping[str, int]]:
        self.summarised.append((tuple(turns), before))
        await self._wait()
        if isinstance(self.summary, Exception):
            raise self.summary
        return self.summary

    async def _wait(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        self.running -= 1


class Node:
    """What one process has: its answers, and the recording of them; the store and the journal may be others' too."""

    def __init__(
        self,
        store: Store,
        producer: Producer | None = None,
        background: Reading | None = None,
        remembers: str = ON,
        journal: Journal | None = None,
        **lifetimes: Any,
    ) -> None:
        self.store, self.producer = store, producer or Producer(*HELLO)
        self.journal = journal or MemoryJournal(HOUR)
        self.conversations, self.memory, self.sweeps = Conversations(store, HOUR), Memory(store), Sweeps(store)
        self.recalled: list[Recalled] = []
        self.recording = Recording(Kept(self.conversations, self.memory, self.sweeps, remembers), background)
        times = Lifetimes(**{"grace": HOUR, "retention": HOUR, **lifetimes})
        self.answers = Answers(self.journal, self._produce, times, "m", self.recording.ended)
        self.recording.watch(self.answers)

    async def _produce(self, opening: Opening, written: Folded) -> AsyncGenerator[Event, None]:
        self.recalled.append(await self.recording.begin(opening, Question.from_json(opening.request)))
        async with aclosing(self.producer(opening, written)) as events:
            async for event in events:
                yield event

    async def begin(self, query: str, person: Person = ANNA, session: str = "visas", **values: Any) -> Answer:
        """A question is asked, and its turn begun."""
        question = Question(query, person=person, session=session, **values)
        return await self.answers.ask(Asked(query, question.to_json(), owner=person.key))

    async def ask(self, query: str, person: Person = ANNA, session: str = "visas", **values: Any) -> Answer:
        """A question is asked and answered; its end need not be recorded."""
        answer = await self.begin(query, person, session, **values)
        await complete(answer)
        return answer

    async def told(self, query: str, person: Person = ANNA, session: str = "visas", **values: Any) -> Answer:
        """A question is asked and answered, its end recorded, and what comes after it done."""
        answer = await self.ask(query, person, session, **values)
        await self.recording.settled()
        await self.quiet()
        return answer

    async def quiet(self) -> None:
        """Nothing is done any more beside answers."""
        while self.recording._afterwards._tasks:
            await asyncio.wait(self.recording._afterwards._tasks)

    async def swept(self) -> None:
        """A sweep that begins from now on has come to its end."""
        while not self.sweeps.ended.empty():
            self.sweeps.ended.get_nowait()
        for _ in range(2):  # the first may have begun before
            await self.sweeps.ended.get()

    async def turns(self, person: Person = ANNA, session: str = "visas") -> list[tuple[str, str, str]]:
        """The conversation: what was asked, how it ended, and its text."""
        found = await self.conversations.read(person.key, session)
        return [(turn.question, turn.state, turn.text) for turn in found.turns] if found is not None else []

    async def facts(self, person: Person = ANNA) -> list[str]:
        return [fact.text for fact in (await self.memory.recall(person.key)).facts]


@asynccontextmanager
async def recorded(node: Node) -> AsyncIterator[Node]:
    """The node's record is kept meanwhile, and its first sweep is over."""
    task = asyncio.create_task(node.recording.run())
    try:
        await node.sweeps.ended.get()
        yield node
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store of each kind that needs no server."""
    opened = Store(f"sqlite:///{tmp_path}/people.db" if request.param == "file" else "memory://")
    await opened.open()
    yield opened
    await opened.close()


def paid(purpose: str, kind: str) -> float:
    return float(BACKGROUND_TOKENS.labels(purpose=purpose, type=kind)._value.get())


def noted(*texts: str, summary: str = "", replaces: str = "", **usage: int) -> Findings:
    return Findings(tuple(Noted(one, one, replaces) for one in texts), summary, usage)


def failing(*usage: int) -> ModelUnavailable:
    error = ModelUnavailable()
    error.usage = {"input_tokens": sum(usage)}
    return error


@asynccontextmanager
async def broken(store: Store) -> AsyncIterator[None]:
    """The store's disk is full meanwhile."""

    def fail(*arguments: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    event.listen(store._engine.sync_engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(store._engine.sync_engine, "before_cursor_execute", fail)


# ------------------------------------------------------------------------------------------- beginning


async def test_a_turn_is_begun_once_over_takeovers(store: Store) -> None:
    node = Node(store, Producer(never()))
    answer = await node.begin("First?")
    await node.producer.started.wait()
    before = await node.conversations.turn(answer.id)
    assert before is not None
    assert (before.owner, before.session, before.remembers) == ("anna", "visas", True)
    assert before.asked == answer.opening.started
    again = await node.recording.begin(answer.opening, Question.from_json(answer.opening.request))
    assert again == node.recalled[0]
    assert await node.conversations.turn(answer.id) == before
    assert await node.turns() == [("First?", "running", "")]


async def test_of_nobody_outside_of_a_conversation_nothing_is_recorded(store: Store) -> None:
    async with recorded(Node(store, Producer(gate := asyncio.Event(), *HELLO))) as node:
        answer = await node.begin("Remember that my name is Anna.", NOBODY, "")
        await node.producer.started.wait()
        assert await node.conversations.turn(answer.id) is None, "not even until its end"
        gate.set()
        await complete(answer)
        await node.recording.settled()
        assert await node.conversations.unfinished(time.time()) == []
        assert await node.facts(NOBODY) == []
        assert node.recalled == [Recalled()]


async def test_a_conversation_of_nobody_is_kept_and_nothing_learned_from_it(store: Store) -> None:
    background = Reading()
    async with recorded(Node(store, background=background)) as node:
        await node.told(COMPANY, NOBODY)
        assert await node.turns(NOBODY) == [(COMPANY, "complete", "Hello")]
        assert await node.facts(NOBODY) == []
        assert (background.messages, node.recalled) == ([], [Recalled()])


@pytest.mark.parametrize(("mode", "remembers"), [(OFF, True), (ON, False), (EXPLICIT, False)])
async def test_where_memory_is_off_nothing_is_recalled_or_learned(store: Store, mode: str, remembers: bool) -> None:
    background = Reading()
    async with recorded(Node(store, Producer(gate := asyncio.Event(), *HELLO), background, mode)) as node:
        await node.memory.learn("anna", [Statement("They rent a villa.")], time.time())
        answer = await node.begin(COMPANY, session="", remembers=remembers)
        await node.producer.started.wait()
        assert await node.conversations.turn(answer.id) is None, "there is no reason to keep it"
        gate.set()
        await complete(answer)
        await node.recording.settled()
        await node.quiet()
        assert await node.facts() == ["They rent a villa."]
        assert (background.messages, node.recalled) == ([], [Recalled()])


async def test_a_person_without_a_conversation_has_a_turn_only_until_its_end(store: Store) -> None:
    async with recorded(Node(store, Producer(gate := asyncio.Event(), *HELLO))) as node:
        answer = await node.begin("What?", session="")
        await node.producer.started.wait()
        assert await node.conversations.turn(answer.id) is not None
        gate.set()
        await complete(answer)
        await node.recording.settled()
        assert await node.conversations.turn(answer.id) is None


async def test_what_came_before_goes_with_the_next_question(store: Store) -> None:
    async with recorded(Node(store)) as node:
        await node.told(COMPANY)
        await node.told("And then?")
    first, second = node.recalled
    assert (first.turns, first.summary, first.remembers) == ((), "", True)
    assert [fact.text for fact in first.facts] == [FACT], "what is asked to be remembered is, when it is answered"
    assert second.turns == (Said("user", COMPANY), Said("assistant", "Hello"))
    assert [fact.text for fact in second.facts] == [FACT]
    assert (second.about, second.summary, second.remembers) == (FACT, "", True)


async def test_history_that_a_page_sends_is_in_place_of_what_is_kept_and_is_not_kept(store: Store) -> None:
    async with recorded(Node(store)) as node:
        await node.told("First?")
        await node.told("Second?", history=(Said("user", SECRET), Said("assistant", "I see.")))
        assert node.recalled[1].turns == ()
        assert await node.turns() == [("First?", "complete", "Hello"), ("Second?", "complete", "Hello")]


async def test_where_the_store_fails_a_question_is_refused_for_now(store: Store) -> None:
    node = Node(store)
    async with broken(store):
        folded = await complete(await node.begin("What?"))
    assert folded.error is not None
    assert (folded.error["code"], folded.error["retryable"]) == (StoreUnavailable.code, True)


# --------------------------------------------------------------------------------------------- ending

ENDS: dict[str, tuple[tuple[Any, ...], str, str]] = {
    "complete": (HELLO, "complete", "Hello"),
    "failed": ((Text("half"), ModelRefused()), "failed", "half"),
    "defect": ((Text("half"), ValueError("a defect")), "failed", "half"),
    "too long": ((Text("a" * 1001), Text("b")), "complete", "a" * 1001),
    "out of tokens": ((Text("cut"), Done("max_tokens", "m")), "complete", "cut"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_an_end_is_recorded_whatever_ended_it(store: Store, end: str) -> None:
    script, state, written = ENDS[end]
    async with recorded(Node(store, Producer(*script), log=1000)) as node:
        answer = await node.told("What?")
        turn = await node.conversations.turn(answer.id)
    assert turn is not None
    assert (turn.state, turn.text) == (state, written)
    assert turn.ended is not None
    assert turn.details.get("stopReason") == {"complete": "end_turn", "failed": None, "defect": None}.get(
        end, "max_tokens"
    )
    assert turn.details["sources"] == ([{"source": "S"}] if end == "complete" else [])


async def test_a_stopped_answer_is_recorded_as_far_as_it_was_written(store: Store) -> None:
    async with recorded(Node(store, Producer(Text("half"), never()))) as node:
        answer = await node.begin("What?")
        with answer.follow() as cursor:
            await cursor.wait()
        await node.answers.stop(answer, 60)
        await node.recording.settled()
        assert await node.turns() == [("What?", "stopped", "half")]


async def test_an_end_is_recorded_once_by_whoever_comes_first(store: Store) -> None:
    background = Reading()
    node = Node(store, background=background)
    answer = await node.ask("What?")
    done = await asyncio.gather(*(node.recording._settle(answer.id, "anna") for _ in range(3)))
    assert sorted(done) == [False, False, True]
    node.recording.ended(answer)
    async with recorded(node):
        await node.recording.settled()
        await node.quiet()
    assert await node.turns() == [("What?", "complete", "Hello")]
    assert len(background.messages) == 1


async def test_of_a_deleted_conversation_no_end_is_recorded_and_the_model_learns_nothing(store: Store) -> None:
    background = Reading()
    async with recorded(Node(store, Producer(gate := asyncio.Event(), *HELLO), background)) as node:
        answer = await node.begin(COMPANY)
        await node.producer.started.wait()
        assert await node.conversations.delete("anna", "visas")
        gate.set()
        await complete(answer)
        await node.recording.settled()
        assert (await node.turns(), background.messages) == ([], [])
        assert await node.facts() == [FACT], "which is forgotten by itself"


async def test_a_question_sees_the_turn_whose_end_was_not_recorded_yet(store: Store) -> None:
    node = Node(store)  # nothing keeps its record
    await node.ask(COMPANY)
    assert await node.turns() == [(COMPANY, "running", "")]
    await node.ask("And then?")
    assert node.recalled[1].turns == (Said("user", COMPANY), Said("assistant", "Hello"))
    assert [fact.text for fact in node.recalled[1].facts] == [FACT]
    assert (await node.turns())[0] == (COMPANY, "complete", "Hello")


async def test_a_question_sees_no_turn_that_is_still_written(store: Store) -> None:
    node = Node(store, Producer(Text("half"), never()).then(*HELLO))
    await node.begin("First?")
    await node.producer.started.wait()
    await node.ask("Second?")
    assert node.recalled[1].turns == ()
    assert (await node.turns())[0] == ("First?", "running", "")


async def test_a_turn_that_cannot_be_recorded_does_not_end_its_conversation(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(store)
    answer = await node.ask("First?")
    with monkeypatch.context() as patch:
        patch.setattr(module, "fold", defective)
        await complete(await node.begin("Second?"))
    assert node.recalled[1].turns == ()
    assert f"in the record of answer {answer.id}" in caplog.text
    await node.ask("Third?")
    assert [turn.content for turn in node.recalled[2].turns if turn.role == "user"] == ["First?", "Second?"]


def missed(answer: Answer) -> None:
    """An end that nobody is told of."""


def defective(*arguments: object) -> Folded:
    raise ValueError("a defect")


# ------------------------------------------------------------------------------- from time to time


@pytest.mark.parametrize("store", ["file"], indirect=True)
async def test_what_a_killed_process_did_not_record_is_found_at_the_next_start(store: Store, tmp_path: Path) -> None:
    journal, background = MemoryJournal(HOUR), Reading([noted("They have a company.")])
    killed = Node(store, journal=journal)
    await killed.ask(COMPANY)
    await store.close()
    later = Store(f"sqlite:///{tmp_path}/people.db")
    await later.open()
    async with recorded(Node(later, background=background, journal=journal.peer())) as node:
        await node.quiet()
        assert await node.turns() == [(COMPANY, "complete", "Hello")]
        assert await node.facts() == [FACT, "They have a company."]
    await later.close()


async def test_a_turn_whose_answer_was_forgotten_is_lost(store: Store) -> None:
    await Node(store).ask("First?")
    async with recorded(Node(store)) as node:  # its journal knows nothing of it
        assert await node.turns() == [("First?", LOST, "")]
        await node.told("Second?")
    assert node.recalled[0].turns == (), "an answer without text is no turn to go on from"


async def test_a_question_that_follows_a_forgotten_answer_finds_it_lost(store: Store) -> None:
    await Node(store).ask("First?")
    node = Node(store)
    await node.ask("Second?")
    assert (await node.turns())[0] == ("First?", LOST, "")


class OwnJournal(MemoryJournal):
    """A journal that another server of the same store cannot see, and that outlives its own."""

    durable = True


async def test_an_answer_of_another_servers_journal_is_not_lost_before_it_would_be_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Node(store).ask("First?")
    async with recorded(Node(store, journal=OwnJournal(HOUR))) as node:
        assert await node.turns() == [("First?", "running", "")]
        await node.told("Second?")
        assert (await node.turns())[0] == ("First?", "running", "")
        assert node.recalled[0].turns == ()
    async with recorded(Node(store, journal=OwnJournal(HOUR), retention=0.0)) as node:
        assert (await node.turns())[0] == ("First?", LOST, "")


async def test_of_an_answer_without_a_turn_the_end_is_not_looked_for(store: Store) -> None:
    async with recorded(Node(store)) as node, broken(store):  # nothing may be asked of it
        await node.told("Hello?", NOBODY, session="")
    assert store.problem == ""


async def test_an_answer_that_another_node_writes_is_left_to_it(store: Store) -> None:
    journal = MemoryJournal(HOUR)
    writing = Node(store, Producer(Text("Hel"), gate := asyncio.Event(), Text("lo"), Done("end_turn")), journal=journal)
    answer = await writing.begin("First?")
    await writing.producer.started.wait()
    async with recorded(Node(store, journal=journal.peer())) as node:
        assert await node.turns() == [("First?", "running", "")]
    gate.set()
    await complete(answer)
    async with recorded(Node(store, journal=journal.peer())) as node:
        assert await node.turns() == [("First?", "complete", "Hello")]


async def test_later_sweeps_look_only_at_what_is_overdue(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP", 0.0)
    async with recorded(Node(store, log=1 << 20)) as node:
        node.answers._ended = missed
        answer = await node.ask("First?")
        await node.swept()
        assert await node.turns() == [("First?", "running", "")]
        async with store.writing() as connection:
            await connection.execute(update(turns).values(asked=answer.opening.started - module.OVERDUE))
        await node.swept()
        assert await node.turns() == [("First?", "complete", "Hello")]


async def test_a_sweep_forgets_conversations_that_are_too_old(store: Store) -> None:
    async with recorded(Node(store)) as node:
        await node.told("First?")
    async with store.writing() as connection:
        await connection.execute(text(f"UPDATE conversations SET updated = updated - {2 * HOUR}"))
    async with recorded(node):
        assert await node.turns() == []


async def test_a_turn_that_cannot_be_recorded_keeps_the_sweep_from_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(store)
    node.answers._ended = missed
    first = await node.ask("First?", session="one")
    await node.ask("Second?", session="two")
    of_first = first.log.frames()
    monkeypatch.setattr(module, "fold", lambda frames: defective() if frames == of_first else fold(frames))
    async with recorded(node):
        assert await node.turns(session="one") == [("First?", "running", "")]
        assert await node.turns(session="two") == [("Second?", "complete", "Hello")]
    (record,) = [record for record in caplog.records if "internal error" in record.getMessage()]
    assert record.getMessage().endswith(f"in the record of answer {first.id}")
    assert record.exc_info is not None


async def test_a_store_that_fails_ends_no_record_and_nothing_is_lost_once_it_is_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("SWEEP", "OVERDUE"):
        monkeypatch.setattr(module, name, 0.0)
    async with recorded(Node(store, Producer(gate := asyncio.Event(), *HELLO).then(*HELLO))) as node:
        answer = await node.begin(COMPANY)
        await node.producer.started.wait()
        async with broken(store):
            gate.set()
            await complete(answer)
            await node.recording.settled()
        await node.told("And then?")
        await node.swept()
        assert await node.turns() == [(COMPANY, "complete", "Hello"), ("And then?", "complete", "Hello")]
        assert await node.facts() == [FACT]
    assert "internal error" not in caplog.text


async def test_a_journal_that_fails_is_asked_again_by_the_next_sweep(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def mend() -> None:
        await journal.until("find", 2)
        journal.broken = False

    monkeypatch.setattr(module, "SWEEP", 0.0)
    monkeypatch.setattr(module, "OVERDUE", 0.0)
    journal = TestedJournal()
    await Node(store, journal=journal).ask("First?")
    journal.broken = True
    mending = asyncio.create_task(mend())
    await settled()
    async with recorded(Node(store, journal=journal)) as node:
        assert await node.turns() == [("First?", "complete", "Hello")]
    await mending
    assert "internal error" not in caplog.text


async def test_a_defect_is_logged_under_a_reference_and_the_record_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with recorded(Node(store)) as node:
        with monkeypatch.context() as patch:
            patch.setattr(module, "fold", defective)
            answer = await node.told("First?")
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert record.getMessage().startswith("internal error ")
        assert record.getMessage().endswith(f"in the record of answer {answer.id}")
        await node.told("Second?", session="other")
        assert await node.turns(session="other") == [("Second?", "complete", "Hello")]


async def test_a_defect_of_the_sweep_does_not_end_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SWEEP", 0.0)
    node = Node(store)
    expire, broke = node.conversations.expire, asyncio.Event()

    async def expire_later() -> None:
        if broke.is_set():
            return await expire()
        broke.set()
        raise ValueError("a defect")

    monkeypatch.setattr(node.conversations, "expire", expire_later)
    async with recorded(node):  # which waits for one that came to its end
        assert broke.is_set()
    assert "in the record's sweep" in caplog.text


async def test_waiting_for_the_record_has_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    node = Node(store)  # nothing keeps its record
    await node.ask("What?")
    await node.recording.settled()
    assert await node.turns() == [("What?", "running", "")]


async def test_no_task_is_left_where_it_is_cancelled(store: Store) -> None:
    background = Reading(hold=never())
    before = asyncio.all_tasks()
    async with recorded(Node(store, background=background)) as node:
        for number in range(afterwards.AT_ONCE + 2):  # some wait for others
            await node.ask(f"I own {number} villas.", session="")
            await node.recording.settled()
        await background.asked.wait()
        assert len(node.recording._afterwards._tasks) == afterwards.AT_ONCE + 2
    await settled()
    assert asyncio.all_tasks() == before
    assert node.recording._afterwards._tasks == set()


async def test_what_is_begun_while_the_record_is_cancelled_is_cancelled_too(store: Store) -> None:
    background = Reading()
    node = Node(store, background=background)
    running = asyncio.create_task(node.recording.run())
    await node.sweeps.ended.get()
    running.cancel()
    node.recording._afterwards.follow(Turn("a", "anna", "visas", "Not begun yet", 1.0, remembers=True))
    await asyncio.wait([running])
    gc.collect()  # which would warn of what was never awaited
    assert (node.recording._afterwards._tasks, background.messages) == (set(), [])


# ------------------------------------------------------------------------------- what is learned


async def test_what_is_said_to_be_remembered_is_known_before_the_end_is_recorded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    async with recorded(Node(store)) as node:
        for part, name in ((node.memory, "learn"), (node.conversations, "end")):
            monkeypatch.setattr(part, name, noting(order, name, getattr(part, name)))
        await node.told(COMPANY)
    assert order == ["learn", "end"]


def noting(order: list[str], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    async def called(*arguments: Any) -> Any:
        order.append(name)
        return await method(*arguments)

    return called


async def test_what_is_learned_is_once_in_effect_where_the_end_could_not_be_recorded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing_end(*arguments: Any) -> bool:
        raise StoreUnavailable

    async with recorded(Node(store)) as node:
        with monkeypatch.context() as patch:
            patch.setattr(node.conversations, "end", failing_end)
            answer = await node.told(COMPANY)
        before = await node.memory.recall("anna")
        assert await node.recording._settle(answer.id, "anna")
        (fact,) = (await node.memory.recall("anna")).facts
        assert (fact.text, fact.formerly, fact.learned) == (FACT, "", before.facts[0].learned)


async def test_an_end_that_comes_again_does_not_bring_back_what_was_superseded(store: Store) -> None:
    async with recorded(Node(store)) as node:
        first = await node.told("Remember that my company is a CV.")
        await node.told(COMPANY)
        await node.recording.begin(first.opening, Question(first.opening.question, person=ANNA, session="visas"))
        node.recording.ended(first)
        await node.recording.settled()
        assert await node.facts() == [FACT]


async def test_what_was_said_before_all_was_forgotten_is_not_learned_at_its_end(store: Store) -> None:
    async with recorded(Node(store, Producer(gate := asyncio.Event(), *HELLO))) as node:
        answer = await node.begin(COMPANY)
        await node.producer.started.wait()
        await node.memory.forget("anna")
        gate.set()
        await complete(answer)
        await node.recording.settled()
        assert await node.turns() == [(COMPANY, "complete", "Hello")]
        assert await node.facts() == []


async def test_it_is_learned_also_where_the_answer_failed(store: Store) -> None:
    async with recorded(Node(store, Producer(ModelRefused()))) as node:
        await node.told(COMPANY, session="")
        assert await node.facts() == [FACT]


async def test_what_the_model_finds_is_learned_after_it(store: Store) -> None:
    background = Reading([noted("They own a villa.", "Their name is Anna.", summary="Anna, of the villa.")])
    async with recorded(Node(store, background=background)) as node:
        await node.memory.learn("anna", [Statement("They live in Ubud.")], time.time())
        known = [(fact.id, fact.text) for fact in (await node.memory.recall("anna")).facts]
        await node.told("I own a villa, Anna.")
        assert background.messages == [("I own a villa, Anna.", tuple(known), "They live in Ubud.")]
        assert await node.facts() == ["They live in Ubud.", "They own a villa.", "Their name is Anna."]
        assert (await node.memory.recall("anna")).summary == "Anna, of the villa."


async def test_a_fact_that_the_model_corrects_takes_the_place_of_the_known_one(store: Store) -> None:
    background = Reading()
    async with recorded(Node(store, background=background)) as node:
        await node.told(COMPANY)
        (known,) = (await node.memory.recall("anna")).facts
        background.facts.append(noted("They closed it down.", replaces=known.id))
        await node.told("I have closed it down.")
        (fact,) = (await node.memory.recall("anna")).facts
        assert (fact.text, fact.formerly) == ("They closed it down.", FACT)


async def test_a_summary_alone_is_kept_and_nothing_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    background = Reading([noted(summary="Anna, who waits."), noted()])
    async with recorded(Node(store, background=background)) as node:
        await node.memory.learn("anna", [Statement("They live in Ubud.")], time.time())
        await node.told("I wait.")
        assert (await node.memory.recall("anna")).summary == "Anna, who waits."
        order: list[str] = []
        monkeypatch.setattr(node.memory, "learn", noting(order, "learn", node.memory.learn))
        await node.told("I still wait.")
        assert order == []


@pytest.mark.parametrize(
    ("mode", "person", "remembers"),
    [(OFF, ANNA, True), (EXPLICIT, ANNA, True), (ON, NOBODY, True), (ON, ANNA, False)],
)
async def test_the_model_is_asked_for_facts_only_of_the_known_who_are_remembered(
    store: Store, mode: str, person: Person, remembers: bool
) -> None:
    background = Reading([noted("They own a villa.")])
    async with recorded(Node(store, background=background, remembers=mode)) as node:
        await node.told(f"I own a villa. {COMPANY}", person, remembers=remembers)
        assert background.messages == []
        assert await node.facts(person) == ([FACT] if mode == EXPLICIT else [])


async def test_facts_are_sought_in_the_question_alone(store: Store) -> None:
    background = Reading()
    answered = Producer(Text(f"Remember that {SECRET} "), Text(COMPANY), *HELLO[2:])
    async with recorded(Node(store, answered, background)) as node:
        await node.told("What is a KITAS?")
        await node.told("And an e-VOA?", history=(Said("user", COMPANY), Said("assistant", SECRET)))
        assert [message for message, *_ in background.messages] == ["What is a KITAS?", "And an e-VOA?"]
        assert all(known == () and before == "" for _, known, before in background.messages)
        assert await node.facts() == []


async def test_who_has_everything_forgotten_meanwhile_is_not_remembered(store: Store) -> None:
    background = Reading([noted("They own a villa.", summary="Anna.")], hold=asyncio.Event())
    assert background.hold is not None
    async with recorded(Node(store, background=background)) as node:
        await node.ask("I own a villa.", session="")
        await background.asked.wait()
        await node.memory.forget("anna")
        background.hold.set()
        await node.quiet()
        assert (await node.facts(), (await node.memory.recall("anna")).summary) == ([], "")


async def test_what_is_paid_is_counted_by_purpose_and_kind_also_where_it_failed(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    background = Reading([noted(input_tokens=7, output_tokens=2), failing(30)])
    counted = [paid("memory", kind) for kind in ("input_tokens", "output_tokens")]
    async with recorded(Node(store, background=background)) as node:
        await node.told("I own a villa.", session="")
        await node.told(SECRET, session="")
    assert [paid("memory", kind) for kind in ("input_tokens", "output_tokens")] == [counted[0] + 37, counted[1] + 2]
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == f"the background work for memory failed: {ModelUnavailable()}"
    assert "villa" not in caplog.text


async def test_what_is_paid_is_counted_also_where_the_store_fails_after_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing_learn(*arguments: Any) -> None:
        raise StoreUnavailable

    background, before = Reading([noted("They own a villa.", input_tokens=5)]), paid("memory", "input_tokens")
    async with recorded(Node(store, background=background)) as node:
        monkeypatch.setattr(node.memory, "learn", failing_learn)
        await node.told("I own a villa.", session="")
    assert paid("memory", "input_tokens") == before + 5


async def test_a_defect_beside_an_answer_is_logged_under_a_reference(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    background = Reading([ValueError("a defect"), noted("They own a villa.")])
    async with recorded(Node(store, background=background)) as node:
        await node.told(SECRET, session="")
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert record.getMessage().endswith("in the background work for memory")
        await node.told("I own a villa.", session="")
        assert await node.facts() == ["They own a villa."]


async def test_only_so_many_calls_wait(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(afterwards, "WAITING", 2)
    background = Reading(hold=asyncio.Event())
    assert background.hold is not None
    async with recorded(Node(store, background=background)) as node:
        for number in range(4):
            await node.ask(f"I own {number} villas.", session="")
        await node.recording.settled()
        background.hold.set()
        await node.quiet()
    assert len(background.messages) == 2
    assert caplog.text.count("background work for memory is left out") == 2


async def test_only_so_many_calls_run_at_once(store: Store) -> None:
    background = Reading(hold=asyncio.Event())
    assert background.hold is not None
    async with recorded(Node(store, background=background)) as node:
        for number in range(3 * afterwards.AT_ONCE):
            await node.ask(f"I own {number} villas.", session="")
        await node.recording.settled()
        background.hold.set()
        await node.quiet()
    assert background.most == afterwards.AT_ONCE
    assert len(background.messages) == 3 * afterwards.AT_ONCE


# ------------------------------------------------------------------------------- long conversations


def of(size: int) -> str:
    return "q" * size


async def spoken(node: Node, *sizes: int, session: str = "visas") -> None:
    """A turn of so many characters each, with those of its answer."""
    for size in sizes:
        await node.told(of(size - len("Hello")), session=session)


async def test_a_long_conversation_goes_on_from_a_summary_of_its_older_turns(store: Store) -> None:
    background = Reading(summary=("They planned a visa.", {"output_tokens": 9}))
    before = paid("summary", "output_tokens")
    async with recorded(Node(store, background=background)) as node:
        await spoken(node, LONG - SHORT, 4000, SHORT - 4000)
        assert background.summarised == [], "it is not long before it has more than that"
        await spoken(node, 10)
        ((older, said),) = background.summarised
        sizes = [len(turn.content) for turn in older if turn.role == "user"]
        assert (sizes, said) == ([LONG - SHORT - 5, 3995], "")
        background.summary = ("And a villa.", {})
        await spoken(node, 10)
        assert node.recalled[-1].summary == "They planned a visa."
        assert [len(turn.content) for turn in node.recalled[-1].turns if turn.role == "user"] == [SHORT - 4005, 5]
        assert paid("summary", "output_tokens") == before + 9
        conversation = await node.conversations.read("anna", "visas")
    assert conversation is not None
    assert len(conversation.turns) == 5, "what was summarised is kept all the same"


async def test_the_next_summary_is_told_the_one_before(store: Store) -> None:
    background = Reading()
    async with recorded(Node(store, background=background)) as node:
        await spoken(node, LONG, 10)
        background.summary = ("And a villa.", {})
        await spoken(node, LONG, 20)
        await spoken(node, 30)
    assert [before for _, before in background.summarised] == ["", "They planned a visa.", "And a villa."]
    assert node.recalled[-1].summary == "And a villa."


async def test_one_turn_alone_is_never_summarised(store: Store) -> None:
    background = Reading()
    async with recorded(Node(store, background=background)) as node:
        await spoken(node, LONG + 1)
    assert background.summarised == []


async def test_outside_of_conversations_nothing_is_summarised(store: Store) -> None:
    background = Reading()
    async with recorded(Node(store, background=background)) as node:
        await spoken(node, LONG, LONG, session="")
    assert background.summarised == []


async def test_a_summary_does_not_stand_for_a_turn_that_is_still_answered(store: Store) -> None:
    background, gate = Reading(), asyncio.Event()
    producer = Producer(*HELLO).then(gate, *HELLO).then(*HELLO)
    async with recorded(Node(store, producer, background)) as node:
        await spoken(node, 100)
        producer.started.clear()
        slow = await node.begin("Slow?")
        await producer.started.wait()
        await spoken(node, LONG, 10)
        ((older, _),) = background.summarised
        assert [len(turn.content) for turn in older] == [95, 5]
        gate.set()
        await complete(slow)
        await node.recording.settled()
        await node.quiet()
        await spoken(node, 10)
    assert any(
        Said("user", "Slow?") in part
        for part in (node.recalled[-1].turns, *(turns for turns, _ in background.summarised))
    )


async def test_a_conversation_that_is_deleted_meanwhile_has_no_summary(store: Store) -> None:
    background = Reading(hold=asyncio.Event())
    assert background.hold is not None
    async with recorded(Node(store, background=background, remembers=OFF)) as node:
        for size in (LONG, 10):
            await node.ask(of(size))
            await node.recording.settled()
        await background.asked.wait()
        await node.conversations.delete("anna", "visas")
        background.hold.set()
        await node.quiet()
        await node.told("Again?")
    assert node.recalled[-1] == Recalled()


async def test_what_cannot_be_summarised_goes_along_until_it_is_too_much_and_then_it_is_said(store: Store) -> None:
    background = Reading(summary=failing(3))
    before = paid("summary", "input_tokens")
    async with recorded(Node(store, background=background)) as node:
        await spoken(node, MOST // 2, MOST // 2)
        assert paid("summary", "input_tokens") == before + 3
        await spoken(node, 10)
        assert (node.recalled[-1].summary, len(node.recalled[-1].turns)) == ("", 4)
        await spoken(node, 10)
        assert (node.recalled[-1].summary, len(node.recalled[-1].turns)) == (LEFT_OUT, 4)


SIZES = st.lists(st.integers(0, MOST), max_size=8)


def turn_of(size: int) -> Turn:
    return Turn("a", "anna", "visas", "q" * (size // 2), 1.0, text="t" * (size - size // 2))


@given(sizes=SIZES, summary=st.sampled_from(["", "They planned a visa."]))
def test_the_newest_turns_that_fit_go_along_and_the_last_one_always(sizes: list[int], summary: str) -> None:
    spoken = tuple(map(turn_of, sizes))
    told, said = afterwards.fitted(Earlier(summary, spoken))
    count = len(said) // 2
    assert said == afterwards._said(spoken[len(spoken) - count :])
    assert count >= min(1, len(spoken))
    assert count <= 1 or sum(sizes[-count:]) <= MOST
    assert count == len(sizes) or sum(sizes[-count - 1 :]) > MOST
    assert told == (summary if count == len(sizes) else f"{summary}\n{LEFT_OUT}".strip())


@given(sizes=SIZES)
def test_what_is_summarised_leaves_the_newest_short_together(sizes: list[int]) -> None:
    spoken = tuple(map(turn_of, sizes))
    older = afterwards._older(spoken)
    left = sizes[len(older) :]
    assert older == spoken[: len(older)]
    assert bool(older) == (sum(sizes) > LONG and len(sizes) > 1)
    if older:
        assert len(left) == 1 or sum(left) <= SHORT
        assert sum(sizes[len(older) - 1 :]) > SHORT
