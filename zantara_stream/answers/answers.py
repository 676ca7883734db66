"""The answers of this node: who writes them, who still reads them, when they end.

    state      last reader leaves         first reader comes    its time runs out
    running    `grace` starts             `grace` stops         stopped: done, stopReason "stopped"
    closed     `retention` starts         `retention` stops     forgotten

An answer begins with its time running, so that one whose asker vanished before reading ends too.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from ..errors import AnswerExpired, ContinuityConflict, Draining, Internal, Overloaded, RequestError
from .events import Done, Event, Failed
from .log import EventLog

logger = logging.getLogger(__name__)

Produce = Callable[[], AsyncGenerator[Event, None]]

CLOSED_KEPT = 2000  # finished answers held in memory at most; the oldest are forgotten first
_EVENT_ID = re.compile(r"([0-9A-Za-z_-]{22})\.(0|[1-9][0-9]{0,8})")


def parse_event_id(event_id: str) -> tuple[str, int]:
    """`<answer>.<offset>` as (answer, offset). Raises `AnswerExpired` for anything else: it is hostile."""
    match = _EVENT_ID.fullmatch(event_id)
    if match is None:
        raise AnswerExpired
    return match[1], int(match[2])


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long answers live without readers, in seconds, and how many may run."""

    grace: float = 30.0
    retention: float = 86400.0
    running: int = 2000


class Answer:
    """One answer: its log, the task that writes it, and the timer that runs while nobody reads it."""

    def __init__(self, question: str, model: str, lifetimes: Lifetimes, forget: Callable[[Answer], None]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.question = question
        self.model = model
        self.continuity = ""
        self.log = EventLog(self.id, self._leases_changed)
        self._lifetimes = lifetimes
        self._forget = forget
        self._leases = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._cut: RequestError | None = None
        self._released = False

    def start(self, produce: Produce) -> None:
        """Let `produce` write the log in a task of its own."""
        self._task = asyncio.create_task(self._write(produce), name=f"answer {self.id}")
        self._task.add_done_callback(self._ended)
        self._arm()

    async def _write(self, produce: Produce) -> None:
        async with aclosing(produce()) as events:
            async for event in events:
                self.log.append(event)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # A callback, because a task that is cancelled before its first step never runs a handler of its own.
        if not self.log.closed:
            self.log.append(self._terminal(task))
        elif not task.cancelled() and (error := task.exception()) is not None:
            internal_error(error, f"answer {self.id}, after its end")
        self._arm()

    def _terminal(self, task: asyncio.Task[None]) -> Event:
        if task.cancelled():
            return _failed(self._cut) if self._cut else Done("stopped", self.model)
        error = task.exception()
        if isinstance(error, RequestError):
            return _failed(error)
        return _failed(internal_error(error, f"answer {self.id}"))

    def stop(self, why: RequestError | None = None) -> None:
        """End the answer now: with `why` as its error, or as stopped. What was written stands."""
        self._cut = why
        if self._task is not None:
            self._task.cancel()

    @property
    def task(self) -> asyncio.Task[None]:
        """The task that writes the log."""
        assert self._task is not None, "the answer was not started"
        return self._task

    def _leases_changed(self, leases: int) -> None:
        self._leases = leases
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._leases or self._released:
            return
        loop = asyncio.get_running_loop()
        if self.log.closed:
            self._timer = loop.call_later(self._lifetimes.retention, self._forget, self)
        else:
            self._timer = loop.call_later(self._lifetimes.grace, self.stop)

    def release(self) -> None:
        """Let go of the timer; the answer is no longer in anybody's books."""
        self._released = True
        self._arm()


class Answers:
    """Every answer that this node holds; `model` is what writes them."""

    def __init__(self, lifetimes: Lifetimes | None = None, model: str = "") -> None:
        self._model = model
        self._lifetimes = lifetimes or Lifetimes()
        self._answers: dict[str, Answer] = {}
        self._continuity: dict[str, Answer] = {}
        self._running: set[Answer] = set()
        self._closed: dict[str, None] = {}  # insertion order is the order of closing
        self.draining = False

    def admit(self) -> None:
        """Raise `Draining` or `Overloaded` where a new answer would be refused."""
        if self.draining:
            raise Draining
        if len(self._running) >= self._lifetimes.running:
            raise Overloaded

    def holds(self, continuity: str) -> bool:
        """Whether a continuity id names an answer that is here."""
        return continuity in self._continuity

    def ask(self, question: str, produce: Produce, continuity: str = "") -> Answer:
        """The answer that `continuity` names, or a new one that `produce` writes.

        `question` identifies what was asked; the same continuity id with another question raises
        `ContinuityConflict`. Nothing is produced for an answer that exists.
        """
        existing = self._continuity.get(continuity) if continuity else None
        if existing is not None:
            if existing.question != question:
                raise ContinuityConflict
            return existing
        self.admit()
        return self._begin(question, produce, continuity)

    def _begin(self, question: str, produce: Produce, continuity: str) -> Answer:
        answer = Answer(question, self._model, self._lifetimes, self._forget)
        self._answers[answer.id] = answer
        if continuity:
            answer.continuity = continuity
            self._continuity[continuity] = answer
        self._running.add(answer)
        answer.start(produce)
        answer.task.add_done_callback(lambda task: self._close(answer))
        return answer

    def find(self, event_id: str) -> tuple[Answer, int]:
        """The answer and offset that an event id names. Raises `AnswerExpired`."""
        name, offset = parse_event_id(event_id)
        answer = self._answers.get(name)
        if answer is None or offset > answer.log.tail:
            raise AnswerExpired
        return answer, offset

    def _close(self, answer: Answer) -> None:
        self._running.discard(answer)
        if answer.id in self._answers:
            self._closed[answer.id] = None
        if len(self._closed) > CLOSED_KEPT:
            self._forget(self._answers[next(iter(self._closed))])

    def _forget(self, answer: Answer) -> None:
        answer.release()
        self._closed.pop(answer.id, None)
        self._answers.pop(answer.id, None)
        if self._continuity.get(answer.continuity) is answer:
            del self._continuity[answer.continuity]

    async def drain(self, seconds: float) -> None:
        """Take no new answers, let the running ones finish within `seconds`, then end the rest."""
        self.draining = True
        tasks = [answer.task for answer in self._running]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for answer in tuple(self._running):
            answer.stop(Draining())
        if tasks:
            await asyncio.wait(tasks)


def _failed(error: RequestError) -> Failed:
    return Failed(error.code, str(error), error.retryable)


def internal_error(error: BaseException | None, where: str) -> Internal:
    """Log a defect with its traceback under a reference, and say only the reference."""
    reference = secrets.token_hex(4)
    logger.error("internal error %s in %s", reference, where, exc_info=error)
    return Internal(f"Something broke in the server. If it happens again, report reference {reference}.")
