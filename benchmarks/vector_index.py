"""What the vector index costs and finds: build, disk, memory, delay, and recall against a search of all vectors.

    python benchmarks/vector_index.py [--vectors 100000 1000000] [--queries 300]

The vectors are made: passages lie about their documents and documents about uneven themes, with as much variance
in each direction, and about as far from their neighbours and from questions, as was found in embedded scientific
abstracts (SciFact, all-MiniLM-L6-v2). Each index is built in a process of its own and searched in another that only
loads it, so that memory is honest, and shown as the process's own + mapped from the file, in MB more than before;
a query is `nearest` and then `similarities` of 100 numbers, and CPU is of all threads, whoever else uses the machine.
Needs about 4 GB of disk and of memory for a million.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.index import EXACT_LIMIT, FaissIndex
from zantara_stream.retrieval.vector_index import Allowed

DIMENSIONS = 384
SPECTRUM = np.arange(1, DIMENSIONS + 1, dtype=np.float32) ** -0.35  # of the deviations, as in SciFact
SPECTRUM /= np.linalg.norm(SPECTRUM)
THEME, DOCUMENT = 2500, 3  # passages
WEIGHT_OF_DOCUMENT, OF_PASSAGE, OF_QUESTION = 0.9, 0.5, 1.3  # beside the theme's 1
CHUNK = 30_000  # vectors made at a time; a multiple of DOCUMENT
DEPTH, SIMILARITIES = 10, 100
HEADINGS = (
    "vectors", "index", "probes", "build s", "CPU s", "build MB", "disk MB", "open ms", "after open", "after queries",
    "queries", "p50 ms", "p99 ms", "CPU p50", "recall@10",
)  # fmt: skip


def spread(random: np.random.Generator, count: int) -> Vectors:
    """Deviations of about length 1, most of them in few directions."""
    return random.standard_normal((count, DIMENSIONS), np.float32) * SPECTRUM


def unit(rows: Vectors) -> Vectors:
    """The rows, each of length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def make(folder: Path, count: int, queries: int) -> None:
    """Write the passages' vectors and the questions'; no more than a chunk is in memory."""
    random = np.random.default_rng(7)
    themes = spread(random, max(1, count // THEME))
    share = random.dirichlet(np.ones(len(themes)))
    passages = np.lib.format.open_memmap(folder / "passages.npy", "w+", np.float32, (count, DIMENSIONS))
    asked = []
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        number = -(-size // DOCUMENT)
        documents = themes[random.choice(len(themes), number, p=share)] + WEIGHT_OF_DOCUMENT * spread(random, number)
        about = np.repeat(documents, DOCUMENT, axis=0)[:size]
        passages[start : start + size] = unit(about + OF_PASSAGE * spread(random, size))
        some = about[random.integers(size, size=1 + queries * size // count)]
        asked.append(unit(some + OF_QUESTION * spread(random, len(some))))
    np.save(folder / "queries.npy", random.permutation(np.concatenate(asked))[:queries])


def memory() -> dict[str, int]:
    """Resident megabytes of this process: its own, and of files that it maps."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith("Rss")}
    return {"own": sizes["RssAnon"], "files": sizes["RssFile"]}


def build(folder: Path, name: str, exact_limit: int) -> dict[str, Any]:
    """Build and save an index of the passages, and say what that took."""
    vectors = np.load(folder / "passages.npy", mmap_mode="r")
    began = time.perf_counter()
    index = FaissIndex.build(vectors, exact_limit)
    took, cpu = time.perf_counter() - began, time.process_time()
    index.save(folder / name)
    size = (folder / name).stat().st_size // 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "kind": index.kind,
        "probes": index.probes,
        "recall": index.recall,
        "s": took,
        "cpu": cpu,
        "disk": size,
        "peak": peak,
    }


def search(folder: Path, name: str, exact_limit: int) -> dict[str, Any]:
    """Load an index and ask it everything: without access levels and with half of the vectors allowed."""
    queries = np.load(folder / "queries.npy")
    FaissIndex.build(queries).nearest(queries[0], 1)  # what the libraries themselves need is no part of the index
    before = memory()
    began = time.perf_counter()
    index = FaissIndex.load(folder / name)
    opened = time.perf_counter() - began
    figures: dict[str, Any] = {"open": opened * 1e3, "loaded": increase(before)}
    some = np.random.default_rng(1).integers(len(index), size=SIMILARITIES).tolist()
    half = Allowed(0, np.random.default_rng(2).random(len(index)) < 0.5)
    index.nearest(queries[0], DEPTH)
    for label, allowed in (("all", None), ("half allowed", half)):
        found, delays, busy = [], [], []
        for query in queries:
            began, worked = time.perf_counter(), time.process_time()
            found.append(index.nearest(query, DEPTH, allowed))
            index.similarities(query, some)
            delays.append((time.perf_counter() - began) * 1e3)
            busy.append((time.process_time() - worked) * 1e3)
        p50, p99 = np.percentile(delays, [50, 99])
        figures[label] = {"found": found, "p50": p50, "p99": p99, "cpu": np.median(busy), "memory": increase(before)}
    return figures


def increase(before: dict[str, int]) -> str:
    """The megabytes that this process has come to hold, as own+mapped."""
    return "+".join(str(now - then) for now, then in zip(memory().values(), before.values(), strict=True))


def fresh(task: str, folder: Path, name: str, exact_limit: int) -> dict[str, Any]:
    """Run a task in a new process."""
    command = [sys.executable, __file__, "--task", task, str(folder), name, str(exact_limit)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(printed)
    return result


def compare(count: int, queries: int) -> None:
    """The rows of one size: the index that is built for it, and a search of all."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder, count, queries)
        limits = {"exact": count} if count <= EXACT_LIMIT else {"chosen": EXACT_LIMIT, "exact": count}
        built = {name: fresh("build", folder, name, limit) for name, limit in limits.items()}
        asked = {name: fresh("search", folder, name, limit) for name, limit in limits.items()}
    for name in limits:
        for label in ("all", "half allowed"):
            report(count, built[name], asked[name], asked["exact"][label]["found"], label)


def report(count: int, built: dict[str, Any], asked: dict[str, Any], exact: list[list[int]], label: str) -> None:
    """Print one row."""
    figures = asked[label]
    found = [len({*ours} & {*truth}) / len(truth) for ours, truth in zip(figures["found"], exact, strict=True)]
    cells = (
        count, built["kind"], built["probes"], f"{built['s']:.1f}", f"{built['cpu']:.1f}", built["peak"], built["disk"],
        f"{asked['open']:.1f}", asked["loaded"], figures["memory"], label,
        f"{figures['p50']:.2f}", f"{figures['p99']:.2f}", f"{figures['cpu']:.2f}", f"{np.mean(found):.4f}",
    )  # fmt: skip
    print(row(cells), f"(at the build {built['recall']:.4f})", flush=True)


def row(cells: tuple[object, ...]) -> str:
    """The cells under their headings."""
    return "  ".join(f"{cell!s:>{max(len(heading), 7)}}" for cell, heading in zip(cells, HEADINGS, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--task", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        task, folder, name, limit = options.task
        work = {"build": build, "search": search}[task]
        print(json.dumps(work(Path(folder), name, int(limit))))
        return
    print(row(HEADINGS))
    for count in options.vectors:
        compare(count, options.queries)


if __name__ == "__main__":
    main()
