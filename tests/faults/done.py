"""One scenario in its short version, as the tests do it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .house import Scenario
from .scenarios import ALL, NEEDS


def complaints(folder: Path) -> str:
    """What the servers logged."""
    return "".join(path.read_text() for path in folder.rglob("errors.txt"))


async def done(scenario: Scenario, folder: Path, index: Path) -> None:
    """Do it and see that nothing was lost, doubled or paid twice, and nothing complained."""
    there, what = NEEDS.get(scenario, (lambda: True, ""))
    if not there():
        assert not os.environ.get("CI"), f"needs {what}"
        pytest.skip(f"needs {what}")
    outcome = await scenario(folder / "node", index, ALL[scenario][0])
    assert not outcome.problems, "\n".join(outcome.problems)
    errors = complaints(folder)
    assert "internal error" not in errors
    assert "never retrieved" not in errors
