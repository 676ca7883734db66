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
from zantara_stream.retrieval.isolation import Limits
from zantara_stream.retrieval.readers.archive import UNPACKED_LIMIT
from zantara_stream.retrieval.reading import fingerprint, read_folder


def _zip(size: int) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(size))
    return data.getvalue()


BOMB = _zip(UNPACKED_LIMIT + 1)
BAD = {  # file to its content and the reason that is given
    "binary.txt": (b"\x7fELF\0\0\x01", "is not text (it holds zero bytes)"),
    "blank.md": (b" \n\n", "has no text in it"),
    "bomb.docx": (BOMB, "unpacks to more than 100 MB"),
    "bomb.epub": (BOMB, "unpacks to more than 100 MB"),
    "deep.json": (b"[" * 1_000_000, "is nested too deeply"),
    "field.csv": (b"A,B\n1," + b"x" * 200_000, "has a row that cannot be read (line 2: field larger than field limit"),
    "level.md": (b"---\nlevel: secret\n---\nText.", "has front matter that gives the access level secret"),
    "lines.jsonl": (b'{"a": 1}\n{"a"\n', "is not JSON in line 2"),
    "other.docx": (_zip(10), "is damaged: KeyError"),
    "other.epub": (_zip(10), "is not an EPUB book"),
    "broken-matter.md": (b"---\ntitle: [open\n---\nText.", "has front matter that is not YAML (while parsing"),
    "empty.pdf": (b"", "is empty"),
    "headings-only.md": (b"# One\n\n## Two\n", "has no text in it"),
    "latin1.html": ("<p>perché</p>".encode("latin-1"), "is not UTF-8 text (byte 8 of 13)"),
    "no-zip.docx": (b"hello", "is damaged: BadZipFile: File is not a zip file"),
    "random.pdf": (b"%PDF-" + random.Random(1).randbytes(3000), "cannot be opened as PDF"),
    "renamed.pdf": (b"Just text.", "is not a PDF file"),
    "script-only.html": (b"<script>alert('text')</script>", "has no text in it"),
    "truncated.docx": (_zip(2000)[:-30], "is damaged: BadZipFile"),
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Bad files of every kind among good ones."""
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
    assert reading.skipped == {"a.md": "cannot be opened (No such file or directory)"}


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file.md").write_text("Text.")
    for root in (tmp_path / "missing", tmp_path / "file.md"):
        with pytest.raises(CorpusError, match=f"{root} is not a folder of documents"):
            read_folder(root)
        with pytest.raises(CorpusError, match=f"{root} is not a folder of documents"):
            fingerprint(root)


def test_an_empty_folder_is_read_as_nothing(tmp_path: Path) -> None:
    reading = read_folder(tmp_path)
    assert (reading.documents, reading.skipped, reading.ignored, reading.excluded) == ([], {}, [], {})


def _write(root: Path, **files: str) -> None:
    for name, content in files.items():
        (root / name.replace("_", ".")).write_text(content)


def test_a_file_that_takes_too_long_takes_only_itself(tmp_path: Path) -> None:
    _write(tmp_path, a_md="Before.", c_md="After.")
    (tmp_path / "b.html").write_bytes(b"<ul><li>" * 100_000 + b"Deep.")  # minutes, by the rules of HTML itself
    reading = read_folder(tmp_path, limits=Limits(seconds=3))
    assert [document.path for document in reading.documents] == ["a.md", "c.md"]
    assert reading.skipped == {"b.html": "took more than 3 s to read"}


def test_a_file_that_needs_too_much_memory_takes_only_itself(tmp_path: Path) -> None:
    _write(tmp_path, a_md="Before.", c_md="After.")
    (tmp_path / "b.jsonl").write_bytes(b"[0]\n" * 3_000_000)
    reading = read_folder(tmp_path, limits=Limits(memory=64 * 2**20))
    assert [document.path for document in reading.documents] == ["a.md", "c.md"]
    assert reading.skipped == {"b.jsonl": "needs more memory than 64 MB"}


def test_a_sidecar_belongs_to_its_document(tmp_path: Path) -> None:
    _write(tmp_path, a_txt="Text.", a_txt_meta_yaml="title: Given\nlevel: 2\n", b_txt="Text.")
    reading = read_folder(tmp_path)
    assert [(document.path, document.level) for document in reading.documents] == [("a.txt", 2), ("b.txt", 0)]
    assert reading.documents[0].title == "Given"
    assert (reading.skipped, reading.ignored) == ({}, [])


def test_a_document_whose_sidecar_cannot_be_used_is_not_indexed(tmp_path: Path) -> None:
    for name in "abcdef":
        (tmp_path / f"{name}.txt").write_text("Text.")
    _write(tmp_path, a_txt_meta_yaml="level: 4", b_txt_meta_yaml="", c_txt_meta_json="{", d_txt_meta_yaml="x: 1")
    _write(tmp_path, e_txt_meta_yaml="level: 3", e_txt_meta_json='{"level": 0}')
    (tmp_path / "f.txt.meta.yaml").symlink_to("/etc/hostname")
    reading = read_folder(tmp_path)
    assert reading.documents == []
    reasons = {
        "a.txt": "has metadata in a.txt.meta.yaml that gives the access level 4",
        "b.txt": "has metadata in b.txt.meta.yaml that is empty",
        "c.txt": "has metadata in c.txt.meta.json that is not JSON",
        "d.txt": "has metadata in d.txt.meta.yaml that has the key x",
        "e.txt": "has metadata in 2 files (e.txt.meta.json, e.txt.meta.yaml)",
        "f.txt": "has metadata in f.txt.meta.yaml that is a symbolic link out of the folder",
    }
    assert set(reading.skipped) == set(reasons)
    for path, reason in reasons.items():
        assert reading.skipped[path].startswith(reason)


def test_a_sidecar_without_its_document_is_named(tmp_path: Path) -> None:
    _write(tmp_path, a_md="Text.", reprt_pdf_meta_yaml="level: 3", picture_png="png", picture_png_meta_yml="level: 1")
    (tmp_path / "report.pdf").write_bytes(b"")
    reading = read_folder(tmp_path)
    assert reading.skipped == {
        "report.pdf": "is empty",
        "reprt.pdf.meta.yaml": "is metadata of reprt.pdf, which is not there",
    }
    assert reading.ignored == ["picture.png"]


def test_documents_that_hold_no_more_are_left_out_and_named(tmp_path: Path) -> None:
    _write(tmp_path, a_md="---\nstatus: Repealed\n---\nText.", b_md="---\nstatus: in force\n---\nText.")
    _write(tmp_path, c_txt="Text.", c_txt_meta_yaml="status: Tidak  berlaku", d_md="---\nstatus: draft\n---\nText.")
    reading = read_folder(tmp_path)
    assert reading.excluded == {"a.md": "is repealed", "c.txt": "is tidak berlaku"}
    assert [(document.path, document.status) for document in reading.documents] == [
        ("b.md", "in force"),
        ("d.md", "draft"),
    ]
    assert reading.skipped == {}


def test_languages_are_settled_among_the_common_ones(tmp_path: Path) -> None:
    for number in range(25):
        text = f"Perpanjangan izin tinggal nomor {number} diajukan di kantor imigrasi sebelum izin berakhir."
        (tmp_path / f"{number}.txt").write_text(text)
    (tmp_path / "x.txt").write_text("Nama rasmi negara ini ialah Republik Arab.")
    documents = {document.path: document.language for document in read_folder(tmp_path).documents}
    assert set(documents.values()) == {"id"}


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


def _given_metadata(root: Path) -> None:
    (root / "good.md.meta.yaml").write_text("level: 2")


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


@pytest.mark.parametrize("change", [_new, _changed, _given_metadata, _renamed, _gone, _emptied, _swapped])
def test_the_fingerprint_sees_every_change(corpus: Path, change: Callable[[Path], None]) -> None:
    before = fingerprint(corpus)
    change(corpus)
    assert fingerprint(corpus) != before


def test_the_fingerprint_sees_what_a_sidecar_says(tmp_path: Path) -> None:
    _write(tmp_path, a_md="Text.", a_md_meta_yaml="level: 2")
    before = fingerprint(tmp_path)
    _write(tmp_path, a_md_meta_yaml="level: 3")
    assert fingerprint(tmp_path) != before


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
