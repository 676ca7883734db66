"""What a build costs: passages a second against a plain loop over the same texts, and a build with 1 % changed.

    python benchmarks/build.py [DOCUMENTS] [--passages 1500] [--rounds 3]

In one run, on the texts of the first documents of a folder (default: documents/, repeated until there are enough):
a plain `SentenceTransformer.encode` over them in the order of the documents, the embedder of a build on the same
texts, and the command itself: a first build, one with nothing changed, and one with a document in a hundred
changed. Loading the model, and in the first build exporting its encoder, are in the builds and not in the loops.
Medians of the rounds are printed; other work on the machine moves them together, so read the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from zantara_stream.retrieval import builder
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder, model_folder
from zantara_stream.retrieval.passages import embedded_text
from zantara_stream.retrieval.reading import read_folder
from zantara_stream.retrieval.splitting import split

PLAIN_BATCH = 32
CHANGED = 100  # one document in so many


def gathered(source: Path, root: Path, embedder: SentenceTransformerEmbedder, wanted: int) -> list[str]:
    """Copy documents of `source` to `root` until they have `wanted` passages; the texts embedded for them."""
    texts: list[str] = []
    documents = read_folder(source).documents
    copy = 0
    while len(texts) < wanted:
        for document in documents:
            title = f"{document.title} {copy}" if copy else document.title
            file = root / str(copy) / f"{document.path}.md"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"# {title}\n\n{document.text}\n", encoding="utf-8")
            count = len(split(document, embedder.count_tokens, embedder.max_tokens))
            texts += [""] * count
            if len(texts) >= wanted:
                break
        copy += 1
    return [
        embedded_text(passage, embedder.count_tokens, embedder.max_tokens)
        for document in read_folder(root).documents
        for passage in split(document, embedder.count_tokens, embedder.max_tokens)
    ]


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def built(root: Path, out: Path, *options: str) -> float:
    """How long the command takes; what it prints is not of interest."""

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = builder.main([str(root), "--out", str(out), *options])
        if code == builder.FAILED:
            raise SystemExit("the build failed")

    return seconds(run)


def change(root: Path, number: int) -> int:
    """Change one document in a hundred, at least one; how many."""
    files = sorted(file for file in root.rglob("*") if file.is_file())[::CHANGED]
    for file in files:
        text = file.read_text(encoding="utf-8")
        file.write_text(f"{text}\nA line of round {number}.\n", encoding="utf-8")
    return len(files)


def measured(root: Path, folder: Path, texts: list[str], number: int, plain: Any) -> dict[str, float]:
    """One round: the seconds of each."""
    embedder = SentenceTransformerEmbedder()
    out = folder / f"index-{number}"
    result = {
        "plain loop": seconds(lambda: plain.encode(texts, batch_size=PLAIN_BATCH, show_progress_bar=False)),
        "embedder": seconds(lambda: embedder.encode(texts)),
        "first build": built(root, out),
    }
    result["nothing changed"] = built(root, out)
    change(root, number)
    result["1 % changed"] = built(root, out)
    shutil.rmtree(out)
    return result


def main() -> None:
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=Path, nargs="?", default=Path(__file__).parent.parent / "documents")
    parser.add_argument("--passages", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(model_folder("")))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = gathered(options.documents, folder / "documents", SentenceTransformerEmbedder(), options.passages)
        rounds = [measured(folder / "documents", folder, texts, n, plain) for n in range(options.rounds)]
    report({name: median(each[name] for each in rounds) for name in rounds[0]}, len(texts))


def report(middle: dict[str, float], count: int) -> None:
    """One line each."""
    print(f"{count} passages\n{'':17}{'seconds':>9}{'passages/s':>12}{'to the plain loop':>19}{'of a first build':>18}")
    for name, took in middle.items():
        print(
            f"{name:17}{took:9.2f}{count / took:12.1f}{middle['plain loop'] / took:19.2f}"
            f"{took / middle['first build']:18.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
