"""What a build says of itself, and whether it is whole.

An index folder holds builds beside each other and the name of the current one:

    indexes/default/
      CURRENT                   the name of the build that is served, replaced in one step
      builds/<build>/
        manifest.json  vectors.faiss (or vectors.milvus.json)  corpus.db  lexical/…  encoder/…  texts.sha256  files.json
      embeddings/               vectors by their texts, for the next build
      LOCK                      held by whoever builds or rolls back
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import IndexUnavailable

FORMAT = 2
OWN = "manifest_sha256"  # of all the other facts
MANIFEST, CURRENT, BUILDS = "manifest.json", "CURRENT", "builds"
VECTORS, CORPUS, LEXICAL, ENCODER = "vectors.faiss", "corpus.db", "lexical", "encoder"
POINTER = "vectors.milvus.json"  # in place of the vectors, where they are kept elsewhere
KEYS, FILES = "texts.sha256", "files.json"  # which serving does not need, but the next build


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts of one build."""

    format: int
    build: str
    created: str  # ISO time, UTC
    version: str  # of this package
    previous: str  # the build that was current before; empty for the first
    fingerprint: str  # of everything that went into the build
    model: str
    model_sha256: str
    dimensions: int
    max_tokens: int
    index: str  # the kind of the vector index
    probes: int  # of its lists that a search looks into; 0 where it has none
    recall: float  # of its nearest against the exact ones, measured on a sample
    documents: int
    passages: int
    languages: list[str]
    skipped: dict[str, str]  # file to reason, what could not be read
    excluded: dict[str, str]  # file to reason, what was left out on purpose
    checksums: dict[str, str]  # file of the build to sha256

    def save(self, folder: Path) -> None:
        """Write the manifest into its build's folder, with a checksum of its own."""
        data = asdict(self)
        text = json.dumps({**data, OWN: own_sha256(data)}, indent=2, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    def below(self, folder: str) -> dict[str, str]:
        """The checksums of the files in one folder of the build."""
        return {name: digest for name, digest in self.checksums.items() if name.startswith(f"{folder}/")}

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read a build's manifest. Raises `IndexUnavailable`."""
        try:
            data: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise IndexUnavailable(f"The index {folder} has format {data['format']}, not {FORMAT}: {REBUILD}")
            if data.pop(OWN) != own_sha256(data):
                raise ValueError(OWN)
            for f in fields(cls):
                if type(data[f.name]).__name__ != str(f.type).partition("[")[0]:
                    raise TypeError(f.name)
            return cls(**{f.name: data[f.name] for f in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise IndexUnavailable(
                f"The index {folder} has no readable manifest ({type(error).__name__}): {REBUILD}"
            ) from error


def own_sha256(data: dict[str, Any]) -> str:
    """The checksum of a manifest's facts, which it carries itself."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


REBUILD = "build it with: python scripts/build_index.py DOCUMENTS"


def sha256(file: Path) -> str:
    """The sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a build but its manifest."""
    return {file.relative_to(folder).as_posix(): sha256(file) for file in _parts(folder)}


def _parts(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != MANIFEST)


def current_build(index: Path) -> Path:
    """The folder of the build that an index folder serves. Raises `IndexUnavailable`."""
    try:
        name = (index / CURRENT).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        raise IndexUnavailable(f"There is no index in {index}: {REBUILD}") from None
    return index / BUILDS / name


def make_current(index: Path, build: str) -> None:
    """Let an index folder serve that build, in one step that a reader sees whole or not at all.

    A power cut leaves the old name or the new one.
    """
    draft = index / f"{CURRENT}.{os.getpid()}"
    draft.write_text(build + "\n")
    sync(draft)
    os.replace(draft, index / CURRENT)
    sync(index)


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(
    folder: Path,
    manifest: Manifest,
    names: Collection[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Hold a build's files, or those of `names`, against its checksums; `progress` hears of the bytes of each.

    Raises `IndexUnavailable` naming the first that differs.
    """
    for name in manifest.checksums if names is None else names:
        expected = manifest.checksums.get(name)
        file = folder / name
        if not file.is_file():
            raise IndexUnavailable(f"The index is damaged: {file} is missing; {REBUILD}")
        if sha256(file) != expected:
            raise IndexUnavailable(f"The index is damaged: {file} is not as it was built; {REBUILD}")
        if progress is not None:
            progress(file.stat().st_size)


def check_model(manifest: Manifest, name: str, weights: str, dimensions: int | None = None) -> None:
    """Hold a build against the embedding model. Raises `IndexUnavailable`."""
    if manifest.model != name or manifest.model_sha256 != weights:
        raise IndexUnavailable(
            f"The index was built with the embedding model {manifest.model} ({manifest.model_sha256[:12]}…), "
            f"the server has {name} ({weights[:12]}…): set ZANTARA_EMBEDDING_MODEL, or {REBUILD}"
        )
    if dimensions is not None and manifest.dimensions != dimensions:
        raise IndexUnavailable(
            f"The index has {manifest.dimensions} dimensions, the embedding model {dimensions}: {REBUILD}"
        )
