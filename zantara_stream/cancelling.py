"""Ending tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN = 1.0  # seconds until a task that goes on is told again


async def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their ends; whatever else ended them is theirs to tell.

    One that was told in the moment in which what it waited for was done may go on as if it had not been: up to Python
    3.11 `asyncio.wait_for` does that, and so do the libraries that use it.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN)
