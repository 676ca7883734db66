"""What was asked and answered, conversation by conversation.

A turn is begun when its answer is, and ended when its answer's log has closed, by whichever process sees it closed:
so neither a dropped line nor a restart leaves a hole. Every question is one person's; a session id names a
conversation among theirs alone, so what is somebody else's is looked for as what nobody has.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from .rows import AnyRow, insert_missing, storable
from .store import Store, whole
from .tables import conversations, turns

MOST = 200  # conversations of a person; the longest unused go
MOST_OF_NOBODY = 20_000  # of all who are not known, together
LONGEST = 400  # turns of a conversation; the oldest go
TITLE = 80  # characters
RUNNING, LOST = "running", "lost"

_ORDER = turns.c.asked, turns.c.answer
_USED = conversations.c.owner, conversations.c.session, conversations.c.updated


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and what was answered. `text` is empty while it is being written.

    `state` is running, complete, stopped, failed, or lost where its answer was forgotten before it was recorded.
    `remembers` says whether memory may learn from the question. `details` are the answer's model, sources and so on.
    """

    answer: str
    owner: str
    session: str
    question: str
    asked: float  # unix seconds
    remembers: bool = False
    state: str = RUNNING
    ended: float | None = None
    text: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Earlier:
    """What came before a turn: the summary of the oldest, the turns after those, and the answers still open."""

    summary: str = ""
    turns: tuple[Turn, ...] = ()
    unfinished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as a whole."""

    session: str
    title: str
    created: float
    updated: float
    count: int  # of turns
    summary: str = ""
    turns: tuple[Turn, ...] = ()


class Conversations:
    """The conversations of everybody, each asked for by its owner's key and session id."""

    def __init__(self, store: Store, retention: float) -> None:
        self._store = store
        self._retention = retention  # seconds that an unused one is kept

    @whole
    async def begin(self, turn: Turn) -> None:
        """Record that a question was asked, once. One that was asked before its conversation was deleted is not."""
        async with self._store.writing() as connection:
            if turn.session and not await _entered(connection, turn):
                return
            await insert_missing(connection, turns, **_row(turn))

    @whole
    async def earlier(self, turn: Turn) -> Earlier:
        """What was asked and answered before it in its conversation."""
        kept = _of(turn.owner, turn.session)
        async with self._store.reading() as connection:
            row = (
                await connection.execute(select(conversations).where(*_named(turn.owner, turn.session)))
            ).one_or_none()
            if row is None:
                return Earlier()
            since = turns.c.asked > row.summarised, tuple_(*_ORDER) < (turn.asked, turn.answer)
            found = await connection.execute(select(turns).where(*kept, *since).order_by(*_ORDER))
        before = [_turn(kept) for kept in found]
        unfinished = tuple(one.answer for one in before if one.ended is None)
        return Earlier(row.summary, tuple(one for one in before if one.text), unfinished)

    @whole
    async def end(self, answer: str, state: str, text: str = "", details: Mapping[str, Any] | None = None) -> bool:
        """Record how a turn ended; whether this call did. One outside of conversations is then forgotten."""
        values: dict[str, Any] = {"state": state, "ended": time.time()}
        values |= storable({"text": text, "details": dict(details or {})})
        this = turns.c.answer == answer, turns.c.ended.is_(None)
        async with self._store.writing() as connection:
            found = (await connection.execute(select(turns).where(*this))).one_or_none()
            if found is None:
                return False
            if found.session:  # its conversation is locked before its turns, as everywhere, or two could wait forever
                await connection.execute(
                    update(conversations).where(*_named(found.owner, found.session)).values(updated=values["ended"])
                )
            change = update(turns).values(values) if found.session else delete(turns)
            return bool((await connection.execute(change.where(*this))).rowcount > 0)

    @whole
    async def turn(self, answer: str) -> Turn | None:
        """The turn of an answer."""
        async with self._store.reading() as connection:
            row = (await connection.execute(select(turns).where(turns.c.answer == answer))).one_or_none()
        return None if row is None else _turn(row)

    @whole
    async def unfinished(self, before: float) -> list[Turn]:
        """The turns without an end that were asked before then."""
        async with self._store.reading() as connection:
            found = select(turns).where(turns.c.ended.is_(None), turns.c.asked < before).order_by(turns.c.asked)
            return [_turn(row) for row in await connection.execute(found)]

    @whole
    async def listed(self, owner: str) -> list[Conversation]:
        """Those of a person, the last used first, without their turns."""
        number = func.count(turns.c.answer).label("number")
        of_it = (turns.c.owner == conversations.c.owner) & (turns.c.session == conversations.c.session)
        query = select(conversations, number).join(turns, of_it).where(conversations.c.owner == owner)
        query = query.group_by(*conversations.c).order_by(conversations.c.updated.desc())
        async with self._store.reading() as connection:
            return [_conversation(row, row.number) for row in await connection.execute(query)]

    @whole
    async def read(self, owner: str, session: str) -> Conversation | None:
        """The whole conversation."""
        named = _named(owner, session)
        async with self._store.reading() as connection:
            row = (await connection.execute(select(conversations).where(*named))).one_or_none()
            found = await connection.execute(select(turns).where(*_of(owner, session)).order_by(*_ORDER))
        spoken = tuple(_turn(kept) for kept in found)
        return _conversation(row, len(spoken), spoken) if row is not None and spoken else None

    @whole
    async def delete(self, owner: str, session: str) -> bool:
        """Forget a conversation, and what is still being answered in it too; whether there was one."""
        named = _named(owner, session)
        blank = {"title": "", "summary": "", "summarised": 0.0, "cleared": time.time()}
        async with self._store.writing() as connection:
            await connection.execute(update(conversations).where(*named).values(blank))
            gone = await connection.execute(delete(turns).where(*_of(owner, session)))
        return gone.rowcount > 0

    @whole
    async def summarise(self, owner: str, session: str, summary: str, until: float) -> None:
        """Let a summary stand for the turns asked until then."""
        named = _named(owner, session)
        newer = conversations.c.summarised < until, conversations.c.cleared < until
        values = {"summary": storable(summary), "summarised": until}
        async with self._store.writing() as connection:
            await connection.execute(update(conversations).where(*named, *newer).values(values))

    @whole
    async def expire(self) -> None:
        """Forget the conversations that nobody has used for as long as they are kept."""
        old = conversations.c.updated < time.time() - self._retention
        async with self._store.writing() as connection:
            await _forget(connection, (await connection.execute(select(*_USED).where(old))).all())


async def _entered(connection: AsyncConnection, turn: Turn) -> bool:
    """Make sure that its conversation is there; False where that was deleted since the question was asked."""
    times = {"created": turn.asked, "updated": turn.asked, "cleared": 0.0, "summarised": 0.0}
    title = storable(" ".join(turn.question.split())[:TITLE])
    keys = {"owner": turn.owner, "session": turn.session}
    row = None
    while row is None:  # one that is there may go before it is locked
        if await insert_missing(connection, conversations, **keys, title=title, summary="", **times):
            await _bound(connection, turn)
            return True
        row = (
            await connection.execute(select(conversations).where(*_named(turn.owner, turn.session)).with_for_update())
        ).one_or_none()
    if turn.asked <= row.cleared:
        return False
    fresh = {} if row.title else {"title": title, "created": turn.asked}
    await connection.execute(
        update(conversations).where(*_named(turn.owner, turn.session)).values(updated=time.time(), **fresh)
    )
    await _shorten(connection, turn)
    return True


async def _bound(connection: AsyncConnection, turn: Turn) -> None:
    """Let the longest unused conversations go where the turn's is one too many."""
    most = MOST if turn.owner else MOST_OF_NOBODY
    others = select(*_USED).where(conversations.c.owner == turn.owner, conversations.c.session != turn.session)
    spare = others.order_by(conversations.c.updated.desc(), conversations.c.session).offset(most - 1)
    await _forget(connection, (await connection.execute(spare)).all())


async def _shorten(connection: AsyncConnection, turn: Turn) -> None:
    """Let the oldest turns go where this is about to become one too many."""
    others = select(turns.c.asked).where(*_of(turn.owner, turn.session), turns.c.answer != turn.answer)
    oldest = others.order_by(turns.c.asked.desc()).offset(LONGEST - 1).limit(1)
    limit = (await connection.execute(oldest)).scalar_one_or_none()
    if limit is not None:
        await connection.execute(delete(turns).where(*_of(turn.owner, turn.session), turns.c.asked <= limit))


async def _forget(connection: AsyncConnection, found: Sequence[AnyRow]) -> None:
    """Forget those conversations that were not used since they were found; in one order, or two could wait forever."""
    for row in sorted(found, key=tuple):
        unused = delete(conversations).where(*_named(row.owner, row.session), conversations.c.updated == row.updated)
        if (await connection.execute(unused)).rowcount:
            await connection.execute(delete(turns).where(*_of(row.owner, row.session)))


def _of(owner: str, session: str) -> tuple[Any, Any]:
    return turns.c.owner == owner, turns.c.session == session


def _named(owner: str, session: str) -> tuple[Any, Any]:
    return conversations.c.owner == owner, conversations.c.session == session


def _row(turn: Turn) -> dict[str, Any]:
    return {
        "answer": turn.answer,
        "owner": turn.owner,
        "session": turn.session,
        "question": storable(turn.question),
        "asked": turn.asked,
        "remembers": int(turn.remembers),
        "state": turn.state,
        "ended": turn.ended,
        "text": turn.text,
        "details": dict(turn.details),
    }


def _turn(row: AnyRow) -> Turn:
    values = dict(row._mapping)
    return Turn(**{**values, "remembers": bool(values["remembers"])})


def _conversation(row: AnyRow, count: int, spoken: tuple[Turn, ...] = ()) -> Conversation:
    return Conversation(row.session, row.title, row.created, row.updated, count, row.summary, spoken)
