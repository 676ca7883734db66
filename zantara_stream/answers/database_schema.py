"""The tables of a journal's SQLite file, and how an older file gets them."""

from __future__ import annotations

import sqlite3

from ..sqlite_file import number, transaction, write_ahead

APPLICATION, VERSION = 0x5A535452, 2

SCHEMA = f"""
    CREATE TABLE answers (
        answer TEXT PRIMARY KEY,
        question TEXT NOT NULL,
        request TEXT NOT NULL,      -- emptied when it closes
        continuity TEXT UNIQUE,
        started REAL NOT NULL,
        token INTEGER NOT NULL,
        lease_ends REAL NOT NULL,
        place INTEGER NOT NULL,     -- no commit before it holds events of this answer
        closed REAL,                -- from when its retention counts
        frames BLOB,
        owner TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE UNIQUE INDEX owned ON answers (answer, owner);
    CREATE INDEX unfinished ON answers (place) WHERE closed IS NULL;
    CREATE INDEX finished ON answers (closed) WHERE closed IS NOT NULL;
    CREATE TABLE commits (place INTEGER PRIMARY KEY AUTOINCREMENT, frames BLOB NOT NULL) STRICT;
    PRAGMA application_id = {APPLICATION};
    PRAGMA user_version = {VERSION};
"""
# From version 1, whose answers were anybody's: continuity ids are names among their owner's since.
OWNERS = f"""
    ALTER TABLE answers ADD COLUMN owner TEXT NOT NULL DEFAULT '';
    UPDATE answers SET continuity = '/' || continuity,
        question = CASE WHEN json_valid(request) THEN coalesce(request ->> '$.query', question) ELSE question END;
    CREATE UNIQUE INDEX owned ON answers (answer, owner);
    PRAGMA user_version = {VERSION};
"""
# Older servers of the same version do not know them, and need not.
STOPS = "CREATE TABLE IF NOT EXISTS stops (answer TEXT PRIMARY KEY) STRICT, WITHOUT ROWID"
READS = "CREATE TABLE IF NOT EXISTS reads (answer TEXT PRIMARY KEY, moment REAL NOT NULL) STRICT, WITHOUT ROWID"


def make_ready(db: sqlite3.Connection, patience: float) -> None:
    """Give a new file its tables and an older one what it lacks; locks are waited for so many seconds.

    Raises `sqlite3.Error` where it is no journal of this version.
    """
    with transaction(db, "DEFERRED"):
        _is_new(db)  # before a file of something else would be changed
    write_ahead(db, patience)
    db.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing; a power cut may lose the end
    db.execute("PRAGMA secure_delete = FAST")
    with transaction(db):
        changes = SCHEMA if _is_new(db) else OWNERS if number(db, "PRAGMA user_version") == 1 else ""
        for statement in (*changes.split(";"), READS, STOPS):
            db.execute(statement)


def _is_new(db: sqlite3.Connection) -> bool:
    """Whether nothing is in the file yet. Raises `sqlite3.Error` where it is no journal of this version."""
    application, version = number(db, "PRAGMA application_id"), number(db, "PRAGMA user_version")
    if (application, version) == (0, 0) and not number(db, "SELECT count(*) FROM sqlite_schema"):
        return True
    if application != APPLICATION:
        raise sqlite3.DatabaseError("the file is a database of something else")
    if version not in (1, VERSION):
        raise sqlite3.DatabaseError(f"the file has version {version}; this server reads version {VERSION}")
    return False
