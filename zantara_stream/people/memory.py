"""What is remembered of a person: kept by their key, merged by the rules of `facts`, forgotten when they say so."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from .facts import Fact, Statement, brief, merged
from .rows import insert_missing, storable
from .store import Store, whole
from .tables import facts, people

MOMENT = 0.001  # seconds


@dataclass(frozen=True, slots=True)
class Remembered:
    """The facts of a person in the order in which they were learned, and a summary of them."""

    facts: tuple[Fact, ...] = ()
    summary: str = ""


class Memory:
    """Everybody's memory, each asked for by its owner's key."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @whole
    async def recall(self, owner: str) -> Remembered:
        """All that is remembered; the summary is made from the facts where no model has written one."""
        async with self._store.reading() as connection:
            kept = await _facts(connection, owner)
            row = (await connection.execute(select(people).where(people.c.owner == owner))).one_or_none()
        summary = row.summary if row is not None and kept else ""
        return Remembered(tuple(kept), summary or brief(kept))

    @whole
    async def learn(self, owner: str, said: Sequence[Statement], since: float, summary: str = "") -> None:
        """Take in what they said at `since` (unix seconds); nothing of it where they had something forgotten later."""
        now = time.time()
        async with self._store.writing() as connection:
            if await _forgotten(connection, owner) >= since:
                return
            before = await _facts(connection, owner)
            said = [statement for statement in said if not _outdated(statement, before, since)]
            after = before
            for place, statement in enumerate(said):  # a moment apart, so that they stay in their order
                after = merged(after, [statement], now + place * MOMENT, lambda: secrets.token_urlsafe(12))
            await _replace(connection, owner, before, after)
            # A summary that was written before these facts leaves them out, or tells what they have superseded.
            if summary or [fact.text for fact in after] != [fact.text for fact in before]:
                written = update(people).where(people.c.owner == owner).values(summary=storable(summary))
                await connection.execute(written)

    @whole
    async def forget(self, owner: str, fact: str = "") -> int:
        """Forget one fact, or all of them, and the summary, which may tell of it; how many there were."""
        these = (facts.c.owner == owner, facts.c.id == fact) if fact else (facts.c.owner == owner,)
        async with self._store.writing() as connection:
            await _forgotten(connection, owner)
            gone = (await connection.execute(delete(facts).where(*these))).rowcount
            if gone or not fact:
                blank = update(people).where(people.c.owner == owner).values(summary="", forgotten=time.time())
                await connection.execute(blank)
        return gone


def _outdated(statement: Statement, known: Sequence[Fact], since: float) -> bool:
    """Whether something newer than the statement has been learned of the same thing by now."""
    newer = {name for fact in known if fact.learned > since for name in (fact.id, fact.slot) if name}
    return bool(newer & {statement.replaces, statement.slot})


async def _forgotten(connection: AsyncConnection, owner: str) -> float:
    """When they last had something forgotten; until the transaction's end nobody else changes their memory."""
    await insert_missing(connection, people, owner=owner, summary="", forgotten=0.0)
    row = await connection.execute(select(people.c.forgotten).where(people.c.owner == owner).with_for_update())
    return float(row.scalar_one())


async def _facts(connection: AsyncConnection, owner: str) -> list[Fact]:
    columns = [column for column in facts.c if column.name != "owner"]
    found = select(*columns).where(facts.c.owner == owner).order_by(facts.c.learned, facts.c.id)
    return [Fact(**row._mapping) for row in await connection.execute(found)]


async def _replace(connection: AsyncConnection, owner: str, before: Sequence[Fact], after: Sequence[Fact]) -> None:
    """Write what has changed."""
    gone = [fact.id for fact in before if fact not in after]
    new = [{**storable(asdict(fact)), "owner": owner} for fact in after if fact not in before]
    if gone:
        await connection.execute(delete(facts).where(facts.c.owner == owner, facts.c.id.in_(gone)))
    if new:
        await connection.execute(facts.insert(), new)
