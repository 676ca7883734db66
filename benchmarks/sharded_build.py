"""What sharing the embedding out over processes of one machine gains: passages a second, beside one process.

    python benchmarks/sharded_build.py [--workers 2] [--texts 1024] [--rounds 3]

The texts are the passages of the sample documents, each with a number, so that none is equal to another. One process
uses every core by torch's threads; the workers share them. They are measured in turn, the model being loaded already.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from zantara_stream.retrieval.building import split_all
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder
from zantara_stream.retrieval.passages import embedded_text
from zantara_stream.retrieval.reading import read_folder
from zantara_stream.retrieval.sharding import processes
from zantara_stream.retrieval.unchanged import Unchanged
from zantara_stream.retrieval.vectors import TOGETHER, Encode, Silent, encode_here

DOCUMENTS = Path(__file__).parent.parent / "documents"
HERE = "one process"


def texts_of(count: int, embedder: SentenceTransformerEmbedder) -> list[str]:
    """So many passages of the sample documents, the longest first, as a build embeds them."""
    passages = split_all(read_folder(DOCUMENTS).documents, embedder, Unchanged())
    texts = [embedded_text(passage, embedder.count_tokens, embedder.max_tokens) for passage in passages]
    return sorted(
        (f"{number} {text}" for number, text in enumerate(islice(cycle(texts), count))), key=len, reverse=True
    )


def rate(encode: Encode, texts: list[str]) -> float:
    """Texts a second."""
    lots = [texts[start : start + TOGETHER] for start in range(0, len(texts), TOGETHER)]
    began = time.perf_counter()
    rows = sum(len(made) for made in encode(lots, Silent()))
    assert rows == len(texts)
    return rows / (time.perf_counter() - began)


def main() -> None:
    """Measure in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--texts", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    embedder = SentenceTransformerEmbedder()
    texts = texts_of(asked.texts, embedder)
    with ExitStack() as stack:
        ways = {HERE: encode_here(embedder)}
        for count in sorted({1, asked.workers}):
            shared = processes(count, SentenceTransformerEmbedder, "", embedder)
            ways[f"--workers {count}"] = stack.enter_context(shared)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(asked.rounds):
            for name, encode in ways.items():
                rates[name].append(rate(encode, texts))
    alone = median(rates[HERE])
    for name, found in rates.items():
        print(f"{name:12} {median(found):8.1f} passages a second  {median(found) / alone:5.2f} of one process")


if __name__ == "__main__":
    main()
