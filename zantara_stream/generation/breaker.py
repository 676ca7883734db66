"""A circuit breaker: what has been failing is left alone for a while, and then tried once.

closed    it is asked
open      it is not asked, until its pause is over
trying    one request finds out whether it is well; nobody else asks meanwhile
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

CLOSED, OPEN, TRYING = "closed", "open", "trying"

# What a request came to.
WELL, FAILED, FAILING, NOTHING = "well", "failed", "failed once too often", "left before it told anything"

BREAKER: dict[tuple[str, str], str] = {
    (CLOSED, FAILED): CLOSED,
    (CLOSED, FAILING): OPEN,
    (TRYING, WELL): CLOSED,
    (TRYING, FAILED): OPEN,
    (TRYING, FAILING): OPEN,
    (TRYING, NOTHING): OPEN,
}

FAILURES = 5  # in a row, before it opens
PAUSE, LONGEST = 5.0, 300.0  # seconds until it is tried again: the first time, doubling, and at most


class Breaker:
    """Says whether to ask; every admitted request must end in one of `succeeded`, `failed` and `let_go`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.state = CLOSED
        self._clock = clock
        self._failures = 0
        self._pauses = 0
        self._until = 0.0

    @property
    def wait(self) -> float:
        """Seconds until it is tried again; 0 where it may be asked."""
        return max(0.0, self._until - self._clock()) if self.state != CLOSED else 0.0

    def admits(self) -> bool:
        """Whether one may ask now."""
        if self.state == OPEN and not self.wait:
            self.state = TRYING
            return True
        return self.state == CLOSED

    def succeeded(self) -> None:
        """A request began to be answered."""
        self._failures = self._pauses = 0
        self._become(WELL)

    def failed(self, *, for_long: bool = False) -> None:
        """A request failed; `for_long` if the next ones will, too, as where a key is refused."""
        self._failures += 1
        happened = FAILING if for_long or self._failures >= FAILURES else FAILED
        self._become(happened)

    def let_go(self) -> None:
        """A request was given up before it told anything."""
        self._become(NOTHING)

    def _become(self, happened: str) -> None:
        before, self.state = self.state, BREAKER.get((self.state, happened), self.state)
        if self.state != OPEN or before == OPEN:
            return
        if happened == NOTHING:
            self._until = self._clock()
            return
        pause = min(PAUSE * 2**self._pauses, LONGEST)
        self._pauses += 1
        self._until = self._clock() + pause * random.uniform(1, 1.25)
