"""SQLite files are for the server's own eyes, and in WAL mode however many open them at once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from zantara_stream import sqlite_file
from zantara_stream.sqlite_file import make, write_ahead


@contextmanager
def masked(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def connected(path: Path) -> sqlite3.Connection:
    """A connection that never waits by itself."""
    return sqlite3.connect(path, timeout=0, isolation_level=None)


class Clock:
    """The time that goes on when somebody waits for it; `then` is what happens meanwhile."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.then: dict[int, list[sqlite3.Connection]] = {}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)
        for holder in self.then.get(len(self.waits), []):
            holder.execute("ROLLBACK")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sqlite_file, "time", clock)
    monkeypatch.setattr(sqlite_file, "PAUSE", 0.25)
    return clock


# -------------------------------------------------------------------------------------------------------------- make


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "people.db"
    with masked(mask):
        make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == b""


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_so_are_the_files_that_sqlite_puts_beside_it(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "people.db"
    with masked(mask):
        make(path)
        with closing(connected(path)) as db:
            write_ahead(db, 0)
            db.execute("CREATE TABLE said (text)")
            modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {"people.db": 0o600, "people.db-wal": 0o600, "people.db-shm": 0o600}


def test_its_folders_are_made(tmp_path: Path) -> None:
    make(tmp_path / "var" / "lib" / "people.db")
    assert (tmp_path / "var" / "lib" / "people.db").is_file()


def test_a_file_that_is_there_keeps_what_it_holds_and_who_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    path.write_bytes(b"something")
    path.chmod(0o640)
    make(path)
    assert path.read_bytes() == b"something"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_database_that_is_there_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    for rows in (0, 1):
        make(path)
        with closing(connected(path)) as db:
            write_ahead(db, 0)
            db.execute("CREATE TABLE IF NOT EXISTS said (text)")
            assert db.execute("SELECT count(*) FROM said").fetchone() == (rows,)
            db.execute("INSERT INTO said VALUES ('hello')")


def test_a_place_where_no_file_can_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        make(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make(tmp_path / "file" / "people.db")


# ------------------------------------------------------------------------------------------------------- write_ahead


def test_the_mode_stays_with_the_file(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "people.db"
    with closing(connected(path)) as db:
        write_ahead(db, 0)
        db.execute("CREATE TABLE said (text)")
    with closing(connected(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        write_ahead(db, 0)
    assert clock.waits == []


def test_then_readers_and_a_writer_do_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with closing(connected(path)) as writer, closing(connected(path)) as reader:
        write_ahead(writer, 0)
        writer.execute("CREATE TABLE said (text)")
        reader.execute("BEGIN")
        assert reader.execute("SELECT * FROM said").fetchall() == []
        writer.execute("INSERT INTO said VALUES ('hello')")
        assert reader.execute("SELECT * FROM said").fetchall() == []


def _locked(path: Path) -> sqlite3.Connection:
    holder = connected(path)
    holder.execute("CREATE TABLE said (text)")
    holder.execute("BEGIN EXCLUSIVE")
    return holder


def test_a_lock_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "people.db"
    with closing(_locked(path)) as holder, closing(connected(path)) as db:
        clock.then[3] = [holder]
        write_ahead(db, 10)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert clock.waits == [0.25] * 3


def test_a_lock_that_stays_is_given_up_after_the_patience(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "people.db"
    locked = pytest.raises(sqlite3.OperationalError, match="locked")
    with closing(_locked(path)), closing(connected(path)) as db, locked:
        write_ahead(db, 1)
    assert clock.waits == [0.25] * 5, "until the patience is over, and not a try longer"


def test_what_is_no_database_is_an_error_at_once(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "people.db"
    path.write_bytes(b"Dear diary,\n" * 1000)
    with closing(connected(path)) as db, pytest.raises(sqlite3.DatabaseError, match="not a database"):
        write_ahead(db, 10)
    assert clock.waits == []


def test_what_waiting_does_not_mend_is_raised_too(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "people.db"
    with closing(connected(path)) as db:
        db.execute("CREATE TABLE said (text)")
    only_read = closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True))
    with only_read as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        write_ahead(db, 1)
