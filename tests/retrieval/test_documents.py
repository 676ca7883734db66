from __future__ import annotations

import os
from pathlib import Path

import pytest

from zantara_stream.retrieval import documents
from zantara_stream.retrieval.documents import FILE_LIMIT, Document, Section, walk


def _problems(root: Path) -> dict[str, str]:
    return {found.path: found.problem for found in walk(root)}


def _write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("text")


@pytest.mark.parametrize(("position", "page"), [(0, 1), (9, 1), (10, 2), (29, 2), (30, 4), (99, 4)])
def test_page_holds_the_character(position: int, page: int) -> None:
    document = Document("a.pdf", "A", "x" * 100, (Section("", 0, 100),), "en", pages=(0, 10, 30, 30))
    assert document.page(position) == page


def test_no_page_where_the_format_has_none() -> None:
    assert Document("a.md", "A", "x", (Section("", 0, 1),), "en").page(0) is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("repealed", "repealed"),
        (" Superseded ", "superseded"),
        ("WITHDRAWN", "withdrawn"),
        ("revoked", "revoked"),
        ("obsolete", "obsolete"),
        ("expired", "expired"),
        ("Dicabut", "dicabut"),
        ("tidak\n berlaku", "tidak berlaku"),
        ("abrogato", "abrogato"),
        ("abrogata", "abrogata"),
        ("", ""),
        ("in force", ""),
        ("not repealed", ""),
        ("berlaku", ""),
    ],
)
def test_out_of_force(status: str, said: str) -> None:
    document = Document("a.md", "A", "x", (Section("", 0, 1),), "en", status=status)
    assert document.out_of_force == said


def test_walk_finds_visible_files_always_in_the_same_order(tmp_path: Path) -> None:
    _write(tmp_path, "b.md", "a.txt", "sub/z.md", "sub/deep/y.md", "also/x.bin")
    assert [found.path for found in walk(tmp_path)] == ["a.txt", "b.md", "also/x.bin", "sub/z.md", "sub/deep/y.md"]
    assert all(found.file == tmp_path / found.path and not found.problem for found in walk(tmp_path))


def test_walk_leaves_out_hidden_files_and_folders(tmp_path: Path) -> None:
    _write(tmp_path, ".hidden.md", ".git/readme.md", "sub/.also/a.md", "seen.md")
    assert _problems(tmp_path) == {"seen.md": ""}


def test_walk_follows_a_root_that_is_a_link_itself(tmp_path: Path) -> None:
    _write(tmp_path, "real/a.md")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert _problems(tmp_path / "linked") == {"a.md": ""}


def test_links(tmp_path: Path) -> None:
    root = tmp_path / "documents"
    _write(tmp_path, "documents/a.md", "documents/sub/b.md", "outside/secret.md")
    (root / "inside.md").symlink_to(root / "a.md")
    (root / "out.md").symlink_to(tmp_path / "outside/secret.md")
    (root / "folder").symlink_to(root / "sub")
    (root / "outfolder").symlink_to(tmp_path / "outside")
    (root / "broken.md").symlink_to(root / "nothing.md")
    (root / "loop.md").symlink_to(root / "loop.md")
    (root / "sub/up").symlink_to(root)
    assert _problems(root) == {
        "a.md": "",
        "inside.md": "",
        "sub/b.md": "",
        "out.md": "is a symbolic link out of the folder",
        "outfolder": "is a symbolic link out of the folder",
        "folder": "is a link to a folder",
        "sub/up": "is a link to a folder",
        "broken.md": "cannot be opened (No such file or directory)",
        "loop.md": "is a symbolic link in a loop",
    }


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")  # opening it would wait for a writer for ever
    assert _problems(tmp_path) == {"pipe.md": "is not a regular file"}


def test_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.md").touch()
    for name, size in {"huge.txt": 50 * 2**20, "over.txt": FILE_LIMIT + 1, "full.txt": FILE_LIMIT}.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)  # sparse
    assert _problems(tmp_path) == {
        "empty.md": "is empty",
        "huge.txt": "is too large (50 MB; at most 20 MB)",
        "over.txt": "is too large (20 MB; at most 20 MB)",
        "full.txt": "",
    }
    monkeypatch.setattr(documents, "FILE_LIMIT", 2**20)
    assert _problems(tmp_path)["full.txt"] == "is too large (20 MB; at most 1 MB)"


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "closed.md", "open.md")
    really = Path.open

    def deny(self: Path, mode: str = "r") -> object:
        if self.name == "closed.md":
            raise PermissionError(13, "Permission denied", str(self))
        return really(self, mode)

    monkeypatch.setattr(Path, "open", deny)
    assert _problems(tmp_path) == {"closed.md": "cannot be opened (Permission denied)", "open.md": ""}


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "closed/a.md", "open/b.md")
    really = os.scandir

    def deny(path: str | os.PathLike[str]) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", deny)
    assert _problems(tmp_path) == {"open/b.md": "", "closed": "cannot be opened (Permission denied)"}


def test_a_name_that_is_no_text_is_spelled_out(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.md"), "w") as file:
        file.write("text")
    [found] = walk(tmp_path)
    assert found.path == r"caf\xe9.md"
    assert found.file.read_text() == "text"
