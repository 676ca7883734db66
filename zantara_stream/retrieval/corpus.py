"""The documents and passages of a build, kept in one read-only SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from .documents import Document
from .passages import Passage

_COLUMNS = [f.name for f in fields(Passage)]
_SCHEMA = f"""
CREATE TABLE documents (path TEXT PRIMARY KEY, title TEXT, language TEXT, updated TEXT, url TEXT, text TEXT);
CREATE TABLE passages (number INTEGER PRIMARY KEY, {", ".join(_COLUMNS)});
"""


def write_corpus(file: Path, documents: Iterable[Document], passages: Sequence[Passage]) -> None:
    """Write a build's documents and passages; a passage's number is its place in `passages`."""
    with sqlite3.connect(file) as database:
        database.executescript(_SCHEMA)
        database.executemany(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?)",
            ((d.path, d.title, d.language, d.updated, d.url, d.text) for d in documents),
        )
        marks = ", ".join("?" * (len(_COLUMNS) + 1))
        database.executemany(
            f"INSERT INTO passages VALUES ({marks})",
            ((number, *astuple(passage)) for number, passage in enumerate(passages)),
        )
    database.close()


class Corpus:
    """The stored documents and passages of one build; one thread at a time may ask it."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(
            f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )

    def passages(self, numbers: Sequence[int]) -> list[Passage]:
        """The passages of those numbers, in that order."""
        marks = ", ".join("?" * len(numbers))
        query = f"SELECT number, {', '.join(_COLUMNS)} FROM passages WHERE number IN ({marks})"
        rows = {number: Passage(*columns) for number, *columns in self._database.execute(query, tuple(numbers))}
        return [rows[number] for number in numbers]

    def text(self, document: str) -> str | None:
        """The text of a document as it was indexed."""
        row = self._database.execute("SELECT text FROM documents WHERE path = ?", (document,)).fetchone()
        return str(row[0]) if row else None

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
