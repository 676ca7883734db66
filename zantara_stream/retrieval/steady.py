"""What the process is set to while it serves, so that the event loop does not wait for what searches beside it.

benchmarks/loop_lag.py measures what that is worth.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

SWITCH_INTERVAL = 0.001  # seconds that a searching thread keeps the interpreter while the event loop waits for it

# How many objects are made until the young ones are looked through, and how often before older ones are. What is in
# flight in a busy server is thousands; what an answer leaves behind in circles is not to lie about for minutes.
GENERATIONS = 10_000, 5, 10


@asynccontextmanager
async def steady(opened: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Threads give way sooner, and what is there once all is opened is left out of garbage collections.

    A full one goes through all that was ever imported, and nothing else runs meanwhile: 50 ms and more.
    """
    before, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*GENERATIONS)
    freezing = asyncio.create_task(_freeze(opened))
    try:
        yield
    finally:
        freezing.cancel()
        gc.unfreeze()
        gc.set_threshold(*threshold)
        sys.setswitchinterval(before)


async def _freeze(opened: Callable[[], Awaitable[object]]) -> None:
    await opened()
    gc.freeze()
