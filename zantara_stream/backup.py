"""Back-ups of the journal and of the people's store, made while the server runs.

FOLDER/20261126T231500.000000Z/   answers.db  people.db  manifest.json

A copy is one snapshot of its file, whatever is written meanwhile. A back-up takes its name when all of it is on the
disk, so that a folder with a name is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import __version__
from .config import MEMORY, SQLITE, Settings
from .errors import ZantaraError
from .sqlite_file import make

Say = Callable[[str], None]

JOURNAL, STORE, MANIFEST = "answers.db", "people.db", "manifest.json"
FORMAT = 1
UNFINISHED = ".unfinished-"
BUSY = 10.0  # seconds to wait for another process's lock
PAGES = 4096  # copied from one report of progress to the next
LARGE = 256 * 2**20  # bytes from which on progress is told
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_SCHEMAS = {JOURNAL: "PRAGMA user_version", STORE: "SELECT version_num FROM alembic_version"}


class BackupError(ZantaraError):
    """The back-up cannot be made, or must not be restored."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A file of a back-up: its size in bytes, its sum, the version of its tables."""

    bytes: int
    sha256: str
    schema: str


def left_out(settings: Settings) -> list[str]:
    """What lies in servers that have back-ups of their own, and how those are made."""
    elsewhere = {
        settings.database_url: "people's things are in PostgreSQL: back them up with pg_dump",
        settings.journal: "answers are in Redis: keep its append-only file, or a replica",
    }
    return [told for url, told in elsewhere.items() if url != MEMORY and not url.startswith(SQLITE)]


def backup(settings: Settings, folder: Path, keep: int, say: Say) -> Path:
    """Copy journal and store into a new folder of `folder`, and forget all but the newest `keep`; the new one.

    Raises `BackupError`.
    """
    sources = sources_of(settings)
    missing = [str(path) for path in sources.values() if not path.is_file()]
    if missing or not sources:
        why = ", ".join(missing) or "; ".join(["the settings name no SQLite file", *left_out(settings)])
        raise BackupError(f"There is nothing to back up: {why}.")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(folder):
            made = _made(sources, folder, say)
            _prune(folder, keep)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(
            f"The back-up into {folder} failed, and those that were there are as they were: {error}."
        ) from error
    return made


def sources_of(settings: Settings) -> dict[str, Path]:
    """The SQLite files of the settings, by their names in a back-up."""
    named = {JOURNAL: settings.journal, STORE: settings.database_url}
    return {
        name: Path(url.removeprefix(SQLITE).partition("?")[0]) for name, url in named.items() if url.startswith(SQLITE)
    }


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep out other back-ups into this folder, and clear away what a killed one has left."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(left)
        yield
    except BlockingIOError:
        raise BackupError(f"Another back-up is being written into {folder}; wait for its end.") from None
    finally:
        os.close(opened)


def _made(sources: Mapping[str, Path], folder: Path, say: Say) -> Path:
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))  # mode 0700
    try:
        copied = {name: _copy(source, unfinished / name, say) for name, source in sources.items()}
        _write_manifest(unfinished / MANIFEST, copied)
        sync(unfinished)
        final = folder / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        unfinished.rename(final)
        sync(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return final


def _copy(source: Path, target: Path, say: Say) -> Copied:
    """One snapshot of a database that may be written to, checked and on the disk."""
    make(target)
    with closing(_connected(source, "rw")) as db, closing(_connected(target, "rw")) as copy:
        # Within one transaction, or each commit of the server's would begin the copy anew.
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        db.backup(copy, pages=PAGES, progress=_progress(source, say))
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
        schema = str(copy.execute(_SCHEMAS[target.name]).fetchone()[0])
        _check(copy, source)
    sync(target)
    return Copied(target.stat().st_size, sum_of(target), schema)


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY, isolation_level=None)


def _check(db: sqlite3.Connection, source: Path) -> None:
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise BackupError(f"{source} is damaged ({found}); the back-ups that were there are kept.")


def _progress(source: Path, say: Say) -> Callable[[int, int, int], None] | None:
    if source.stat().st_size < LARGE:
        return None
    return lambda status, remaining, total: say(f"{source.name}: {100 * (total - remaining) // max(total, 1)} %")


def _write_manifest(path: Path, copied: Mapping[str, Copied]) -> None:
    made = {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "files": {name: asdict(file) for name, file in copied.items()},
    }
    make(path)  # mode 0600
    path.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    sync(path)


def _prune(folder: Path, keep: int) -> None:
    """Forget all but the newest."""
    for old in backups_in(folder)[: -max(keep, 1)]:
        shutil.rmtree(old)


def backups_in(folder: Path) -> list[Path]:
    """Whole back-ups, oldest first."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file())


def sum_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Let a file or folder be on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
