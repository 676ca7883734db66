"""How well the sample documents answer the sample questions; the bars are what releases must keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zantara_stream.retrieval.embedding import load_encoder
from zantara_stream.retrieval.manifest import current_build
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.search import Hit

QUESTIONS = Path(__file__).resolve().parent.parent / "questions"
FIRST, SHOWN = 5, 8  # hits


def _questions(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (QUESTIONS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _holds(hit: Hit, question: dict[str, Any]) -> bool:
    return hit.passage.document == question["document"] and _flat(question["answer"]) in _flat(hit.passage.text)


@pytest.fixture(scope="module")
def served(sample_index: Path) -> Build:
    return Build.open(current_build(sample_index), load_encoder)


@pytest.mark.parametrize(("name", "bar"), [("sample", 0.90), ("held_out", 0.78)])
def test_the_answer_is_among_the_first(served: Build, name: str, bar: float) -> None:
    questions = _questions(name)
    missed = [
        q["question"] for q in questions if not any(_holds(hit, q) for hit in served.search(q["question"], FIRST))
    ]
    assert len(questions) - len(missed) >= bar * len(questions), missed


def test_every_answer_is_in_one_passage(served: Build) -> None:
    passages = served.corpus.passages(range(served.manifest.passages))
    for question in [*_questions("sample"), *_questions("held_out")]:
        holding = [
            p for p in passages if p.document == question["document"] and _flat(question["answer"]) in _flat(p.text)
        ]
        assert len(holding) == 1, question


def test_questions_of_the_field_have_something_relevant(served: Build) -> None:
    questions = _questions("sample")
    without = [q["question"] for q in questions if not any(h.relevant for h in served.search(q["question"], SHOWN))]
    assert len(questions) - len(without) >= 0.88 * len(questions), without


def test_questions_of_other_fields_have_nothing_relevant(served: Build) -> None:
    questions = [question for question in _questions("unanswerable") if question["kind"] == "off_topic"]
    assert len(questions) >= 10
    fooled = [q["question"] for q in questions if any(hit.relevant for hit in served.search(q["question"], SHOWN))]
    assert fooled == []


def test_every_passage_is_its_documents_own_text(served: Build) -> None:
    passages = served.corpus.passages(range(served.manifest.passages))
    assert len(passages) == served.manifest.passages == len({passage.id for passage in passages})
    for passage in passages:
        text = served.corpus.text(passage.document)
        assert text is not None
        assert text[passage.start : passage.end] == passage.text
