"""Building an index: documents split, embedded and written beside the old build, then made current."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from .. import __version__
from ..config import Settings, load_settings
from ..errors import CorpusError, IndexUnavailable, ZantaraError
from .corpus import write_corpus
from .embedding import Embedder, SentenceTransformerEmbedder, Vectors, checked_weights
from .index import KIND, VectorIndex
from .lexical import LexicalIndex
from .manifest import BUILDS, CORPUS, FORMAT, LEXICAL, VECTORS, Manifest, check, checksums, current_build, make_current
from .passages import PASSAGE_SIZE, Passage, embedded_text, split
from .reading import Reading, fingerprint, read_folder

BUILDS_KEPT = 3
WELL, FAILED, SOME_SKIPPED = 0, 1, 3  # exit codes


class Progress(Protocol):
    """Hears how long the embedding is and how far it has come; tqdm is one."""

    def reset(self, total: float | None = None) -> None:
        """There are `total` passages."""
        ...

    def update(self, n: float | None = 1) -> bool | None:
        """`n` more are done."""
        ...


def split_all(reading: Reading, embedder: Embedder) -> list[Passage]:
    """The passages of every document. Raises `CorpusError` where there are none."""
    passages = [
        passage
        for document in reading.documents
        for passage in split(document, embedder.count_tokens, embedder.max_tokens)
    ]
    if not passages:
        raise CorpusError("There is nothing to index: no document with text in it was found.")
    return passages


def build(reading: Reading, embedder: Embedder, out: Path, digest: str, progress: Progress | None = None) -> Manifest:
    """Build what was read and make it the current build of `out`; `progress` hears of passages embedded.

    Nothing of `out` changes unless all of it succeeds. Raises `CorpusError` for an empty corpus.
    """
    passages = split_all(reading, embedder)
    texts = [embedded_text(passage, embedder.count_tokens, embedder.max_tokens) for passage in passages]
    if progress is not None:
        progress.reset(len(texts))
    vectors = embedder.encode(texts, progress.update if progress is not None else None)
    created = datetime.now(UTC)
    name = f"{created:%Y%m%dT%H%M%S%fZ}-{digest[:8]}"
    with _draft(out, name) as folder:
        _write(folder, reading, passages, texts, vectors)
        manifest = _describe(name, created, digest, reading, passages, embedder, checksums(folder))
        manifest.save(folder)
    make_current(out, name)
    _prune(out, name)
    return manifest


@contextmanager
def _draft(out: Path, name: str) -> Iterator[Path]:
    """A hidden folder that becomes the build's when the block ends well, and is gone when it does not."""
    draft = out / BUILDS / f".{name}.{os.getpid()}"
    draft.mkdir(parents=True)
    try:
        yield draft
        draft.rename(out / BUILDS / name)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _write(folder: Path, reading: Reading, passages: list[Passage], texts: list[str], vectors: Vectors) -> None:
    VectorIndex.build(vectors).save(folder / VECTORS)
    LexicalIndex.build(texts, [passage.language for passage in passages]).save(folder / LEXICAL)
    write_corpus(folder / CORPUS, reading.documents, passages)


def _describe(
    name: str,
    created: datetime,
    digest: str,
    reading: Reading,
    passages: list[Passage],
    embedder: Embedder,
    sums: dict[str, str],
) -> Manifest:
    return Manifest(
        format=FORMAT,
        build=name,
        created=created.isoformat(timespec="seconds"),
        fingerprint=digest,
        model=embedder.name,
        model_sha256=embedder.sha256,
        dimensions=embedder.dimensions,
        max_tokens=embedder.max_tokens,
        index=KIND,
        documents=len(reading.documents),
        passages=len(passages),
        languages=sorted({document.language for document in reading.documents}),
        skipped=reading.skipped,
        checksums=sums,
    )


def _prune(out: Path, current: str) -> None:
    """Drop the oldest builds, whose names begin with their time."""
    builds = sorted(folder for folder in (out / BUILDS).iterdir() if not folder.name.startswith("."))
    for folder in builds[:-BUILDS_KEPT]:
        if folder.name != current:
            shutil.rmtree(folder)


def up_to_date(out: Path, digest: str) -> Manifest | None:
    """The current build's manifest where it is whole and was made from the same things."""
    try:
        folder = current_build(out)
        manifest = Manifest.load(folder)
        if manifest.fingerprint != digest:
            return None
        check(folder, manifest)
    except IndexUnavailable:
        return None
    return manifest


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `build_index.py`; its exit code is 0, 1 for nothing built, 3 for files skipped."""
    parser = argparse.ArgumentParser(
        prog="build_index.py",
        description="Build the index of a folder of documents (Markdown, text, HTML, PDF, DOCX).",
        epilog="Exit codes: 0 all files indexed, 1 nothing built, 3 built but some files were skipped.",
    )
    parser.add_argument("documents", type=Path, help="the folder of documents")
    parser.add_argument("--out", type=Path, help="the index folder (default: ZANTARA_INDEX, indexes/default)")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(os.environ)
        return _run(options.documents, options.out or settings.index, settings)
    except (ZantaraError, OSError) as error:
        print(f"build_index.py: {error}", file=sys.stderr)
        return FAILED


def _run(documents: Path, out: Path, settings: Settings) -> int:
    _, weights = checked_weights(settings.embedding_model)
    digest = fingerprint(documents, __version__, FORMAT, PASSAGE_SIZE, KIND, weights)
    manifest = up_to_date(out, digest)
    fresh = manifest is None
    if manifest is None:
        reading = read_folder(documents, lambda found: tqdm(found, "Reading", unit="file"))
        _report(reading)
        embedder = SentenceTransformerEmbedder(settings.embedding_model)
        with tqdm(desc="Embedding", unit="passage") as bar:
            manifest = build(reading, embedder, out, digest, bar)
    _conclude(manifest, out, fresh)
    return SOME_SKIPPED if manifest.skipped else WELL


def _report(reading: Reading) -> None:
    for path in reading.ignored:
        print(f"Ignored: {path} is not of a format that is indexed", file=sys.stderr)


def _conclude(manifest: Manifest, out: Path, fresh: bool) -> None:
    for path, reason in manifest.skipped.items():
        print(f"Skipped: {path} {reason}", file=sys.stderr)
    state = "built" if fresh else "up to date"
    print(
        f"{out}: {state}, {manifest.documents} documents, {manifest.passages} passages, "
        f"{manifest.model} ({manifest.dimensions} dimensions), build {manifest.build}"
    )
