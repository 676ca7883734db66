"""A silent model is given up; one that was only not listened to is not."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from zantara_stream.generation import patience
from zantara_stream.generation.patience import Patience

GAP = 0.2


@asynccontextmanager
async def _line() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """What is read at one end of a line, and written at the other."""
    ours, theirs = socket.socketpair()
    reader, here = await asyncio.open_connection(sock=ours)
    _, there = await asyncio.open_connection(sock=theirs)
    yield reader, there
    for end in (here, there):
        end.close()
        await end.wait_closed()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late is what stood still for as long as these tests do."""
    monkeypatch.setattr(patience, "SECOND_LOOK", GAP)


async def _heard_once(blocked: float) -> None:
    """Something is heard, the loop stands still for so many seconds, and then nothing is heard any more."""
    waiting = Patience(60, GAP)
    async with waiting:
        waiting.heard()
        time.sleep(blocked)  # noqa: ASYNC251 (that is the fault)
        await asyncio.Event().wait()


async def test_a_model_that_writes_nothing_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        async with Patience(GAP, 60):
            await asyncio.Event().wait()


async def test_a_model_that_stops_writing_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await _heard_once(blocked=0)


async def test_what_is_heard_in_time_goes_on() -> None:
    waiting = Patience(GAP * 5, GAP * 5)
    async with waiting:
        for _ in range(20):
            await asyncio.sleep(GAP / 2)
            waiting.heard()


async def test_a_loop_that_stood_still_is_not_the_models_silence() -> None:
    waiting = Patience(60, GAP)
    async with _line() as (here, there), waiting:
        waiting.heard()
        there.write(b"written while nobody listened\n")
        await there.drain()
        time.sleep(GAP * 3)  # noqa: ASYNC251 (that is the fault)
        await here.readline()
        waiting.heard()


async def test_a_model_that_was_silent_while_the_loop_stood_still_is_given_up_soon() -> None:
    with pytest.raises(TimeoutError):
        await _heard_once(blocked=GAP * 3)


async def test_nothing_is_left_of_one_that_has_ended() -> None:
    waiting = Patience(GAP, GAP)
    async with waiting:
        waiting.heard()
    await asyncio.sleep(GAP * 2)  # a timer that was left would cancel this
