from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zantara_stream.retrieval.builds import build_folders
from zantara_stream.retrieval.embedding import load_encoder
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.index import FaissIndex
from zantara_stream.retrieval.inspection import SAMPLE, Finding, Models, listed, verified
from zantara_stream.retrieval.manifest import CORPUS, KEYS, MANIFEST, VECTORS, Manifest, checksums, current_build
from zantara_stream.testing import HashingEmbedder

MODELS = Models(HashingEmbedder, HashingEmbedder.load)


class Turned(HashingEmbedder):
    """Gives vectors that have nothing to do with the text's."""

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        return np.roll(super().encode(texts, progress), 1, axis=0) if len(texts) > 1 else super().encode(["x"])


@pytest.fixture
def index(small_index: Path, tmp_path: Path) -> Path:
    """A copy of the small index, to be damaged."""
    return Path(shutil.copytree(small_index, tmp_path / "index"))


def _verified(index: Path, models: Models = MODELS) -> list[Finding]:
    return list(verified(current_build(index), models))


def _problems(index: Path, models: Models = MODELS) -> dict[str, str]:
    return {finding.subject: finding.problem for finding in _verified(index, models) if finding.problem}


def _resealed(index: Path) -> None:
    """As if the build had been written so: the checksums hold, and what is in it does not."""
    folder = current_build(index)
    replace(Manifest.load(folder), checksums=checksums(folder)).save(folder)


def test_a_whole_build_is_fine(index: Path) -> None:
    findings = _verified(index)
    manifest = Manifest.load(current_build(index))
    assert [str(finding) for finding in findings] == [
        f"fine: manifest, build {manifest.build} of {manifest.created}",
        f"fine: checksums of {len(manifest.checksums)} files",
        f"fine: counts, 4 documents and {manifest.passages} passages",
        f"fine: texts of all {manifest.passages} passages",
        str(findings[4]),
        f"fine: query encoder, which finds 100% of {manifest.passages} passages by their own text, "
        "at a mean cosine of 1.000",
    ]
    assert str(findings[4]).startswith(f"fine: {manifest.passages} passages embedded again: the least cosine is 1.0000")


@pytest.mark.timeout(400)  # it may be the first to need the real index, whose encoder is exported
def test_the_real_build_is_fine(sample_index: Path, real_embedder: HashingEmbedder) -> None:
    findings = _verified(sample_index, Models(lambda: real_embedder, load_encoder))
    assert [str(finding) for finding in findings if finding.problem] == []
    assert len(findings) == 6
    assert f"{SAMPLE} passages embedded again" in str(findings[4])


def test_no_manifest(index: Path) -> None:
    (current_build(index) / MANIFEST).unlink()
    [finding] = _verified(index)
    assert str(finding).startswith("wrong: manifest: The index ")


def test_every_damaged_file_is_named_and_nothing_of_it_opened(index: Path) -> None:
    folder = current_build(index)
    (folder / VECTORS).write_bytes(b"x")
    (folder / KEYS).unlink()
    findings = [str(finding) for finding in _verified(index)]
    assert len(findings) == 3
    assert f"wrong: checksums: The index is damaged: {folder / KEYS} is missing" in findings[1]
    assert f"wrong: checksums: The index is damaged: {folder / VECTORS} is not as it was built" in findings[2]


def test_the_progress_goes_through_every_file(index: Path) -> None:
    seen: list[str] = []
    list(verified(current_build(index), MODELS, lambda names: seen.extend(names) or names))  # type: ignore[func-returns-value]
    assert seen == list(Manifest.load(current_build(index)).checksums)


@pytest.mark.parametrize(
    ("statement", "subject", "problem"),
    [
        ("DELETE FROM passages WHERE number = 0", "counts", "passages in corpus.db, not"),
        ("DELETE FROM documents WHERE path = 'villa.md'", "counts", "3 documents in corpus.db, not 4"),
        ("UPDATE passages SET text = 'X' || substr(text, 2) WHERE number = 1", "texts", "1 are not their documents'"),
        ("UPDATE passages SET start = start + 1 WHERE number = 1", "texts", "1 are not their documents'"),
        ("UPDATE documents SET text = ' ' || text WHERE path = 'villa.md'", "texts", "of villa.md"),
        ("DELETE FROM documents WHERE path = 'villa.md'", "texts", "of villa.md"),
    ],
)
def test_parts_that_do_not_belong_together(statement: str, subject: str, problem: str, index: Path) -> None:
    with sqlite3.connect(current_build(index) / CORPUS) as database:
        database.execute(statement)
    database.close()
    _resealed(index)
    [said] = [text for about, text in _problems(index).items() if about.startswith(subject)]
    assert problem in said


def test_vectors_of_other_texts(index: Path) -> None:
    folder = current_build(index)
    count = Manifest.load(folder).passages
    old = FaissIndex.load(folder / VECTORS)
    rows = np.stack([old.similarities(row, range(count)) for row in np.eye(64, dtype=np.float32)]).T
    FaissIndex.build(np.ascontiguousarray(rows[[1, 0, *range(2, count)]])).save(folder / VECTORS)
    _resealed(index)
    problems = _problems(index)
    assert "under 0.99" in problems[f"{count} passages embedded again"]
    assert list(problems)[1:] == ["query encoder"]


def test_fewer_vectors_than_passages(index: Path) -> None:
    FaissIndex.build(HashingEmbedder().encode(["one"])).save(current_build(index) / VECTORS)
    _resealed(index)
    assert list(_problems(index).values()) == [f"1 vectors, not {Manifest.load(current_build(index)).passages}"]


def test_another_model(index: Path) -> None:
    problems = _problems(index, replace(MODELS, embedder=lambda: HashingEmbedder(name="other")))
    assert list(problems) == ["model"]
    assert "the server has other" in problems["model"]


def test_an_embedder_or_encoder_that_gives_other_vectors(index: Path) -> None:
    assert [name.split(" passages ")[-1] for name in _problems(index, replace(MODELS, embedder=Turned))] == [
        "embedded again"
    ]
    problems = _problems(index, replace(MODELS, encoder=lambda folder: Turned()))
    assert list(problems) == ["query encoder"]
    assert "it must be 95%" in problems["query encoder"]


def test_the_list(index: Path, tmp_path: Path) -> None:
    folder = current_build(index)
    manifest = Manifest.load(folder)
    older = Path(shutil.copytree(folder, folder.parent / "20000101T000000000000Z-aaaaaaaa"))
    (older / MANIFEST).write_text("{")
    lines = list(listed(index))
    assert len(lines) == len(build_folders(index)) == 2
    assert lines[0].startswith(f"  {older.name}  0.")
    assert "has no readable manifest" in lines[0]
    assert lines[1].startswith(
        f"* {manifest.build}  {manifest.created}  4 documents  {manifest.passages} passages  "
        "hashing (64 dimensions)  Flat  0."
    )
    assert lines[1].endswith(" MB")
    assert list(listed(tmp_path / "nowhere")) == []
