"""Every fault in its short version, and a checker that finds what it is there to find."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from . import cable, checker
from .scenarios import FAKETIME, SCENARIOS, Outcome, clock, vanished


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_nothing_is_lost_doubled_or_paid_twice(
    scenario: Callable[[Path, Path, int], Awaitable[Outcome]], tmp_path: Path, small_index: Path
) -> None:
    for needing, there, what in (
        (clock, FAKETIME.exists(), "libfaketime: make test-services"),
        (vanished, cable.possible(), "root and iproute2, for a network namespace"),
    ):
        if scenario is needing and not there:
            assert not os.environ.get("CI"), f"needs {what}"
            pytest.skip(f"needs {what}")
    outcome = await scenario(tmp_path / "node", small_index, SCENARIOS[scenario][0])
    assert outcome.problems == []
    errors = (tmp_path / "node" / "errors.txt").read_text()
    assert "internal error" not in errors
    assert "never retrieved" not in errors


def wire(*numbers: int, end: bool = True, answer: str = "A") -> bytes:
    """A log of those chunks as a reader gets it."""
    parts = [f'id: {answer}.{n}\ndata: {{"text":"{n} ","sequenceNumber":{n}}}\n\n' for n in numbers]
    parts += [f'id: {answer}.9\ndata: {{"done":true,"sequenceNumber":9}}\n\n'] if end else []
    return "".join(parts).encode()


JOURNAL = {"A": checker.blocks(wire(1, 2, 3))}


def test_the_checker_is_content_with_what_is_whole() -> None:
    assert checker.problems([wire(1, end=False) + b"id: A.2\ndata: {", wire(2, 3)], JOURNAL) == []


@pytest.mark.parametrize(
    "received",
    [
        [wire(1, 3)],
        [wire(1, 2, end=False), wire(2, 3)],
        [wire(1, 3, 2)],
        [wire(1, 2, 3), wire()],
        [wire(1, 2, 3, end=False)],
        [wire(1, 2, end=False), wire(3, answer="B")],
        [wire(1, 2, 3).replace(b'"2 "', b'"x "')],
        [],
    ],
    ids=["lost", "twice", "out of order", "two ends", "no end", "of another answer", "another text", "nothing"],
)
def test_the_checker_finds_what_is_wrong(received: list[bytes]) -> None:
    assert checker.problems(received, JOURNAL)
