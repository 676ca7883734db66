"""Small talk is recognised, and questions are not taken for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.generation.small_talk import SmallTalk, known, recognise, reply

QUESTIONS = Path(__file__).resolve().parent.parent / "questions"
LANGUAGES = ["en", "id", "it", "es"]
KINDS = ["greeting", "wellbeing", "thanks", "farewell", "identity", "assent"]
REMEMBERING = ["remembered", "not_remembered", "memory_off", "known", "nothing_known"]
BY_NAME = ["greeting", "thanks", "farewell", "remembered"]


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
@pytest.mark.parametrize("kind", [*KINDS, *REMEMBERING, "nothing", "extractive"])
def test_there_is_a_reply_of_every_kind_in_every_language(language: str, kind: str) -> None:
    words = reply(kind, language)
    assert words.strip() == words
    assert words
    assert words not in {reply(kind, other) for other in LANGUAGES if other != language}
    assert "{" not in words


def test_other_languages_are_replied_to_in_english() -> None:
    assert reply("nothing", "de") == reply("nothing", "en")


@pytest.mark.parametrize(
    ("kind", "language", "words"),
    [
        ("greeting", "en", "Hello, Made! Ask me a question, and I will look for the answer in the documents."),
        ("greeting", "id", "Halo, Made! Silakan bertanya, dan saya akan mencari jawabannya di dalam dokumen."),
        ("greeting", "it", "Ciao, Made! Fammi una domanda e cercherò la risposta nei documenti."),
        ("greeting", "es", "¡Hola, Made! Hazme una pregunta y buscaré la respuesta en los documentos."),
        ("thanks", "en", "You are welcome, Made. Ask me anything else that the documents may answer."),
        ("thanks", "it", "Prego, Made. Chiedimi pure altro che i documenti possano dire."),
        ("farewell", "en", "Goodbye, Made, and until next time."),
        ("farewell", "id", "Sampai jumpa lagi, Made."),
        ("remembered", "en", "I will remember that, Made."),
        ("remembered", "es", "Lo recordaré, Made."),
        ("greeting", "de", "Hello, Made! Ask me a question, and I will look for the answer in the documents."),
    ],
)
def test_people_are_addressed_by_name(kind: str, language: str, words: str) -> None:
    assert reply(kind, language, "Made") == words


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [*KINDS, *REMEMBERING, "nothing", "extractive"])
def test_whom_a_reply_names(kind: str, language: str) -> None:
    named, plain = reply(kind, language, "Made"), reply(kind, language)
    assert named.replace(", Made", "", 1) == plain
    assert (named != plain) == (kind in BY_NAME)


AWKWARD = ["{", "}", "{}", "{0}", "{name}", "{, name}", "{called.__class__}", "%s", "\\1", "\\g<0>", "$name", "\n"]


@given(st.sampled_from(LANGUAGES), st.sampled_from(BY_NAME), st.text(min_size=1) | st.sampled_from(AWKWARD))
def test_any_name_goes_in_as_it_stands(language: str, kind: str, called: str) -> None:
    before, _, after = reply(kind, language, "Made").partition("Made")
    assert reply(kind, language, called) == before + called + after


def test_what_is_known_is_listed() -> None:
    facts = ("You have a PT PMA.", "You live in Ubud.")
    assert known(facts, "en") == "This is what I remember about you:\n\n- You have a PT PMA.\n- You live in Ubud."
    assert known(facts[:1], "it") == "Ecco che cosa ricordo di te:\n\n- You have a PT PMA."


@pytest.mark.parametrize("language", LANGUAGES)
def test_where_nothing_is_known_that_is_said(language: str) -> None:
    assert known((), language) == reply("nothing_known", language)


@given(st.lists(st.text(), min_size=1), st.sampled_from([*LANGUAGES, "de"]))
def test_a_fact_is_one_line_whatever_it_is(facts: list[str], language: str) -> None:
    introduction, blank, *lines = known(facts, language).splitlines()
    assert (introduction, blank) == (reply("known", language), "")
    assert lines == [f"- {' '.join(fact.split())}" for fact in facts]
