"""The answers of this node: asked for, found again, stopped, taken over, handed over."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..cancelling import cancel
from ..errors import (
    AnswerExpired,
    ContinuityConflict,
    Draining,
    HandedOver,
    JournalUnavailable,
    Overloaded,
    RequestError,
)
from ..metrics import ANSWERS_RUNNING, DRAINING, REQUESTS, TAKEOVERS
from .answer import Answer, Lifetimes, Produce
from .following import Following
from .journal import Journal, Lease, Opening, Stored
from .life import CLOSED, FOLLOWED, LEFT, RUNNING

logger = logging.getLogger(__name__)

CACHED = 256  # closed answers that nobody reads, held beside the journal
_ANSWER = re.compile(r"[0-9A-Za-z_-]{22}")
_EVENT_ID = re.compile(rf"({_ANSWER.pattern})\.(0|[1-9][0-9]{{0,8}})")


def parse_event_id(event_id: str) -> tuple[str, int]:
    """`<answer>.<offset>` as (answer, offset). Raises `AnswerExpired` for anything else: it is hostile."""
    match = _EVENT_ID.fullmatch(event_id)
    if match is None:
        raise AnswerExpired
    return match[1], int(match[2])


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, and by whom ("" for nobody known); `request` is what its producer needs."""

    question: str
    request: str = ""
    continuity: str = ""
    owner: str = ""

    @property
    def name(self) -> str:
        """What names the answer among all answers; "" where the asker has no name for it."""
        return f"{self.owner}/{self.continuity}" if self.continuity else ""


Admit = Callable[[], Awaitable[None]]  # may refuse a new answer


async def _anybody() -> None:
    """Admit everybody."""


class Answers:
    """Every answer that this node writes or shows; `produce` writes them, `model` is what does it there.

    `ended` is called with each answer whose end was recorded here.
    """

    def __init__(
        self,
        journal: Journal,
        produce: Produce,
        lifetimes: Lifetimes | None = None,
        model: str = "",
        ended: Callable[[Answer], object] = lambda answer: None,
    ) -> None:
        self.journal = journal
        self.lifetimes = lifetimes or Lifetimes()
        self.draining = False
        self._handing_on = False  # while it drains, with nobody else to ask for those who are connected
        self._produce = produce
        self._model = model
        self._ended = ended
        self._answers: dict[str, Answer] = {}
        self._running: set[Answer] = set()
        self._cached: OrderedDict[str, None] = OrderedDict()  # closed and unread, the longest unread first
        self._unread: set[str] = set()  # closed, and left by their last readers since the journal was told
        self._following = Following(journal)
        self._opening: dict[str, asyncio.Task[Answer]] = {}  # by what is being opened: one for all who ask at once

    def admit(self) -> None:
        """Raise `NotNow` where a new answer would be refused."""
        if self.draining and not self._handing_on:
            raise Draining
        if self.journal.problem:
            raise JournalUnavailable
        if len(self._running) >= self.lifetimes.running:
            raise Overloaded

    # ---------------------------------------------------------------------------------------------- asking

    async def ask(self, asked: Asked, admit: Admit = _anybody) -> Answer:
        """The answer that `continuity` names, or a new one; `admit` may refuse a new one.

        The same continuity id with another question raises `ContinuityConflict`. Nothing is produced for
        an answer that exists. Raises what `admit` raises, and `NotNow`.
        """
        if not asked.continuity:
            # Also in a task: one who leaves while it is recorded must not leave a record that nobody knows of.
            answer = await self._once(f"new {secrets.token_hex(8)}", self._create(asked, admit))
        else:
            answer = _same(await self._once(f"continuity {asked.name}", self._named(asked, admit)), asked)
        REQUESTS.labels("new" if answer.fresh else "join").inc()
        answer.fresh = False
        return answer

    async def named(self, asked: Asked) -> Answer | None:
        """The answer that `continuity` names, if there is one. Raises `ContinuityConflict`, as `ask` does."""
        answer = await self._existing(asked)
        return None if answer is None else _same(answer, asked)

    async def _once(self, what: str, opening: Coroutine[Any, Any, Answer]) -> Answer:
        """Open it once for all who want it; whoever leaves does not take it from the others."""
        task = self._opening.get(what)
        if task is None:
            task = self._opening[what] = asyncio.create_task(opening)
            task.add_done_callback(partial(self._opened, what))
        else:
            opening.close()
        return await asyncio.shield(task)

    def _opened(self, what: str, task: asyncio.Task[Answer]) -> None:
        del self._opening[what]
        if not task.cancelled():
            task.exception()  # whoever still waits raises it

    async def _named(self, asked: Asked, admit: Admit) -> Answer:
        existing = await self._existing(asked)
        return existing if existing is not None else await self._create(asked, admit)

    async def _existing(self, asked: Asked) -> Answer | None:
        answer = await self.journal.named(asked.name) if asked.name else None
        return None if answer is None else await self.get(answer, asked.owner)

    async def _create(self, asked: Asked, admit: Admit) -> Answer:
        self.admit()
        await admit()
        name, began = secrets.token_urlsafe(16), time.time()
        opening = Opening(name, asked.question, asked.request, asked.name, began, asked.owner)
        lease = await self.journal.create(opening)
        if isinstance(lease, str):
            return await self.get(lease, asked.owner)
        answer = self._write(lease, Stored(opening, ()))
        answer.fresh = True
        return answer

    def _write(self, lease: Lease, stored: Stored) -> Answer:
        """Write the rest of an answer here, for whoever reads it already, too."""
        answer = self._show(stored)
        answer.write(self.journal, lease, self._produce)
        return answer

    # --------------------------------------------------------------------------------------------- finding

    async def find(self, event_id: str, owner: str = "") -> tuple[Answer, int]:
        """The answer and offset that an event id names. Raises `AnswerExpired`, for what is another's too."""
        name, offset = parse_event_id(event_id)
        answer = await self.get(name, owner)
        if not answer.may_have(offset) and answer.state == FOLLOWED:
            # Whoever comes from the node that writes it may have seen more than this one has.
            answer = await self._once(f"answer {owner}/{name}", self._load(name, owner))
        if not answer.may_have(offset):
            raise AnswerExpired
        return answer, offset

    async def get(self, name: str, owner: str = "") -> Answer:
        """The answer of that id, if it is that owner's. Raises `AnswerExpired`."""
        answer = self._answers.get(name)
        if answer is not None and answer.opening.owner == owner and (answer.state != FOLLOWED or answer.log.readers):
            return answer
        if not _ANSWER.fullmatch(name):
            raise AnswerExpired
        # Another's is asked of the journal as an unknown one is: neither what comes nor when tells them apart.
        return await self._once(f"answer {owner}/{name}", self._load(name, owner))

    async def _load(self, name: str, owner: str) -> Answer:
        stored = await self.journal.find(name, owner)
        if stored is None:
            raise AnswerExpired
        return self._show(stored)

    def _show(self, stored: Stored) -> Answer:
        """What the journal has of an answer, as it may be here already."""
        answer = self._answers.get(stored.opening.answer)
        if answer is None:
            answer = Answer(stored.opening, self._model, self.lifetimes, self._changed)
            self._answers[answer.id] = answer
        answer.take(stored.frames)
        answer.doubtful = stored.doubtful
        self._following.count(answer)
        return answer

    def _changed(self, answer: Answer) -> None:
        self._following.count(answer)
        if answer.state == RUNNING:
            self._running.add(answer)
        elif answer in self._running:
            self._running.discard(answer)
            if answer.state == CLOSED:
                self._ended(answer)
        ANSWERS_RUNNING.set(len(self._running))
        if answer.state == LEFT:
            if self._answers.get(answer.id) is answer:  # and not what has been taken up of it since
                del self._answers[answer.id]
        elif answer.state == CLOSED and not answer.log.readers:
            self._keep_unread(answer.id)

    def _keep_unread(self, name: str) -> None:
        self._unread.add(name)
        self._cached[name] = None
        self._cached.move_to_end(name)
        while len(self._cached) > CACHED:
            oldest, _ = self._cached.popitem(last=False)
            if oldest in self._answers and not self._answers[oldest].log.readers:
                del self._answers[oldest]

    # ------------------------------------------------------------------------------------ from time to time

    async def tend(self) -> None:
        """Keep the leases, see what others write, forget what is over. Raises `JournalUnavailable`."""
        if self.journal.problem:
            await self.journal.probe()
        await self.journal.renew([answer.lease for answer in self._running if answer.lease is not None])
        running = {answer.id: answer for answer in self._running}
        for name in await self.journal.asked_to_stop(running):
            running[name].stop()
        for name in self._following.unread():
            del self._answers[name]
        await self._following.tend()
        unread, self._unread = self._unread, set()
        await self.journal.touch(unread)
        read = {name for name, answer in self._answers.items() if answer.log.readers}
        for name in await self.journal.expire(self.lifetimes.retention, read):
            self._cached.pop(name, None)
            if (answer := self._answers.pop(name, None)) is not None:
                answer.break_off(AnswerExpired())  # where this node has not noticed that another one finished it

    async def follow(self, wait: float) -> None:
        """Show what others write as it comes, within so many seconds. Raises `JournalUnavailable`."""
        await self._following.follow(wait)

    def break_off_followed(self, why: RequestError) -> None:
        """Tell the readers of what others write that nothing can be seen of it."""
        self._following.break_off(why)

    def _room(self) -> int:
        """How many more answers may be written here now."""
        return 0 if self.draining or self.journal.problem else self.lifetimes.running - len(self._running)

    async def take_over(self) -> None:
        """Go on with unfinished answers that nobody writes. Raises `JournalUnavailable`."""
        room = self._room()
        if room <= 0:
            return
        claimed = await self.journal.claim(room, {answer.id for answer in self._running})
        if self.draining:  # since it was asked for them
            await self.journal.release([lease for lease, _ in claimed])
            return
        for lease, stored in claimed:
            logger.info("answer %s is gone on with after %d events", lease.answer, len(stored.frames))
            TAKEOVERS.inc()
            self._write(lease, stored)

    # --------------------------------------------------------------------------------------------- the end

    async def stop(self, answer: Answer, within: float) -> None:
        """Stop it, and wait until that is recorded, at most so many seconds: another node may have to hear of it.

        Raises `JournalUnavailable`.
        """
        if not answer.log.over:
            answer.stop()
            if answer.state == FOLLOWED:
                await self.journal.ask_to_stop(answer.id)
            with suppress(TimeoutError):
                await asyncio.wait_for(answer.log.ended(), within)

    async def drain(self, seconds: float, *, admitting: bool = False) -> None:
        """Let running answers finish within `seconds`, then hand the rest over.

        New ones are refused, unless whoever asks has nobody else to ask.
        """
        self.draining, self._handing_on = True, admitting
        DRAINING.set(1)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while running := [answer for answer in self._running if not answer.log.over]:
                    await asyncio.gather(*(answer.log.ended() for answer in running))
        self._handing_on = False
        await self._hand_over()

    async def _hand_over(self) -> None:
        """Leave unfinished answers to whoever takes them over: another node, or this one when it comes back."""
        leases = [answer.lease for answer in self._running if answer.lease is not None]
        tasks = [answer.task for answer in self._running if answer.task is not None]
        for answer in tuple(self._answers.values()):
            answer.break_off(HandedOver() if self.journal.durable else Draining())
        await cancel(tasks)  # until the model's requests are closed
        try:
            await self.journal.release(leases)
        except RequestError:
            logger.warning("the leases of %d answers were not released; they run out by themselves", len(leases))


def _same(answer: Answer, asked: Asked) -> Answer:
    """The answer, if it is one to what was asked."""
    if answer.opening.question != asked.question:
        raise ContinuityConflict
    return answer
