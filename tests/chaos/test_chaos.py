"""A short run with a fixed seed, whose plan has most kinds of faults."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faults.done import complaints
from faults.several import missing

from . import check
from .run import Size, run

pytestmark = pytest.mark.faults


async def test_what_faults_at_random_leave_is_whole(
    tmp_path: Path, small_index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if missing():
        assert not os.environ.get("CI"), f"needs {missing()}"
        pytest.skip(f"needs {missing()}")
    history = await run(tmp_path, small_index, Size(seed=161, seconds=22, readers=20, lease=1))
    code = check.main(history)
    assert code == 0, capsys.readouterr().out
    errors = complaints(tmp_path)
    assert "internal error" not in errors
    assert "never retrieved" not in errors
