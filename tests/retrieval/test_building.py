"""Building again: what is taken from earlier builds, and what a build that is killed leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from zantara_stream.retrieval import building, query_encoder, vectors
from zantara_stream.retrieval.building import Way, build, write_build
from zantara_stream.retrieval.builds import build_folders, sole_writer
from zantara_stream.retrieval.embedding_cache import FOLDER, text_key
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.index import FaissIndex
from zantara_stream.retrieval.manifest import BUILDS, ENCODER, KEYS, VECTORS, Manifest, check, current_build
from zantara_stream.retrieval.reading import Reading, read_folder
from zantara_stream.testing import HashingEmbedder

BLOCKING = """
import sys
from pathlib import Path
from zantara_stream.retrieval import building, vectors
from zantara_stream.retrieval.reading import read_folder
from zantara_stream.testing import HashingEmbedder

def block(*_):
    print("reached", flush=True)
    sys.stdin.read()

class Embedder(HashingEmbedder):
    seen = 0

    def encode(self, texts, progress=None):
        if stage == "encode" and self.seen >= 4:
            block()
        self.seen += len(texts)
        return super().encode(texts, progress)

documents, out, stage = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
vectors.TOGETHER = 2
if stage != "encode":
    setattr(building, stage, block)
building.build(read_folder(documents), Embedder(), out, "new")
"""


class CountingEmbedder(HashingEmbedder):
    """Tells what it embedded, and how often it was exported."""

    def __init__(self, name: str = "hashing", dimensions: int = 64) -> None:
        super().__init__(dimensions, name)
        self.seen: list[str] = []
        self.exported = 0

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        self.seen += texts
        return super().encode(texts, progress)

    def export(self, folder: Path, texts: Sequence[str]) -> None:
        self.exported += 1
        super().export(folder, texts)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    root = tmp_path / "documents"
    root.mkdir()
    for number in range(12):
        (root / f"{number:02}.md").write_text(f"# Permit {number}\n\n{'word ' * number}The permit costs {number}.\n")
    return root


def _change(documents: Path) -> None:
    (documents / "03.md").write_text("# Permit 3\n\nThe permit costs nothing any more.\n")
    (documents / "04.md").unlink()
    (documents / "12.md").write_text("# Permit 12\n\nA new permit.\n")


def _build(documents: Path, out: Path, full: bool = False) -> tuple[Manifest, CountingEmbedder]:
    embedder = CountingEmbedder()
    with sole_writer(out):
        built = write_build(read_folder(documents), embedder, out, "digest", Way(full))
    assert built.embedded == len(embedder.seen)
    return built.manifest, embedder


def _rows(out: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    index = FaissIndex.load(current_build(out) / VECTORS)
    numbers = range(len(index))
    return np.stack([index.similarities(row, numbers) for row in np.eye(index.dimensions, dtype=np.float32)])


def test_only_what_has_changed_is_embedded_and_it_is_as_if_all_had_been(documents: Path, tmp_path: Path) -> None:
    out, fresh = tmp_path / "index", tmp_path / "fresh"
    first, embedder = _build(documents, out)
    assert len(embedder.seen) == first.passages == 12
    _change(documents)
    second, embedder = _build(documents, out)
    assert [text.splitlines()[0] for text in sorted(embedder.seen)] == ["Permit 12", "Permit 3"]
    whole, _ = _build(documents, fresh)
    assert second.checksums == whole.checksums
    np.testing.assert_array_equal(_rows(out), _rows(fresh))
    assert (second.documents, second.passages) == (12, 12)


def test_what_was_removed_and_comes_back_is_still_known(documents: Path, tmp_path: Path) -> None:
    _build(documents, tmp_path / "index")
    text = (documents / "04.md").read_text()
    (documents / "04.md").unlink()
    _build(documents, tmp_path / "index")
    (documents / "04.md").write_text(text)
    assert _build(documents, tmp_path / "index")[1].seen == []


def test_in_full_nothing_is_taken_from_earlier_builds(documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    _build(documents, out)
    _change(documents)
    manifest, embedder = _build(documents, out, full=True)
    assert len(embedder.seen) == manifest.passages
    assert embedder.exported == 1
    assert _build(documents, out)[1].seen == []


def test_the_keys_are_those_of_the_texts(documents: Path, tmp_path: Path) -> None:
    _, embedder = _build(documents, tmp_path / "index")
    keys = (current_build(tmp_path / "index") / KEYS).read_bytes()
    assert {keys[place : place + 32] for place in range(0, len(keys), 32)} == {text_key(t) for t in embedder.seen}


def test_the_encoder_is_taken_over_while_the_model_is_the_same(documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    first, embedder = _build(documents, out)
    assert embedder.exported == 1
    _change(documents)
    second, embedder = _build(documents, out)
    assert embedder.exported == 0
    name = f"{ENCODER}/encoder.json"
    assert second.checksums[name] == first.checksums[name]
    assert len({(folder / name).stat().st_ino for folder in build_folders(out)}) == 1
    HashingEmbedder.load(current_build(out) / ENCODER)


def test_the_encoder_is_copied_where_files_cannot_be_linked(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    _build(documents, tmp_path / "index")
    manifest, embedder = _build(documents, tmp_path / "index")
    assert embedder.exported == 0
    check(current_build(tmp_path / "index"), manifest)


def test_the_encoder_of_another_model_or_version_is_not_taken_over(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    _build(documents, out)
    reading = read_folder(documents)
    for embedder in (CountingEmbedder("other"), CountingEmbedder("other", 32)):
        build(reading, embedder, out, "digest")
        assert embedder.exported == 1
    for module in (building, query_encoder):
        monkeypatch.setattr(module, "__version__", "99")
    build(reading, embedder, out, "digest")
    assert embedder.exported == 2


def test_a_damaged_encoder_is_not_taken_over(documents: Path, tmp_path: Path) -> None:
    _build(documents, tmp_path / "index")
    (current_build(tmp_path / "index") / ENCODER / "encoder.json").write_text("{}")
    manifest, embedder = _build(documents, tmp_path / "index")
    assert embedder.exported == 1
    check(current_build(tmp_path / "index"), manifest)


def test_vectors_of_what_is_gone_are_dropped_once_they_are_the_greater_part(documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    _build(documents, out)
    [cache] = (out / FOLDER).iterdir()
    whole = cache.stat().st_size
    for file in sorted(documents.iterdir())[:8]:
        file.unlink()
    _build(documents, out)
    assert cache.stat().st_size == whole  # the first build is kept, and needs them
    _build(documents, out)
    assert cache.stat().st_size == whole
    _build(documents, out)
    assert cache.stat().st_size == whole * 4 // 12  # it is gone


def test_the_cache_of_another_model_goes_with_its_last_build(documents: Path, tmp_path: Path) -> None:
    out, reading = tmp_path / "index", read_folder(documents)
    build(reading, HashingEmbedder(name="other"), out, "digest")
    for left in (2, 2, 1):
        build(reading, HashingEmbedder(), out, "digest")
        assert len(list((out / FOLDER).iterdir())) == left


def test_a_damaged_old_build_is_no_obstacle(documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    _build(documents, out)
    (current_build(out) / KEYS).unlink()
    _build(documents, out)
    (current_build(out) / "manifest.json").write_text("{")
    manifest, _ = _build(documents, out)
    check(current_build(out), manifest)


def test_what_cannot_be_removed_is_said_and_the_build_is_served(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, always: bool) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(building, "compact", fail)
    said: list[str] = []
    with sole_writer(tmp_path / "index"):
        way = Way(announce=said.append)
        built = write_build(read_folder(documents), HashingEmbedder(), tmp_path / "index", "digest", way)
    assert current_build(tmp_path / "index").name == built.manifest.build
    assert said[:2] == ["indexing the vectors", "indexing the words"]
    assert said[-1] == "could not tidy up after it (disk full)"


@pytest.mark.parametrize("stage", ["encode", "write_corpus", "checksums", "make_current", "prune"])
def test_a_build_killed_anywhere_leaves_the_old_one_and_is_gone_on_with(
    stage: str, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    old = build(Reading(read_folder(documents).documents[:2]), HashingEmbedder(), out, "old")
    command = [sys.executable, "-c", BLOCKING, str(documents), str(out), stage]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reached\n"
        process.kill()
    served = Manifest.load(current_build(out))
    check(current_build(out), served)
    assert (served == old) == (stage != "prune")  # which comes after the switch
    manifest, embedder = _build(documents, out)
    assert len(embedder.seen) == (12 - 2 - 4 if stage == "encode" else 0)
    assert manifest.passages == 12
    assert all(not folder.name.startswith(".") for folder in (out / BUILDS).iterdir())
    whole, _ = _build(documents, tmp_path / "fresh")
    own = {"build": whole.build, "created": whole.created, "previous": whole.previous}
    assert asdict(manifest) | own == asdict(whole)


def test_a_full_disk_while_embedding_keeps_what_is_written(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    really, left = os.write, [5]

    def write(descriptor: int, data: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return really(descriptor, bytes(data)[: 100 if left[0] == 0 else len(data)])

    monkeypatch.setattr(vectors, "TOGETHER", 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            _build(documents, out)
    assert not (out / "CURRENT").exists()
    assert len(_build(documents, out)[1].seen) == 12 - 8
