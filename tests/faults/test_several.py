"""Faults of several nodes in their short version, one after the other in one house."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from .done import complaints
from .several import Several, SeveralScenario, missing, several
from .several_all import SEVERAL

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory, small_index: Path) -> AsyncIterator[Several]:
    """The house; its leases last for a second."""
    if missing():
        assert not os.environ.get("CI"), f"needs {missing()}"
        pytest.skip(f"needs {missing()}")
    async with several(tmp_path_factory.mktemp("several"), small_index, lease=1.0) as made:
        yield made


@pytest.mark.parametrize("scenario", SEVERAL, ids=lambda scenario: scenario.__name__)
async def test_nothing_is_lost_doubled_or_paid_twice(nodes: Several, scenario: SeveralScenario) -> None:
    outcome = await scenario(nodes, SEVERAL[scenario][0])
    assert outcome.problems == []
    errors = complaints(nodes.nodes[0].folder.parent)
    assert "internal error" not in errors
    assert "never retrieved" not in errors
