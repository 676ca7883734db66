"""Back-ups put in the place of the files that a server reads, verified first, with nobody at them.

The files that are replaced stay beside, as `NAME.before-restore-TIME`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from .answers.database_schema import VERSION as JOURNAL_VERSION
from .backup import FORMAT, JOURNAL, MANIFEST, STORE, BackupError, Copied, backups_in, sources_of, sum_of, sync
from .config import Settings

_LOCKS = 0x40000000, 512  # where SQLite's own locks on a file are, and how many bytes of them


def restore(settings: Settings, folder: Path) -> list[Path]:
    """Put a back-up in the place of the files that the settings name, and keep those beside; what is kept.

    Nothing is replaced unless all of it is sound and no server has the files open. Raises `BackupError`.
    """
    listed, targets = _manifest(folder), sources_of(settings)
    if unplaced := sorted(set(listed) - set(targets)):
        raise BackupError(f"{folder} holds {', '.join(unplaced)}, and the settings name no SQLite file for it.")
    staged: dict[Path, Path] = {}
    try:
        with _held([targets[name] for name in listed]):
            for name, file in listed.items():
                staged[targets[name]] = _stage(folder / name, file, targets[name])
            return [kept for target, new in staged.items() for kept in _replace(target, new)]
    except OSError as error:
        raise BackupError(f"{folder} could not be restored: {error}.") from error
    finally:
        for new in staged.values():
            new.unlink(missing_ok=True)


def _manifest(folder: Path) -> dict[str, Copied]:
    """What the back-up says of its files. Raises `BackupError`."""
    try:
        said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise BackupError(f"{folder} is a back-up of format {said['format']}; this version reads format {FORMAT}.")
        listed = {str(name): Copied(**file) for name, file in said["files"].items()}
    except FileNotFoundError:
        raise BackupError(f"{folder} is no back-up: it has no {MANIFEST}.{_instead(folder)}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read ({error}); take another back-up.") from None
    for name, file in listed.items():
        _check_schema(folder, name, file.schema)
    return listed


def _instead(folder: Path) -> str:
    found = backups_in(folder) if folder.is_dir() else []
    return f" The newest one in it is {found[-1]}." if found else ""


def _check_schema(folder: Path, name: str, schema: str) -> None:
    known = {JOURNAL: [str(n + 1) for n in range(JOURNAL_VERSION)], STORE: _revisions()}
    if schema not in known.get(name, []):
        raise BackupError(
            f"{folder / name} has tables of version {schema}, which this server cannot read: it was backed up by "
            "another one. Restore it with the version that the manifest names, or a later one."
        )


def _revisions() -> list[str]:
    """The versions of the store's tables that this server knows."""
    names = [file.name for file in files(f"{__package__}.people").joinpath("migrations", "versions").iterdir()]
    return [found[1] for name in names if (found := re.match(r"v(\d+)_", name))]


@contextmanager
def _held(paths: list[Path]) -> Iterator[None]:
    """Take SQLite's own lock on the files that are there: whoever has one open holds a part of it."""
    opened = []
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                opened.append(os.open(path, os.O_RDWR))
                start, length = _LOCKS
                fcntl.lockf(opened[-1], fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        yield
    except BlockingIOError as error:
        raise BackupError(f"{path} is in use ({error.strerror}): stop the server, then restore again.") from None
    finally:
        for file in opened:
            os.close(file)


def _stage(source: Path, listed: Copied, target: Path) -> Path:
    """A copy beside the target, which is what the manifest says. Raises `BackupError`."""
    handle, name = tempfile.mkstemp(prefix=".restoring-", dir=target.parent)  # mode 0600
    os.close(handle)
    staged = Path(name)
    try:
        shutil.copyfile(source, staged)
        if (staged.stat().st_size, sum_of(staged)) != (listed.bytes, listed.sha256):
            raise BackupError(f"{source} is damaged: it is not what the manifest says. Take another back-up.")
        _give(staged, target)
        sync(staged)
    except BaseException:
        staged.unlink()
        raise
    return staged


def _give(staged: Path, target: Path) -> None:
    """To whom the target belongs: root restores what another user's server reads."""
    if os.geteuid() == 0:
        owner = (target if target.exists() else target.parent).stat()
        os.chown(staged, owner.st_uid, owner.st_gid)


def _replace(target: Path, new: Path) -> list[Path]:
    """Put the new file there; the old one, and what SQLite has beside it, are kept under another name."""
    kept = f"{target}.before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    there = target.exists()
    if there:
        os.link(target, kept)  # so that at no moment there is none
    for ending in ("-wal", "-shm"):  # of the old file: in the new one they would be damage
        with suppress(FileNotFoundError):
            os.rename(f"{target}{ending}", f"{kept}{ending}")
    os.replace(new, target)
    sync(target.parent)
    return [Path(kept)] if there else []
