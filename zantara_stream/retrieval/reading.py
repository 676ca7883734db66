"""A folder of documents, read; and the digest that says whether it needs to be read again."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CorpusError
from .documents import Document, Found, Unreadable, walk
from .isolation import IsolatedReader, Limits
from .language import settle_languages
from .manifest import sha256
from .readers import reader_for
from .readers.sidecar import document_of

Progress = Callable[[list[Found]], Iterable[Found]]
Read = Callable[[str, Path, Path | None], Document]  # of a path in the corpus, the file, and its sidecar
Sidecars = dict[str, list[Found]]  # of each document


@dataclass(slots=True)
class Reading:
    """What came of reading a folder."""

    documents: list[Document] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # file to reason
    ignored: list[str] = field(default_factory=list)  # files of formats that are not ours
    excluded: dict[str, str] = field(default_factory=dict)  # documents that hold no more, to what they say of it


def read_folder(
    root: Path,
    progress: Progress = iter,
    limits: Limits | None = None,
    remembering: Callable[[Read], Read] = lambda read: read,
) -> Reading:
    """Read every document below `root`; a bad file is named and skipped, the rest is read.

    `remembering` may put another way of reading a file in place of the usual one.
    Raises `CorpusError` where `root` is no folder.
    """
    reading = Reading()
    found_documents, sidecars = _sorted_out(_listed(root))
    with IsolatedReader(limits or Limits()) as reader:
        for found in progress(found_documents):
            _take(reading, remembering(reader.read), found, sidecars.pop(found.path, ()))
    for path, lone in sidecars.items():
        reading.skipped |= {sidecar.path: f"is metadata of {path}, which is not there" for sidecar in lone}
    reading.documents = settle_languages(reading.documents)
    return reading


def _listed(root: Path) -> list[Found]:
    if not root.is_dir():
        raise CorpusError(f"{root} is not a folder of documents.")
    return list(walk(root))


def _sorted_out(listed: list[Found]) -> tuple[list[Found], Sidecars]:
    documents: list[Found] = []
    sidecars: Sidecars = defaultdict(list)
    for found in listed:
        document = document_of(found.path)
        (documents if document is None else sidecars[document]).append(found)
    return documents, dict(sidecars)


def _take(reading: Reading, read: Read, found: Found, sidecars: Sequence[Found]) -> None:
    if not found.problem and reader_for(found.path) is None:
        reading.ignored.append(found.path)
        return
    try:
        document = _read(read, found, sidecars)
    except Unreadable as problem:
        reading.skipped[found.path] = str(problem)
        return
    if document.out_of_force:
        reading.excluded[found.path] = f"is {document.out_of_force}"
    else:
        reading.documents.append(document)


def _read(read: Read, found: Found, sidecars: Sequence[Found]) -> Document:
    if found.problem:
        raise Unreadable(found.problem)
    if len(sidecars) > 1:
        raise Unreadable(f"has metadata in {len(sidecars)} files ({', '.join(sidecar.path for sidecar in sidecars)})")
    for sidecar in sidecars:
        if sidecar.problem:
            raise Unreadable(f"has metadata in {sidecar.path} that {sidecar.problem}")
    return read(found.path, found.file, sidecars[0].file if sidecars else None)


def fingerprint(root: Path, *ingredients: object) -> str:
    """A digest of the files below `root` and of whatever else a build depends on."""
    digest = hashlib.sha256(json.dumps(ingredients).encode())
    for found in _listed(root):
        content = sha256(found.file) if not found.problem and _is_read(found.path) else found.problem
        digest.update(json.dumps([found.path, content]).encode())
    return digest.hexdigest()


def _is_read(path: str) -> bool:
    return reader_for(path) is not None or document_of(path) is not None
