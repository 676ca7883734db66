"""Another Redis leads, in the short version."""

from __future__ import annotations

from pathlib import Path

import pytest

from .done import done
from .house import Scenario
from .several_failover import FAILOVERS

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("scenario", FAILOVERS, ids=lambda scenario: scenario.__name__)
async def test_nothing_is_lost_doubled_or_paid_twice(scenario: Scenario, tmp_path: Path, small_index: Path) -> None:
    await done(scenario, tmp_path, small_index)
