"""Recognising small talk, so that a greeting is neither searched for nor given sources."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ..retrieval.lexical import words

_LONGEST = 16  # words; more than that is never only small talk
_NAME = "{, name}"  # in a reply; str.format would read a name's own braces


@dataclass(frozen=True, slots=True)
class SmallTalk:
    """A message that asks for nothing: its kind and language."""

    kind: str
    language: str


@cache
def _book() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("small_talk.toml").read_text(encoding="utf-8"))


@cache
def _phrases() -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """Every phrase, by its words, with the (language, kind) pairs it may be; kind "around" means nothing."""
    book, phrases = _book(), dict[tuple[str, ...], list[tuple[str, str]]]()
    for language in book["replies"]:
        for kind, listed in book[language].items():
            for phrase in listed:
                phrases.setdefault(tuple(words(phrase)), []).append((language, kind))
    return phrases


def recognise(message: str) -> SmallTalk | None:
    """What small talk a message is; None where any of it may be a question.

    A message of marks and emoji alone is a greeting.
    """
    spoken = words(message)
    if len(spoken) > _LONGEST:
        return None
    meanings = _cover(tuple(spoken))
    if meanings is None:
        return None
    said = [meaning for meaning in meanings if meaning[1] != "around"]
    if not said:
        return SmallTalk("greeting", "en") if not spoken else None
    language = max(sorted({code for code, _ in said}), key=lambda code: _votes(meanings, code))
    kinds = {kind for code, kind in said if code == language}
    return SmallTalk(next(kind for kind in _book()["order"] if kind in kinds), language)


def _votes(meanings: list[tuple[str, str]], language: str) -> tuple[int, bool]:
    return sum(code == language for code, _ in meanings), language == "en"


def _cover(spoken: tuple[str, ...]) -> list[tuple[str, str]] | None:
    """The meanings of the phrases that make up all of `spoken`, longest phrases first; None where one word is left."""
    meanings: list[tuple[str, str]] = []
    while spoken:
        for length in range(len(spoken), 0, -1):
            if spoken[:length] in _phrases():
                meanings += _phrases()[spoken[:length]]
                spoken = spoken[length:]
                break
        else:
            return None
    return meanings


def reply(kind: str, language: str, called: str = "") -> str:
    """What to say without a language model: to a kind of small talk, `nothing` found, or `extractive` answers.

    `called` is how to address the person, whatever characters it has; "" for nobody known.
    """
    replies: dict[str, dict[str, str]] = _book()["replies"]
    return replies.get(language, replies["en"])[kind].replace(_NAME, f", {called}" if called else "")


def known(facts: Sequence[str], language: str) -> str:
    """What to say of the facts that are remembered of a person: each on one line, or that there are none."""
    if not facts:
        return reply("nothing_known", language)
    lines = "\n".join(f"- {' '.join(fact.split())}" for fact in facts)
    return f"{reply('known', language)}\n\n{lines}"
