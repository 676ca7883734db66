from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zantara_stream.errors import CorpusError
from zantara_stream.retrieval import reading as module
from zantara_stream.retrieval.documents import Found
from zantara_stream.retrieval.readers import word
from zantara_stream.retrieval.reading import fingerprint, read_folder


def _bomb() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(3 * 2**20))
    return data.getvalue()


BAD = {  # file to its content and the reason that is given
    "binary.txt": (b"\x7fELF\0\0\x01", "is not text (it holds zero bytes)"),
    "blank.md": (b" \n\n", "has no text in it"),
    "bomb.docx": (_bomb(), "unpacks to more than 1 MB"),
    "broken-matter.md": (b"---\ntitle: [open\n---\nText.", "has front matter that is not YAML (while parsing"),
    "empty.pdf": (b"", "is empty"),
    "headings-only.md": (b"# One\n\n## Two\n", "has no text in it"),
    "latin1.html": ("<p>perché</p>".encode("latin-1"), "is not UTF-8 text (byte 8 of 13)"),
    "no-zip.docx": (b"hello", "is damaged: BadZipFile: File is not a zip file"),
    "random.pdf": (b"%PDF-" + random.Random(1).randbytes(3000), "cannot be opened as PDF"),
    "renamed.pdf": (b"Just text.", "is not a PDF file"),
    "script-only.html": (b"<script>alert('text')</script>", "has no text in it"),
    "truncated.docx": (_bomb()[:-30], "is damaged: BadZipFile"),
}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Bad files of every kind among two good ones."""
    monkeypatch.setattr(word, "UNPACKED_LIMIT", 2**20)
    root = tmp_path / "documents"
    (root / "sub").mkdir(parents=True)
    (root / "good.md").write_text("# Good\n\nThis is read.")
    (root / "sub/good.html").write_bytes(b"<div>" * 20_000 + b"This is read too.")
    for name, (content, _) in BAD.items():
        (root / name).write_bytes(content)
    with (root / "huge.txt").open("wb") as file:
        file.truncate(50 * 2**20)
    (tmp_path / "secret.md").write_text("Nobody should find this.")
    (root / "link.md").symlink_to(tmp_path / "secret.md")
    (root / "linked").symlink_to(root / "sub")
    (root / "loop.md").symlink_to(root / "loop.md")
    os.mkfifo(root / "pipe.txt")
    (root / ".hidden.md").write_text("Hidden.")
    (root / "picture.png").write_bytes(b"\x89PNG")
    with open(os.path.join(os.fsencode(root), b"caf\xe9.md"), "wb") as stray:
        stray.write(b"# Cafe\n\nA name that is no text.")
    return root


def test_bad_files_are_named_with_their_reasons_and_the_rest_is_read(corpus: Path) -> None:
    reading = read_folder(corpus)
    assert [document.path for document in reading.documents] == [r"caf\xe9.md", "good.md", "sub/good.html"]
    assert reading.ignored == ["picture.png"]
    reasons = {name: reason for name, (_, reason) in BAD.items()} | {
        "huge.txt": "is too large (50 MB; at most 20 MB)",
        "link.md": "is a symbolic link out of the folder",
        "linked": "is a link to a folder",
        "loop.md": "is a symbolic link in a loop",
        "pipe.txt": "is not a regular file",
    }
    assert set(reading.skipped) == set(reasons)
    for name, reason in reasons.items():
        assert reading.skipped[name].startswith(reason), name
        assert "\n" not in reading.skipped[name]


def test_a_file_that_goes_away_meanwhile_is_skipped(tmp_path: Path) -> None:
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("Text.")

    def progress(found: list[Found]) -> Iterator[Found]:
        for each in found:
            if each.path == "a.md":
                each.file.unlink()
            yield each

    reading = read_folder(tmp_path, progress)
    assert [document.path for document in reading.documents] == ["b.md"]
    assert list(reading.skipped) == ["a.md"]
    assert "No such file" in reading.skipped["a.md"]


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file.md").write_text("Text.")
    for root in (tmp_path / "missing", tmp_path / "file.md"):
        with pytest.raises(CorpusError, match=f"{root} is not a folder of documents"):
            read_folder(root)
        with pytest.raises(CorpusError, match=f"{root} is not a folder of documents"):
            fingerprint(root)


def test_an_empty_folder_is_read_as_nothing(tmp_path: Path) -> None:
    reading = read_folder(tmp_path)
    assert (reading.documents, reading.skipped, reading.ignored) == ([], {}, [])


def test_the_fingerprint_stays_where_nothing_changes(corpus: Path, tmp_path: Path) -> None:
    before = fingerprint(corpus, "1", 2)
    os.utime(corpus / "good.md", (0, 0))
    (corpus / ".hidden.md").write_text("Still hidden.")
    (corpus / "picture.png").write_bytes(b"another picture")
    moved = corpus.rename(tmp_path / "moved")
    (moved / "linked").unlink()
    (moved / "linked").symlink_to(moved / "sub")
    (moved / "loop.md").unlink()
    (moved / "loop.md").symlink_to(moved / "loop.md")
    assert fingerprint(moved, "1", 2) == before


def _new(root: Path) -> None:
    (root / "new.md").write_text("Text.")


def _changed(root: Path) -> None:
    (root / "good.md").write_text("# Good\n\nThis is read!")


def _renamed(root: Path) -> None:
    (root / "good.md").rename(root / "goodbye.md")  # whose place among the others is the same


def _gone(root: Path) -> None:
    (root / "good.md").unlink()


def _emptied(root: Path) -> None:
    (root / "good.md").write_text("")


def _swapped(root: Path) -> None:
    (root / "sub/good.html").rename(root / "x")
    (root / "good.md").rename(root / "sub/good.html")
    (root / "x").rename(root / "good.md")


@pytest.mark.parametrize("change", [_new, _changed, _renamed, _gone, _emptied, _swapped])
def test_the_fingerprint_sees_every_change(corpus: Path, change: Callable[[Path], None]) -> None:
    before = fingerprint(corpus)
    change(corpus)
    assert fingerprint(corpus) != before


def test_the_fingerprint_sees_every_ingredient(tmp_path: Path) -> None:
    made = [fingerprint(tmp_path, *ingredients) for ingredients in ((), ("1",), (1,), ("1", ""), ("", "1"))]
    assert len(set(made)) == len(made)


def test_files_that_are_not_read_are_not_hashed(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def note(file: Path) -> str:
        hashed.append(file.name)
        return ""

    monkeypatch.setattr(module, "sha256", note)
    fingerprint(corpus)
    assert "good.md" in hashed
    assert not {"picture.png", "huge.txt", "pipe.txt", "link.md"} & set(hashed)
