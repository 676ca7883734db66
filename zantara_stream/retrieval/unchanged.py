"""What the current build knows of files that have not changed since: they are neither read nor split again.

Reading and splitting take about a tenth of a build's time, which is several times what the rest of a small
change takes. A build leaves the digest of each file, and what it was read as, in `files.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from .. import __version__
from ..errors import IndexUnavailable
from .corpus import Corpus
from .documents import Document
from .embedding import Embedder
from .manifest import CORPUS, FILES, Manifest, check, current_build, sha256
from .passages import Passage
from .readers.transfer import decoded
from .reading import Read
from .splitting import split


class Unchanged:
    """The documents of the current build by their files' digests, and the digests of all files read since.

    `remembering(read)` reads, `split` splits, `save` leaves what the next build needs. Without a build all is new.
    """

    def __init__(self) -> None:
        self._manifest: Manifest | None = None
        self._known: dict[str, dict[str, Any]] = {}  # path to what the build read, by `files.json`
        self._corpus: Corpus | None = None
        self._passages: dict[str, list[Passage]] = {}
        self._read: dict[str, tuple[str, Document]] = {}
        self._kept: set[str] = set()

    @classmethod
    def since(cls, out: Path) -> Self:
        """What the current build of an index folder knows, where it is whole and of this version."""
        made = cls()
        try:
            folder = current_build(out)
            manifest = Manifest.load(folder)
            if manifest.version == __version__:
                check(folder, manifest, (CORPUS, FILES))
                made._take_over(folder, manifest)
        except IndexUnavailable:
            pass  # then everything is read again
        return made

    def _take_over(self, folder: Path, manifest: Manifest) -> None:
        self._manifest = manifest
        self._known = json.loads((folder / FILES).read_text(encoding="utf-8"))
        self._corpus = Corpus(folder / CORPUS)
        passages = defaultdict(list)
        for passage in self._corpus.all_passages():
            passages[passage.document].append(passage)
        self._passages = dict(passages)

    def remembering(self, read: Read) -> Read:
        """The same reading, but of files that have changed only."""

        def remember(path: str, file: Path, sidecar: Path | None) -> Document:
            digest = _digest(file, sidecar)  # before reading: what is changed meanwhile differs from it next time
            document = self._remembered(path, digest)
            if document is None:
                document = read(path, file, sidecar)
            else:
                self._kept.add(path)
            self._read[path] = (digest, document)
            return document

        return remember

    def _remembered(self, path: str, digest: str) -> Document | None:
        known = self._known.get(path)
        if self._corpus is None or known is None or known["digest"] != digest:
            return None
        fields = {**known["document"], "text": self._corpus.text(path)}
        try:
            return decoded(json.dumps(fields).encode(), path)
        except ValueError:  # not what documents are made of now
            return None

    def split(self, document: Document, embedder: Embedder) -> list[Passage]:
        """The passages of a document as it was read here; those of the build where they would be the same."""
        passages = self._passages.get(document.path, [])
        same_language = all(passage.language == document.language for passage in passages)  # others may have settled it
        if document.path in self._kept and same_language and self._same_tokens(embedder):
            return passages
        return split(document, embedder.count_tokens, embedder.max_tokens)

    def _same_tokens(self, embedder: Embedder) -> bool:
        manifest = self._manifest
        return manifest is not None and (manifest.model, manifest.model_sha256, manifest.max_tokens) == (
            embedder.name, embedder.sha256, embedder.max_tokens,
        )  # fmt: skip

    def save(self, file: Path, documents: Iterable[Document]) -> None:
        """Write the digests of these documents' files, and what each was read as but its text."""
        known = {}
        for document in documents:
            if document.path in self._read:
                digest, read = self._read[document.path]
                known[document.path] = {"digest": digest, "document": _without_text(read)}
        file.write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")

    def close(self) -> None:
        """Let go of the build."""
        if self._corpus is not None:
            self._corpus.close()


def _digest(file: Path, sidecar: Path | None) -> str:
    """Of what a document is read from; empty where that cannot be read, which the reader then says."""
    try:
        parts = [sha256(part) if part else "" for part in (file, sidecar)]
    except OSError:
        return ""
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _without_text(document: Document) -> dict[str, Any]:
    fields = asdict(document)
    del fields["text"]
    return fields
