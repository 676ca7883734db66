"""Ending tasks."""

from __future__ import annotations

import asyncio

import pytest

from zantara_stream import cancelling
from zantara_stream.cancelling import cancel


async def deaf(times: int) -> None:
    """Goes on as if it had not been told, so many times."""
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def test_a_task_that_goes_on_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "AGAIN", 0.01)
    tasks = [asyncio.create_task(deaf(times)) for times in (1, 3)]
    tasks.append(asyncio.create_task(asyncio.sleep(60)))
    await asyncio.sleep(0)
    await cancel(tasks)
    assert [task.done() for task in tasks] == [True] * 3
    assert tasks[2].cancelled()


async def test_what_is_over_is_left_alone() -> None:
    async def broken() -> None:
        raise ValueError

    task = asyncio.create_task(broken())
    await asyncio.wait([task])
    await cancel([task])
    assert isinstance(task.exception(), ValueError)
    await cancel([])
