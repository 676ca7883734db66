from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from zantara_stream.errors import CorpusError, IndexUnavailable
from zantara_stream.retrieval import builds
from zantara_stream.retrieval.builder import build
from zantara_stream.retrieval.builds import (
    BUILDS_KEPT,
    LOCK,
    build_folders,
    current_name,
    draft,
    prune,
    roll_back,
    sole_writer,
)
from zantara_stream.retrieval.manifest import BUILDS, CURRENT, MANIFEST, Manifest, current_build, make_current
from zantara_stream.retrieval.reading import read_folder
from zantara_stream.testing import HashingEmbedder

LONG_HELD = """
import sys
from pathlib import Path
from zantara_stream.retrieval.builds import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def _builds(index: Path, small_corpus: Path, count: int) -> list[str]:
    reading = read_folder(small_corpus)
    return [build(reading, HashingEmbedder(), index, f"digest-{number}").build for number in range(count)]


def _names(index: Path) -> list[str]:
    return [folder.name for folder in build_folders(index)]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "index", tmp_path / "b"
    refused = pytest.raises(CorpusError, match=rf"Another build of {one} is running \(process {os.getpid()}\)")
    with sole_writer(one), sole_writer(two), refused, sole_writer(one):
        raise AssertionError("two write")
    with sole_writer(one):
        pass


def test_a_writer_of_another_process_is_noticed_and_gone_when_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LONG_HELD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CorpusError, match=rf"is running \(process {other.pid}\)"), sole_writer(tmp_path):
            raise AssertionError("two write")
        other.kill()
        other.wait()
    with sole_writer(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_second_build_changes_nothing(small_corpus: Path, tmp_path: Path) -> None:
    [name] = _builds(tmp_path, small_corpus, 1)
    with sole_writer(tmp_path), pytest.raises(CorpusError, match="Another build"):
        _builds(tmp_path, small_corpus, 1)
    assert _names(tmp_path) == [name]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / BUILDS / ".draft.1" / "lexical").mkdir(parents=True)
    (tmp_path / BUILDS / ".draft.1" / "lexical" / "part").touch()
    (tmp_path / BUILDS / "whole").mkdir()
    (tmp_path / f"{CURRENT}.1").touch()
    make_current(tmp_path, "whole")
    with sole_writer(tmp_path):
        pass
    assert sorted(os.listdir(tmp_path / BUILDS)) == ["whole"]
    assert sorted(os.listdir(tmp_path)) == [CURRENT, LOCK, BUILDS]


def test_a_draft_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(builds, "sync", lambda path: synced.append(path.name))
    with draft(tmp_path, "new") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "part").write_text("text")
        assert _names(tmp_path) == []
        assert synced == []
    assert set(synced[:-1]) == {"deep", "part", folder.name}
    assert synced[-1] == BUILDS
    assert _names(tmp_path) == ["new"]


def test_the_current_name(tmp_path: Path) -> None:
    assert current_name(tmp_path) == ""
    make_current(tmp_path, "gone")
    assert current_name(tmp_path) == "gone"


def test_each_build_says_what_was_served_before_it(small_corpus: Path, tmp_path: Path) -> None:
    names = _builds(tmp_path, small_corpus, 3)
    manifests = [Manifest.load(folder) for folder in build_folders(tmp_path)]
    assert [manifest.previous for manifest in manifests] == ["", *names[:-1]]


def test_going_back_and_back_again(small_corpus: Path, tmp_path: Path) -> None:
    names = _builds(tmp_path, small_corpus, 3)
    heard: list[int] = []
    assert roll_back(tmp_path, "", heard.append).build == names[1]
    assert current_name(tmp_path) == names[1]
    assert sum(heard) == sum(
        file.stat().st_size for file in current_build(tmp_path).rglob("*") if file.is_file() and file.name != MANIFEST
    )
    assert roll_back(tmp_path, "").build == names[0]
    with pytest.raises(CorpusError, match=f"There is no build before {names[0]}"):
        roll_back(tmp_path, "")
    assert roll_back(tmp_path, names[2]).build == names[2]
    assert current_name(tmp_path) == names[2]


def test_after_going_back_the_next_build_is_before_nothing_that_was_refused(small_corpus: Path, tmp_path: Path) -> None:
    good, bad = _builds(tmp_path, small_corpus, 2)
    roll_back(tmp_path, "")
    [new] = _builds(tmp_path, small_corpus, 1)
    assert current_name(tmp_path) == new
    assert roll_back(tmp_path, "").build == good != bad


@pytest.mark.parametrize("name", ["gone", "../builds", ".", "a/b"])
def test_a_build_that_is_not_there(name: str, small_corpus: Path, tmp_path: Path) -> None:
    [only] = _builds(tmp_path, small_corpus, 1)
    with pytest.raises(CorpusError, match=r"There is no build .* --list names"):
        roll_back(tmp_path, name)
    assert current_name(tmp_path) == only


def test_a_damaged_build_is_not_gone_back_to(small_corpus: Path, tmp_path: Path) -> None:
    first, second = _builds(tmp_path, small_corpus, 2)
    (tmp_path / BUILDS / first / "corpus.db").write_bytes(b"x")
    with pytest.raises(IndexUnavailable, match="damaged"):
        roll_back(tmp_path, "")
    assert current_name(tmp_path) == second


def test_going_back_from_a_build_that_cannot_say_what_was_before(small_corpus: Path, tmp_path: Path) -> None:
    names = _builds(tmp_path, small_corpus, 3)
    (tmp_path / BUILDS / names[2] / MANIFEST).unlink()
    assert roll_back(tmp_path, "").build == names[1]
    with pytest.raises(IndexUnavailable, match="There is no index"):
        roll_back(tmp_path / "empty", "")


def test_neither_the_current_build_nor_the_one_before_it_is_dropped(small_index: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(current_build(small_index))
    for number in range(6):
        folder = tmp_path / BUILDS / f"2026010{number}"
        shutil.copytree(current_build(small_index), folder)
        replace(manifest, build=folder.name, previous="20260101").save(folder)
    make_current(tmp_path, "20260100")
    prune(tmp_path)
    assert BUILDS_KEPT == 3
    assert _names(tmp_path) == ["20260100", "20260101", "20260105"]


def test_nothing_is_dropped_where_few_are(small_corpus: Path, tmp_path: Path) -> None:
    names = _builds(tmp_path, small_corpus, 2)
    prune(tmp_path)
    assert _names(tmp_path) == names
