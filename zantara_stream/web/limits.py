"""How much one person, or one address where nobody is known, may ask: questions a minute, streams at once."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from ..errors import RateLimited
from .address import Addresses
from .asker import asker, is_own

MINUTE = 60.0  # seconds
FORGETTING = 5.0  # seconds between two looks for them
KEPT = 10_000  # askers that are remembered before those who have asked nothing for a minute are forgotten


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


class Limits:
    """Counts what each asker does; `rate` is in questions a minute (None: any), `streams` are open at once."""

    def __init__(
        self, rate: int | None, streams: int, addresses: Addresses, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._most_streams = streams
        self._addresses = addresses
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._forget_at = 0.0
        self._streams: Counter[str] = Counter()

    def key(self, request: web.Request) -> str:
        """Who is counted: the person, or else the address; "" for this machine itself, which is not."""
        person = asker(request)
        if not person.key and not self._addresses.through_proxies and is_own(request):
            return ""
        return f"person {person.key}" if person.key else f"address {self._addresses.of(request)}"

    def ask(self, request: web.Request) -> None:
        """Count a question. Raises `RateLimited`, with the time after which there may be one."""
        now, key = self._clock(), self.key(request)
        if self._rate is None or not key:
            return
        if len(self._buckets) >= KEPT and now >= self._forget_at:
            self._forget_at = now + FORGETTING
            self._buckets = {who: bucket for who, bucket in self._buckets.items() if not bucket.is_full(now)}
        wait = self._buckets.setdefault(key, Bucket(self._rate, now)).take(now)
        if wait:
            raise RateLimited(
                f"You have asked {self._rate} questions within a minute, which is as many as may be; please wait.",
                retry_after=math.ceil(wait),
            )

    def asking(self, handler: Handler) -> Handler:
        """The same handler, each of whose requests counts as a question."""

        async def counted(request: web.Request) -> web.StreamResponse:
            self.ask(request)
            return await handler(request)

        return counted

    def streaming(self, handler: Handler) -> Handler:
        """The same handler, whose responses are open streams."""

        async def counted(request: web.Request) -> web.StreamResponse:
            with self.stream(request):
                return await handler(request)

        return counted

    @contextmanager
    def stream(self, request: web.Request) -> Iterator[None]:
        """Count an open stream within the block. Raises `RateLimited`."""
        key = self.key(request)
        if key and self._streams[key] >= self._most_streams:
            raise RateLimited(f"You have {self._most_streams} streams open already, which is as many as may be.")
        self._streams[key] += 1
        try:
            yield
        finally:
            self._streams[key] -= 1
            if not self._streams[key]:
                del self._streams[key]
