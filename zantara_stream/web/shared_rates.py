"""Token buckets of those who ask any of the nodes that share a Redis."""

from __future__ import annotations

import hashlib
import logging

from ..redis_connection import RedisConnection, RedisUnavailable, clock
from .rates import OwnRates

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
