"""Small talk is recognised, and questions are not taken for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zantara_stream.generation.small_talk import SmallTalk, recognise, reply

QUESTIONS = Path(__file__).resolve().parent.parent / "questions"
LANGUAGES = ["en", "id", "it", "es"]
KINDS = ["greeting", "wellbeing", "thanks", "farewell", "identity", "assent"]


def lines(*names: str) -> list[Any]:
    texts = [(QUESTIONS / f"{name}.jsonl").read_text(encoding="utf-8") for name in names]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.mark.parametrize("line", lines("small_talk"), ids=lambda line: str(line["question"]))
def test_small_talk_is_recognised_in_its_language(line: dict[str, str]) -> None:
    talk = recognise(line["question"])
    assert talk is not None
    assert talk.language == line["language"]
    assert talk.kind in KINDS


def test_no_question_is_taken_for_small_talk() -> None:
    asked = [line["question"] for line in lines("sample", "held_out", "unanswerable")]
    assert len(asked) > 100
    assert [question for question in asked if recognise(question)] == []


@pytest.mark.parametrize(
    ("message", "kind", "language"),
    [
        ("hi, thanks!", "thanks", "en"),
        ("thank you, bye", "thanks", "en"),
        ("hello, who are you?", "identity", "en"),
        ("c'è qualcuno?", "greeting", "it"),
        ("Selamat pagi Pak, apa kabar?", "wellbeing", "id"),
        ("¿Qué tal?", "wellbeing", "es"),
        ("OK", "assent", "en"),
        ("ciao for now", "farewell", "en"),
        ("👋", "greeting", "en"),
        ("?!", "greeting", "en"),
    ],
)
def test_what_kind_it_is(message: str, kind: str, language: str) -> None:
    assert recognise(message) == SmallTalk(kind, language)


@pytest.mark.parametrize(
    "message",
    [
        "thanks, how much is a KITAS?",
        "hello can you help me with my visa",
        "halo, berapa biaya visa?",
        "ciao, quanto costa il visto?",
        "again",  # it says nothing by itself
        "my friend",
        "2024",
        "hi " * 17,
        "KITAS",
    ],
)
def test_what_it_is_not(message: str) -> None:
    assert recognise(message) is None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [*KINDS, "nothing", "extractive"])
def test_there_is_a_reply_of_every_kind_in_every_language(language: str, kind: str) -> None:
    words = reply(kind, language)
    assert words.strip() == words
    assert words
    assert words not in {reply(kind, other) for other in LANGUAGES if other != language}


def test_other_languages_are_replied_to_in_english() -> None:
    assert reply("nothing", "de") == reply("nothing", "en")
