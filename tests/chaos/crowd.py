"""Readers that ask by nginx, come back whatever happens, and note what each connection got."""

from __future__ import annotations

import asyncio
import random
from itertools import count

from aiohttp import ClientError, ClientSession, StreamReader
from faults.client import Reader

from .history import CONNECTION, READER, History, as_text

HASTE = 2.0  # times as fast as a browser comes back
TOGETHER = (1, 4)  # readers of one answer
ALONE = 0.25  # of all answers have no name, so that nobody else can read them
LATE = 10.0  # seconds after which somebody joins at the latest; one in four comes when all is over
CUTS = (0, 0, 0, 1)  # one connection in four drops by itself
_NUMBERS = count(1)


class Visitor(Reader):
    """One reader."""

    def __init__(self, url: str, question: str, continuity: str, history: History, draw: random.Random) -> None:
        super().__init__(url, question, continuity, lambda: draw.choice(CUTS) and draw.randint(1, 6000))
        self.haste = HASTE
        self.name = f"r{next(_NUMBERS)}"
        self._continuity = continuity
        self._history = history
        self._content: StreamReader | None = None

    def drop(self) -> None:
        """Break its connection, if it has one."""
        if self._content is not None:
            self._content.set_exception(ConnectionResetError("dropped"))

    async def visit(self, session: ClientSession) -> None:
        """Read the whole answer."""
        finished, why = False, ""
        try:
            await self.run(session)
            finished = True
        except AssertionError as error:  # an answer at which a browser gives up
            why = str(error)
        finally:
            self._history.note(
                READER, reader=self.name, question=self.query, finished=finished, why=why, failures=self.failures
            )

    async def _read(self, content: StreamReader) -> None:
        began, how = self._history.now, "ended"
        self._content = content
        try:
            await super()._read(content)
        except (ClientError, ConnectionError, TimeoutError) as error:
            how = repr(error)
            raise
        finally:
            self._content = None
            self._history.note(
                CONNECTION,
                reader=self.name,
                question=self.query,
                continuity=self._continuity,
                at=began,
                how=how,
                received=as_text(self.received[-1]),
            )


class Crowd:
    """So many readers at a time, who ask one question after another until it is `over`."""

    def __init__(self, url: str, session: ClientSession, history: History, seed: int) -> None:
        self.over = False
        self.reading: set[Visitor] = set()
        self.answered = 0
        self._url = url
        self._session = session
        self._history = history
        self._seed = seed
        self._draw = random.Random(seed + 1)
        self._questions = count(1)

    async def ask(self, readers: int) -> None:
        """Let them ask, until it is over and all have their answers."""
        together = sum(TOGETHER) / 2 * (1 - ALONE) + ALONE
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, round(readers / together))):
                group.create_task(self._ask_on())

    def drop(self, share: float) -> None:
        """Break the connections of that share of them."""
        for visitor in tuple(self.reading):
            if self._draw.random() < share:
                visitor.drop()

    async def _ask_on(self) -> None:
        await asyncio.sleep(self._draw.uniform(0, 5))
        while not self.over:
            await self._one_answer(next(self._questions))
            self.answered += 1

    async def _one_answer(self, number: int) -> None:
        alone = self._draw.random() < ALONE
        question, continuity = f"Question {self._seed}.{number}?", "" if alone else f"c{self._seed}.{number}"
        visitors = [self._visitor(question, continuity) for _ in range(1 if alone else self._draw.randint(*TOGETHER))]
        delays = [self._draw.uniform(0, LATE) for _ in visitors[1:]]
        last = visitors.pop() if len(visitors) > 1 and self._draw.random() < 0.25 else None
        await asyncio.gather(*(self._visit(*pair) for pair in zip(visitors, [0.0, *delays], strict=False)))
        if last is not None:
            await self._visit(last, 0)

    def _visitor(self, question: str, continuity: str) -> Visitor:
        return Visitor(self._url, question, continuity, self._history, self._draw)

    async def _visit(self, visitor: Visitor, delay: float) -> None:
        await asyncio.sleep(delay)
        self.reading.add(visitor)
        try:
            await visitor.visit(self._session)
        finally:
            self.reading.discard(visitor)
