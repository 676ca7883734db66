"""Where logs are kept: what every journal promises.

A journal keeps, of each answer, its opening and its events as the bytes that readers get. Who may append
is decided by a *lease* with a fencing token: taking an answer over raises its token, and the journal
refuses an append with a lower one in the very step that would have written it. A lease that is not
renewed runs out, and then any node may take the answer over. The same tests hold for all journals.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..errors import JournalUnavailable
from .events import closes, is_snapshot


class Fenced(Exception):
    """Somebody else writes this answer now."""


Lost = Fenced | JournalUnavailable  # why an event was not kept
Committed = Callable[[Lost | None], None]


@dataclass(frozen=True, slots=True)
class Opening:
    """What an answer begins with.

    `question` is what was asked and `continuity` (or "") the asker's name for the answer; `request` is whatever its
    producer needs to write it, and is not kept longer than that. `owner` is whose it is: nobody else's door finds it,
    and one of "" is found by whoever has its id.
    """

    answer: str
    question: str = ""
    request: str = ""
    continuity: str = ""
    started: float = 0.0  # unix seconds
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to append to an answer, as long as nobody has taken it over."""

    answer: str
    token: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer as the journal has it; `doubtful` where it may have lost the end of what it had and readers saw."""

    opening: Opening
    frames: tuple[bytes, ...]
    doubtful: bool = False

    @property
    def closed(self) -> bool:
        """Whether its terminal event is there."""
        return bool(self.frames) and closes(self.frames[-1])


class Journal(Protocol):
    """One node's door to where logs are kept.

    Every method raises `JournalUnavailable` where nothing can be read or written, within a bounded time.
    """

    name: str
    durable: bool  # whether it outlives this process
    patience: float  # seconds that it may be unavailable until readers of what others write are told

    @property
    def problem(self) -> str:
        """Why nothing can be written, or ""."""
        ...

    async def open(self) -> None:
        """Make ready. Raises `ConfigError` where that is not possible."""
        ...

    async def close(self) -> None:
        """Write what is waiting, and let go."""
        ...

    async def create(self, opening: Opening) -> Lease | str:
        """Begin an answer; or the id of the one that its continuity id names already."""
        ...

    def append(self, lease: Lease, frame: bytes, committed: Committed) -> None:
        """Append an event. `committed` is called on the loop, in order: with None once it is kept, else
        with `Fenced` or `JournalUnavailable`. The terminal event ends the lease.
        """
        ...

    async def find(self, answer: str, owner: str = "") -> Stored | None:
        """The answer of that id, if it is that owner's: another's is looked for as one that nobody has."""
        ...

    async def named(self, continuity: str) -> str | None:
        """The id of the answer that a continuity id names."""
        ...

    async def follow(self, tails: Mapping[str, int], wait: float) -> dict[str, tuple[bytes, ...] | None]:
        """What there is of these answers beyond their offsets; what is before those may come with it.

        Waits so many seconds at most for something to come. Where it does not wait, it says None of an answer that is
        not there any more.
        """
        ...

    async def mark_read(self, answers: Collection[str]) -> None:
        """Say that somebody reads these answers on this node, which does not write them."""
        ...

    async def unread_for(self, answer: str) -> float:
        """The seconds since some node last said that it is read there; infinite where none has."""
        ...

    async def ask_to_stop(self, answer: str) -> None:
        """Ask whoever writes an answer, or goes on with it, to stop it."""
        ...

    async def asked_to_stop(self, answers: Collection[str]) -> list[str]:
        """Those of these unfinished answers that somebody asked to be stopped."""
        ...

    async def renew(self, leases: Collection[Lease]) -> None:
        """Keep these leases from running out; those that were lost are not renewed."""
        ...

    async def release(self, leases: Collection[Lease]) -> None:
        """Let these leases run out now, so that others may take the answers over."""
        ...

    async def claim(self, most: int, held: Collection[str] = ()) -> list[tuple[Lease, Stored]]:
        """Take over at most so many unfinished answers whose leases ran out, except those that are `held` here."""
        ...

    async def touch(self, answers: Collection[str]) -> None:
        """Count the retention of these closed answers from now."""
        ...

    async def expire(self, retention: float, read: Collection[str] = ()) -> list[str]:
        """Forget the closed answers, but those being `read`, whose retention (seconds) is over; their ids."""
        ...

    async def probe(self) -> None:
        """See whether something can be written."""
        ...


def add(frames: list[bytes], frame: bytes) -> None:
    """Append a frame to a log's; a snapshot takes the place of all before it."""
    if is_snapshot(frame):
        frames.clear()
    frames.append(frame)
