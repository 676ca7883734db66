"""The record of questions: what came before one is recalled when it begins, and its end is kept when its log closes.

A turn is begun by whoever writes the answer, also after a takeover, and ended from the closed log by whoever sees it
first: the node that wrote it, the next question of the same conversation, or the sweep that looks for turns without an
end. What a language model is asked beside the answer, about the person and for summaries, comes after that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .answers.answer import Answer, internal_error
from .answers.answers import Answers
from .answers.fold import fold
from .answers.journal import Opening
from .config import EXPLICIT, OFF
from .errors import AnswerExpired, RequestError
from .generation.answerer import Turn as Said
from .metrics import BACKGROUND_TOKENS
from .people.conversations import LOST, RUNNING, Conversations, Earlier, Turn
from .people.facts import Statement
from .people.memory import Memory, Remembered
from .people.remembering import stated
from .people.tickets import Tickets
from .pipeline import Question, Recalled

if TYPE_CHECKING:
    from .generation.background import Background

logger = logging.getLogger(__name__)

SWEEP = 30.0  # seconds between looks for turns whose end was missed, and for what is too old
OVERDUE = 60.0  # seconds after which a turn without an end is looked at
LONG, SHORT = 32_000, 12_000  # characters of turns from which the older are summarised, and that are left as they are
MOST = 200_000  # characters of turns that go with a question, if they could not be summarised
LEFT_OUT = "(The oldest turns of this conversation are left out, since they could not be summarised.)"
PATIENCE = 5.0  # seconds that a stopping server waits for its record
AT_ONCE, WAITING = 4, 200  # background requests to the model: made at once, and waited for


@dataclass(frozen=True, slots=True)
class Kept:
    """Where people's things are kept, and how much is remembered: `on`, `explicit` or `off`."""

    conversations: Conversations
    memory: Memory
    tickets: Tickets
    remembers: str


class Recording:
    """Keeps the record. `watch` says whose ends it keeps; `run` does it as long as the server runs."""

    def __init__(self, kept: Kept, background: Background | None = None) -> None:
        self._kept = kept
        self._background = background
        self._answers: Answers | None = None
        self._begun: set[str] = set()  # answers whose ends are to be kept
        self._ended: asyncio.Queue[Answer] = asyncio.Queue()
        self._asking = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

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
        summary, turns = _fitted(earlier)
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
        self._follow_up(turn)
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
            for task in (sweeping, *self._tasks):
                task.cancel()
            await asyncio.gather(sweeping, *self._tasks, return_exceptions=True)

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

    # ------------------------------------------------------------------------------- beside the answer

    def _follow_up(self, turn: Turn) -> None:
        if self._background is None:
            return
        if turn.remembers and self._kept.remembers != EXPLICIT:
            self._start(partial(self._learn, turn, self._background), "memory")
        if turn.session:
            self._start(partial(self._summarise, turn, self._background), "summary")

    def _start(self, work: Callable[[], Awaitable[None]], purpose: str) -> None:
        if len(self._tasks) >= WAITING:
            logger.warning("background work for %s is left out: the language model is too slow for it", purpose)
            return
        task = asyncio.create_task(self._bounded(work, purpose))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bounded(self, work: Callable[[], Awaitable[None]], purpose: str) -> None:
        try:
            async with self._asking:
                await work()
        except RequestError as error:
            logger.warning("the background work for %s failed: %s", purpose, error)
            _count(purpose, getattr(error, "usage", {}))
        except Exception as error:
            internal_error(error, f"the background work for {purpose}")

    async def _learn(self, turn: Turn, background: Background) -> None:
        """Let the model find facts in what the person asked, and in nothing else."""
        memory = self._kept.memory
        before = await memory.recall(turn.owner)
        known = [(fact.id, fact.text) for fact in before.facts]
        found = await background.find_facts(turn.question, known, before.summary)
        _count("memory", found.usage)  # now: what is paid is paid, also where the store fails after it
        said = [Statement(noted.text, replaces=noted.replaces) for noted in found.noted]
        if said or found.summary:
            await memory.learn(turn.owner, said, turn.asked, found.summary)

    async def _summarise(self, turn: Turn, background: Background) -> None:
        """Let a summary stand for the older turns of a conversation that has become long."""
        after = Turn("", turn.owner, turn.session, "", time.time())
        earlier = await self._kept.conversations.earlier(after)
        # Not beyond a turn that is still answered: the summary would hide what it has yet to say.
        first = await self._kept.conversations.turn(earlier.unfinished[0]) if earlier.unfinished else after
        older = tuple(turn for turn in _older(earlier.turns) if turn.asked < (first or after).asked)
        if not older:
            return
        summary, usage = await background.summarise(_said(older), earlier.summary)
        _count("summary", usage)
        await self._kept.conversations.summarise(turn.owner, turn.session, summary, older[-1].asked)


def _count(purpose: str, usage: Mapping[str, int]) -> None:
    for kind, tokens in usage.items():
        BACKGROUND_TOKENS.labels(purpose=purpose, type=kind).inc(tokens)


def _said(turns: tuple[Turn, ...]) -> tuple[Said, ...]:
    return tuple(said for turn in turns for said in (Said("user", turn.question), Said("assistant", turn.text)))


def _size(turn: Turn) -> int:
    return len(turn.question) + len(turn.text)


def _newest(turns: tuple[Turn, ...], most: int) -> int:
    """How many of the last turns have at most so many characters together, the last one whatever it has."""
    together = accumulate(map(_size, reversed(turns)))
    return max(sum(size <= most for size in together), min(1, len(turns)))


def _older(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns that are to be summarised: none, as long as they are few together."""
    return turns[: len(turns) - _newest(turns, SHORT)] if sum(map(_size, turns)) > LONG else ()


def _fitted(earlier: Earlier) -> tuple[str, tuple[Said, ...]]:
    """The summary and the turns that go with a question; what is left out of them is said."""
    kept = earlier.turns[len(earlier.turns) - _newest(earlier.turns, MOST) :]
    summary = earlier.summary if kept == earlier.turns else f"{earlier.summary}\n{LEFT_OUT}".strip()
    return summary, _said(kept)
