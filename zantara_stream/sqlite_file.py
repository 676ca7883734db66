"""A SQLite file of ours: for the server's own eyes, and in WAL mode, so that readers and a writer do not wait."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAUSE = 0.02  # seconds between tries


def make(path: Path) -> None:
    """Make an empty file where there is none: what it will hold is nobody's business but the server's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def write_ahead(db: sqlite3.Connection, patience: float) -> None:
    """Put the file into WAL mode, for good. Raises `sqlite3.OperationalError` after `patience` seconds of locks."""
    until = time.monotonic() + patience
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            # SQLite does not wait by itself here, where another process is opening the same new file.
            if time.monotonic() > until:
                raise
        time.sleep(PAUSE)


@contextmanager
def transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All that is done within the block, or nothing."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # A full disk has rolled back by itself.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def number(db: sqlite3.Connection, query: str, *values: object) -> int:
    """The first number that a query finds; 0 where it finds none."""
    row = db.execute(query, values).fetchone()
    return int(row[0] or 0)
