"""How long a model may be silent: until its first token, and between any two after it.

A provider's pings show that the line lives, not that the model writes, so only what is written counts.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

SLACK = 0.25  # of a gap, by which it may be overdrawn, so that not every token sets a timer


class Patience:
    """An asynchronous context that ends in `TimeoutError` when nothing is `heard` for too long; times in seconds."""

    def __init__(self, first: float, gap: float) -> None:
        self._gap = gap
        self._timeout = asyncio.timeout(first)
        self._renew_at = 0.0

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._timeout.__aexit__(kind, error, trace)

    def heard(self) -> None:
        """Something was written."""
        now = asyncio.get_running_loop().time()
        if now >= self._renew_at and not self._timeout.expired():
            self._renew_at = now + self._gap * SLACK
            self._timeout.reschedule(now + self._gap * (1 + SLACK))
