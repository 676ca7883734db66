"""Tokens of models that are paid on one day (UTC), for each person and in all, and how many may be."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import delete, select

from ..errors import Overloaded, RateLimited, StoreUnavailable
from .rows import accumulate
from .store import Store, whole
from .tables import spending

logger = logging.getLogger(__name__)

DAY = 86_400  # seconds
PERIOD = 2.0  # seconds between two looks at what other servers of the same store have spent
EVERYBODY = ""


class Spending:
    """Counts what is spent, and says when it is as much as may be: `most` in all, `most_of_one` of a person.

    An answer that is being written when the budget ends is written to its end. Nothing is counted without a budget.
    """

    def __init__(
        self,
        store: Store,
        most: int | None = None,
        most_of_one: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._most, self._most_of_one = most, most_of_one
        self._clock = clock
        self._kept: dict[tuple[int, str], int] = {}  # by day and person, as the store has it
        self._new: Counter[tuple[int, str]] = Counter()  # since

    @property
    def limited(self) -> bool:
        """Whether there is any budget."""
        return self._most is not None or self._most_of_one is not None

    def spend(self, owner: str, tokens: int) -> None:
        """Count tokens that are paid for somebody."""
        if self.limited:
            for who in {owner, EVERYBODY}:
                self._new[self._today, who] += tokens

    def admit(self, owner: str) -> None:
        """Raise `RateLimited` or `Overloaded` where nothing more may be spent today."""
        if owner and self._most_of_one is not None and self.spent(owner) >= self._most_of_one:
            raise RateLimited("You have used up what you may ask in one day.", retry_after=self._tomorrow)
        if self._most is not None and self.spent(EVERYBODY) >= self._most:
            raise Overloaded("What may be asked in one day is used up.", retry_after=self._tomorrow)

    def spent(self, owner: str) -> int:
        """The tokens of today."""
        key = self._today, owner
        return self._kept.get(key, 0) + self._new[key]

    @property
    def _today(self) -> int:
        return int(self._clock() // DAY)

    @property
    def _tomorrow(self) -> int:
        """Seconds until the next day, and not less than one."""
        return int(DAY - self._clock() % DAY) + 1

    async def run(self) -> None:
        """Keep what is new, and look at what others have spent, for ever."""
        while self.limited:
            await asyncio.sleep(PERIOD)
            with suppress(StoreUnavailable):  # which the store has logged; it is kept the next time
                await self.keep()

    @whole
    async def keep(self) -> None:
        """Add what is new to the store, and see what it has. Raises `StoreUnavailable`."""
        if not self.limited:
            return
        new, today = dict(self._new), self._today
        async with self._store.writing() if new else self._store.reading() as connection:
            for (day, owner), tokens in sorted(new.items()):  # in one order, so that no two servers wait for each other
                await accumulate(connection, spending, spending.c.tokens, day=day, owner=owner, tokens=tokens)
            if new:
                await connection.execute(delete(spending).where(spending.c.day < today - 1))
            rows = (await connection.execute(select(spending).where(spending.c.day == today))).all()
        self._kept = {(row.day, row.owner): row.tokens for row in rows}
        self._new = Counter({key: left for key, count in self._new.items() if (left := count - new.get(key, 0))})
