"""A folder of documents, read; and the digest that says whether it needs to be read again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CorpusError
from .documents import Document, Found, Unreadable, walk
from .manifest import sha256
from .readers import read_document, reader_for

Progress = Callable[[list[Found]], Iterable[Found]]


@dataclass(slots=True)
class Reading:
    """What came of reading a folder."""

    documents: list[Document] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # file to reason
    ignored: list[str] = field(default_factory=list)  # files of formats that are not ours


def read_folder(root: Path, progress: Progress = iter) -> Reading:
    """Read every document below `root`; a bad file is named and skipped, the rest is read.

    Raises `CorpusError` where `root` is no folder.
    """
    reading = Reading()
    for found in progress(_listed(root)):
        if not found.problem and reader_for(found.path) is None:
            reading.ignored.append(found.path)
            continue
        try:
            reading.documents.append(_read(found))
        except (Unreadable, OSError) as problem:
            reading.skipped[found.path] = str(problem)
    return reading


def _listed(root: Path) -> list[Found]:
    if not root.is_dir():
        raise CorpusError(f"{root} is not a folder of documents.")
    return list(walk(root))


def _read(found: Found) -> Document:
    if found.problem:
        raise Unreadable(found.problem)
    return read_document(found.path, found.file)


def fingerprint(root: Path, *ingredients: object) -> str:
    """A digest of the files below `root` and of whatever else a build depends on."""
    digest = hashlib.sha256(json.dumps(ingredients).encode())
    for found in _listed(root):
        known = not found.problem and reader_for(found.path) is not None
        content = sha256(found.file) if known else found.problem
        digest.update(json.dumps([found.path, content]).encode())
    return digest.hexdigest()
