"""The log of one answer, and cursors on it.

A reader costs an integer: it remembers its offset and takes everything after it in one slice. An append
wakes all readers once a turn of the event loop, however many events that turn brought.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .events import CLOSED, ORDER, WRITING, Event, Stamp, Text, encode


class OutOfOrder(Exception):
    """A producer broke the answer's grammar; a defect, never the client's fault."""


class Cursor:
    """A reader's place in a log.

    `wait` returns when there is something to `read`, when the log has closed, or when `nudge` was
    called; it never returns events itself.
    """

    def __init__(self, log: EventLog, offset: int) -> None:
        self._log = log
        self.offset = offset
        self._wakeup: asyncio.Future[None] | None = None

    def read(self) -> bytes:
        """Everything after this cursor as one piece of wire; moves the cursor to the tail."""
        data = self._log.since(self.offset)
        self.offset = self._log.tail
        return data

    @property
    def exhausted(self) -> bool:
        """Whether nothing will ever follow."""
        return self._log.closed and self.offset == self._log.tail

    async def wait(self) -> None:
        """Sleep until the log has more for this cursor, closes, or somebody nudges."""
        if self.offset < self._log.tail or self._log.closed:
            return
        self._wakeup = asyncio.get_running_loop().create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None

    def nudge(self) -> None:
        """Make a sleeping `wait` return."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


class EventLog:
    """An append-only log of encoded events that closes with one terminal event."""

    def __init__(self, answer: str, on_leases: Callable[[int], None] = lambda leases: None) -> None:
        self.answer = answer
        self._frames: list[bytes] = []
        self._state = WRITING
        self._chunks = 0
        self._began = time.monotonic()
        self._first_chunk: float | None = None
        self._cursors: set[Cursor] = set()
        self._wake_due = False
        self._on_leases = on_leases

    @property
    def tail(self) -> int:
        """The offset after the last event."""
        return len(self._frames)

    @property
    def closed(self) -> bool:
        """Whether the terminal event has been written."""
        return self._state == CLOSED

    def since(self, offset: int) -> bytes:
        """The wire bytes of every event after `offset`."""
        return b"".join(self._frames[offset:])

    def frames(self) -> tuple[bytes, ...]:
        """Every event so far, encoded."""
        return tuple(self._frames)

    def append(self, event: Event) -> None:
        """Encode the event, keep it, and wake the readers. Raises `OutOfOrder`, and then keeps nothing."""
        state = ORDER.get((self._state, type(event)))
        if state is None:
            raise OutOfOrder(f"{type(event).__name__} cannot follow in a log that is {self._state}")
        self._frames.append(encode(event, self._stamp(event)))
        self._state = state
        self._wake_soon()

    def _stamp(self, event: Event) -> Stamp:
        elapsed = time.monotonic() - self._began
        if isinstance(event, Text):
            self._chunks += 1
            self._first_chunk = elapsed if self._first_chunk is None else self._first_chunk
        timestamp = round(time.time(), 3)
        return Stamp(self.answer, self.tail + 1, self._chunks, timestamp, elapsed, self._first_chunk)

    def _wake_soon(self) -> None:
        if not self._wake_due:
            self._wake_due = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._wake_due = False
        for cursor in self._cursors:
            cursor.nudge()

    @contextmanager
    def follow(self, offset: int = 0) -> Iterator[Cursor]:
        """A cursor at `offset`, holding a lease on the answer until it leaves."""
        cursor = Cursor(self, offset)
        self._cursors.add(cursor)
        self._on_leases(len(self._cursors))
        try:
            yield cursor
        finally:
            self._cursors.discard(cursor)
            self._on_leases(len(self._cursors))
