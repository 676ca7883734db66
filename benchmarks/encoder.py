"""What the exported query encoder saves: starting, memory, and the time of a question, beside the model in torch.

    python benchmarks/encoder.py [--encoder FOLDER] [--rounds 3] [--queries 200]

The packaged model as sentence-transformers serves it in float32, and the encoder that a build exports of it
(`FOLDER`, a build's "encoder", or one exported first), take turns, each in fresh processes. Medians over the
rounds are printed; a ratio is the median of the rounds' own ratios, since they share a machine with others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = ("sample", "held_out", "plain", "unanswerable")
TORCH, ONNX = "torch", "onnx"
ROWS = {
    "start": ("process start to first vector, s", "8.2f"),
    "rss": ("memory then, MB (RSS)", "8.0f"),
    "pss": ("memory then, MB (PSS)", "8.0f"),
    "p50": ("a question, ms (p50)", "8.2f"),
    "p99": ("a question, ms (p99)", "8.2f"),
}

Figures = dict[str, float]


def questions(count: int) -> list[str]:
    """The first questions of the tests."""
    files = [ROOT / "tests" / "questions" / f"{name}.jsonl" for name in QUESTIONS]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line)["question"] for line in lines[:count]]


def torch_encoder() -> Callable[[list[str]], Any]:
    """The model itself, in float32."""
    from sentence_transformers import SentenceTransformer

    from zantara_stream.retrieval.embedding import model_folder

    model = SentenceTransformer(str(model_folder("")), device="cpu")
    return lambda texts: model.encode_query(texts, normalize_embeddings=True, show_progress_bar=False)


def onnx_encoder(folder: Path) -> Callable[[list[str]], Any]:
    """What a build exported."""
    from zantara_stream.retrieval.embedding import load_encoder

    return load_encoder(folder).encode


def export(folder: Path) -> None:
    """Write the packaged model's query encoder, tried on the sample documents."""
    from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder

    texts = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "documents").rglob("*.md"))]
    SentenceTransformerEmbedder().export(folder, [t[at : at + 600] for t in texts for at in range(0, len(t), 600)])


def one(kind: str, folder: Path, count: int, began: float) -> Figures:
    """Load one kind and ask it; `began` is when its process was started, in seconds of the epoch."""
    texts = questions(count)
    encode = torch_encoder() if kind == TORCH else onnx_encoder(folder)
    encode(texts[:1])
    start = time.time() - began
    held = memory()
    seconds = [asked(encode, text) for text in texts]
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {"start": start, **held, "p50": cuts[49] * 1e3, "p99": cuts[98] * 1e3}


def asked(encode: Callable[[list[str]], Any], text: str) -> float:
    """Seconds that one question takes."""
    began = time.perf_counter()
    encode([text])
    return time.perf_counter() - began


def memory() -> Figures:
    """MB that this process holds, whole and with shared pages divided among those that share them."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    held = {name: int(size.split()[0]) / 1024 for name, size in (line.split(":") for line in lines)}
    return {"rss": held["Rss"], "pss": held["Pss"]}


def run(kind: str, folder: Path, count: int) -> Figures:
    """`one` in a process of its own."""
    command = [sys.executable, __file__, "--encoder", str(folder), "--queries", str(count), "--one", kind]
    printed = subprocess.run([*command, "--began", str(time.time())], check=True, capture_output=True, text=True)
    figures: Figures = json.loads(printed.stdout.splitlines()[-1])
    return figures


def compare(folder: Path, rounds: int, count: int) -> None:
    """Run the rounds and print the table."""
    results = [{kind: run(kind, folder, count) for kind in (TORCH, ONNX)} for _ in range(rounds)]
    about = json.loads((folder / "encoder.json").read_text())
    print(f"{about['model']}, {count} questions, {rounds} rounds, the encoder in {about['precision']}\n")
    print(f"{'':34}{TORCH:>8}{ONNX:>8}{'ratio':>8}")
    for name, (shown, form) in ROWS.items():
        middle = [format(median(result[kind][name] for result in results), form) for kind in (TORCH, ONNX)]
        ratio = median(result[TORCH][name] / result[ONNX][name] for result in results)
        print(f"{shown:34}{''.join(middle)}{ratio:8.1f}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, or be one of those compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(one(options.one, options.encoder, options.queries, options.began)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.encoder is None:
            export(Path(folder) / "encoder")
        compare(options.encoder or Path(folder) / "encoder", options.rounds, options.queries)


if __name__ == "__main__":
    main()
