"""What becomes of answers whose process ends while they are written: nobody wanted that of them, so they go on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from producing import HELLO, LONG, Producer, TestedJournal, complete, never, node, settled

from zantara_stream.answers.answers import Asked
from zantara_stream.answers.events import Text
from zantara_stream.answers.journal import Lease, Stored
from zantara_stream.answers.life import FOLLOWED, LEFT, RUNNING
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.errors import HandedOver


async def test_an_answer_whose_task_ends_with_its_process_is_not_stopped() -> None:
    """As `asyncio.run` ends what is left when it returns."""
    journal = MemoryJournal(0.0)
    answer = await node(Producer(Text("a"), never()), journal).ask(Asked("q"))
    with answer.follow() as cursor:
        await settled()
        assert answer.task is not None
        answer.task.cancel()
        await asyncio.wait([answer.task])
        await settled()
        assert b"stopReason" not in cursor.read()
        assert isinstance(answer.log.broken_off, HandedOver)
    assert (answer.state, answer.lease) == (LEFT, None)
    taking = node(Producer(*HELLO), journal.peer())
    await taking.take_over()
    assert (await complete(await taking.get(answer.id))).text == "aHello"


class Slow(TestedJournal):
    """Gives what it is asked to claim only when it is let."""

    def __init__(self, of: MemoryJournal) -> None:
        super().__init__(of=of)
        self.let = asyncio.Event()

    async def claim(self, most: int, held: Collection[str] = ()) -> list[tuple[Lease, Stored]]:
        claimed = await super().claim(most, held)
        await self.let.wait()
        return claimed


async def test_what_is_claimed_while_a_node_drains_is_let_go_of() -> None:
    journal = MemoryJournal(0.0)
    gone = await node(Producer(Text("a"), never()), journal).ask(Asked("q"))
    await settled()
    slow, producer = Slow(journal), Producer(*HELLO)
    ending = node(producer, slow)
    claiming = asyncio.create_task(ending.take_over())
    await slow.until("claim")
    await ending.drain(0)
    slow.let.set()
    await claiming
    assert producer.asked == []
    other = node(Producer(*HELLO), journal.peer())
    await other.take_over()
    assert (await complete(await other.get(gone.id))).text == "aHello"


async def test_the_last_reader_of_what_was_left_takes_nothing_from_what_is_shown_since() -> None:
    journal = MemoryJournal(LONG)
    writing = node(Producer(Text("a"), never()), journal)
    answer = await writing.ask(Asked("q"))
    await settled()
    showing = node(Producer(*HELLO), journal.peer())
    left = await showing.get(answer.id)
    with left.follow():
        showing.break_off_followed(HandedOver())
        assert left.state == LEFT
        again = await showing.get(answer.id)
        assert again is not left
    assert again.state == FOLLOWED
    with again.follow():
        assert await showing.get(answer.id) is again, "its readers are still counted there"
    assert answer.state == RUNNING


@pytest.mark.parametrize("wanted", [True, False])
async def test_only_what_somebody_wanted_stopped_is_recorded_as_stopped(wanted: bool) -> None:
    journal = MemoryJournal(LONG)
    answer = await node(Producer(Text("a"), never()), journal).ask(Asked("q"))
    await settled()
    assert answer.task is not None
    if wanted:
        answer.stop()
    else:
        answer.task.cancel()
    await asyncio.wait([answer.task])
    await settled()
    stored = await journal.find(answer.id)
    assert stored is not None
    assert stored.closed == wanted
