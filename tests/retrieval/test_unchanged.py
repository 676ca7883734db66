from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from zantara_stream.retrieval import building, unchanged
from zantara_stream.retrieval.building import Way, split_all, write_build
from zantara_stream.retrieval.builds import sole_writer
from zantara_stream.retrieval.documents import Document, Unreadable
from zantara_stream.retrieval.manifest import FILES, Manifest, current_build, sha256
from zantara_stream.retrieval.passages import Passage
from zantara_stream.retrieval.readers import read_document
from zantara_stream.retrieval.reading import Reading
from zantara_stream.retrieval.splitting import split
from zantara_stream.retrieval.unchanged import Unchanged
from zantara_stream.testing import HashingEmbedder

FILES_GIVEN = {
    "a.md": "# Fees\n\nThe renewal costs Rp 3 million.\n\n## Fines\n\nLate renewal is fined.\n",
    "b/c.txt": "Capital\n\nThe founders pay it into the account.\n",
    "d.html": "<html><title>Tax</title><h1>Tax</h1><p>It is due in March.</p></html>",
}


class Reader:
    """Reads, and tells what it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: str, file: Path, sidecar: Path | None) -> Document:
        self.read.append(path)
        return read_document(path, file, sidecar)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path, text in FILES_GIVEN.items():
        file = tmp_path / "documents" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "documents"


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents that are split."""
    seen: list[str] = []

    def counting(document: Document, count: Callable[[str], int], budget: int) -> list[Passage]:
        seen.append(document.path)
        return split(document, count, budget)

    monkeypatch.setattr(unchanged, "split", counting)
    return seen


def _sidecar(file: Path) -> Path | None:
    sidecar = file.with_name(f"{file.name}.meta.json")
    return sidecar if sidecar.exists() else None


def _read_all(root: Path, known: Unchanged) -> tuple[list[Document], list[str]]:
    reader = Reader()
    read = known.remembering(reader)
    files = sorted(file for file in root.rglob("*") if file.is_file() and ".meta." not in file.name)
    return [read(file.relative_to(root).as_posix(), file, _sidecar(file)) for file in files], reader.read


def _build(
    root: Path, out: Path, embedder: HashingEmbedder | None = None
) -> tuple[Manifest, list[str], list[Document]]:
    with sole_writer(out):
        known = Unchanged.since(out)
        documents, read = _read_all(root, known)
        built = write_build(Reading(documents), embedder or HashingEmbedder(), out, "digest", Way(unchanged=known))
        known.close()
    return built.manifest, read, documents


def test_unchanged_files_are_neither_read_nor_split(root: Path, tmp_path: Path, splits: list[str]) -> None:
    first, read, documents = _build(root, tmp_path / "index")
    assert sorted(read) == sorted(splits) == sorted(FILES_GIVEN)
    splits.clear()
    second, read, again = _build(root, tmp_path / "index")
    assert read == splits == []
    assert again == documents
    assert second.checksums == first.checksums


def test_only_what_has_changed_is_read(root: Path, tmp_path: Path, splits: list[str]) -> None:
    _build(root, tmp_path / "index")
    splits.clear()
    (root / "a.md").write_text(FILES_GIVEN["a.md"].replace("3", "4"))
    (root / "new.md").write_text("# New\n\nText.\n")
    (root / "d.html").unlink()
    manifest, read, _ = _build(root, tmp_path / "index")
    assert read == splits == ["a.md", "new.md"]
    fresh, _, _ = _build(root, tmp_path / "fresh")
    assert manifest.checksums == fresh.checksums
    assert manifest.documents == 3


def test_a_sidecar_is_part_of_its_document(root: Path, tmp_path: Path) -> None:
    _build(root, tmp_path / "index")
    (root / "a.md.meta.json").write_text('{"title": "Other"}')
    _, read, documents = _build(root, tmp_path / "index")
    assert read == ["a.md"]
    assert documents[0].title == "Other"
    assert _build(root, tmp_path / "index")[1] == []
    (root / "a.md.meta.json").unlink()
    assert _build(root, tmp_path / "index")[1] == ["a.md"]


def test_a_file_that_has_moved_is_read_again(root: Path, tmp_path: Path) -> None:
    _build(root, tmp_path / "index")
    (root / "a.md").rename(root / "z.md")
    assert _build(root, tmp_path / "index")[1] == ["z.md"]


def test_a_settled_language_changes_the_passages(root: Path, tmp_path: Path, splits: list[str]) -> None:
    out = tmp_path / "index"
    _, _, documents = _build(root, out)
    splits.clear()
    known = Unchanged.since(out)
    again, read = _read_all(root, known)
    settled = [replace(document, language="it" if document.path == "a.md" else document.language) for document in again]
    passages = split_all(settled, HashingEmbedder(), known)
    assert read == []
    assert splits == ["a.md"]
    assert {passage.language for passage in passages if passage.document == "a.md"} == {"it"}
    assert again == documents  # what was read is kept as it was read, whatever became of it
    known.close()


def test_tokens_of_another_model_split_anew(root: Path, tmp_path: Path, splits: list[str]) -> None:
    _build(root, tmp_path / "index")
    for embedder in (HashingEmbedder(name="other"), HashingEmbedder(max_tokens=64)):
        splits.clear()
        _, read, _ = _build(root, tmp_path / "index", embedder)
        assert read == []
        assert sorted(splits) == sorted(FILES_GIVEN)


@pytest.mark.parametrize("part", ["corpus.db", FILES])
def test_nothing_is_taken_from_a_damaged_build(part: str, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    _build(root, out)
    file = current_build(out) / part
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert len(_build(root, out)[1]) == 3


def test_nothing_is_taken_from_another_version(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _build(root, tmp_path / "index")
    with monkeypatch.context() as patch:
        for module in (unchanged, building):
            patch.setattr(module, "__version__", "99")
        assert len(_build(root, tmp_path / "index")[1]) == 3
        assert _build(root, tmp_path / "index")[1] == []


def test_a_document_of_other_fields_is_read_again(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    _build(root, out)
    folder = current_build(out)
    known = json.loads((folder / FILES).read_text())
    del known["a.md"]["document"]["title"]
    known["b/c.txt"]["document"]["pages"] = "none"
    (folder / FILES).write_text(json.dumps(known))
    manifest = Manifest.load(folder)
    replace(manifest, checksums={**manifest.checksums, FILES: sha256(folder / FILES)}).save(folder)
    assert _build(root, out)[1] == ["a.md", "b/c.txt"]


def test_an_unreadable_file_is_the_readers_to_tell(tmp_path: Path) -> None:
    def read(path: str, file: Path, sidecar: Path | None) -> Document:
        raise Unreadable("cannot be opened")

    with pytest.raises(Unreadable, match="cannot be opened"):
        Unchanged().remembering(read)("gone.md", tmp_path / "gone.md", None)


def test_what_was_not_read_here_is_split_and_not_saved(root: Path, tmp_path: Path) -> None:
    document = read_document("a.md", root / "a.md")
    embedder = HashingEmbedder()
    assert Unchanged().split(document, embedder) == split(document, embedder.count_tokens, embedder.max_tokens)
    Unchanged().save(tmp_path / FILES, [document])
    assert json.loads((tmp_path / FILES).read_text()) == {}
