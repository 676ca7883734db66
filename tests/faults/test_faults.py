"""Every fault in its short version; those of what a server stands on are in `test_exhaustion.py`, which runs beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from .done import done
from .house import Scenario
from .scenarios import SCENARIOS

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_nothing_is_lost_doubled_or_paid_twice(scenario: Scenario, tmp_path: Path, small_index: Path) -> None:
    await done(scenario, tmp_path, small_index)
