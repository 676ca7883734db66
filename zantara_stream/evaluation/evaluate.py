"""The command `evaluate`: an index built of a collection, its queries asked, and what was found told in a table."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from statistics import quantiles

import numpy as np
from tqdm import tqdm

from ..config import Settings
from ..retrieval.building import build
from ..retrieval.embedding import SentenceTransformerEmbedder, load_encoder
from ..retrieval.encoder import Description
from ..retrieval.manifest import ENCODER, current_build
from ..retrieval.opened import Build
from ..retrieval.reading import Reading
from ..retrieval.reranker import CANDIDATES, Reranker
from ..retrieval.search import Sought, rank
from .collection import Collection, load_collection
from .measures import Measures, mean, measure

DEEP = 1000  # candidates from each side, so that a hundred documents are among them; an answer takes fewer
SERVED = 8  # passages of an answer, whose search is timed
LOSS = 0.01  # of nDCG@10 that the fused ranking may lose to the better of its sides

# Published nDCG@10; docs/evaluation.md has where.
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "scifact": {
        "txtai, all-MiniLM-L6-v2": 0.587,
        "all-MiniLM-L6-v2 (MTEB)": 0.645,
        "Contriever (Pyserini)": 0.677,
        "BM25 (Pyserini)": 0.679,
        "ColBERTv2": 0.693,
        "SPLADE++": 0.704,
        "bge-small-en-v1.5": 0.713,
        "SPLADE-v3": 0.714,
        "OGX, hybrid with a reranker": 0.714,
        "bge-base-en-v1.5": 0.741,
        "BM25 + bge-base, averaged (Anserini)": 0.747,
    }
}
DENSE, LEXICAL, FUSED, RERANKED = "dense alone", "lexical alone", "fused", "fused and reranked"
COLUMNS = "| | nDCG@10 | recall@10 | recall@100 | MRR@10 |", "|---|---|---|---|---|"

Ways = Mapping[str, Callable[[str, Sought], Iterable[int]]]  # a name, and the passages found, best first


def evaluate(settings: Settings, folder: Path, out: Path | None = None) -> str:
    """The table for a collection; its index is kept in `out`, so that a second time is quick.

    Raises `CorpusError` for a folder that is no collection, `ConfigError` for a model that there is not.
    """
    collection = load_collection(folder)
    ways = _plain if not settings.reranker else _with(Reranker(settings.reranker))
    index = out or settings.index.parent / f"evaluate-{collection.name}"
    _build(collection, index, settings)
    opened = Build.open(current_build(index), load_encoder)
    means = _measured(collection, opened, ways(opened))
    precision = Description.load(current_build(index) / ENCODER).precision
    return "\n".join(
        [
            _heading(collection, opened, precision),
            "",
            *_table(means, PUBLISHED.get(collection.name, {})),
            "",
            _verdict(means),
            _latency(opened, collection.queries.values()),
        ]
    )


def _build(collection: Collection, index: Path, settings: Settings) -> None:
    embedder = SentenceTransformerEmbedder(settings.embedding_model)
    digest = hashlib.sha256("\n".join(document.path for document in collection.documents).encode()).hexdigest()
    with tqdm(desc="Embedding", unit="passage") as bar:
        build(Reading(documents=collection.documents), embedder, index, digest, bar)


def _plain(opened: Build) -> Ways:
    """The search, and each of its sides by itself."""
    return {
        DENSE: lambda text, sought: opened.index.nearest(sought.vector, DEEP),
        LEXICAL: lambda text, sought: _wordiest(opened, sought),
        FUSED: lambda text, sought: _fused(opened, sought),
    }


def _with(reranker: Reranker) -> Callable[[Build], Ways]:
    def reranked(opened: Build, text: str, sought: Sought) -> list[int]:
        found = _fused(opened, sought)
        order = reranker.order(text, opened.corpus.passages(found[:CANDIDATES]))
        return [found[place] for place in order] + found[CANDIDATES:]

    return lambda opened: {**_plain(opened), RERANKED: lambda text, sought: reranked(opened, text, sought)}


def _wordiest(opened: Build, sought: Sought) -> list[int]:
    scores = opened.lexical.scores(sought.terms)
    order = np.argsort(-scores, kind="stable")[:DEEP]
    return [int(number) for number in order if scores[number] > 0]


def _fused(opened: Build, sought: Sought) -> list[int]:
    return [int(number) for number in rank(opened, sought, depth=DEEP).numbers]


def _measured(collection: Collection, opened: Build, ways: Ways) -> dict[str, Measures]:
    """The mean of each way over all queries; a document stands where its best passage does."""
    owners = [passage.document for passage in opened.corpus.all_passages()]
    measured: dict[str, list[Measures]] = {name: [] for name in ways}
    for query, text in tqdm(collection.queries.items(), "Asking", unit="query"):
        sought = opened.seek(text)
        for name, search in ways.items():
            found = dict.fromkeys(owners[number] for number in search(text, sought))
            found.pop(query, None)  # a query that is itself a document
            measured[name].append(measure(list(found), collection.judgements[query]))
    return {name: mean(each) for name, each in measured.items()}


def _heading(collection: Collection, opened: Build, precision: str) -> str:
    counted = f"{len(collection.documents):,} documents, {opened.manifest.passages:,} passages"
    about = f"{opened.manifest.model}, queries in {precision}, {opened.manifest.index} vectors"
    return f"{collection.name}: {counted}, {len(collection.queries):,} queries; {about}"


def _table(means: Mapping[str, Measures], published: Mapping[str, float]) -> list[str]:
    return [
        *COLUMNS,
        *(f"| {way} | {' | '.join(f'{value:.3f}' for value in astuple(each))} |" for way, each in means.items()),
        *(f"| published: {system} | {value:.3f} | | | |" for system, value in published.items()),
    ]


def _verdict(means: Mapping[str, Measures]) -> str:
    gain = means[FUSED].ndcg10 - max(means[DENSE].ndcg10, means[LEXICAL].ndcg10)
    verdict = "as it should" if gain >= -LOSS else f"which loses more than {LOSS}"
    return f"Fused against the better of its sides: {gain:+.3f}, {verdict}."


def _latency(opened: Build, queries: Iterable[str]) -> str:
    seconds = [_seconds(opened, text) for text in queries]
    return f"A question embedded and searched, one thread: {_shown(seconds)}."


def _seconds(opened: Build, text: str) -> float:
    began = time.perf_counter()
    opened.search(text, SERVED)
    return time.perf_counter() - began


def _shown(seconds: Sequence[float]) -> str:
    cuts = quantiles([*seconds, *seconds], n=100, method="inclusive")  # twice, since one value has no quantiles
    return f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms"
