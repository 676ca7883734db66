"""Token buckets of those who ask this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

MINUTE = 60.0  # seconds
FORGETTING = 5.0  # seconds between two looks for them
KEPT = 10_000  # askers that are remembered before those who have asked nothing for a minute are forgotten


class Rates(Protocol):
    """Counts questions of each asker against `most` a minute."""

    async def take(self, who: str, most: int) -> float:
        """Count one; 0, or the seconds until there may be one."""
        ...

    async def close(self) -> None:
        """Let go of what is held."""
        ...


class Bucket:
    """Tokens that come back at a steady rate, up to a minute's worth."""

    def __init__(self, most: int, now: float) -> None:
        self._most = most
        self._tokens = float(most)
        self._filled = now

    def take(self, now: float) -> float:
        """Take one; 0, or the seconds until there is one."""
        self._fill(now)
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) * MINUTE / self._most

    def is_full(self, now: float) -> bool:
        """Whether it says nothing that a new one would not."""
        self._fill(now)
        return self._tokens >= self._most

    def _fill(self, now: float) -> None:
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self._most / MINUTE)
        self._filled = now


class OwnRates:
    """The buckets of this process."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buckets: dict[str, Bucket] = {}
        self._forget_at = 0.0

    async def take(self, who: str, most: int) -> float:
        """Count one; 0, or the seconds until there may be one."""
        now = self._now()
        if len(self._buckets) >= KEPT and now >= self._forget_at:
            self._forget_at = now + FORGETTING
            self._buckets = {name: bucket for name, bucket in self._buckets.items() if not bucket.is_full(now)}
        return self._buckets.setdefault(who, Bucket(most, now)).take(now)

    async def close(self) -> None:
        """Nothing is held."""
