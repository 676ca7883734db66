"""Documents as values, and the walk over a folder of them.

A document's *text* is what its spans count in, in characters: for Markdown and plain text what Python's
`open(path, encoding="utf-8")` reads (without a byte order mark), for other formats what their reader drew
from the file. It is stored with the index, so that every quote can be held against it.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

JOIN = " › "  # between the headings above a place
# The line that tells when a text was updated.
UPDATED_LINE = re.compile(
    r"^\W*(?:last\s+)?(?:updated|diperbarui|aggiornato|date|tanggal|data)\W*:\W*(\d{4}-\d{2}-\d{2})\b",
    re.IGNORECASE | re.MULTILINE,
)
FILE_LIMIT = 20 * 1024 * 1024  # bytes
OUT_OF_FORCE = frozenset(  # what a status says, in English, Indonesian and Italian
    [
        "repealed",
        "superseded",
        "withdrawn",
        "revoked",
        "obsolete",
        "expired",
        "dicabut",
        "tidak berlaku",
        "abrogato",
        "abrogata",
    ]
)


class Unreadable(Exception):
    """A file that cannot be indexed; the message says why."""


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a document's text under one heading path ("Fees › Renewal"); the heading is not in it."""

    heading: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """One file of the corpus, read."""

    path: str  # in the corpus, with forward slashes
    title: str
    text: str
    sections: tuple[Section, ...]
    language: str  # ISO 639-1
    updated: str = ""  # ISO date
    url: str = ""
    pages: tuple[int, ...] = ()  # where each page begins in the text
    markdown: bool = False
    level: int = 0  # of access: 0 for everybody … 3
    status: str = ""  # of the document, as it says: "in force", "draft", "repealed"
    language_declared: bool = False  # else the language was told from the text

    @property
    def out_of_force(self) -> str:
        """Its status where that says that it holds no more; else the empty string."""
        status = " ".join(self.status.casefold().split())
        return status if status in OUT_OF_FORCE else ""

    def page(self, position: int) -> int | None:
        """The page, from 1, that holds a character; None where the format has no pages."""
        return bisect_right(self.pages, position) if self.pages else None


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the corpus, or the reason why it is not one."""

    path: str
    file: Path
    problem: str = ""


def walk(root: Path) -> Iterator[Found]:
    """Every visible file below `root`, in an order that depends on their names only; nothing outside it is followed."""
    inside = root.resolve()
    closed: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=closed.append):
        folders.sort()
        linked = [name for name in folders if (Path(folder) / name).is_symlink()]
        folders[:] = [name for name in folders if name not in linked and not name.startswith(".")]
        for name in sorted([*files, *linked]):
            if not name.startswith("."):
                file = Path(folder) / name
                yield Found(_shown(file, root), file, _problem(file, inside))
    for error in closed:
        file = Path(error.filename)
        yield Found(_shown(file, root), file, f"cannot be opened ({error.strerror})")


def _shown(file: Path, root: Path) -> str:
    """The path in the corpus; bytes that are no text, which nothing could store, are spelled out."""
    return os.fsencode(file.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def _problem(file: Path, inside: Path) -> str:
    try:
        if not file.resolve(strict=True).is_relative_to(inside):
            return "is a symbolic link out of the folder"
        if not file.is_file():
            return "is a link to a folder" if file.is_dir() else "is not a regular file"
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    except RuntimeError:  # pathlib's word for it, up to Python 3.12
        return "is a symbolic link in a loop"
    if size == 0:
        return "is empty"
    if size > FILE_LIMIT:
        return f"is too large ({size / 2**20:.0f} MB; at most {FILE_LIMIT // 2**20} MB)"
    return ""
