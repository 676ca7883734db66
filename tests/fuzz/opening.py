"""Opens and searches what it is given, in a process that may die of it; one word a line says what came of each.

python tests/fuzz/opening.py vectors|build FOLDER…
"""

from __future__ import annotations

import asyncio
import resource
import sys
from functools import partial
from pathlib import Path

import numpy as np

from zantara_stream.errors import IndexUnavailable
from zantara_stream.retrieval.index import FaissIndex
from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.passages import Passage
from zantara_stream.testing import HashingEmbedder

MEMORY = 4 << 30  # bytes of addresses: what says that it is larger is not to be believed


def vectors(file: Path) -> str:
    """Open a file of vectors, and search it."""
    try:
        index = FaissIndex.load(file)
    except IndexUnavailable:
        return "refused"
    query = np.ones(index.dimensions, np.float32)
    numbers = index.nearest(query, 10)
    index.similarities(query, numbers)
    return "opened"


def quoted(passage: Passage, build: Build) -> str | None:
    """The words of a passage, as its document has them."""
    return build.text(passage.document, passage.start, passage.end)


async def build(folder: Path) -> str:
    """Open an index folder, and search it."""
    library = Library(folder, HashingEmbedder.load)
    await library.open()
    try:
        served = library.current
    except IndexUnavailable:
        return "refused"
    try:
        for hit in await served.search("How is late renewal of a permit fined?", 5):
            await served.run(partial(quoted, hit.passage))
    except Exception as error:  # what a question then meets: an error with a reference, and the log has the trace
        return f"failed ({type(error).__name__})"
    finally:
        library.close()
    return "opened"


def main() -> None:
    """Say of each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kind, *paths = sys.argv[1:]
    for path in map(Path, paths):
        print(vectors(path) if kind == "vectors" else asyncio.run(build(path)), flush=True)


if __name__ == "__main__":
    main()
