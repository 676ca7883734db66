"""The journal in memory: for tests, and for servers whose answers need not outlive them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .events import closes
from .journal import Committed, Fenced, Lease, Opening, Stored, add

CLOSED_KEPT = 2000  # finished answers at most; the oldest are forgotten first
LOOK = 0.05  # seconds between two looks at what another node writes


@dataclass(slots=True)
class _Kept:
    """One answer. Times are monotonic seconds."""

    opening: Opening
    lease_ends: float
    token: int = 1
    frames: list[bytes] = field(default_factory=list)
    closed: bool = False
    since: float = 0.0  # its retention counts from here
    read: float = -math.inf  # by another node than the one that writes it
    unwanted: bool = False  # somebody asked to stop it

    @property
    def stored(self) -> Stored:
        return Stored(self.opening, tuple(self.frames))


@dataclass(slots=True)
class _Store:
    """All answers, in the order of their creation, and the continuity ids that name them."""

    answers: dict[str, _Kept] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)


class MemoryJournal:
    """Keeps answers as long as the process lives; `peer` gives another node's door to the same ones."""

    name = "memory://"
    durable = False
    patience = 0.0
    problem = ""

    def __init__(self, lease: float = 5.0, store: _Store | None = None) -> None:
        self._lease = lease  # seconds
        self._store = store or _Store()

    def peer(self) -> MemoryJournal:
        """Another door."""
        return MemoryJournal(self._lease, self._store)

    async def open(self) -> None:
        """Nothing is needed."""

    async def close(self) -> None:
        """Nothing is held."""

    async def probe(self) -> None:
        """Memory can be written."""

    async def create(self, opening: Opening) -> Lease | str:
        """Begin an answer, or name the one that is there."""
        if opening.continuity in self._store.named:
            return self._store.named[opening.continuity]
        self._store.answers[opening.answer] = _Kept(opening, time.monotonic() + self._lease)
        if opening.continuity:
            self._store.named[opening.continuity] = opening.answer
        return Lease(opening.answer, 1)

    def append(self, lease: Lease, frame: bytes, committed: Committed) -> None:
        """Keep the event at once."""
        kept = self._store.answers.get(lease.answer)
        if kept is None or kept.closed or kept.token != lease.token:
            committed(Fenced())
            return
        add(kept.frames, frame)
        kept.closed, kept.since = closes(frame), time.monotonic()
        committed(None)

    async def find(self, answer: str, owner: str = "") -> Stored | None:
        """The answer of that id, if it is that owner's."""
        kept = self._store.answers.get(answer)
        return kept.stored if kept is not None and kept.opening.owner == owner else None

    async def named(self, continuity: str) -> str | None:
        """The id of the answer that a continuity id names."""
        return self._store.named.get(continuity)

    async def follow(self, tails: Mapping[str, int], wait: float) -> dict[str, tuple[bytes, ...] | None]:
        """What there is of these answers; None for one that is gone."""
        await asyncio.sleep(min(wait, LOOK))
        kept = {name: self._store.answers.get(name) for name in tails}
        return {name: None if answer is None else tuple(answer.frames) for name, answer in kept.items()}

    async def mark_read(self, answers: Collection[str]) -> None:
        """Say that somebody reads these answers here."""
        for answer in answers:
            if (kept := self._store.answers.get(answer)) is not None:
                kept.read = time.monotonic()

    async def unread_for(self, answer: str) -> float:
        """The seconds since some node said that it is read there."""
        kept = self._store.answers.get(answer)
        return math.inf if kept is None else time.monotonic() - kept.read

    async def ask_to_stop(self, answer: str) -> None:
        """Ask whoever writes an answer to stop it."""
        if (kept := self._store.answers.get(answer)) is not None:
            kept.unwanted = True

    async def asked_to_stop(self, answers: Collection[str]) -> list[str]:
        """Those of these that somebody asked to be stopped."""
        return [name for name in answers if name in self._store.answers and self._store.answers[name].unwanted]

    async def renew(self, leases: Collection[Lease]) -> None:
        """Keep these leases from running out."""
        self._end(leases, time.monotonic() + self._lease)

    async def release(self, leases: Collection[Lease]) -> None:
        """Let these leases run out now."""
        self._end(leases, 0.0)

    def _end(self, leases: Collection[Lease], moment: float) -> None:
        for lease in leases:
            kept = self._store.answers.get(lease.answer)
            if kept is not None and kept.token == lease.token:
                kept.lease_ends = moment

    async def claim(self, most: int, held: Collection[str] = ()) -> list[tuple[Lease, Stored]]:
        """Take over unfinished answers whose leases ran out."""
        now = time.monotonic()
        free = [
            (answer, kept)
            for answer, kept in self._store.answers.items()
            if not kept.closed and kept.lease_ends <= now and answer not in held
        ]
        for _, kept in free[:most]:
            kept.token, kept.lease_ends = kept.token + 1, now + self._lease
        return [(Lease(answer, kept.token), kept.stored) for answer, kept in free[:most]]

    async def touch(self, answers: Collection[str]) -> None:
        """Count the retention of these answers from now."""
        for answer in answers:
            if (kept := self._store.answers.get(answer)) is not None:
                kept.since = time.monotonic()

    async def expire(self, retention: float, read: Collection[str] = ()) -> list[str]:
        """Forget what nobody reads any more, and the oldest where there are too many."""
        before = time.monotonic() - retention
        closed = sorted((kept.since, answer) for answer, kept in self._store.answers.items() if kept.closed)
        spare = len(closed) - CLOSED_KEPT
        old = [
            answer
            for place, (since, answer) in enumerate(closed)
            if (since <= before or place < spare) and answer not in read
        ]
        for answer in old:
            self._store.named.pop(self._store.answers.pop(answer).opening.continuity, None)
        return old
