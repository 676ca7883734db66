"""The SQLite file of a journal; every method blocks, and all run in one thread.

    answers   one row an answer: its opening, its lease, and once it has closed its whole log
    commits   one row a commit: the frames of all answers that were running, as they were appended
    reads     when a process last said that it has readers of an answer that another one writes
    stops     answers that another process than theirs was asked to stop

Times are unix seconds, since processes share them. A lease that ends later than one could is of a clock
that was set back since, and counts as run out.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..sqlite_file import make, number, transaction
from .database_news import Logs, News
from .database_schema import make_ready
from .events import closes, split
from .journal import Fenced, Lease, Opening, Stored, add

BUSY = 3.0  # seconds to wait for another process's lock
PROBE = 256 * 1024  # bytes that must fit for the file to count as writable

_OPENING = "answer, question, request, coalesce(continuity, ''), started, owner"
_NAMED = "answer IN (SELECT value FROM json_each(?))"
_LEASED = "(answer, token) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))"
_NOWHERE = 2**63 - 1  # behind every place


class Append(NamedTuple):
    """An event to be appended."""

    lease: Lease
    frame: bytes


@dataclass(slots=True)
class _Held:
    """An answer that is written through this process: the token of its lease, its log, and at which state of the
    file the token was last compared.
    """

    token: int
    frames: list[bytes]
    version: int = -1


class Database:
    """The file; `lease` is for how many seconds a lease is given."""

    def __init__(self, path: Path, lease: float) -> None:
        self._path = path
        self._lease = lease
        self._held: dict[str, _Held] = {}
        self._news = News(self.logs)

    def open(self) -> None:
        """Create the file or open it. Raises `sqlite3.Error` or `OSError`."""
        make(self._path)
        self._db = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            make_ready(self._db, BUSY)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _transaction(self, kind: str = "IMMEDIATE") -> AbstractContextManager[None]:
        return transaction(self._db, kind)

    def _number(self, query: str, *values: object) -> int:
        return number(self._db, query, *values)

    # ------------------------------------------------------------------------------------------- appending

    def commit(self, appends: list[Append]) -> list[Fenced | None]:
        """Write all of them in one transaction; for each None, or that it was refused."""
        try:
            with self._transaction():
                self._compare_tokens(appends)
                outcomes = [self._take(append) for append in appends]
                taken = [a for a, refused in zip(appends, outcomes, strict=True) if refused is None]
                if taken:
                    frames = b"".join([append.frame for append in taken])
                    self._db.execute("INSERT INTO commits (frames) VALUES (?)", (frames,))
                for append in taken:
                    if closes(append.frame):
                        self._close(append.lease.answer)
        except BaseException:
            # Their logs would have a hole if what follows were written.
            for append in appends:
                self._held.pop(append.lease.answer, None)
            raise
        return outcomes

    def _compare_tokens(self, appends: list[Append]) -> None:
        """Let go of what others have taken over. Inside the transaction nobody else can."""
        version = self._state()
        named = {append.lease.answer for append in appends}
        doubtful = [name for name in named if name in self._held and self._held[name].version != version]
        if not doubtful:
            return
        tokens = dict(
            self._db.execute(
                f"SELECT answer, token FROM answers WHERE closed IS NULL AND {_NAMED}", (json.dumps(doubtful),)
            )
        )
        for name in doubtful:
            held = self._held[name]
            if tokens.get(name) == held.token:
                held.version = version
            else:
                del self._held[name]

    def _state(self) -> int:
        """A number that changes only when another connection writes."""
        return self._number("PRAGMA data_version")

    def _take(self, append: Append) -> Fenced | None:
        held = self._held.get(append.lease.answer)
        if held is None or held.token != append.lease.token:
            return Fenced()
        add(held.frames, append.frame)
        return None

    def _close(self, answer: str) -> None:
        frames = b"".join(self._held.pop(answer).frames)
        self._db.execute(
            "UPDATE answers SET closed = ?, frames = ?, request = '' WHERE answer = ?", (time.time(), frames, answer)
        )
        for table in ("reads", "stops"):
            self._db.execute(f"DELETE FROM {table} WHERE answer = ?", (answer,))

    # ----------------------------------------------------------------------------------------------- leases

    def create(self, opening: Opening) -> Lease | str:
        """Begin an answer, or name the one that is there."""
        with self._transaction():
            if opening.continuity and (existing := self.named(opening.continuity)) is not None:
                return existing
            self._db.execute(
                "INSERT INTO answers"
                " SELECT ?, ?, ?, ?, ?, 1, ?, coalesce(max(seq), 0) + 1, NULL, NULL, ? FROM sqlite_sequence",
                (
                    opening.answer,
                    opening.question,
                    opening.request,
                    opening.continuity or None,
                    opening.started,
                    time.time() + self._lease,
                    opening.owner,
                ),
            )
        self._held[opening.answer] = _Held(1, [])
        return Lease(opening.answer, 1)

    def renew(self, leases: Collection[Lease]) -> None:
        """Let these leases end later."""
        self._end(leases, time.time() + self._lease)

    def release(self, leases: Collection[Lease]) -> None:
        """Let these leases end now."""
        self._end(leases, 0.0)

    def _end(self, leases: Collection[Lease], moment: float) -> None:
        pairs = json.dumps([(lease.answer, lease.token) for lease in leases])
        with self._transaction():
            self._db.execute(f"UPDATE answers SET lease_ends = ? WHERE {_LEASED}", (moment, pairs))

    def claim(self, most: int, held: Collection[str]) -> list[tuple[Lease, Stored]]:
        """Take over unfinished answers whose leases ran out, oldest first."""
        if not self._claimable(most, held):
            return []
        with self._transaction():
            openings = self._claimable(most, held)
            names = json.dumps([opening.answer for opening in openings])
            raised = self._db.execute(
                f"UPDATE answers SET token = token + 1, lease_ends = ? WHERE {_NAMED} RETURNING answer, token",
                (time.time() + self._lease, names),
            )
            leases = {answer: Lease(answer, token) for answer, token in raised}
            taken = [(leases[stored.opening.answer], stored) for stored in self._unfinished(openings)]
        for lease, stored in taken:
            self._held[lease.answer] = _Held(lease.token, list(stored.frames))
        return taken

    def _claimable(self, most: int, held: Collection[str]) -> list[Opening]:
        now = time.time()
        rows = self._db.execute(
            f"SELECT {_OPENING} FROM answers WHERE closed IS NULL AND NOT lease_ends BETWEEN ? AND ? ORDER BY place",
            (now, now + self._lease),
        )
        return [Opening(*row) for row in rows if row[0] not in held][:most]

    # ---------------------------------------------------------------------------------------------- reading

    def mark_read(self, answers: Collection[str]) -> None:
        """Say that somebody reads these answers here."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO reads SELECT answer, ? FROM answers WHERE closed IS NULL AND"
                f" {_NAMED} ON CONFLICT (answer) DO UPDATE SET moment = excluded.moment",
                (time.time(), json.dumps(list(answers))),
            )

    def unread_for(self, answer: str) -> float:
        """The seconds since some process said that it is read there; a moment to come is of a clock set back since."""
        row = self._db.execute("SELECT moment FROM reads WHERE answer = ?", (answer,)).fetchone()
        return math.inf if row is None else abs(time.time() - row[0])

    def ask_to_stop(self, answer: str) -> None:
        """Note that it is to be stopped, if it is not over."""
        with self._transaction():
            query = "INSERT OR IGNORE INTO stops SELECT answer FROM answers WHERE closed IS NULL AND answer = ?"
            self._db.execute(query, (answer,))

    def asked_to_stop(self, answers: Collection[str]) -> list[str]:
        """Those of these of which that was noted."""
        rows = self._db.execute(f"SELECT answer FROM stops WHERE {_NAMED}", (json.dumps(list(answers)),))
        return [str(answer) for (answer,) in rows]

    def find(self, answer: str, owner: str) -> Stored | None:
        """The answer of that id, if it is that owner's."""
        # By the index: to look at another's row takes the longer, the longer the answer is.
        query = f"SELECT {_OPENING}, frames FROM answers INDEXED BY owned WHERE answer = ? AND owner = ?"
        row = self._db.execute(query, (answer, owner)).fetchone()
        if row is None:
            return None
        *opening, frames = row
        return self._stored(Opening(*opening), frames)

    def _stored(self, opening: Opening, frames: bytes | None) -> Stored:
        if frames is None:
            (stored,) = self._unfinished([opening])
            return stored
        return Stored(opening, tuple(block for _, _, block in split(frames)))

    def logs(self, answers: Collection[str]) -> Logs:
        """What there is of these answers; None for one that is not there."""
        query = f"SELECT {_OPENING}, frames FROM answers WHERE {_NAMED}"
        rows = self._db.execute(query, (json.dumps(list(answers)),)).fetchall()
        found = {row[0]: self._stored(Opening(*row[:-1]), row[-1]).frames for row in rows}
        return {answer: found.get(answer) for answer in answers}

    def news(self, tails: Mapping[str, int]) -> Logs:
        """What others have written of these answers since, or all there is; nothing of those without any news."""
        if self._news.none(self._db, tails):
            return {}
        with self._transaction("DEFERRED"):
            return self._news.of(self._db, tails)

    def named(self, continuity: str) -> str | None:
        """The id of the answer that a continuity id names."""
        row = self._db.execute("SELECT answer FROM answers WHERE continuity = ?", (continuity,)).fetchone()
        return None if row is None else str(row[0])

    def _unfinished(self, openings: Iterable[Opening]) -> list[Stored]:
        """Those answers with their events, which stand among those of others."""
        wanted = {opening.answer: (opening, list[bytes]()) for opening in openings}
        only = b"".join(name.encode() for name in wanted) if len(wanted) == 1 else b""  # most commits are of others
        rows = self._db.execute(
            f"SELECT frames FROM commits WHERE place >= (SELECT min(place) FROM answers WHERE {_NAMED})"
            " AND instr(frames, ?) ORDER BY place",
            (json.dumps(list(wanted)), only),
        )
        for (frames,) in rows:
            for answer, _, block in split(frames):
                if answer in wanted:
                    add(wanted[answer][1], block)
        return [Stored(opening, tuple(frames)) for opening, frames in wanted.values()]

    # ------------------------------------------------------------------------------------------- forgetting

    def touch(self, answers: Collection[str]) -> None:
        """Count the retention of these closed answers from now."""
        with self._transaction():
            self._db.execute(
                f"UPDATE answers SET closed = ? WHERE closed IS NOT NULL AND {_NAMED}",
                (time.time(), json.dumps(list(answers))),
            )

    def expire(self, retention: float, read: Collection[str]) -> list[str]:
        """Forget closed answers, and the commits that no unfinished one needs."""
        rows = self._db.execute("SELECT answer FROM answers WHERE closed <= ?", (time.time() - retention,))
        old = [answer for (answer,) in rows if answer not in read]
        spent = self._place("SELECT min(place) FROM commits") < self._needed()
        if old or spent:
            with self._transaction():
                self._db.execute(f"DELETE FROM answers WHERE {_NAMED}", (json.dumps(old),))
                self._db.execute("DELETE FROM commits WHERE place < ?", (self._needed(),))
        return old

    def _needed(self) -> int:
        """The first place that may hold events of an unfinished answer."""
        return self._place("SELECT min(place) FROM answers WHERE closed IS NULL")

    def _place(self, query: str) -> int:
        return self._number(query) or _NOWHERE

    def probe(self) -> None:
        """Write something, and take it back."""
        with self._transaction():
            place = self._db.execute("INSERT INTO commits (frames) VALUES (zeroblob(?))", (PROBE,)).lastrowid
        with self._transaction():
            self._db.execute("DELETE FROM commits WHERE place = ?", (place,))
