"""A build that was changed with its checksums, so that they say nothing: it is opened or refused, and nothing dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from builds_made import PARTS, sealed
from hypothesis import given
from hypothesis import strategies as st
from mutations import EXAMPLES, damaged, fuzzed

from zantara_stream.retrieval.index import FaissIndex
from zantara_stream.retrieval.manifest import FILES, KEYS, MANIFEST, current_build

OPENING = Path(__file__).parent / "opening.py"
ROOT = OPENING.parent.parent.parent
NEEDED = [part for part in PARTS if part not in (KEYS, FILES)]  # to serve
TOGETHER = 20  # in one process, since a process takes longer to start than to open one


def opened(kind: str, paths: list[Path]) -> list[str]:
    """What came of each, opened in a process of its own that must not die."""
    command = [sys.executable, str(OPENING), kind, *map(str, paths)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=120)
    said = done.stdout.splitlines()
    assert done.returncode == 0, f"{paths[len(said)]} ended it: {done.returncode}\n{done.stderr[-2000:]}"
    return said


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each kind."""
    folder, random = tmp_path_factory.mktemp("vectors"), np.random.default_rng(1)
    rows = random.normal(size=(200, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    repeated = np.repeat(rows[:4], 50, axis=0)  # most lists are empty, which is written otherwise
    made = {}
    for name, data, limit in (("flat", rows, 1000), ("lists", rows, 10), ("few lists", repeated, 10)):
        FaissIndex.build(data, limit).save(folder / name)
        made[name] = (folder / name).read_bytes()
    return made


@pytest.mark.parametrize("kind", ["flat", "lists", "few lists"])
def test_vectors(vectors: dict[str, bytes], kind: str) -> None:
    found: Counter[str] = Counter()

    @fuzzed(max(2, EXAMPLES // TOGETHER))
    @given(st.lists(damaged([vectors[kind]]), min_size=TOGETHER, max_size=TOGETHER))
    def check(files: list[bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{number}.faiss" for number in range(len(files))]
            for path, data in zip(paths, files, strict=True):
                path.write_bytes(data)
            found.update(opened("vectors", paths))

    check()
    assert found["refused"]
    assert set(found) <= {"refused", "opened"}


def _changed(index: Path, folder: Path, part: str, data: bytes) -> Path:
    """An index folder of which one part is another, and whose manifest says that it is whole."""
    shutil.copytree(index, folder)
    build = current_build(folder)
    (build / part).write_bytes(data)
    if part != MANIFEST:
        sealed(build)
    return folder


@pytest.mark.parametrize("part", PARTS)
def test_parts(small_index: Path, part: str) -> None:
    sample = (current_build(small_index) / part).read_bytes()

    @fuzzed(max(1, EXAMPLES // TOGETHER // 2))
    @given(st.lists(damaged([sample]), min_size=TOGETHER, max_size=TOGETHER))
    def check(files: list[bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            paths = [_changed(small_index, Path(folder) / str(n), part, data) for n, data in enumerate(files)]
            found.update(opened("build", paths))

    found: Counter[str] = Counter()
    check()
    assert found["refused"] or part not in NEEDED
    assert all(said in ("refused", "opened") or said.startswith("failed") for said in found), found
