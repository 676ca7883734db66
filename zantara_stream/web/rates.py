"""Token buckets of those who ask: of this process, or of all nodes that share a Redis."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Protocol

from ..redis_connection import RedisConnection, RedisUnavailable, clock

MINUTE = 60.0  # seconds
FORGETTING = 5.0  # seconds between two looks for them
KEPT = 10_000  # askers that are remembered before those who have asked nothing for a minute are forgotten
# As `Bucket` does it, in milliseconds; what is full again says nothing, and goes.
_TAKE = """
local most = tonumber(ARGV[1])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'filled')
local tokens = math.min(most, (tonumber(kept[1]) or most) + (now - (tonumber(kept[2]) or now)) * most / 60000)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = (1 - tokens) * 60000 / most end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'filled', now)
redis.call('PEXPIRE', KEYS[1], 60000)
return math.ceil(wait)
"""

logger = logging.getLogger(__name__)


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


class SharedRates:
    """The buckets of all nodes, in Redis; while that is away, each node counts by itself."""

    def __init__(self, redis: RedisConnection) -> None:
        self._redis = redis
        self._own = OwnRates()
        self._well = True

    async def take(self, who: str, most: int) -> float:
        """Count one; 0, or the seconds until there may be one."""
        key = f"zantara:rate:{hashlib.sha256(who.encode()).hexdigest()[:32]}"  # an address is nobody else's business
        try:
            milliseconds = await self._redis.one("EVAL", f"{clock()}\n{_TAKE}", 1, key, most)
        except RedisUnavailable as error:
            if self._well:
                logger.error("questions are counted by this node alone, since Redis cannot be used: %s", error)
            self._well = False
            return await self._own.take(who, most)
        self._well = True
        return float(milliseconds) / 1000

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.close()
