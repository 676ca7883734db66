"""The documents and passages of a build, kept in one read-only SQLite file."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import IndexUnavailable
from .documents import Document
from .passages import Passage
from .vector_index import Allowed

_COLUMNS = [f.name for f in fields(Passage)]
_SHOWN = ("path", "title", "language", "updated", "url", "level", "text")
_SCHEMA = f"""
CREATE TABLE documents (
    path TEXT PRIMARY KEY, title TEXT, language TEXT, updated TEXT, url TEXT, level INTEGER, text TEXT
);
CREATE TABLE passages (number INTEGER PRIMARY KEY, {", ".join(_COLUMNS)});
CREATE INDEX passages_by_level ON passages (level);
"""


def _schema(database: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Everything that a database has: a view or trigger that somebody put into it would be run by a search."""
    return database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()


def _ours() -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(_SCHEMA)
        return _schema(empty)


_OURS = _ours()


def write_corpus(file: Path, documents: Iterable[Document], passages: Sequence[Passage]) -> None:
    """Write a build's documents and passages; a passage's number is its place in `passages`."""
    with sqlite3.connect(file) as database:
        database.executescript(_SCHEMA)
        database.executemany(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((d.path, d.title, d.language, d.updated, d.url, d.level, d.text) for d in documents),
        )
        marks = ", ".join("?" * (len(_COLUMNS) + 1))
        database.executemany(
            f"INSERT INTO passages VALUES ({marks})",
            ((number, *astuple(passage)) for number, passage in enumerate(passages)),
        )
    database.close()


class Corpus:
    """The stored documents and passages of one build; one thread at a time may ask it. Raises `IndexUnavailable`."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(
            f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        # A connection and its cache of statements hold each other: without this its file stays open for long.
        weakref.finalize(self, self._database.close)
        try:
            if _schema(self._database) != _OURS:
                raise IndexUnavailable(f"{file} is not a corpus of this program; build the index again.")
        except sqlite3.Error as error:
            raise IndexUnavailable(f"The corpus {file} cannot be read ({error}); build the index again.") from error
        self._allowed: dict[int, Allowed | None] = {}

    def passages(self, numbers: Sequence[int]) -> list[Passage]:
        """The passages of those numbers, in that order."""
        marks = ", ".join("?" * len(numbers))
        query = f"SELECT number, {', '.join(_COLUMNS)} FROM passages WHERE number IN ({marks})"
        rows = {number: Passage(*columns) for number, *columns in self._database.execute(query, tuple(numbers))}
        return [rows[number] for number in numbers]

    def all_passages(self) -> Iterator[Passage]:
        """Every passage, by number; those of a document follow each other."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM passages ORDER BY number"
        return (Passage(*columns) for columns in self._database.execute(query))

    def paths(self) -> list[str]:
        """The documents."""
        return [path for (path,) in self._database.execute("SELECT path FROM documents ORDER BY path")]

    def text(self, document: str, start: int = 0, end: int | None = None) -> str | None:
        """A document's text as it was indexed, or a stretch of it in characters; None for a document not there."""
        part, bounds = ("text", ()) if end is None else ("substr(text, ?, ?)", (start + 1, max(0, end - start)))
        row = self._database.execute(f"SELECT {part} FROM documents WHERE path = ?", (*bounds, document)).fetchone()
        return str(row[0]) if row else None

    def document(self, path: str) -> dict[str, Any] | None:
        """Everything that is stored of a document, by name; None where it is not there."""
        found = self._database.execute(f"SELECT {', '.join(_SHOWN)} FROM documents WHERE path = ?", (path,)).fetchone()
        return dict(zip(_SHOWN, found, strict=True)) if found else None

    def allowed(self, level: int) -> Allowed | None:
        """Which passages somebody of an access level may see; None for all of them."""
        if level not in self._allowed:
            query = "SELECT number FROM passages WHERE level > ?"
            hidden = [number for (number,) in self._database.execute(query, (level,))]
            seen = np.ones(self._size(), np.bool_)
            seen[hidden] = False
            self._allowed[level] = Allowed(level, seen) if hidden else None
        return self._allowed[level]

    def _size(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM passages").fetchone()[0])

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
