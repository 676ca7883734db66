"""Appending to logs in Redis: what comes within a moment goes out together, and each answer's part is one entry.

Of each answer that is written here all frames are remembered, with the number of the last one that Redis is known to
have. So whatever happened to a write that was not answered, a look at the last entry tells how to go on: it is another
writer's, or what is missing after it is written again. Redis may be away for as long as `PATIENCE`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ..errors import JournalUnavailable
from ..metrics import JOURNAL_COMMIT
from ..redis_connection import Command, RedisConnection, RedisUnavailable
from .events import closes, is_snapshot
from .journal import Committed, Fenced, Lease, add
from .redis_layout import Layout, numbered, token_and_number

PACE = 0.005  # seconds from one write to the next at least, so that a busy server writes many events at once
PATIENCE = 8.0  # seconds that Redis may be away until those who wait are told
PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4)  # seconds before each try to reach it again; the last one from then on
LOOKED_BACK = 32  # entries in which the last frames are found: more than there are takeovers


@dataclass(slots=True, eq=False)
class Held:
    """An answer that is written here. Frames are numbered from 1, snapshots too."""

    answer: str
    token: int
    frames: list[bytes] = field(default_factory=list)  # the log, from its last snapshot on
    number: int = 0  # of the last frame
    kept: int = 0  # number of the last frame that Redis has
    last: str = ""  # id of the last entry there
    unsure: bool = False  # whether that is still so
    fenced: bool = False
    closing: bool = False

    def append(self, frame: bytes) -> None:
        """Take in a frame that is to be written."""
        add(self.frames, frame)
        self.number += 1
        self.closing = closes(frame)

    @property
    def missing(self) -> list[bytes]:
        """What Redis lacks."""
        return self.frames[max(0, len(self.frames) - (self.number - self.kept)) :]


@dataclass(slots=True)
class _Waiting:
    """Who waits for a frame to be kept."""

    held: Held
    number: int
    committed: Committed


class Appending:
    """Everything that is appended here. `problem` says why nothing can be, or ""."""

    def __init__(self, redis: RedisConnection, layout: Layout) -> None:
        self.problem = ""
        self._redis = redis
        self._layout = layout
        self._held: dict[str, Held] = {}
        self._waiting: list[_Waiting] = []
        self._due: dict[str, Held] = {}
        self._writing: asyncio.Task[None] | None = None
        self._last_write = 0.0
        self._failures = 0
        self._failing_since = 0.0

    def hold(self, lease: Lease, last: str, frames: list[bytes] | None = None, number: int = 0) -> None:
        """Let the answer be written here, after those frames, of which the last has that number, and that entry."""
        self._held[lease.answer] = Held(lease.answer, lease.token, frames or [], number, number, last)

    def append(self, lease: Lease, frame: bytes, committed: Committed) -> None:
        """Append with whatever else is appended until the next write."""
        held = self._held.get(lease.answer)
        if held is None or held.token != lease.token or held.closing:
            committed(Fenced())
            return
        held.append(frame)
        self._waiting.append(_Waiting(held, held.number, committed))
        self._due[held.answer] = held
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="journal")

    async def flush(self) -> None:
        """Wait until all that was appended is kept, or known not to be. Raises `JournalUnavailable`."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=2 * PATIENCE)
        if self.problem:
            raise JournalUnavailable

    # --------------------------------------------------------------------------------------------- writing

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._due:
                await asyncio.sleep(self._last_write + PACE - loop.time())
                self._last_write = loop.time()
                due, self._due = list(self._due.values()), {}
                await self._try(due)
                self._tell()
        finally:
            self._writing = None  # here, and not when the loop sees the end: what is appended in between would wait
            self._give_up()  # of which there is none, unless this broke or is cancelled

    async def _try(self, due: list[Held]) -> None:
        try:
            await self._write(due)
        except RedisUnavailable as error:
            await self._failed(due, error)
        else:
            JOURNAL_COMMIT.observe(asyncio.get_running_loop().time() - self._last_write)
            self._failures, self.problem = 0, ""

    async def _write(self, due: list[Held]) -> None:
        await self._look([held for held in due if held.unsure])
        writing = [(held, held.number) for held in due if not held.fenced and held.kept < held.number]
        for held, _ in writing:
            held.unsure = True  # until it is answered
        answers = await self._redis.run([self._entry(held) for held, _ in writing])
        for (held, number), answer in zip(writing, answers, strict=True):
            place = f"{held.token}-{number}"
            if answer is None:
                held.fenced = True  # forgotten
            elif answer.decode() == place:
                held.kept, held.last, held.unsure = number, place, False
            else:
                self._due[held.answer] = held  # there is more than we know of, or less: it is looked at

    def _entry(self, held: Held) -> Command:
        missing = held.missing
        place, frames = f"{held.token}-{held.number}", b"".join(missing)
        alone = is_snapshot(missing[0])
        if closes(missing[-1]):
            return self._layout.append_last(held.answer, held.token, held.last, place, frames, alone=alone)
        return self._layout.append(held.answer, held.last, place, frames, alone=alone)

    async def _look(self, unsure: list[Held]) -> None:
        """See what became of writes that were not answered."""
        found = await self._redis.run([self._layout.latest(held.answer, LOOKED_BACK) for held in unsure])
        for held, entries in zip(unsure, found, strict=True):
            held.kept = numbered(reversed(entries))
            held.last = entries[0][0].decode() if entries else ""
            held.fenced = not entries or token_and_number(entries[0])[0] > held.token
            held.unsure = False
        # What closed without our hearing of it has its last entry, and may lack the rest.
        closed = [held for held in unsure if held.closing and not held.fenced and held.kept == held.number]
        await self._redis.run([self._layout.close(held.answer, held.token) for held in closed])

    async def _failed(self, due: list[Held], error: RedisUnavailable) -> None:
        """Try again after a pause, or give up what waits."""
        loop = asyncio.get_running_loop()
        if not self._failures:
            self._failing_since = loop.time()
        for held in due:
            held.unsure = True
            self._due[held.answer] = held
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        if self._failures > 1:
            self.problem = str(error)
        if loop.time() - self._failing_since > PATIENCE:
            self._give_up()
        else:
            await asyncio.sleep(pause)

    def _give_up(self) -> None:
        waiting, self._waiting, self._due, self._failures = self._waiting, [], {}, 0
        for one in waiting:
            # Its log would have a hole if what follows were written.
            self._let_go(one.held)
        for one in waiting:
            one.committed(JournalUnavailable())

    def _tell(self) -> None:
        """Tell all whose frame is kept, or never will be, in the order in which they came."""
        waiting, self._waiting = self._waiting, []
        left: list[_Waiting] = []
        for one in waiting:
            if one.held.fenced:
                self._let_go(one.held)
                one.committed(Fenced())
            elif one.number <= one.held.kept:
                if one.held.closing and one.number == one.held.number:
                    self._let_go(one.held)
                one.committed(None)
            else:
                left.append(one)
        self._waiting = left + self._waiting

    def _let_go(self, held: Held) -> None:
        if self._held.get(held.answer) is held:
            del self._held[held.answer]
