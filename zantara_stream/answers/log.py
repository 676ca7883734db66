"""The log of one answer as its readers see it, and cursors on it.

It holds what the journal has, and nothing else. A reader costs an integer: it remembers its offset and
takes what it has missed in one slice. All events of one turn of the event loop wake the readers once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ..errors import RequestError
from .events import closes, is_snapshot, is_text, split

SLICE = 64 * 1024  # bytes that a reader takes at once, unless one event is longer


class Cursor:
    """A reader's place in a log.

    `wait` returns when there is something to `read`, when nothing will follow, or when `nudge` was
    called; it never returns events itself. `on_news` is called instead where a reader sets it, and may
    read at once.
    """

    def __init__(self, log: EventLog, offset: int) -> None:
        self._log = log
        self.offset = offset
        self.on_news: Callable[[], None] | None = None
        self._wakeup: asyncio.Future[None] | None = None

    def read(self) -> bytes:
        """What follows this cursor as one piece of wire, up to `SLICE`; moves the cursor behind it."""
        data, self.offset = self._log.slice(self.offset)
        return data

    @property
    def due(self) -> bool:
        """Whether there is something to read, or nothing will follow."""
        return self.offset < self._log.tail or self._log.over

    @property
    def exhausted(self) -> bool:
        """Whether nothing will ever follow."""
        return self._log.over and self.offset >= self._log.tail

    async def wait(self) -> None:
        """Sleep until the log has more for this cursor, is over, or somebody nudges."""
        if self.due:
            return
        self._wakeup = asyncio.get_running_loop().create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None

    def tell(self) -> None:
        """Say that there is news."""
        if self.on_news is not None:
            self.on_news()
        else:
            self.nudge()

    def nudge(self) -> None:
        """Make a sleeping `wait` return."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


class _Turn:
    """The logs that have got something in this turn of an event loop: one callback wakes the readers of them all."""

    _latest: _Turn | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.due: list[EventLog] = []
        self._loop = loop
        loop.call_soon(self._end)

    @classmethod
    def current(cls) -> _Turn:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        if cls._latest is None or cls._latest._loop is not loop:
            cls._latest = cls(loop)
        return cls._latest

    def _end(self) -> None:
        if _Turn._latest is self:
            _Turn._latest = None
        for log in self.due:
            try:
                log.wake()
            except Exception as error:  # of one reader, which is not to keep the others waiting
                self._loop.call_exception_handler({"message": "a reader was not told", "exception": error})


class EventLog:
    """An append-only log of encoded events that closes with one terminal event.

    A node that can show no more of an answer that is not closed *breaks off* its log: `broken_off` is
    what its readers are told, and no part of the log.
    """

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.first = 0  # the least offset that can be resumed from
        self.closed = False
        self.broken_off: RequestError | None = None
        self._frames: list[bytes] = []
        self._ended = asyncio.Event()
        self._cursors: set[Cursor] = set()
        self._wake_due = False

    @property
    def tail(self) -> int:
        """The offset after the last event."""
        return self.first + len(self._frames) - bool(self.first)

    @property
    def over(self) -> bool:
        """Whether no event will follow here."""
        return self.closed or self.broken_off is not None

    @property
    def readers(self) -> int:
        """How many cursors there are."""
        return len(self._cursors)

    def slice(self, offset: int) -> tuple[bytes, int]:
        """The wire bytes of the events after `offset`, up to `SLICE` or one event, and the offset after them."""
        begin = self._place(offset)
        end = min(begin + 1, len(self._frames))
        size = len(self._frames[begin]) if end > begin else 0
        while end < len(self._frames) and (size := size + len(self._frames[end])) <= SLICE:
            end += 1
        return b"".join(self._frames[begin:end]), self.first + end - bool(self.first)

    def since(self, offset: int) -> bytes:
        """The wire bytes of every event after `offset`."""
        return b"".join(self._frames[self._place(offset) :])

    def chunks_since(self, offset: int) -> int:
        """How many chunks of text there are after `offset`."""
        return sum(map(is_text, self._frames[self._place(offset) :]))

    def _place(self, offset: int) -> int:
        """Where in the frames the events after `offset` begin; with the snapshot, where some are gone."""
        return offset if not self.first else max(0, offset - self.first + 1)

    def frames(self) -> tuple[bytes, ...]:
        """Every event that is held, encoded; the first may be a snapshot of those before it."""
        return tuple(self._frames)

    def extend(self, frames: Iterable[bytes]) -> None:
        """Take what the journal has, and wake the readers."""
        for frame in frames:
            if is_snapshot(frame):
                self._begin_with(frame)
            else:
                self._frames.append(frame)
        if self._frames and closes(self._frames[-1]):
            self.closed = True
            self._ended.set()
        self._wake_soon()

    def _begin_with(self, snapshot: bytes) -> None:
        ((_, offset, _),) = split(snapshot)
        self._frames[: self._place(offset)] = [snapshot]
        self.first = offset

    def break_off(self, why: RequestError) -> None:
        """Nothing more of the answer can be shown here; the readers are told why, and leave."""
        if not self.over:
            self.broken_off = why
            self._ended.set()
            self._wake_soon()

    async def ended(self) -> None:
        """Wait until the log is over."""
        await self._ended.wait()

    def _wake_soon(self) -> None:
        if not self._wake_due:
            self._wake_due = True
            _Turn.current().due.append(self)

    def wake(self) -> None:
        """Tell the readers of what has come."""
        self._wake_due = False
        for cursor in self._cursors:
            cursor.tell()

    @contextmanager
    def follow(self, offset: int = 0) -> Iterator[Cursor]:
        """A cursor at `offset`, until it leaves."""
        cursor = Cursor(self, offset)
        self._cursors.add(cursor)
        try:
            yield cursor
        finally:
            self._cursors.discard(cursor)
            cursor.on_news = None  # what it calls may hold the cursor: a circle is not to wait for a collection
