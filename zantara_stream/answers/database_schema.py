"""The tables of a journal's SQLite file, and how an older file gets them."""

from __future__ import annotations

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
# Older servers of the same version do not know it, and need not.
READS = "CREATE TABLE IF NOT EXISTS reads (answer TEXT PRIMARY KEY, moment REAL NOT NULL) STRICT, WITHOUT ROWID"
