"""The circuit breaker."""

from __future__ import annotations

import pytest

from zantara_stream.generation.breaker import CLOSED, FAILURES, LONGEST, OPEN, PAUSE, TRYING, Breaker


class Clock:
    """A clock that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the test's breakers, which add nothing to their pauses."""
    monkeypatch.setattr("random.uniform", lambda low, high: low)
    return Clock()


def failing(clock: Clock, times: int = FAILURES) -> Breaker:
    """One that has seen so many failures."""
    made = Breaker(clock)
    for _ in range(times):
        assert made.admits()
        made.failed()
    return made


def test_it_opens_after_failures_in_a_row_and_not_before(clock: Clock) -> None:
    made = failing(clock, FAILURES - 1)
    assert made.admits()
    made.succeeded()
    for _ in range(FAILURES - 1):
        made.failed()
    assert (made.state, made.wait) == (CLOSED, 0.0)
    made.failed()
    assert (made.state, made.wait, made.admits()) == (OPEN, PAUSE, False)


def test_one_request_tries_it_and_closes_it(clock: Clock) -> None:
    made = failing(clock)
    clock.now += PAUSE
    assert (made.admits(), made.admits(), made.state) == (True, False, TRYING)
    made.succeeded()
    assert (made.state, made.admits(), made.admits()) == (CLOSED, True, True)


def test_each_pause_is_longer_up_to_the_longest_and_short_again_when_it_is_well(clock: Clock) -> None:
    made = failing(clock)
    pauses = []
    for _ in range(10):
        pauses.append(made.wait)
        clock.now += made.wait
        assert made.admits()
        made.failed()
    assert pauses[:4] == [PAUSE, 2 * PAUSE, 4 * PAUSE, 8 * PAUSE]
    assert pauses[-1] == LONGEST
    clock.now += LONGEST
    assert made.admits()
    made.succeeded()
    for _ in range(FAILURES):
        made.failed()
    assert made.wait == PAUSE


def test_what_will_go_on_failing_opens_it_at_once(clock: Clock) -> None:
    made = Breaker(clock)
    made.failed(for_long=True)
    assert made.state == OPEN


def test_one_that_was_given_up_lets_the_next_try(clock: Clock) -> None:
    made = failing(clock)
    clock.now += PAUSE
    assert made.admits()
    made.let_go()
    assert (made.state, made.admits(), made.state) == (OPEN, True, TRYING)


def test_failures_of_requests_that_began_before_it_opened_change_nothing(clock: Clock) -> None:
    made = failing(clock)
    clock.now += 1
    made.failed()
    assert made.wait == PAUSE - 1


def test_pauses_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({failing(Clock()).wait for _ in range(20)}) > 10
