"""Every fault in its short version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .house import Scenario
from .scenarios import NEEDS, SCENARIOS

pytestmark = pytest.mark.faults


def complaints(folder: Path) -> str:
    """What the servers logged."""
    return "".join(path.read_text() for path in folder.rglob("errors.txt"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_nothing_is_lost_doubled_or_paid_twice(scenario: Scenario, tmp_path: Path, small_index: Path) -> None:
    there, what = NEEDS.get(scenario, (lambda: True, ""))
    if not there():
        assert not os.environ.get("CI"), f"needs {what}"
        pytest.skip(f"needs {what}")
    outcome = await scenario(tmp_path / "node", small_index, SCENARIOS[scenario][0])
    assert outcome.problems == []
    errors = complaints(tmp_path)
    assert "internal error" not in errors
    assert "never retrieved" not in errors
