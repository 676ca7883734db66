"""Answers that have readers at another node than the one that writes them: how long they count."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection

import pytest
from producing import LONG, Producer, TestedJournal, never, node, settled

from zantara_stream.answers import answer as one_answer
from zantara_stream.answers.answers import Asked
from zantara_stream.answers.events import Text
from zantara_stream.answers.life import CLOSED, RUNNING
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.errors import JournalUnavailable


class Marks(MemoryJournal):
    """A journal that is away for `patience`, and in which `unread` is how long ago another node had readers."""

    def __init__(self, *unread: float | JournalUnavailable, patience: float = 0.0) -> None:
        super().__init__(LONG)
        self.patience = patience
        self.asked = 0
        self.thrice = asyncio.Event()
        self._unread = unread

    async def unread_for(self, answer: str) -> float:
        unread = self._unread[min(self.asked, len(self._unread) - 1)]
        self.asked += 1
        if self.asked == 3:
            self.thrice.set()
        if isinstance(unread, JournalUnavailable):
            raise unread
        return unread


@pytest.mark.parametrize(
    ("unread", "patience", "asked"),
    [
        ((math.inf,), 8.0, 1),  # nobody has ever read it elsewhere
        ((16.0,), 8.0, 1),  # the node that had readers has told them, and they have come nowhere
        ((0.6,), 0.0, 1),  # a journal that is never away: the grace alone counts
        ((15.99, 16.0), 8.0, 2),  # its node may be cut off, and its readers about to be told
        ((0.49, 0.6), 0.0, 2),
        ((JournalUnavailable(), math.inf), 8.0, 2),  # nobody can say: as if somebody read it
    ],
)
async def test_it_is_stopped_once_nobody_can_be_reading_it_anywhere(
    unread: tuple[float, ...], patience: float, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_answer, "ARRIVAL", 0.01)
    journal = Marks(*unread, patience=patience)
    answer = await node(Producer(Text("a"), never()), journal, grace=0.05 if patience else 0.5).ask(Asked("q"))
    await asyncio.wait_for(answer.log.ended(), 20)
    assert journal.asked == asked
    assert answer.state == CLOSED


async def test_it_goes_on_while_another_node_says_that_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_answer, "ARRIVAL", 0.01)
    journal = Marks(0.0)
    answer = await node(Producer(Text("a"), never()), journal, grace=0.01).ask(Asked("q"))
    await asyncio.wait_for(journal.thrice.wait(), 20)
    assert answer.state == RUNNING
    answer.stop()
    await answer.log.ended()


class Told(TestedJournal):
    """Notes which answers it is told of to be read, as often as it is told."""

    def __init__(self, of: MemoryJournal) -> None:
        super().__init__(of=of)
        self.told: list[str] = []

    async def mark_read(self, answers: Collection[str]) -> None:
        await self._check("mark_read")
        self.told += answers
        await super().mark_read(answers)


async def test_a_node_says_at_once_and_from_time_to_time_what_is_read_there() -> None:
    journal = MemoryJournal(LONG)
    answer = await node(Producer(Text("a"), never()), journal).ask(Asked("q"))
    await settled()
    there = Told(journal)
    showing = node(Producer(), there)
    shown = await showing.get(answer.id)
    await showing.follow(0.001)
    assert there.told == [], "nobody reads it"
    with shown.follow():
        await showing.follow(0.001)
        assert there.told == [answer.id]
        assert await journal.unread_for(answer.id) < LONG
        await showing.follow(0.001)
        assert there.told == [answer.id], "once is enough for a while"
        await showing.tend()
        assert there.told == [answer.id] * 2


async def test_a_node_says_it_again_as_soon_as_the_journal_is_back() -> None:
    journal = MemoryJournal(LONG)
    first, second = [await node(Producer(Text("a"), never()), journal).ask(Asked(q)) for q in ("q", "r")]
    await settled()
    there = Told(journal)
    showing = node(Producer(), there)
    with (await showing.get(first.id)).follow():
        await showing.follow(0.001)
        with (await showing.get(second.id)).follow():
            there.broken = True
            with pytest.raises(JournalUnavailable):
                await showing.follow(0.001)
            there.broken = False
            there.told.clear()
            await showing.follow(0.001)
            assert sorted(there.told) == sorted([first.id, second.id])
