"""Looking at the builds of an index folder: a list of them, and the current one held against itself and its model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import FAISS
from ..errors import IndexUnavailable
from .builds import build_folders, current_name
from .corpus import Corpus
from .embedding import Embedder
from .embedding_cache import KEY
from .encoder import Encoder, Vectors
from .lexical import LexicalIndex
from .manifest import CORPUS, ENCODER, KEYS, LEXICAL, POINTER, Manifest, check, check_model
from .passages import Passage, embedded_text
from .stores import open_vectors
from .vector_index import VectorIndex

SAMPLE = 100  # passages embedded again
SAME = 0.99  # the least cosine of a stored vector with the same text's new one
FOUND = 0.95  # the share of passages that the query encoder must find first by their own text, among the sample
SEED = 1729


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and what is wrong with it; nothing where it is fine."""

    subject: str
    problem: str = ""

    def __str__(self) -> str:
        return f"wrong: {self.subject}: {self.problem}" if self.problem else f"fine: {self.subject}"


def listed(out: Path) -> Iterator[str]:
    """A line a build, oldest first; the current one is marked."""
    current = current_name(out)
    for folder in build_folders(out):
        mark = "*" if folder.name == current else " "
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20
        try:
            m = Manifest.load(folder)
        except IndexUnavailable as error:
            yield f"{mark} {folder.name}  {size:.1f} MB  {error}"
            continue
        yield (
            f"{mark} {m.build}  {m.created}  {m.documents} documents  {m.passages} passages  "
            f"{m.model} ({m.dimensions} dimensions)  {m.index}  {size:.1f} MB"
        )


@dataclass(frozen=True, slots=True)
class Models:
    """How the model of a build is loaded, and its exported encoder; both take seconds."""

    embedder: Callable[[], Embedder]
    encoder: Callable[[Path], Encoder]


def verified(
    folder: Path, models: Models, files: Callable[[list[str]], Iterable[str]] = iter, vectors: str = FAISS
) -> Iterator[Finding]:
    """What holding a build against itself, and against its model, finds; `files` goes through its files' names.

    `vectors` is ZANTARA_VECTORS. Ends early where what is wrong makes the rest meaningless.
    """
    try:
        manifest = Manifest.load(folder)
    except IndexUnavailable as error:
        yield Finding("manifest", str(error))
        return
    yield Finding(f"manifest, build {manifest.build} of {manifest.created}")
    damaged = [problem for name in files(list(manifest.checksums)) if (problem := _damage(folder, manifest, name))]
    yield from (Finding("checksums", problem) for problem in damaged)
    if not damaged:
        yield Finding(f"checksums of {len(manifest.checksums)} files")
        yield from _contents(folder, manifest, models, vectors)


def _damage(folder: Path, manifest: Manifest, name: str) -> str:
    try:
        check(folder, manifest, (name,))
    except IndexUnavailable as error:
        return str(error)
    return ""


def _contents(folder: Path, manifest: Manifest, models: Models, vectors: str) -> Iterator[Finding]:
    try:
        index = open_vectors(folder, manifest, vectors)
        if POINTER in manifest.checksums:
            yield Finding("vectors as Milvus keeps them", index.damage())
    except IndexUnavailable as error:
        yield Finding("vectors", str(error))
        return
    corpus = Corpus(folder / CORPUS)
    try:
        counts = _counts(folder, manifest, index, corpus)
        yield counts
        yield _spans(manifest, corpus)
        if not counts.problem:
            yield from _vectors(folder, manifest, models, index, corpus)
    finally:
        corpus.close()


def _counts(folder: Path, manifest: Manifest, index: VectorIndex, corpus: Corpus) -> Finding:
    """The parts must have as many documents and passages as the manifest says, and vectors of its dimensions."""
    counts = {
        "passages in corpus.db": (sum(1 for _ in corpus.all_passages()), manifest.passages),
        "vectors": (len(index), manifest.passages),
        "texts in the lexical index": (LexicalIndex.load(folder / LEXICAL, manifest.languages).size, manifest.passages),
        "keys of texts": ((folder / KEYS).stat().st_size // KEY, manifest.passages),
        "documents in corpus.db": (len(corpus.paths()), manifest.documents),
        "dimensions": (index.dimensions, manifest.dimensions),
    }
    wrong = [f"{found} {what}, not {expected}" for what, (found, expected) in counts.items() if found != expected]
    return Finding(f"counts, {manifest.documents} documents and {manifest.passages} passages", "; ".join(wrong))


def _spans(manifest: Manifest, corpus: Corpus) -> Finding:
    """Every passage must be its document's own text at its span."""
    wrong, path, text = [], None, None
    for passage in corpus.all_passages():
        if passage.document != path:
            path, text = passage.document, corpus.text(passage.document)
        if text is None or text[passage.start : passage.end] != passage.text:
            wrong.append(passage)
    some = ", ".join(f"{passage.id} of {passage.document}" for passage in wrong[:3])
    problem = f"{len(wrong)} are not their documents' text at their spans: {some}" if wrong else ""
    return Finding(f"texts of all {manifest.passages} passages", problem)


def _vectors(folder: Path, manifest: Manifest, models: Models, index: VectorIndex, corpus: Corpus) -> Iterator[Finding]:
    embedder = models.embedder()
    try:
        check_model(manifest, embedder.name, embedder.sha256, embedder.dimensions)
    except IndexUnavailable as error:
        yield Finding("model", str(error))
        return
    numbers = _sample(manifest.passages)
    texts = [_text(passage, embedder) for passage in corpus.passages(numbers)]
    yield _embedded_again(numbers, embedder.encode(texts), index)
    yield _found_again(numbers, models.encoder(folder / ENCODER).encode(texts), index)


def _sample(count: int) -> list[int]:
    chosen = np.random.default_rng(SEED).choice(count, min(SAMPLE, count), replace=False)
    return sorted(int(number) for number in chosen)


def _text(passage: Passage, embedder: Embedder) -> str:
    return embedded_text(passage, embedder.count_tokens, embedder.max_tokens)


def _embedded_again(numbers: list[int], vectors: Vectors, index: VectorIndex) -> Finding:
    cosines = [float(index.similarities(row, [number])[0]) for number, row in zip(numbers, vectors, strict=True)]
    worst = int(np.argmin(cosines))
    said = f"the least cosine is {cosines[worst]:.4f}, of passage {numbers[worst]}"
    subject = f"{len(numbers)} passages embedded again"
    return Finding(subject, f"{said}, under {SAME}") if cosines[worst] < SAME else Finding(f"{subject}: {said}")


def _found_again(numbers: list[int], queries: Vectors, index: VectorIndex) -> Finding:
    """As a query, a passage's text must find that passage: a model's prompts and int8 allow no closer comparison."""
    cosines: NDArray[np.float32] = np.stack([index.similarities(row, numbers) for row in queries])
    own = np.diagonal(cosines)
    share = float(np.mean(own >= cosines.max(axis=1) - 1e-6))  # a repeated text finds its repeat as well
    said = f"finds {share:.0%} of {len(numbers)} passages by their own text, at a mean cosine of {own.mean():.3f}"
    return (
        Finding("query encoder", f"{said}; it must be {FOUND:.0%}")
        if share < FOUND
        else Finding(f"query encoder, which {said}")
    )
