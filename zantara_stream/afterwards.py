"""What a language model is asked after an answer: facts about the person, and a summary of a long conversation.

Nobody waits for it, and nothing of it is needed for the record: what a killed process did not come to is not done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from .answers.answer import internal_error
from .cancelling import cancel
from .config import EXPLICIT
from .errors import RequestError
from .generation.answerer import Turn as Said
from .metrics import BACKGROUND_TOKENS
from .people.conversations import Conversations, Earlier, Turn
from .people.facts import Statement
from .people.memory import Memory
from .people.tickets import Tickets

if TYPE_CHECKING:
    from .generation.background import Background

logger = logging.getLogger(__name__)

LONG, SHORT = 32_000, 12_000  # characters of turns from which the older are summarised, and that are left as they are
MOST = 200_000  # characters of turns that go with a question, if they could not be summarised
LEFT_OUT = "(The oldest turns of this conversation are left out, since they could not be summarised.)"
AT_ONCE, WAITING = 4, 200  # requests to the model: made at once, and waited for


@dataclass(frozen=True, slots=True)
class Kept:
    """Where people's things are kept, and how much is remembered: `on`, `explicit` or `off`."""

    conversations: Conversations
    memory: Memory
    tickets: Tickets
    remembers: str


class Afterwards:
    """Asks a model about turns that have ended; `background` is None where there is none to ask."""

    def __init__(self, kept: Kept, background: Background | None) -> None:
        self._kept = kept
        self._background = background
        self._asking = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, turn: Turn) -> None:
        """Ask what is to be asked after that turn."""
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

    async def close(self) -> None:
        """Ask nothing more."""
        await cancel(tuple(self._tasks))


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


def fitted(earlier: Earlier) -> tuple[str, tuple[Said, ...]]:
    """The summary and the turns that go with a question; what is left out of them is said."""
    kept = earlier.turns[len(earlier.turns) - _newest(earlier.turns, MOST) :]
    summary = earlier.summary if kept == earlier.turns else f"{earlier.summary}\n{LEFT_OUT}".strip()
    return summary, _said(kept)
