"""Indexes whose documents change, and builds damaged in every way, for tests of what serves them."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from zantara_stream.errors import IndexUnavailable
from zantara_stream.retrieval.building import build
from zantara_stream.retrieval.documents import Document, Section
from zantara_stream.retrieval.embedding import Embedder
from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.manifest import (
    BUILDS,
    CURRENT,
    MANIFEST,
    OWN,
    Manifest,
    checksums,
    current_build,
    make_current,
    own_sha256,
)
from zantara_stream.retrieval.reading import Reading
from zantara_stream.testing import HashingEmbedder

DOCUMENT = "rules/fines.md"
ASKED = "How is late renewal of a permit fined?"


def sentence(fine: int) -> str:
    """What the document says of a fine."""
    return f"Late renewal of a permit is fined Rp {fine} million a day."


class Changing:
    """An index of two documents in one of which a fine changes from build to build."""

    def __init__(self, folder: Path) -> None:
        self.index = folder / "index"
        self._fine = 0

    def build(self, fine: int, embedder: Embedder | None = None) -> Manifest:
        """Make a build current in which that is the fine."""
        moved = "And so on. " * fine  # so that places that held before hold no more
        texts = {DOCUMENT: f"{moved}{sentence(fine)}\n", "villa.md": "A villa is rented for twenty-five years.\n"}
        documents = [Document(path, path, text, (Section("", 0, len(text)),), "en") for path, text in texts.items()]
        return build(Reading(documents), embedder or HashingEmbedder(), self.index, f"{fine:08}")

    def next(self) -> Manifest:
        """Make a build current that differs from the last."""
        self._fine += 1
        return self.build(self._fine)

    @property
    def current(self) -> Path:
        """The folder of the current build."""
        return current_build(self.index)


def copy(index: Path, name: str = "copy") -> Path:
    """A copy of the current build under that name, not yet current."""
    folder = Path(shutil.copytree(current_build(index), index / BUILDS / name))
    replace(Manifest.load(folder), build=name).save(folder)
    return folder


Damage = Callable[[Path], object]  # done to an index folder
PARTS = [
    "corpus.db",
    "vectors.faiss",
    "texts.sha256",
    "files.json",
    "encoder/encoder.json",
    "lexical/data.csc.index.npy",
    "lexical/indices.csc.index.npy",
    "lexical/indptr.csc.index.npy",
    "lexical/params.index.json",
    "lexical/vocab.index.json",
    MANIFEST,
]


def in_part(part: str, change: Callable[[bytes], bytes | None]) -> Damage:
    """A new build is current of which one file is another, or missing."""

    def damage(index: Path) -> None:
        folder = copy(index, f"damaged{time.monotonic_ns()}")
        content = change((folder / part).read_bytes())
        if content is None:
            (folder / part).unlink()
        else:
            (folder / part).write_bytes(content)
        make_current(index, folder.name)

    return damage


def flip(content: bytes) -> bytes:
    """One byte in the middle is another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def truncate(content: bytes) -> bytes:
    """The second half is gone."""
    return content[: len(content) // 2]


def saying(**facts: object) -> Damage:
    """A new build is current whose manifest says something else, and is whole."""

    return in_part(MANIFEST, lambda content: _said(content, facts))


def sealed(build: Path) -> None:
    """Let a build's manifest say that its files are as they were made."""
    manifest = build / MANIFEST
    manifest.write_bytes(_said(manifest.read_bytes(), {"checksums": checksums(build)}))


def _said(content: bytes, facts: Mapping[str, object]) -> bytes:
    """A manifest of other facts, which is whole."""
    said = json.loads(content) | facts
    del said[OWN]
    return json.dumps({**said, OWN: own_sha256(said)}).encode()


def naming(content: bytes) -> Damage:
    """CURRENT holds something else."""

    def damage(index: Path) -> None:
        (index / "draft").write_bytes(content)
        (index / "draft").replace(index / CURRENT)

    return damage


DAMAGES: dict[str, Damage] = {
    **{f"{part} flipped": in_part(part, flip) for part in PARTS},
    **{f"{part} truncated": in_part(part, truncate) for part in PARTS},
    **{f"{part} missing": in_part(part, lambda content: None) for part in PARTS},
    "a fact that was altered": in_part(MANIFEST, lambda content: content.replace(b'"documents": ', b'"documents": 1')),
    "another model": saying(model="another"),
    "other weights": saying(model_sha256="0" * 64),
    "other dimensions": saying(dimensions=32),
    "another format": saying(format=99),
    "other passages": saying(passages=7),
    "lists that there are not": saying(probes=7),
    "another build's manifest": saying(build="another"),
    "no date": saying(created="some day"),
    "CURRENT names nothing": naming(b"nothing\n"),
    "CURRENT empty": naming(b""),
    "CURRENT torn": naming(b"\0" * 26),
    "CURRENT no text": naming(b"\xff\xfe"),
    "CURRENT leads out": naming(b"../..\n"),
    "CURRENT missing": lambda index: (index / CURRENT).unlink(),
    "all of it missing": shutil.rmtree,
}


async def until_served(library: Library, build: str) -> None:
    """Wait until that build is served."""
    while _served(library) != build:  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0.01)


def _served(library: Library) -> str:
    try:
        return library.current.manifest.build
    except IndexUnavailable:
        return ""


async def until_refused(library: Library) -> None:
    """Wait until the build that is current by name is refused."""
    while not library.refused:  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0.01)
