"""What people thought of answers, kept with the answer itself, which is forgotten long before anybody evaluates."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, tuple_

from .rows import AnyRow, storable, upsert
from .store import Store, whole
from .tables import feedback

PAGE = 500  # rows read at once

_ORDER = feedback.c.given, feedback.c.answer, feedback.c.owner


@dataclass(frozen=True, slots=True)
class Feedback:
    """A rating from 1 to 5 of an answer; `details` are its model, sources and citations."""

    answer: str
    rating: int
    comment: str
    question: str
    text: str
    details: Mapping[str, Any]
    given: float = 0.0  # unix seconds


class Feedbacks:
    """All feedback; one of a person and an answer, the last."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @whole
    async def give(self, owner: str, given: Feedback) -> None:
        """Keep it in the place of what the same person thought of the same answer before."""
        values = {
            "answer": given.answer,
            "owner": owner,
            "rating": given.rating,
            "comment": given.comment,
            "given": time.time(),
            "question": given.question,
            "text": given.text,
            "details": dict(given.details),
        }
        async with self._store.writing() as connection:
            await upsert(connection, feedback, **storable(values))

    async def all(self) -> AsyncIterator[Feedback]:
        """All of it, the oldest first, and not whose it is."""
        query = select(feedback).order_by(*_ORDER).limit(PAGE)
        page = query
        while True:
            async with self._store.reading() as connection:
                rows = (await connection.execute(page)).all()
            for row in rows:
                yield _feedback(row)
            if len(rows) < PAGE:
                return
            # Not by its number: one that is given again meanwhile moves to the end, and would hide another.
            last = rows[-1]
            page = query.where(tuple_(*_ORDER) > (last.given, last.answer, last.owner))


def _feedback(row: AnyRow) -> Feedback:
    return Feedback(**{name: value for name, value in row._mapping.items() if name != "owner"})
