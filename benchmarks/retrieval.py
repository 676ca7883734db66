"""What a search is made of, by the number of passages: milliseconds of its stages, on one core.

    python -m benchmarks.retrieval [--passages 1000 100000] [--million] [--questions 300]

The passages are made: each has the language, title and headings of one of the sample documents' and 80 words, of which
few are frequent and most are rare (by Zipf's law; the most frequent are those of the sample documents). Vectors and
those of the questions are made as in `benchmarks.vector_index`. The questions are the tests' own: their words are what
is sought, and encoding them is the real encoder's. The indexes are built, saved and opened by the package's own means;
then, in a process of its own that has one core, each question is asked as the server asks:

    encode      the question to a vector
    terms       its words, stemmed in each language (with the weighing of the vector)
    dense       the nearest vectors, and the cosines of all candidates
    lexical     BM25 of every passage
    passages    the candidates' texts, out of SQLite
    fusion      all else: candidates of both sides put in order, judged, repeats and crowds left out
    search      all but encode: what zantara_retrieval_seconds calls "search", and encode is its "embed"
    whole       all of it
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np

from benchmarks.encoder import questions
from benchmarks.servers import MEASURED, ROOT, sample_index
from benchmarks.vector_index import make
from zantara_stream.pipeline import PASSAGES
from zantara_stream.retrieval.corpus import Corpus, write_corpus
from zantara_stream.retrieval.embedding import load_encoder
from zantara_stream.retrieval.follow_up import parts
from zantara_stream.retrieval.index import FaissIndex
from zantara_stream.retrieval.lexical import LexicalIndex, words
from zantara_stream.retrieval.manifest import CORPUS, ENCODER, LEXICAL, VECTORS, Manifest, current_build
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.passages import Passage, indexed_text
from zantara_stream.retrieval.search import find

SIZES, MILLION, QUESTIONS = (1000, 100_000), 1_000_000, 300
STAGES = ("encode", "terms", "dense", "lexical", "passages", "fusion", "search", "whole")
WORDS, OF_A_DOCUMENT = 80, 5  # words of a passage, passages of a document
RARE = 100  # times as many words as the sample documents have
OFFSET = 2.7  # of Zipf's law as Mandelbrot mended it
WARMING = 20  # questions before those that are measured

Milliseconds = dict[str, list[float]]  # by stage


# ----------------------------------------------------------------------------------------------------- what is searched


def vocabulary(passages: Sequence[Passage]) -> list[str]:
    """Words, the most frequent first: those of the passages, then many made of two of them."""
    counted = Counter(word for passage in passages for word in words(passage.text))
    known = [word for word, _ in counted.most_common()]
    pairs = np.random.default_rng(3).integers(len(known), size=(RARE * len(known), 2))
    return [*known, *(f"{known[one]}{known[other]}" for one, other in pairs)]


def made_passages(like: Sequence[Passage], count: int) -> Iterator[Passage]:
    """So many passages; the same ones each time."""
    random, known = np.random.default_rng(5), vocabulary(like)
    weights = 1 / (np.arange(len(known)) + OFFSET)
    reached = np.cumsum(weights / weights.sum())
    for number in range(count):
        drawn = np.searchsorted(reached, random.random(WORDS)).clip(max=len(known) - 1)
        text = " ".join(known[place] for place in drawn)
        model = like[int(random.integers(len(like)))]
        document = f"made/{number // OF_A_DOCUMENT}.md"
        yield replace(model, id=f"{number:016x}", document=document, start=0, end=len(text), text=text)


def build(folder: Path, count: int, asked: int) -> None:
    """Write all that a search of so many passages reads, and the vectors of the questions."""
    make(folder, count, asked)
    FaissIndex.build(np.load(folder / "passages.npy", mmap_mode="r")).save(folder / VECTORS)
    (folder / "passages.npy").unlink()
    sample = Corpus(current_build(sample_index()) / CORPUS)
    passages = list(made_passages(list(sample.all_passages()), count))
    write_corpus(folder / CORPUS, [], passages)
    LexicalIndex.build(
        [indexed_text(passage) for passage in passages], [passage.language for passage in passages]
    ).save(folder / LEXICAL)


# ------------------------------------------------------------------------------------------------------- the searching


class Timed:
    """A part of a build; how long some of its methods took is added to a stage."""

    def __init__(self, part: object, stage: str, methods: Sequence[str], took: dict[str, float]) -> None:
        self._part, self._stage, self._methods, self._took = part, stage, methods, took

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return self._timing(found) if name in self._methods else found

    def _timing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*given)
            finally:
                self._took[self._stage] += time.perf_counter() - began

        return timed


def search(folder: Path, asked: int) -> Milliseconds:
    """Ask every question; how long each stage of each took."""
    current = current_build(sample_index())
    manifest, encoder = Manifest.load(current), load_encoder(current / ENCODER)
    opened = Build(
        manifest,
        FaissIndex.load(folder / VECTORS),
        LexicalIndex.load(folder / LEXICAL, manifest.languages),
        Corpus(folder / CORPUS),
        encoder,
    )
    texts, vectors = questions(asked), np.load(folder / "queries.npy")
    found: Milliseconds = {stage: [] for stage in STAGES}
    for number, vector in enumerate(vectors):
        once = stages(opened, texts[number % len(texts)], vector[None])
        for stage, seconds in once.items():
            found[stage] += [seconds * 1e3] if number >= WARMING else []
    return found


def stages(opened: Build, question: str, vector: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, float]:
    """Ask one question, with a made vector in the place of its own; seconds by stage."""
    took = dict.fromkeys(STAGES, 0.0)
    timed: Any = Parts(opened, took)
    began = time.perf_counter()
    asked = parts(question, ())
    opened.encoder.encode([part.text for part in asked])
    encoded = time.perf_counter()
    sought = opened.sought(asked, vector)
    read = time.perf_counter()
    find(timed, sought, PASSAGES)
    ended = time.perf_counter()
    took |= {"encode": encoded - began, "terms": read - encoded, "search": ended - encoded, "whole": ended - began}
    took["fusion"] = ended - read - took["dense"] - took["lexical"] - took["passages"]
    return took


class Parts:
    """The parts of a build that are searched, timed."""

    def __init__(self, opened: Build, took: dict[str, float]) -> None:
        self.index = Timed(opened.index, "dense", ("nearest", "similarities"), took)
        self.lexical = Timed(opened.lexical, "lexical", ("scores",), took)
        self.corpus = Timed(opened.corpus, "passages", ("passages", "allowed"), took)


# ----------------------------------------------------------------------------------------------------------- the table


@contextmanager
def one_core() -> Iterator[None]:
    """Let this process, and those that it starts, have one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, MEASURED)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(passages: int, asked: int) -> Milliseconds:
    """Build, and search in a process of its own with one core."""
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), passages, asked + WARMING)
        command = [sys.executable, "-m", "benchmarks.retrieval", "--search", folder, "--questions", str(asked)]
        with one_core():  # which the process has from its start, so that its libraries begin one thread each
            told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    found: Milliseconds = json.loads(told)
    return found


def lines(sizes: Sequence[int] = SIZES, asked: int = QUESTIONS) -> list[str]:
    """The table: p50 and p99 for each number of passages."""
    table = [f"{'passages':>9}{'ms':>5}" + "".join(f"{stage:>10}" for stage in STAGES)]
    for size in sizes:
        cuts = {stage: quantiles(each, n=100) for stage, each in measure(size, asked).items()}
        for name, place in (("p50", 49), ("p99", 98)):
            table.append(f"{size:9}{name:>5}" + "".join(f"{cuts[stage][place]:10.2f}" for stage in STAGES))
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, nargs="+", default=SIZES)
    parser.add_argument("--million", action="store_true", help="and a million, which takes long")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        print(json.dumps(search(options.search, options.questions)))
        return
    print("\n".join(lines([*options.passages, *([MILLION] if options.million else [])], options.questions)))


if __name__ == "__main__":
    main()
