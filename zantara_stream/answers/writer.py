"""The pen of an answer: whoever holds it appends events, in the answer's grammar, through the journal."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from ..metrics import CHUNKS, FENCED, FIRST_CHUNK
from .events import CLOSED, ORDER, WRITING, Event, Stamp, Text, encode, encode_text, size
from .fold import fold, snapshot
from .journal import Fenced, Journal, Lease, Lost
from .log import EventLog

BACKLOG = 256  # events that may wait for the journal before the producer has to
LEAP = 10_000  # offsets that are left out where readers may have seen events that were lost since
TICK = 1  # millisecond between the timestamps of two chunks at least, so that one names its place


class OutOfOrder(Exception):
    """A producer broke the answer's grammar; a defect, never the client's fault."""


class Writer:
    """Encodes events, lets the journal keep them, and only then gives them to the log.

    It goes on where the log ends. `most` bounds the bytes that are held of the log, and of its text. `ended` is
    called when the journal has the terminal event, `lost` when it refused an event: then all after it are lost too.
    """

    def __init__(
        self,
        log: EventLog,
        journal: Journal,
        lease: Lease,
        started: float,
        most: int,
        ended: Callable[[], None],
        lost: Callable[[Lost], None],
    ) -> None:
        written = fold(log.frames())
        self.lease = lease
        self.broken = False
        self._log = log
        self._journal = journal
        self._ended, self._lost = ended, lost
        self._most = most
        self._frames = list(log.frames())
        self._offset = log.tail
        self._state = written.state
        self._chunks = written.chunks
        self._size = sum(map(len, self._frames))
        self._text_size = size(written.text)
        self._last = round(written.last * 1000)  # milliseconds, of the last chunk
        # The clock may have been set since it began; what has passed here is measured without it.
        self._began = time.monotonic() - max(0.0, time.time() - started)
        self._first_chunk = None if written.first is None else max(0.0, written.first - started)
        self._last_chunk: float | None = None  # seconds, of what is written here
        self._unkept: deque[bytes] = deque()  # what the journal has not said anything of yet
        self._settled = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether the terminal event has been appended; the journal need not have it yet."""
        return self._state == CLOSED

    @property
    def behind(self) -> bool:
        """Whether the producer should wait for the journal."""
        return len(self._unkept) > BACKLOG

    @property
    def full(self) -> bool:
        """Whether the text is as long as a text may be."""
        return self._text_size > self._most

    @property
    def text_size(self) -> int:
        """The bytes of the text."""
        return self._text_size

    def frames(self) -> list[bytes]:
        """What the log will be once all is kept."""
        return self._frames

    async def read_elsewhere(self, grace: float) -> float:
        """The seconds for which it still counts as read at another node; none, or fewer, where it does not.

        A node that had readers may be cut off: it tells them after the journal's `patience`, and they have as long
        again to come to another one. Raises `JournalUnavailable`.
        """
        unread = await self._journal.unread_for(self._log.answer)
        return 0.0 if math.isinf(unread) else max(grace, 2 * self._journal.patience) - unread

    async def settled(self) -> None:
        """Wait until the journal has everything, or refused something."""
        while self._unkept and not self.broken:
            self._settled.clear()
            await self._settled.wait()

    def leap(self) -> None:
        """Begin anew with the whole text, behind every offset that readers of lost events may come back from."""
        if self._state == WRITING:
            self._offset += LEAP
            self._compact()

    def append(self, event: Event) -> None:
        """Encode the event and hand it to the journal. Raises `OutOfOrder`, and then keeps nothing."""
        state = ORDER.get((self._state, type(event)))
        if state is None:
            raise OutOfOrder(f"{type(event).__name__} cannot follow in a log that is {self._state}")
        if self._size > self._most and state == WRITING:
            self._compact()
        self._offset += 1
        elapsed = time.monotonic() - self._began
        moment = time.time_ns() // 1_000_000
        if isinstance(event, Text):
            block = self._text(event.text, moment, elapsed)
        else:
            last = max(moment, self._last) / 1000
            stamp = Stamp(self._log.answer, self._offset, self._chunks, last, elapsed, self._first_chunk)
            block = encode(event, stamp)
        self._put(block)
        self._state = state

    def _text(self, text: str, moment: int, elapsed: float) -> bytes:
        """What nearly all events are; whatever is called for each takes a part of all that a stream costs."""
        CHUNKS.came(None if self._last_chunk is None else elapsed - self._last_chunk)
        self._last_chunk = elapsed
        if self._first_chunk is None:
            self._first_chunk = elapsed
            FIRST_CHUNK.observe(elapsed)
        self._chunks += 1
        self._text_size += size(text)
        self._last = last = moment if moment > self._last else self._last + TICK
        return encode_text(text, self._log.answer, self._offset, self._chunks, last / 1000)

    def _compact(self) -> None:
        """Let a snapshot stand for all before it."""
        block = snapshot(self._log.answer, self._offset, fold(self._frames))
        self._frames, self._size = [], 0
        self._put(block)
        self._size = 0  # what is held beyond the snapshot counts

    def _put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._size += len(frame)
        self._unkept.append(frame)
        self._journal.append(self.lease, frame, self._committed)

    def _committed(self, error: Lost | None) -> None:
        frame = self._unkept.popleft()
        if error is None and not self.broken:
            self._log.extend((frame,))
            if self._log.closed:
                self._ended()
        elif error is not None:
            self._refused(error)
        if not self._unkept:
            self._settled.set()

    def _refused(self, error: Lost) -> None:
        if isinstance(error, Fenced):
            FENCED.inc()
        if not self.broken:
            self.broken = True
            self._settled.set()
            self._lost(error)
