from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from builds_made import Changing, naming

from zantara_stream.retrieval.manifest import BUILDS, CURRENT, make_current
from zantara_stream.retrieval.watching import State, look


@pytest.fixture
def changing(tmp_path: Path) -> Changing:
    made = Changing(tmp_path)
    made.build(1)
    return made


def test_what_does_not_change_looks_the_same(changing: Changing) -> None:
    state = look(changing.index)
    assert state == look(changing.index)
    assert state.current is not None
    names = {Path(name).relative_to(changing.current).as_posix() for name, *_ in state.files}
    assert {"manifest.json", "vectors.faiss", "lexical/vocab.index.json", "encoder/encoder.json"} <= names


def test_another_build_or_the_same_again_is_seen_at_current(changing: Changing) -> None:
    states = [look(changing.index)]
    changing.build(2)
    states.append(look(changing.index))
    make_current(changing.index, changing.current.name)
    states.append(look(changing.index))
    assert len({state.current for state in states}) == 3
    assert states[1].files == states[2].files


@pytest.mark.parametrize("change", ["longer", "touched", "replaced", "gone", "new"])
def test_whatever_happens_to_a_file_is_seen(changing: Changing, change: str) -> None:
    before, file = look(changing.index), changing.current / "lexical" / "vocab.index.json"
    match change:
        case "longer":
            file.write_bytes(file.read_bytes() + b" ")
        case "touched":
            os.utime(file, ns=(1, 1))
        case "replaced":
            shutil.copy2(file, draft := file.with_suffix(".new"))
            draft.replace(file)
        case "gone":
            file.unlink()
        case "new":
            file.with_suffix(".new").touch()
    after = look(changing.index)
    assert after.current == before.current
    assert after.files != before.files


def test_nothing_is_there(tmp_path: Path) -> None:
    assert look(tmp_path / "nowhere") == State()


@pytest.mark.parametrize("name", [b"nothing", b"", b"\0", b"\xff", b"/", b"../..", b"x/y", b"x" * 5000])
def test_a_name_that_is_none_leads_to_no_file(changing: Changing, name: bytes) -> None:
    (changing.index / BUILDS / "x" / "y").mkdir(parents=True)
    (changing.index / BUILDS / "x" / "y" / "file").touch()
    naming(name)(changing.index)
    state = look(changing.index)
    assert state.files == frozenset()
    assert state.current is not None
    (changing.index / CURRENT).unlink()
    assert look(changing.index) == State()
