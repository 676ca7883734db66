"""The command that builds an index, and looks after the builds that there are."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from .. import __version__
from ..config import FAISS, Settings, load_settings
from ..errors import IndexUnavailable, VectorsUnavailable, ZantaraError
from .building import Built, Way, write_build
from .building import build as build
from .builds import Forget, roll_back, sole_writer
from .embedding import Embedder, SentenceTransformerEmbedder, checked_weights, load_encoder, model_name
from .inspection import Models, listed, verified
from .manifest import FORMAT, Manifest, check, current_build
from .reading import fingerprint, read_folder
from .splitting import PASSAGE_SIZE
from .stores import configured_store, forgetting, open_vectors
from .unchanged import Unchanged
from .vector_store import VectorStore
from .vectors import Encode

WELL, FAILED, SOME_SKIPPED = 0, 1, 3  # exit codes


def up_to_date(out: Path, digest: str, vectors: str = FAISS) -> Manifest | None:
    """The current build's manifest where it is whole and was made from the same things; `vectors`: ZANTARA_VECTORS."""
    try:
        folder = current_build(out)
        manifest = Manifest.load(folder)
        if manifest.fingerprint != digest:
            return None
        check(folder, manifest)
        if vectors != FAISS:
            open_vectors(folder, manifest, vectors)
    except VectorsUnavailable:
        raise
    except IndexUnavailable:
        return None
    return manifest


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `build_index.py`; its exit code is 0, 1 for nothing built or something wrong, 3 for files skipped."""
    parser = _parser()
    options = parser.parse_args(arguments)
    instead = options.list or options.verify or options.rollback is not None
    if instead == (options.documents is not None):
        parser.error("name the folder of documents, or one of --list, --verify and --rollback")
    try:
        settings = load_settings(os.environ)
        return _run(options, options.out or settings.index, settings)
    except KeyboardInterrupt:
        print("build_index.py: interrupted; what is embedded is kept for the next run", file=sys.stderr)
        return FAILED
    except (ZantaraError, OSError) as error:
        print(f"build_index.py: {error}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="build_index.py",
        description="Build the index of a folder of documents, embedding only what has changed; or look after builds.",
        epilog="Exit codes: 0 done, 1 nothing built or something wrong, 3 built but some files were skipped.",
    )
    parser.add_argument("documents", type=Path, nargs="?", metavar="DOCUMENTS", help="the folder of documents")
    parser.add_argument("--out", type=Path, help="the index folder (default: ZANTARA_INDEX, indexes/default)")
    parser.add_argument("--full", action="store_true", help="read and embed everything anew")
    shared = parser.add_mutually_exclusive_group()
    shared.add_argument("--workers", type=_count, metavar="N", help="embed in so many processes (extra: cluster)")
    shared.add_argument("--scheduler", metavar="ADDRESS", help="embed on the workers of this Dask scheduler, tcp://…")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="list the builds; * marks the one that is served")
    instead.add_argument(
        "--verify", action="store_true", help="hold the current build against its checksums, documents and model"
    )
    instead.add_argument(
        "--rollback", nargs="?", const="", metavar="BUILD", help="serve the build before the current one, or that one"
    )
    return parser


def _count(text: str) -> int:
    """A number of processes."""
    if not (text.isdecimal() and 1 <= int(text) <= 1024):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1024")
    return int(text)


def _run(options: argparse.Namespace, out: Path, settings: Settings) -> int:
    if options.list:
        return _list(out)
    if options.verify:
        return _verify(out, settings)
    if options.rollback is not None:
        return _roll_back(out, options.rollback, settings)
    return _build(options, out, settings)


def _list(out: Path) -> int:
    lines = list(listed(out))
    print("\n".join(lines) or f"There are no builds in {out}.")
    return WELL


def _verify(out: Path, settings: Settings) -> int:
    models = Models(lambda: SentenceTransformerEmbedder(settings.embedding_model), load_encoder)
    findings = []
    files = partial(tqdm, desc="Checksums", unit="file")
    for finding in verified(current_build(out), models, files, settings.vectors):
        print(finding, flush=True)
        findings.append(finding)
    return FAILED if any(finding.problem for finding in findings) else WELL


def _roll_back(out: Path, name: str, settings: Settings) -> int:
    before = current_build(out).name
    store = configured_store(settings.vectors, out)
    with sole_writer(out, _forget(store)), tqdm(desc="Checksums", unit="B", unit_scale=True) as bar:
        manifest = roll_back(out, name, bar.update, partial(open_vectors, address=settings.vectors))
        store.switch(current_build(out))
    print(f"{out}: build {manifest.build} of {manifest.created} is served again, no longer {before}")
    if manifest.model != model_name(settings.embedding_model):
        print(f"It is of another model: set ZANTARA_EMBEDDING_MODEL={manifest.model} to serve it", file=sys.stderr)
    return WELL


def _build(options: argparse.Namespace, out: Path, settings: Settings) -> int:
    _, weights = checked_weights(settings.embedding_model)
    store = configured_store(settings.vectors, out)
    with sole_writer(out, _forget(store)):
        digest = fingerprint(options.documents, __version__, FORMAT, PASSAGE_SIZE, store.kind, weights)
        manifest = None if options.full else up_to_date(out, digest, settings.vectors)
        if manifest is not None:
            store.switch(current_build(out))
            _conclude(out, manifest, "up to date")
        else:
            built = _write(options, out, settings, digest, store)
            manifest = built.manifest
            _conclude(out, manifest, "built", _told(built))
    return SOME_SKIPPED if manifest.skipped else WELL


def _write(options: argparse.Namespace, out: Path, settings: Settings, digest: str, store: VectorStore) -> Built:
    store.prepare()
    unchanged = Unchanged() if options.full else Unchanged.since(out)
    try:
        reading = read_folder(
            options.documents, lambda found: tqdm(found, "Reading", unit="file"), remembering=unchanged.remembering
        )
        for path in reading.ignored:
            print(f"Ignored: {path} is not of a format that is indexed", file=sys.stderr)
        embedder = SentenceTransformerEmbedder(settings.embedding_model)
        with _shared(options, settings, embedder) as encode, tqdm(desc="Embedding", unit="passage") as bar:
            way = Way(options.full, unchanged, bar, _announcing(bar), store, encode)
            return write_build(reading, embedder, out, digest, way)
    finally:
        unchanged.close()


def _shared(
    options: argparse.Namespace, settings: Settings, embedder: Embedder
) -> AbstractContextManager[Encode | None]:
    """What embeds in other processes, if that is asked for."""
    model = SentenceTransformerEmbedder, settings.embedding_model, embedder
    if options.workers:
        from .sharding import processes

        return processes(options.workers, *model)
    if options.scheduler:
        from .sharding import scheduled

        return scheduled(options.scheduler, *model)
    return nullcontext()


def _forget(store: VectorStore) -> Forget:
    return forgetting(store, lambda told: print(told, file=sys.stderr))


def _announcing(bar: tqdm[NoReturn]) -> Callable[[str], None]:
    """The steps after embedding as lines below its bar."""

    def announce(step: str) -> None:
        bar.close()
        print(f"Then: {step}", file=sys.stderr, flush=True)

    return announce


def _told(built: Built) -> str:
    kept = built.manifest.passages - built.embedded
    rate = f" ({built.embedded / built.seconds:.1f} a second)" if built.embedded else ""
    return f"; {built.embedded} passages embedded{rate}, {kept} kept"


def _conclude(out: Path, manifest: Manifest, state: str, more: str = "") -> None:
    for path, reason in manifest.excluded.items():
        print(f"Excluded: {path} {reason}", file=sys.stderr)
    for path, reason in manifest.skipped.items():
        print(f"Skipped: {path} {reason}", file=sys.stderr)
    print(
        f"{out}: {state}, {manifest.documents} documents, {manifest.passages} passages, "
        f"{manifest.model} ({manifest.dimensions} dimensions), build {manifest.build}{more}"
    )
