"""How an index folder looks from outside: what tells one state of it from another, without opening anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import IndexUnavailable
from .manifest import BUILDS, CURRENT, current_build

Stamp = tuple[str, int, int, int]  # name, inode, time of the last change, bytes


@dataclass(frozen=True, slots=True)
class State:
    """CURRENT, and the files of the build that it names, as they lie on the disk."""

    current: Stamp | None = None
    files: frozenset[Stamp] = frozenset()


def look(index: Path) -> State:
    """The state of an index folder; whatever cannot be read is left out."""
    return State(_stamp(index / CURRENT), _files(index))


def _files(index: Path) -> frozenset[Stamp]:
    try:
        folder = current_build(index)
        if folder.parent != index / BUILDS:  # a damaged name may lead anywhere
            return frozenset()
        return frozenset(stamp for file in folder.rglob("*") if (stamp := _stamp(file)))
    except (IndexUnavailable, OSError, ValueError):  # gone meanwhile, or not a name at all
        return frozenset()


def _stamp(file: Path) -> Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return str(file), status.st_ino, status.st_mtime_ns, status.st_size
