"""Building an index: passages embedded, written beside the old build with all that serves them, made current."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import CorpusError, IndexUnavailable
from .builds import build_folders, current_name, draft, prune, sole_writer
from .corpus import write_corpus
from .documents import Document
from .embedding import Embedder
from .embedding_cache import KEY, compact, drop_unused, prefixes
from .lexical import LexicalIndex
from .manifest import CORPUS, ENCODER, FILES, FORMAT, KEYS, LEXICAL, Manifest, checksums, current_build, make_current
from .passages import Passage, embedded_text, indexed_text
from .query_encoder import take_over_encoder
from .reading import Reading
from .stores import forgetting
from .unchanged import Unchanged
from .vector_store import InFiles, VectorStore, Written
from .vectors import Embedded, Encode, Progress, Silent, embed


@dataclass(frozen=True, slots=True)
class Way:
    """How a build is gone about."""

    full: bool = False  # nothing of earlier builds is used
    unchanged: Unchanged = field(default_factory=Unchanged)
    progress: Progress = field(default_factory=Silent)  # hears of passages embedded
    announce: Callable[[str], object] = str  # hears of each step after that
    store: VectorStore = field(default_factory=InFiles)  # where the vectors are kept
    encode: Encode | None = None  # what embeds in the embedder's place


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into a build; a passage's number is that of its text and its vector."""

    reading: Reading
    passages: list[Passage]
    texts: list[str]
    embedded: Embedded


@dataclass(frozen=True, slots=True)
class Built:
    """What came of it."""

    manifest: Manifest
    embedded: int  # texts embedded; the other passages' vectors were kept
    seconds: float  # that it took


def build(reading: Reading, embedder: Embedder, out: Path, digest: str, progress: Progress | None = None) -> Manifest:
    """Build what was read and make it the current build of `out`; `progress` hears of passages embedded.

    What is served does not change unless all of it succeeds; the vectors made are kept even then.
    Raises `CorpusError` for an empty corpus, or where another build is running.
    """
    with sole_writer(out):
        way = Way(progress=Silent() if progress is None else progress)  # an empty bar of tqdm is false
        return write_build(reading, embedder, out, digest, way).manifest


def write_build(reading: Reading, embedder: Embedder, out: Path, digest: str, way: Way) -> Built:
    """`build` for whoever is the `sole_writer` of `out` already."""
    passages = split_all(reading.documents, embedder, way.unchanged)
    texts = [embedded_text(passage, embedder.count_tokens, embedder.max_tokens) for passage in passages]
    embedded = embed(texts, embedder, out, way.progress, full=way.full, encode=way.encode)
    manifest = _write(Content(reading, passages, texts, embedded), embedder, out, digest, way)
    make_current(out, manifest.build)
    _tidy(out, embedder, way)
    return Built(manifest, embedded.made, embedded.seconds)


def split_all(documents: Sequence[Document], embedder: Embedder, unchanged: Unchanged) -> list[Passage]:
    """The passages of every document. Raises `CorpusError` where there are none."""
    passages = [passage for document in documents for passage in unchanged.split(document, embedder)]
    if not passages:
        raise CorpusError("There is nothing to index: no document with text in it was found.")
    return passages


def _write(content: Content, embedder: Embedder, out: Path, digest: str, way: Way) -> Manifest:
    created = datetime.now(UTC)
    name = f"{created:%Y%m%dT%H%M%S%fZ}-{digest[:8]}"
    with draft(out, name, forgetting(way.store, way.announce)) as folder:
        vectors = _write_search(folder, name, content, way)
        way.announce("writing the documents")
        write_corpus(folder / CORPUS, content.reading.documents, content.passages)
        (folder / KEYS).write_bytes(b"".join(content.embedded.keys))
        way.unchanged.save(folder / FILES, content.reading.documents)
        if way.full or not take_over_encoder(folder, embedder, out):
            way.announce("exporting the query encoder")
            embedder.export(folder / ENCODER, content.texts)
        way.announce("adding up checksums")
        manifest = _describe(name, created, digest, current_name(out), content, embedder, vectors, checksums(folder))
        manifest.save(folder)
    return manifest


def _write_search(folder: Path, name: str, content: Content, way: Way) -> Written:
    way.announce("indexing the vectors")
    levels = [passage.level for passage in content.passages]
    vectors = way.store.write(folder, name, content.embedded.vectors, levels)
    way.announce("indexing the words")
    languages = [passage.language for passage in content.passages]
    words = [indexed_text(passage) for passage in content.passages]
    LexicalIndex.build(words, languages).save(folder / LEXICAL)
    return vectors


def _describe(
    name: str,
    created: datetime,
    digest: str,
    previous: str,
    content: Content,
    embedder: Embedder,
    vectors: Written,
    sums: dict[str, str],
) -> Manifest:
    reading = content.reading
    return Manifest(
        format=FORMAT,
        build=name,
        created=created.isoformat(timespec="seconds"),
        version=__version__,
        previous=previous,
        fingerprint=digest,
        model=embedder.name,
        model_sha256=embedder.sha256,
        dimensions=embedder.dimensions,
        max_tokens=embedder.max_tokens,
        index=vectors.kind,
        probes=vectors.probes,
        recall=vectors.recall,
        documents=len(reading.documents),
        passages=len(content.passages),
        languages=sorted({document.language for document in reading.documents}),
        skipped=reading.skipped,
        excluded=reading.excluded,
        checksums=sums,
    )


def _tidy(out: Path, embedder: Embedder, way: Way) -> None:
    try:
        way.store.switch(current_build(out))
        prune(out, forgetting(way.store, way.announce))
        _tidy_caches(out, embedder, way.full)
    except (OSError, IndexUnavailable) as error:  # the build is made and served all the same
        way.announce(f"could not tidy up after it ({error})")


def _tidy_caches(out: Path, embedder: Embedder, full: bool) -> None:
    """Drop the vectors of models and texts that no kept build has."""
    models, used = {embedder.sha256}, [np.empty(0, np.uint64)]
    for folder in build_folders(out):
        with suppress(IndexUnavailable, FileNotFoundError):  # nothing can be said of a damaged build
            manifest = Manifest.load(folder)
            models.add(manifest.model_sha256)
            if (manifest.model_sha256, manifest.dimensions) == (embedder.sha256, embedder.dimensions):
                used.append(prefixes((folder / KEYS).read_bytes(), KEY))
    drop_unused(out, models)
    compact(out, embedder.sha256, embedder.dimensions, np.unique(np.concatenate(used)), always=full)
