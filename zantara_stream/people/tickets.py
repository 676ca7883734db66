"""One-time passes, for `EventSource`, which cannot set headers.

A ticket starts one answer: its first use names it, and from then on it opens that answer and no other, so that the
browser, which repeats the same address, gets the rest of it. What is kept is a digest: nobody can use what the
database holds.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, or_, select, update

from .rows import storable
from .store import Store, whole
from .tables import tickets

LIFETIME = 60.0  # seconds within which it must be used


@dataclass(frozen=True, slots=True)
class Ticket:
    """A pass as it was found: whose it is, for which question (its digest, or "" for any), of which answer by now."""

    digest: str
    identity: Mapping[str, Any]
    question: str
    fresh: bool  # whether it may still start its answer
    used: str | None

    def name_for(self, query: str) -> str:
        """The continuity id of the answer to that question that it starts, where the asker has none."""
        return f"ticket {self.digest} {_digest(query)}"

    def is_for(self, query: str) -> bool:
        """Whether it is good for that question."""
        return self.question in ("", _digest(query))


class Tickets:
    """Every ticket; one that was used is kept for `retention` seconds more, as its answer is."""

    def __init__(self, store: Store, retention: float) -> None:
        self._store = store
        self._retention = retention

    @whole
    async def issue(self, identity: Mapping[str, Any], query: str = "") -> str:
        """A ticket for somebody, good for one question if it is named."""
        ticket = secrets.token_urlsafe(32)
        row = {
            "digest": _digest(ticket),
            "identity": storable(dict(identity)),
            "question": _digest(query) if query else "",
            "expires": time.time() + LIFETIME,
        }
        async with self._store.writing() as connection:
            await connection.execute(tickets.insert(), row)
        return ticket

    @whole
    async def find(self, ticket: str) -> Ticket | None:
        """The ticket, if it may still be used for anything."""
        async with self._store.reading() as connection:
            this = select(tickets).where(tickets.c.digest == _digest(ticket))
            row = (await connection.execute(this)).one_or_none()
        if row is None or (row.used is None and row.expires <= time.time()):
            return None
        return Ticket(row.digest, row.identity, row.question, row.expires > time.time(), row.used)

    @whole
    async def use(self, ticket: Ticket, answer: str) -> bool:
        """Use it for the answer of that name; False where it was used for another."""
        unused = tickets.c.used.is_(None) & (tickets.c.expires > time.time())
        this = tickets.c.digest == ticket.digest, or_(tickets.c.used == answer, unused)
        async with self._store.writing() as connection:
            done = await connection.execute(update(tickets).where(*this).values(used=answer))
        return done.rowcount > 0

    @whole
    async def expire(self) -> None:
        """Forget those whose time is over."""
        now = time.time()
        unused = tickets.c.used.is_(None) & (tickets.c.expires <= now)
        async with self._store.writing() as connection:
            await connection.execute(delete(tickets).where(or_(unused, tickets.c.expires <= now - self._retention)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
