"""How long a model may be silent: until its first token, and between any two after it.

A provider's pings show that the line lives, not that the model writes, so only what is written counts.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from types import TracebackType

SECOND_LOOK = 0.5  # seconds for what has arrived while the event loop stood still to be read
LATE = 0.1  # seconds by which a look may be late without being no look at all


class Patience:
    """An asynchronous context that ends in `TimeoutError` when nothing is `heard` for too long; times in seconds."""

    def __init__(self, first: float, gap: float) -> None:
        self._first, self._gap = first, gap
        self._timeout = asyncio.timeout(None)
        self._due = 0.0  # by the monotonic clock
        self._begun = False
        self._look: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._due = monotonic() + self._first
        self._look_at(self._due)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        await self._timeout.__aexit__(kind, error, trace)

    def heard(self) -> None:
        """Something was written."""
        self._due = monotonic() + self._gap
        if not self._begun:  # it waited for the first token
            self._begun = True
            self._look_at(self._due)

    def _look_at(self, when: float) -> None:
        if self._look is not None:
            self._look.cancel()
        self._look = asyncio.get_running_loop().call_later(when - monotonic(), self._see, when)

    def _see(self, planned: float) -> None:
        now = monotonic()
        if now < self._due:
            self._look_at(self._due)
        elif now - planned > LATE:  # it was this process that stood still, and what was written is not read yet
            self._look_at(now + SECOND_LOOK)
        else:
            self._timeout.reschedule(asyncio.get_running_loop().time())
