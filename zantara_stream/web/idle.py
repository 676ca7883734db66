"""Connections on which nothing is asked: closed after a while, so that they cannot use up what others need.

aiohttp's own time-out begins with the first response, so one that sends half a request, or none, would stay for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

HEAD = 10.0  # seconds until a connection must have sent a whole request's head
BETWEEN = 75.0  # seconds from one request to the next, as proxies expect it
PERIOD = 1.0  # seconds between sweeps


class IdleConnections:
    """Closes what waits too long, and what waits longest where there are more than `most` connections."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._asking: set[RequestHandler] = set()
        self._has_asked: set[RequestHandler] = set()
        self._since: dict[RequestHandler, float] = {}  # of those that ask nothing: when that was seen

    @web.middleware
    async def busy(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the connection of a request be, as long as that is answered."""
        protocol = request.protocol
        self._has_asked.add(protocol)
        self._asking.add(protocol)
        self._since.pop(protocol, None)
        try:
            return await handler(request)
        finally:
            self._asking.discard(protocol)

    async def watch(self, runner: web.BaseRunner) -> None:
        """Sweep for ever over the connections of a runner that has been set up."""
        while True:
            await asyncio.sleep(PERIOD)
            if runner.server is not None:
                self.sweep(runner.server.connections, time.monotonic())

    def sweep(self, connections: Collection[RequestHandler], now: float) -> None:
        """Close the connections that have waited too long, by the monotonic clock."""
        there = set(connections)
        self._has_asked &= there
        self._since = {one: self._since.get(one, now) for one in connections if one not in self._asking}
        overdue = {one for one in self._since if now - self._since[one] >= self._patience(one)}
        crowd = max(0, len(there) - len(overdue) - self._most)
        waiting = sorted(self._since.keys() - overdue, key=self._since.__getitem__)
        for one in (*overdue, *waiting[:crowd]):
            one.force_close()

    def _patience(self, one: RequestHandler) -> float:
        return BETWEEN if one in self._has_asked else HEAD
