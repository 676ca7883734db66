"""How well the sample documents answer follow-up questions; the bars are what releases must keep."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from zantara_stream.retrieval.embedding import load_encoder
from zantara_stream.retrieval.manifest import current_build
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.search import Hit

DIALOGUES = Path(__file__).resolve().parent.parent / "questions" / "follow_ups.jsonl"
FOLLOW_UPS = {"elliptical", "anaphoric", "two_back"}
CONTROLS = {"new_subject", "same_subject", "short"}  # they stand alone
LANGUAGES = {"en", "id", "it"}
SHOWN = 8  # hits

pytestmark = pytest.mark.timeout(600)  # whichever of them runs first waits for the index to be built

Dialogue = dict[str, Any]


def _dialogues(kinds: set[str]) -> list[Dialogue]:
    every = [json.loads(line) for line in DIALOGUES.read_text(encoding="utf-8").splitlines()]
    return [dialogue for dialogue in every if dialogue["kind"] in kinds]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _holds(hit: Hit, dialogue: Dialogue) -> bool:
    return hit.passage.document == dialogue["document"] and _flat(dialogue["answer"]) in _flat(hit.passage.text)


def _found(served: Build, dialogue: Dialogue, first: int, *, in_conversation: bool) -> bool:
    """Whether the passage with the answer is among the `first`."""
    earlier = [turn["content"] for turn in dialogue["history"] if turn["role"] == "user"]
    hits = served.search(dialogue["question"], SHOWN, earlier=earlier if in_conversation else [])
    return any(_holds(hit, dialogue) for hit in hits[:first])


def _missed(served: Build, dialogues: list[Dialogue], first: int, *, in_conversation: bool = True) -> list[str]:
    missed = [d for d in dialogues if not _found(served, d, first, in_conversation=in_conversation)]
    return [f"{d['history'][0]['content']} … {d['question']}" for d in missed]


@pytest.fixture(scope="module")
def served(sample_index: Path) -> Build:
    return Build.open(current_build(sample_index), load_encoder)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize(("first", "bar"), [(1, 0.90), (5, 0.94)])
def test_the_answer_to_a_follow_up_is_among_the_first(served: Build, language: str, first: int, bar: float) -> None:
    dialogues = [dialogue for dialogue in _dialogues(FOLLOW_UPS) if dialogue["language"] == language]
    missed = _missed(served, dialogues, first)
    assert len(dialogues) - len(missed) >= bar * len(dialogues), missed


def test_literally_most_follow_ups_are_not_answered_first(served: Build) -> None:
    """That the dialogues measure something: without the conversation they fail."""
    dialogues = _dialogues(FOLLOW_UPS)
    missed = _missed(served, dialogues, 1, in_conversation=False)
    assert len(missed) >= 0.45 * len(dialogues)


@pytest.mark.parametrize("first", [1, 3])
def test_the_conversation_does_not_drag_a_question_that_stands_alone(served: Build, first: int) -> None:
    controls = _dialogues(CONTROLS)
    literally = _missed(served, controls, first, in_conversation=False)
    assert len(_missed(served, controls, first)) <= len(literally) + 1


def test_what_answers_a_follow_up_bears_on_it(served: Build) -> None:
    dialogues, without = _dialogues(FOLLOW_UPS), []
    for dialogue in dialogues:
        earlier = [turn["content"] for turn in dialogue["history"] if turn["role"] == "user"]
        hits = served.search(dialogue["question"], SHOWN, earlier=earlier)
        if not any(hit.relevant and _holds(hit, dialogue) for hit in hits):
            without.append(dialogue["question"])
    assert len(dialogues) - len(without) >= 0.93 * len(dialogues), without


def test_every_answer_is_in_one_passage(served: Build) -> None:
    passages = served.corpus.passages(range(served.manifest.passages))
    for dialogue in _dialogues(FOLLOW_UPS | CONTROLS):
        of_it = [p for p in passages if p.document == dialogue["document"]]
        assert len([p for p in of_it if _flat(dialogue["answer"]) in _flat(p.text)]) == 1, dialogue


def test_the_dialogues_are_of_all_kinds_and_languages() -> None:
    dialogues = _dialogues(FOLLOW_UPS | CONTROLS)
    assert len(dialogues) == len(DIALOGUES.read_text(encoding="utf-8").splitlines())
    counts = Counter((dialogue["kind"], dialogue["language"]) for dialogue in dialogues)
    assert set(counts) == {(kind, language) for kind in FOLLOW_UPS | CONTROLS for language in LANGUAGES}
    assert len({json.dumps([d["history"], d["question"]]) for d in dialogues}) == len(dialogues)
    for dialogue in dialogues:
        roles = [turn["role"] for turn in dialogue["history"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert len(roles) >= (4 if dialogue["kind"] == "two_back" else 2)
