"""When something is judged relevant: the rule of retrieval/search.py, held against questions with and without answers.

    python benchmarks/relevance.py INDEX=QUESTIONS INDEX=QUESTIONS …

Each argument is an index folder and a file of questions that its documents answer (JSON lines with "text" or
"question"); `python -m zantara_stream evaluate COLLECTION` leaves such an index. Every file is asked of every index:
its own should find something, the others nothing. Prints both shares, and what a logistic fit of the same three
features would weigh.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zantara_stream.retrieval.embedding import load_encoder
from zantara_stream.retrieval.manifest import current_build
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.search import BAR, BY_COVERAGE, BY_EVIDENCE, BY_SIMILARITY, find, match

PASSAGES = 8  # as many as are looked at for an answer
MOST = 200  # questions of a file
STEPS = 50  # of the fit


@dataclass(frozen=True)
class Asked:
    """What a file's questions find in an index: a row of similarity, coverage and evidence each, of the best hit."""

    index: str
    questions: str
    features: NDArray[np.float64]

    @property
    def answerable(self) -> bool:
        return self.index == self.questions

    @property
    def relevant(self) -> float:
        weights = np.array([BY_SIMILARITY, BY_COVERAGE, BY_EVIDENCE])
        return float(np.mean(self.features @ weights >= BAR))


def questions(file: Path) -> list[str]:
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [str(line.get("text") or line["question"]) for line in lines if line.get("kind") is None]
    return texts[:: max(1, len(texts) // MOST)][:MOST]


def best(build: Build, text: str) -> list[float]:
    """The features of the hit that is likeliest to bear on the question."""
    sought = build.seek(text)
    rows = [[0.0, 0.0, 0.0]]
    for hit in find(build, sought, PASSAGES):
        passage = hit.passage
        met = match(sought.terms, passage.headed, passage.language, build.lexical)
        rows.append([hit.similarity, met.coverage, met.evidence])
    return max(rows, key=lambda row: BY_SIMILARITY * row[0] + BY_COVERAGE * row[1] + BY_EVIDENCE * row[2])


def fitted(asked: list[Asked]) -> NDArray[np.float64]:
    """Weights of the features and of 1, each pair of index and file counting alike, own and foreign half each."""
    own = sum(each.answerable for each in asked)
    rows = np.concatenate([np.c_[each.features, np.ones(len(each.features))] for each in asked])
    wanted = np.concatenate([np.full(len(each.features), float(each.answerable)) for each in asked])
    counts = [(own if each.answerable else len(asked) - own) * len(each.features) for each in asked]
    worth = np.concatenate([np.full(len(each.features), 1 / count) for each, count in zip(asked, counts, strict=True)])
    weights = np.zeros(rows.shape[1])
    for _ in range(STEPS):  # Newton's
        odds = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (worth * (odds - wanted)) + 1e-4 * weights
        curve = (rows * (worth * odds * (1 - odds))[:, None]).T @ rows + 1e-4 * np.eye(len(weights))
        weights -= np.linalg.solve(curve, slope)
    return weights


def main() -> None:
    pairs = [argument.split("=", 1) for argument in sys.argv[1:]]
    builds = {index: Build.open(current_build(Path(index)), load_encoder) for index, _ in pairs}
    asked = [
        Asked(index, own, np.array([best(build, text) for text in questions(Path(file))]))
        for index, build in builds.items()
        for own, file in pairs
    ]
    for each in asked:
        wanted = "something" if each.answerable else "nothing"
        share = each.relevant if each.answerable else 1 - each.relevant
        print(f"{Path(each.questions).name:24} asked of {Path(each.index).name:24} finds {wanted:9} {share:.2f}")
    weights = fitted(asked)
    scaled = weights[:3] / -weights[3]
    print("a fit weighs similarity {:.2f}, coverage {:.2f}, evidence {:.2f} against 1".format(*scaled))


if __name__ == "__main__":
    main()
