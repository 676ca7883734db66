"""The states of an answer: the table is what really happens, and what the documentation says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from producing import HELLO, LONG, Producer, TestedJournal, complete, never, node, settled

from zantara_stream.answers.answer import Answer
from zantara_stream.answers.answers import Asked
from zantara_stream.answers.events import Done, Text
from zantara_stream.answers.life import (
    BROKEN_OFF,
    CLAIMED,
    CLOSED,
    ENDED,
    FENCED,
    FOLLOWED,
    LEFT,
    LIFE,
    RUNNING,
)
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.errors import JournalUnavailable

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
HEADING = "The states of an answer"
Step = tuple[str, str, str]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Every step that an answer takes: from which state, what happened, to which."""
    taken: list[Step] = []
    become = Answer._become

    def recorded(answer: Answer, happening: str) -> None:
        before = answer.state
        become(answer, happening)
        taken.append((before, happening, answer.state))

    monkeypatch.setattr(Answer, "_become", recorded)
    return taken


async def _ends_here() -> None:
    await complete(await node(Producer(*HELLO)).ask(Asked("q")))


async def _is_taken_from_here() -> None:
    journal, more = MemoryJournal(0), asyncio.Event()
    producer = Producer(more, *HELLO)
    await node(producer, journal).ask(Asked("q"))
    await producer.started.wait()
    await journal.claim(1)
    more.set()
    await producer.closed.wait()


async def _is_written_where_the_journal_fails() -> None:
    journal, more = TestedJournal(), asyncio.Event()
    answer = await node(Producer(more, *HELLO), journal).ask(Asked("q"))
    journal.broken = True
    more.set()
    await answer.log.ended()


async def _is_written_where_the_node_drains() -> None:
    answers = node(Producer(never()))
    await answers.ask(Asked("q"))
    await answers.drain(0)


async def _is_taken_here() -> None:
    journal = MemoryJournal(0)
    await node(Producer(never()), journal).ask(Asked("q"))
    await settled()
    answers = node(Producer(never()), journal.peer())
    await answers.take_over()


async def _ends_elsewhere() -> None:
    journal, more = MemoryJournal(LONG), asyncio.Event()
    writing = node(Producer(Text("a"), more, Done("end_turn")), journal)
    answer = await writing.ask(Asked("q"))
    showing = node(Producer(never()), journal.peer())
    shown = await showing.get(answer.id)
    with shown.follow():
        more.set()
        await answer.log.ended()
        await showing.tend()


async def _is_written_elsewhere_and_the_journal_fails() -> None:
    journal = MemoryJournal(LONG)
    answer = await node(Producer(never()), journal).ask(Asked("q"))
    showing = node(Producer(never()), journal.peer())
    await showing.get(answer.id)
    showing.break_off_followed(JournalUnavailable())


async def _is_written_elsewhere_and_the_node_drains() -> None:
    journal = MemoryJournal(LONG)
    answer = await node(Producer(never()), journal).ask(Asked("q"))
    showing = node(Producer(never()), journal.peer())
    await showing.get(answer.id)
    await showing.drain(0)


WAYS: list[tuple[str, str, Callable[[], Awaitable[None]]]] = [
    (RUNNING, ENDED, _ends_here),
    (RUNNING, FENCED, _is_taken_from_here),
    (RUNNING, BROKEN_OFF, _is_written_where_the_journal_fails),
    (RUNNING, BROKEN_OFF, _is_written_where_the_node_drains),
    (FOLLOWED, CLAIMED, _is_taken_here),
    (FOLLOWED, ENDED, _ends_elsewhere),
    (FOLLOWED, BROKEN_OFF, _is_written_elsewhere_and_the_journal_fails),
    (FOLLOWED, BROKEN_OFF, _is_written_elsewhere_and_the_node_drains),
]


@pytest.mark.parametrize(("state", "happening", "way"), WAYS, ids=lambda value: getattr(value, "__name__", str(value)))
async def test_every_step_of_the_table_is_taken(
    state: str, happening: str, way: Callable[[], Awaitable[None]], steps: list[Step]
) -> None:
    await way()
    assert (state, happening, LIFE[state, happening]) in steps


def test_there_is_a_way_to_every_step() -> None:
    assert {(state, happening) for state, happening, _ in WAYS} == set(LIFE)


def test_nothing_leaves_the_states_that_are_final() -> None:
    assert {state for state, _ in LIFE} == {RUNNING, FOLLOWED}
    assert set(LIFE.values()) == {RUNNING, FOLLOWED, CLOSED, LEFT}


def documented() -> dict[tuple[str, str], str]:
    """The table of the documentation."""
    _, _, after = PROTOCOL.read_text(encoding="utf-8").partition(f"# {HEADING}\n")
    section = re.split(r"^#", after, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [
        [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        for line in section.splitlines()
        if line.lstrip().startswith("|")
    ]
    assert rows[0] == ["state", "what happens", "then"]
    assert len(rows) - 2 == len({tuple(row[:2]) for row in rows[2:]}), "no row stands twice"
    return {(state, happening): then for state, happening, then in rows[2:]}


def test_the_documentation_has_the_table_of_the_code() -> None:
    assert documented() == LIFE
