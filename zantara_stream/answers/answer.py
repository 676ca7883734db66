"""One answer on this node: its log, the task that writes it where it is written here, and its grace."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

from ..errors import HandedOver, Internal, JournalUnavailable, ModelError, RequestError
from ..metrics import UPSTREAM_RETRIES
from .events import Done, Event, Failed, added, split
from .fold import Folded, fold
from .journal import Fenced, Journal, Lease, Lost, Opening
from .life import BROKEN_OFF, CLAIMED, ENDED, FENCED, FOLLOWED, LIFE, RUNNING
from .log import Cursor, EventLog
from .writer import LEAP, Writer

logger = logging.getLogger(__name__)
ANSWER = ContextVar("answer", default="")  # the id of the answer that is written, for whatever is logged meanwhile

# Writes the rest of an answer: its opening, which has what was asked, and what has been written so far.
Produce = Callable[[Opening, Folded], AsyncGenerator[Event, None]]

PAUSES = (0.5, 1.0, 2.0)  # seconds before each try to go on after the model broke off, with as much jitter
ARRIVAL = 1.0  # seconds until the first reader comes, at least: it is on its way when the answer is begun
TAKEOVERS = 8  # of one answer at most; more, and it is what kills its writers


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long answers live without readers, in seconds, and their bounds."""

    grace: float = 30.0
    retention: float = 86400.0
    running: int = 2000  # answers
    log: int = 1 << 20  # bytes that are held of one log, and of its text


class Answer:
    """One answer. `changed` is called when its state has changed, and when nobody reads it any more.

    What it no longer needs it lets go of, so that one that is forgotten goes at once, with its log: held in a circle
    it would lie about until a garbage collection, and thousands of them did.
    """

    def __init__(self, opening: Opening, model: str, lifetimes: Lifetimes, changed: Callable[[Answer], None]) -> None:
        self.opening = opening
        self.id = opening.answer
        self.state = FOLLOWED
        self.log = EventLog(self.id)
        self.stop_wanted = False
        self.fresh = False  # whether whoever began it has yet to be given it
        self.doubtful = False  # whether readers may have seen what the journal has lost
        self.model = model
        self._lifetimes = lifetimes
        self._changed = changed
        self._usage: dict[str, int] = {}
        self._grace = max(lifetimes.grace, ARRIVAL)
        self._left_at: int | None = None  # bytes of text that were written when the last reader left
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._writer: Writer | None = None

    # --------------------------------------------------------------------------------------------- writing

    def write(self, journal: Journal, lease: Lease, produce: Produce) -> None:
        """Let `produce` write the rest of the log, in a task of its own."""
        writer = Writer(self.log, journal, lease, self.opening.started, self._lifetimes.log, self._close, self._lost)
        self._writer = writer
        if self.doubtful:
            writer.leap()
            self.doubtful = False
        self._left_at = None if self.log.readers else writer.text_size
        self._task = asyncio.create_task(self._write(writer, produce), name=f"answer {self.id}")
        self._task.add_done_callback(partial(self._ended, writer))  # by then another may write it here
        self._become(CLAIMED)
        if self.stop_wanted:
            self.stop()

    def may_have(self, offset: int) -> bool:
        """Whether a reader may have seen it so far."""
        return offset <= self.log.tail + (LEAP if self.doubtful and not self.log.closed else 0)

    @property
    def name(self) -> str:
        """What its asker calls it; its id, where they have no name for it."""
        return self.opening.continuity or self.id

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that writes it, as long as one does here."""
        return self._task

    @property
    def abandoned(self) -> int:
        """How many bytes of its text were written here after the last reader had left; known until its end is told."""
        return 0 if self._writer is None or self._left_at is None else self._writer.text_size - self._left_at

    @property
    def lease(self) -> Lease | None:
        """What lets this node write, while it does."""
        return None if self._writer is None else self._writer.lease

    async def _write(self, writer: Writer, produce: Produce) -> None:
        ANSWER.set(self.id)
        if writer.lease.token > TAKEOVERS:
            raise Internal("This answer was begun again too often. Please ask again.")
        for pause in (*PAUSES, None):
            try:
                return await self._attempt(writer, produce)
            except ModelError as error:
                self._usage = added(self._usage, error.usage)
                # What fails before it has begun has been tried again by who asked the model.
                if pause is None or not error.retryable or not (error.begun or writer.frames()):
                    raise
                logger.warning("answer %s broke off and is gone on with: %s", self.id, error)
            UPSTREAM_RETRIES.labels("broken_off").inc()
            await asyncio.sleep(pause * random.uniform(1, 2))

    async def _attempt(self, writer: Writer, produce: Produce) -> None:
        written = fold(writer.frames())
        written.usage = self._usage
        async with aclosing(produce(self.opening, written)) as events:
            async for event in events:
                writer.append(event)
                if writer.behind:
                    await writer.settled()
                if writer.full and not writer.closed:
                    writer.append(Done("max_tokens", self.model, self._usage))
                    return

    def _ended(self, writer: Writer, task: asyncio.Task[None]) -> None:
        # A callback, because a task that is cancelled before its first step never runs a handler of its own.
        if self._task is task:
            self._task = None  # whose error holds all that it went through
        error = None if task.cancelled() else task.exception()
        if not writer.closed:
            if self.state != RUNNING or writer.broken:
                return
            if task.cancelled() and not self.stop_wanted:
                self.break_off(HandedOver())  # its process ends, and nobody wanted that of it: another goes on with it
            else:
                writer.append(self._terminal(task))
        elif error is not None:
            internal_error(error, f"answer {self.id}, after its end")

    def _terminal(self, task: asyncio.Task[None]) -> Event:
        if task.cancelled():
            return Done("stopped", self.model, self._usage)
        error = task.exception()
        if not isinstance(error, RequestError):
            error = internal_error(error, f"answer {self.id}")
        return Failed(error.code, str(error), error.retryable)

    def stop(self) -> None:
        """End the answer now, or as soon as it is written here. What was written stands."""
        self.stop_wanted = True
        self._end_task()

    # --------------------------------------------------------------------------------- what happens to it

    def take(self, frames: tuple[bytes, ...]) -> None:
        """Show what the journal has got of an answer that is not written here."""
        if self.state == FOLLOWED:
            blocks = split(b"".join(frames))
            self.log.extend([block for _, offset, block in blocks if offset > self.log.tail])
            self._close()

    def break_off(self, why: RequestError) -> None:
        """Write and show no more of it, and tell the readers why."""
        if (self.state, BROKEN_OFF) in LIFE:
            self.log.break_off(why)
            self._end_task()
            self._become(BROKEN_OFF)

    def _lost(self, error: Lost) -> None:
        if isinstance(error, Fenced):
            # Not in the context of its own task: what is committed together is told of together.
            logger.warning("answer %s was taken over by another node", self.id, extra={"answer": self.id})
            self._become(FENCED)
            self._end_task()
        else:
            self.break_off(error)

    def _end_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _close(self) -> None:
        if self.log.closed and (self.state, ENDED) in LIFE:
            self._become(ENDED)

    def _become(self, happening: str) -> None:
        self.state = LIFE[self.state, happening]
        self._arm()
        self._changed(self)
        if self.state != RUNNING:
            self._writer = None

    # --------------------------------------------------------------------------------------------- readers

    @contextmanager
    def follow(self, offset: int = 0) -> Iterator[Cursor]:
        """A cursor at `offset` of its log, holding a lease on the answer until it leaves."""
        try:
            with self.log.follow(offset) as cursor:
                self._leases_changed()
                yield cursor
        finally:
            self._leases_changed()

    def _leases_changed(self) -> None:
        self._grace = self._lifetimes.grace
        self._left_at = None if self.log.readers or self._writer is None else self._writer.text_size
        self._arm()
        if not self.log.readers:
            self._changed(self)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.state == RUNNING and not self.log.readers:
            self._timer = asyncio.get_running_loop().call_later(self._grace, self._look)

    def _look(self) -> None:
        assert self._writer is not None
        self._timer = None
        self._looking = asyncio.create_task(self._stop_unread(self._writer), name=f"grace of {self.id}")

    async def _stop_unread(self, writer: Writer) -> None:
        """End it, unless it is read on another node."""
        try:
            more = await writer.read_elsewhere(self._lifetimes.grace)
        except JournalUnavailable:
            more = self._lifetimes.grace  # what becomes of it then is told by what cannot be appended
        if self._writer is not writer or self.log.readers:
            return
        if more <= 0:
            self.stop()
        else:
            self._left_at = writer.text_size
            self._grace = more
            self._arm()


def internal_error(error: BaseException | None, where: str) -> Internal:
    """Log a defect with its traceback under a reference, and say only the reference."""
    reference = secrets.token_hex(4)
    logger.error("internal error %s in %s", reference, where, exc_info=error)
    return Internal(f"Something broke in the server. If it happens again, report reference {reference}.")
