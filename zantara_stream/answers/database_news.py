"""What other processes write into a journal's file, for those who read it here.

Most is new events of answers that were looked for the last time too. Only of others, and where something is missing in
between, the whole log is read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping

from ..sqlite_file import number
from .events import is_snapshot, split

Logs = dict[str, tuple[bytes, ...] | None]


class News:
    """What has been told of a file so far; `logs` reads whole logs. To be asked within a transaction."""

    def __init__(self, logs: Callable[[Collection[str]], Logs]) -> None:
        self._logs = logs
        self._told: set[str] = set()  # answers of which everything up to `_place` has been told
        self._place = 0  # of the last commit that was looked at
        self._state = -1  # of the file then

    def none(self, db: sqlite3.Connection, answers: Collection[str]) -> bool:
        """Whether there is nothing new of these, as nobody else has written."""
        return number(db, "PRAGMA data_version") == self._state and self._told.issuperset(answers)

    def of(self, db: sqlite3.Connection, tails: Mapping[str, int]) -> Logs:
        """What there is of these answers beyond their offsets, or all there is; nothing of those without any news."""
        known = self._told & set(tails)
        rows = db.execute("SELECT frames FROM commits WHERE place > ? ORDER BY place", (self._place,)) if known else ()
        new = _events(tails, (frames for (frames,) in rows))
        whole = [name for name in tails if name not in known or not _goes_on(new[name], tails[name])]
        found: Logs = {name: tuple(block for _, block in events) for name, events in new.items() if events}
        if whole:
            found |= self._logs(whole)
        self._told = set(tails)
        self._place = number(db, "SELECT max(place) FROM commits")
        self._state = number(db, "PRAGMA data_version")
        return found


def _events(tails: Mapping[str, int], commits: Iterable[bytes]) -> dict[str, list[tuple[int, bytes]]]:
    """The events of those answers beyond their offsets, each with its own, among those that commits are of."""
    found: dict[str, list[tuple[int, bytes]]] = {name: [] for name in tails}
    ids = [name.encode() for name in tails]
    for frames in commits:
        if any(name in frames for name in ids):
            for answer, offset, block in split(frames):
                if offset > tails.get(answer, offset):
                    found[answer].append((offset, block))
    return found


def _goes_on(events: list[tuple[int, bytes]], tail: int) -> bool:
    """Whether nothing is missing between a log that ends there and these."""
    return not events or events[0][0] == tail + 1 or is_snapshot(events[0][1])
