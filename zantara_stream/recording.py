"""The record of questions: what came before one is recalled when it begins, and its end is kept when its log closes.

A turn is begun by whoever writes the answer, also after a takeover, and ended from the closed log by whoever sees it
first: the node that wrote it, the next question of the same conversation, or the sweep that looks for turns without an
end. What a language model is asked beside the answer, about the person and for summaries, comes after that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
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
AT_ONCE = 4  # background requests to the model


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
        """Keep the end of an answer, soon."""
        self._ended.put_nowait(answer)

    async def settled(self) -> None:
        """Wait until every end that came is kept, for a bounded time: what is missed is found at the next start."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.join(), PATIENCE)

    async def _settle(self, name: str, owner: str) -> bool:
        """Keep the end of an answer if it has one, or has been forgotten."""
        assert self._answers is not None
        try:
            answer = await self._answers.get(name, owner)
        except AnswerExpired:
            return await self._kept.conversations.end(name, LOST)
        return answer.log.closed and await self._end(answer)

    async def _end(self, answer: Answer) -> bool:
        turn = await self._kept.conversations.turn(answer.id)
        if turn is None or turn.state != RUNNING:
            return False
        folded = fold(answer.log.frames())
        said = stated(turn.question) if turn.remembers else []
        if said:  # before the end is recorded: a killed process leaves the turn to the next one, and this is done again
            await self._kept.memory.learn(turn.owner, said, turn.asked)
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
            await self._settle(turn.answer, turn.owner)
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
            self._start(self._learn(turn, self._background), "memory")
        if turn.session:
            self._start(self._summarise(turn, self._background), "summary")

    def _start(self, work: Coroutine[Any, Any, Mapping[str, int]], purpose: str) -> None:
        task = asyncio.create_task(self._bounded(work, purpose))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bounded(self, work: Coroutine[Any, Any, Mapping[str, int]], purpose: str) -> None:
        try:
            async with self._asking:
                usage = await work
        except RequestError as error:
            logger.warning("the background work for %s failed: %s", purpose, error)
            usage = getattr(error, "usage", {})
        except Exception as error:
            internal_error(error, f"the background work for {purpose}")
            usage = {}
        finally:
            work.close()
        for kind, tokens in usage.items():
            BACKGROUND_TOKENS.labels(purpose=purpose, type=kind).inc(tokens)

    async def _learn(self, turn: Turn, background: Background) -> Mapping[str, int]:
        """Let the model find facts in what the person asked, and in nothing else."""
        memory = self._kept.memory
        before = await memory.recall(turn.owner)
        known = [(fact.id, fact.text) for fact in before.facts]
        found = await background.find_facts(turn.question, known, before.summary)
        said = [Statement(noted.text, replaces=noted.replaces) for noted in found.noted]
        if said or found.summary:
            await memory.learn(turn.owner, said, turn.asked, found.summary)
        return found.usage

    async def _summarise(self, turn: Turn, background: Background) -> Mapping[str, int]:
        """Let a summary stand for the older turns of a conversation that has become long."""
        after = Turn("", turn.owner, turn.session, "", time.time())
        earlier = await self._kept.conversations.earlier(after)
        older = _older(earlier.turns)
        if not older:
            return {}
        summary, usage = await background.summarise(_said(older), earlier.summary)
        await self._kept.conversations.summarise(turn.owner, turn.session, summary, older[-1].asked)
        return usage


def _said(turns: tuple[Turn, ...]) -> tuple[Said, ...]:
    return tuple(said for turn in turns for said in (Said("user", turn.question), Said("assistant", turn.text)))


def _size(turn: Turn) -> int:
    return len(turn.question) + len(turn.text)


def _newest(turns: tuple[Turn, ...], most: int) -> int:
    """How many of the last turns have at most so many characters together, the last one whatever it has."""
    size = count = 0
    for turn in reversed(turns):
        size += _size(turn)
        if count and size > most:
            break
        count += 1
    return count


def _older(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns that are to be summarised: none, as long as they are few together."""
    if sum(map(_size, turns)) <= LONG:
        return ()
    return turns[: len(turns) - _newest(turns, SHORT)]


def _fitted(earlier: Earlier) -> tuple[str, tuple[Said, ...]]:
    """The summary and the turns that go with a question; what is left out of them is said."""
    count = _newest(earlier.turns, MOST)
    if count == len(earlier.turns):
        return earlier.summary, _said(earlier.turns)
    return f"{earlier.summary}\n{LEFT_OUT}".strip(), _said(earlier.turns[-count:])
