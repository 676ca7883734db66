"""Answers that are shown here and written elsewhere, or by nobody: what the journal has of them, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from ..errors import AnswerExpired, JournalUnavailable, RequestError
from .answer import Answer
from .journal import Journal
from .life import FOLLOWED

QUIET = 0.05  # seconds between two looks whether anybody reads what is written elsewhere


class Following:
    """Those answers, by their ids."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._followed: dict[str, Answer] = {}
        self._some = asyncio.Event()  # set where there are any
        self._idle: set[str] = set()  # not read when they were last looked at
        self._marked: set[str] = set()  # of which the journal was told since the last tending that they are read here

    def count(self, answer: Answer) -> None:
        """Know an answer that is shown here by its state."""
        if answer.state == FOLLOWED:
            self._followed[answer.id] = answer
            self._some.set()
        elif self._followed.get(answer.id) is answer:
            del self._followed[answer.id]

    def unread(self) -> list[str]:
        """Let go of those that nobody has read for a while, unless they are to be stopped."""
        idle = {name for name, a in self._followed.items() if not (a.log.readers or a.stop_wanted)}
        gone = [name for name in idle if name in self._idle]  # not at once: somebody may be about to read
        for name in gone:
            del self._followed[name]
        self._idle = idle
        return gone

    async def tend(self) -> None:
        """Say which of them are read here, and see what has come of all. Raises `JournalUnavailable`."""
        self._marked.clear()
        await self.follow(0)

    async def follow(self, wait: float) -> None:
        """Show what comes of them within so many seconds; where there are none, wait for one unless `wait` is 0.

        Raises `JournalUnavailable`.
        """
        if wait:
            await self._some.wait()
        wanted = {name: a for name, a in self._followed.items() if a.log.readers or (a.stop_wanted and not a.log.over)}
        if wanted:
            await self._mark([name for name, answer in wanted.items() if answer.log.readers])
            tails = {name: answer.log.tail for name, answer in wanted.items()}
            for name, frames in (await self._journal.follow(tails, wait)).items():
                self._take(name, frames)
        elif not self._followed:
            self._some.clear()
        elif wait:
            await asyncio.sleep(QUIET)

    async def _mark(self, read: Collection[str]) -> None:
        """Say at once what is read here since the last tending, or since the journal was away."""
        new = [name for name in read if name not in self._marked]
        if not new:
            return
        try:
            await self._journal.mark_read(new)
            self._marked.update(new)
        except JournalUnavailable:
            self._marked.clear()
            raise

    def _take(self, name: str, frames: tuple[bytes, ...] | None) -> None:
        answer = self._followed.get(name)
        if answer is not None and frames is not None:
            answer.take(frames)
        elif answer is not None:
            answer.break_off(AnswerExpired())

    def break_off(self, why: RequestError) -> None:
        """Tell the readers of all of them that nothing can be seen of what others write."""
        for answer in tuple(self._followed.values()):
            answer.break_off(why)
