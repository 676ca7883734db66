"""The builds of an index folder: one writer at a time, drafts, the switch, going back, dropping the oldest."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import CorpusError, IndexUnavailable
from .manifest import BUILDS, CURRENT, Manifest, check, current_build, make_current, sync

BUILDS_KEPT = 3
LOCK = "LOCK"
Forget = Callable[[Path], object]


def nothing(folder: Path) -> None:
    """All of the build lies in its folder."""


@contextmanager
def sole_writer(out: Path, forget: Forget = nothing) -> Iterator[None]:
    """Be the only one who writes to an index folder; what a killed writer left half done is removed.

    `forget` is told each folder before it is deleted. Raises `CorpusError` at once where another process, or another
    block of this one, is at it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CorpusError(f"Another build of {out} is running (process {lock.read().strip()}).") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        _tidy(out, forget)
        yield


def _tidy(out: Path, forget: Forget) -> None:
    for draft in (out / BUILDS).glob(".*"):
        forget(draft)
        shutil.rmtree(draft)
    for draft in out.glob(f"{CURRENT}.*"):
        draft.unlink()


@contextmanager
def draft(out: Path, name: str, forget: Forget = nothing) -> Iterator[Path]:
    """A hidden folder that becomes the build's, on the disk, when the block ends well; else it is gone.

    Where `forget` cannot be told, it is left for the next writer to remove.
    """
    folder = out / BUILDS / f".{name}.{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
        for path in [*folder.rglob("*"), folder]:
            sync(path)
        folder.rename(out / BUILDS / name)
        sync(out / BUILDS)
    except BaseException:
        with suppress(IndexUnavailable):
            forget(folder)
            shutil.rmtree(folder, ignore_errors=True)
        raise


def build_folders(out: Path) -> list[Path]:
    """The folders of all builds, oldest first: their names begin with their time."""
    if not (out / BUILDS).is_dir():
        return []
    return sorted(folder for folder in (out / BUILDS).iterdir() if not folder.name.startswith("."))


def current_name(out: Path) -> str:
    """The name of the current build, whether it is whole or not; empty where there is none."""
    with suppress(IndexUnavailable):
        return current_build(out).name
    return ""


def prune(out: Path, forget: Forget = nothing) -> None:
    """Drop the oldest builds, but neither the current one nor the one before it; `forget` is told each before."""
    manifest = Manifest.load(current_build(out))
    builds = [folder for folder in build_folders(out) if folder.name not in (manifest.build, manifest.previous)]
    spared = BUILDS_KEPT - (len(build_folders(out)) - len(builds))
    for folder in builds[: max(0, len(builds) - spared)]:
        forget(folder)
        shutil.rmtree(folder)


def roll_back(
    out: Path,
    name: str,
    progress: Callable[[int], object] | None = None,
    look: Callable[[Path, Manifest], object] | None = None,
) -> Manifest:
    """Make that build current, or the one that was before the current one where `name` is empty.

    It must be whole: raises `IndexUnavailable` where it is not, or where `look` does for what lies elsewhere, and
    `CorpusError` where there is none. `progress` hears of the bytes checked.
    """
    name = name or _before_current(out)
    if name not in {folder.name for folder in build_folders(out)}:
        raise CorpusError(f"There is no build {name} in {out}; --list names those that there are.")
    folder = out / BUILDS / name
    manifest = Manifest.load(folder)
    check(folder, manifest, progress=progress)
    if look is not None:
        look(folder, manifest)
    make_current(out, name)
    return manifest


def _before_current(out: Path) -> str:
    current = current_build(out)
    try:
        previous = Manifest.load(current).previous
    except IndexUnavailable:  # it cannot say: then the newest of the older ones
        previous = max((f.name for f in build_folders(out) if f.name < current.name), default="")
    if not previous:
        raise CorpusError(f"There is no build before {current.name} in {out}.")
    return previous
