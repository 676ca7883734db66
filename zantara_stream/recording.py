"""The record of questions: what came before one is recalled when it begins, and its end is kept when its log closes.

A turn is begun by whoever writes the answer, also after a takeover, and ended from the closed log by whoever sees it
first: the node that wrote it, the next question of the same conversation, or the sweep that looks for turns without an
end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .afterwards import Afterwards, Kept, fitted
from .answers.answer import Answer, internal_error
from .answers.answers import Answers
from .answers.fold import fold
from .answers.journal import Opening
from .cancelling import cancel
from .config import OFF
from .errors import AnswerExpired, RequestError
from .people.conversations import LOST, RUNNING, Earlier, Turn
from .people.memory import Remembered
from .people.remembering import stated
from .pipeline import Question, Recalled

if TYPE_CHECKING:
    from .generation.background import Background

SWEEP = 30.0  # seconds between looks for turns whose end was missed, and for what is too old
OVERDUE = 60.0  # seconds after which a turn without an end is looked at
PATIENCE = 5.0  # seconds that a stopping server waits for its record


class Recording:
    """Keeps the record. `watch` says whose ends it keeps; `run` does it as long as the server runs."""

    def __init__(self, kept: Kept, background: Background | None = None) -> None:
        self._kept = kept
        self._afterwards = Afterwards(kept, background)
        self._answers: Answers | None = None
        self._begun: set[str] = set()  # answers whose ends are to be kept
        self._ended: asyncio.Queue[Answer] = asyncio.Queue()

    def watch(self, answers: Answers) -> None:
        """Keep the record of these answers."""
        self._answers = answers

    # ------------------------------------------------------------------------------------------- beginning

    async def begin(self, opening: Opening, question: Question) -> Recalled:
        """Record that it was asked; what is known before it is answered. Raises `StoreUnavailable`."""
        owner = question.person.key
        remembers = bool(owner) and question.remembers and self._kept.remembers != OFF
        turn = Turn(opening.answer, owner, question.session, question.query, opening.started, remembers)
        if turn.session or turn.remembers:
            await self._kept.conversations.begin(turn)
            self._begun.add(turn.answer)
        if turn.remembers and (said := stated(turn.question)):  # now, so that what is said to be remembered is
            await self._kept.memory.learn(owner, said, turn.asked)
        earlier = await self._earlier(turn) if turn.session and not question.history else Earlier()
        remembered = await self._kept.memory.recall(owner) if remembers else Remembered()
        summary, turns = fitted(earlier)
        return Recalled(turns, summary, remembered.facts, remembered.summary, remembers)

    async def _earlier(self, turn: Turn) -> Earlier:
        earlier = await self._kept.conversations.earlier(turn)
        # The question may follow the end of an answer faster than that was recorded.
        if any([await self._settle(answer, turn.owner) for answer in earlier.unfinished]):
            earlier = await self._kept.conversations.earlier(turn)
        return earlier

    # ---------------------------------------------------------------------------------------------- ending

    def ended(self, answer: Answer) -> None:
        """Keep the end of an answer, soon, if its beginning was."""
        if answer.id in self._begun:
            self._begun.discard(answer.id)
            self._ended.put_nowait(answer)

    async def settled(self) -> None:
        """Wait until every end that came is kept, for a bounded time: what is missed is found at the next start."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.join(), PATIENCE)

    async def _settle(self, name: str, owner: str, asked: float | None = None) -> bool:
        """Keep the end of an answer if it has one, or has been forgotten; whether this call did."""
        assert self._answers is not None
        try:
            answer = await self._answers.get(name, owner)
            return answer.log.closed and await self._end(answer)
        except AnswerExpired:
            return self._is_lost(asked) and await self._kept.conversations.end(name, LOST)
        except RequestError:
            raise
        except Exception as error:  # neither the sweep nor the conversation stops at one turn that cannot be recorded
            internal_error(error, f"the record of answer {name}")
            return False

    def _is_lost(self, asked: float | None) -> bool:
        """Whether an answer that is not here is nowhere: another server of the same store may have its own journal."""
        assert self._answers is not None
        ended = asked is not None and asked < time.time() - self._answers.lifetimes.retention
        return ended or not self._answers.journal.durable

    async def _end(self, answer: Answer) -> bool:
        turn = await self._kept.conversations.turn(answer.id)
        if turn is None or turn.state != RUNNING:
            return False
        folded = fold(answer.log.frames())
        if not await self._kept.conversations.end(answer.id, folded.outcome, folded.text, folded.details):
            return False
        self._afterwards.follow(turn)
        return True

    # ------------------------------------------------------------------------------- from time to time

    async def run(self) -> None:
        """Keep ends as they come, and look from time to time for those that were missed."""
        sweeping = asyncio.create_task(self._sweep())
        try:
            while True:
                answer = await self._ended.get()
                await self._whatever_happens(self._end(answer), f"the record of answer {answer.id}")
                self._ended.task_done()
        finally:
            await cancel([sweeping])
            await self._afterwards.close()

    async def _sweep(self) -> None:
        overdue = 0.0  # at the start, whatever a process before has left
        while True:
            await self._whatever_happens(self._look(time.time() - overdue), "the record's sweep")
            overdue = OVERDUE
            await asyncio.sleep(SWEEP)

    async def _look(self, before: float) -> None:
        for turn in await self._kept.conversations.unfinished(before):
            await self._settle(turn.answer, turn.owner, turn.asked)
        await self._kept.conversations.expire()
        await self._kept.tickets.expire()

    async def _whatever_happens(self, work: Coroutine[Any, Any, object], where: str) -> None:
        try:
            await work
        except RequestError:
            pass  # the store has said so; the sweep comes back to what was not recorded
        except Exception as error:
            internal_error(error, where)
