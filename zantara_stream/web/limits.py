"""How much one person, or one address where nobody is known, may ask: questions a minute, streams at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from ..errors import RateLimited
from .address import Addresses
from .asker import asker, is_own
from .rates import Rates


class Limits:
    """Counts what each asker does; `rate` is in questions a minute (None: any), `streams` are open at once."""

    def __init__(self, rate: int | None, streams: int, addresses: Addresses, rates: Rates) -> None:
        self._rate = rate
        self._most_streams = streams
        self._addresses = addresses
        self._rates = rates
        self._streams: Counter[str] = Counter()

    def key(self, request: web.Request) -> str:
        """Who is counted: the person, or else the address; "" for this machine itself, which is not."""
        person = asker(request)
        if not person.key and not self._addresses.through_proxies and is_own(request):
            return ""
        return f"person {person.key}" if person.key else f"address {self._addresses.of(request)}"

    async def ask(self, request: web.Request) -> None:
        """Count a question. Raises `RateLimited`, with the time after which there may be one."""
        key = self.key(request)
        if self._rate is None or not key:
            return
        wait = await self._rates.take(key, self._rate)
        if wait:
            raise RateLimited(
                f"You have asked {self._rate} questions within a minute, which is as many as may be; please wait.",
                retry_after=math.ceil(wait),
            )

    def request_id(self, request: web.Request) -> str:
        """How a trusted proxy names the request; "" where none does."""
        return self._addresses.request_id(request)

    def asking(self, handler: Handler) -> Handler:
        """The same handler, each of whose requests counts as a question."""

        async def counted(request: web.Request) -> web.StreamResponse:
            await self.ask(request)
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
