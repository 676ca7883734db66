"""Answers without a language model, over the sample documents and with the real embedding model."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, zip_longest
from pathlib import Path
from typing import Any

import pytest
from passages_made import hit, passage

from zantara_stream.errors import AnswerExpired
from zantara_stream.generation.answerer import Finish, Part, Prompt, Quote
from zantara_stream.generation.citations import verified
from zantara_stream.generation.extractive import ALIKE, MOST, ExtractiveAnswerer
from zantara_stream.generation.small_talk import known, reply
from zantara_stream.people.person import Person
from zantara_stream.pipeline import Question, retrieve
from zantara_stream.retrieval.embedding import load_encoder
from zantara_stream.retrieval.lexical import words
from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.manifest import current_build
from zantara_stream.retrieval.opened import Build

pytestmark = pytest.mark.timeout(600)  # seconds; the first test waits for all the answers

QUESTIONS = Path(__file__).resolve().parent.parent / "questions"
KINDS = ["greeting", "wellbeing", "thanks", "farewell", "identity", "assent"]


@dataclass(frozen=True)
class Answered:
    """A question of a file, with the answer to it."""

    line: dict[str, Any]
    prompt: Prompt
    parts: list[Part]

    @property
    def texts(self) -> list[str]:
        return [part for part in self.parts if isinstance(part, str)]

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def quotes(self) -> list[Quote]:
        return [part for part in self.parts if isinstance(part, Quote)]

    @property
    def finish(self) -> Finish:
        (finish,) = (part for part in self.parts if isinstance(part, Finish))
        return finish


Files = dict[str, list[Answered]]


@pytest.fixture(scope="module")
def answered(sample_index: Path) -> Files:
    """The answers to the questions of two files."""
    return asyncio.run(_answer_all(Library(sample_index), ["sample", "held_out"]))


async def _answer_all(library: Library, names: list[str]) -> Files:
    await library.open()
    try:
        return {name: [await _answer(library, line) for line in lines(name)] for name in names}
    finally:
        library.close()


async def _answer(library: Library, line: dict[str, Any]) -> Answered:
    prompt = await retrieve(Question(line["question"]), library.current)
    return Answered(line, prompt, await parts_of(ExtractiveAnswerer(), prompt))


async def parts_of(answerer: ExtractiveAnswerer, prompt: Prompt) -> list[Part]:
    return [part async for part in answerer.answer(prompt)]


def lines(name: str) -> list[Any]:
    text = (QUESTIONS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def plain(text: str) -> str:
    """With its white space collapsed, no-break spaces too."""
    return " ".join(text.split())


def with_quotes(answered: Files) -> list[Answered]:
    found = [answer for answers in answered.values() for answer in answers if answer.quotes]
    assert len(found) > 60
    return found


@pytest.mark.parametrize(("name", "share"), [("sample", 0.6), ("held_out", 0.5)])
def test_the_first_sentence_is_mostly_the_answer(answered: Files, name: str, share: float) -> None:
    right = [plain(answer.texts[0]) == plain(answer.line["answer"]) for answer in answered[name]]
    assert sum(right) / len(right) >= share


def test_every_quote_verifies(answered: Files, sample_index: Path) -> None:
    build = Build.open(current_build(sample_index), load_encoder)
    for answer in with_quotes(answered):
        for quote in answer.quotes:
            assert verified(quote, build.text) is not None


def test_every_span_of_the_answer_is_the_quote_that_supports_it(answered: Files) -> None:
    for answer in with_quotes(answered):
        for quote in answer.quotes:
            start, end = quote.supports
            assert answer.text[start:end] == quote.text
        spans = [quote.supports for quote in answer.quotes]
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_quotes_come_after_the_text_that_they_support(answered: Files) -> None:
    for answer in with_quotes(answered):
        so_far = 0
        for part in answer.parts:
            if isinstance(part, str):
                so_far += len(part)
            elif isinstance(part, Quote):
                assert part.supports[1] <= so_far


def test_each_sentence_is_attributed_and_the_answer_announced(answered: Files) -> None:
    for answer in with_quotes(answered):
        assert 1 <= len(answer.quotes) <= MOST
        announcement = reply("extractive", answer.prompt.language)
        assert answer.texts[-1] == announcement
        for quote, following in zip_longest(answer.quotes, answer.quotes[1:]):
            end = following.supports[0] if following else len(answer.text) - len(announcement)
            once = following is not None and following.passage.context == quote.passage.context
            after = answer.text[quote.supports[1] : end]
            assert after == ("\n" if once else f"\n— {quote.passage.context}\n\n")
        assert isinstance(answer.parts[-1], Finish)


def test_an_answer_is_made_from_the_quoted_passages(answered: Files) -> None:
    for answer in with_quotes(answered):
        made_from = answer.finish.made_from
        assert made_from is not None
        assert [made.passage for made in made_from] == list(dict.fromkeys(quote.passage for quote in answer.quotes))
        assert set(made_from) <= set(answer.prompt.hits)


def test_no_sentence_is_repeated(answered: Files) -> None:
    for answer in with_quotes(answered):
        for one, other in combinations([set(words(quote.text)) for quote in answer.quotes], 2):
            assert len(one & other) <= ALIKE * min(len(one), len(other))


@pytest.mark.parametrize("language", ["en", "id", "it"])
def test_answers_are_in_the_language_of_the_question(answered: Files, language: str) -> None:
    own = [answer for answer in with_quotes(answered) if answer.line["language"] == language]
    assert len(own) >= 10
    foreign = [
        answer
        for answer in own
        if {quote.passage.language for quote in answer.quotes} != {language}
        or answer.texts[-1] != reply("extractive", language)
    ]
    assert [answer.line["question"] for answer in foreign] == []


def test_nothing_found_is_said_in_the_likely_language(answered: Files) -> None:
    silent = [answer for answers in answered.values() for answer in answers if not answer.prompt.hits]
    assert silent
    for answer in silent:
        assert answer.parts == [reply("nothing", answer.prompt.language), Finish(made_from=())]


# --- Without the real model ------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "id", "it", "es"])
@pytest.mark.parametrize("kind", KINDS)
async def test_small_talk_is_replied_to_without_a_search(kind: str, language: str) -> None:
    answerer = ExtractiveAnswerer()
    parts = await parts_of(answerer, Prompt("hi", language=language, small_talk=kind))
    assert parts == [reply(kind, language), Finish(made_from=())]


MADE = Person(key="0" * 32, name="I Made Wirawan", nickname="Made {, name}")


async def said_to(person: Person, kind: str, language: str = "en", facts: tuple[str, ...] = ()) -> str:
    """What is said, of which nothing is drawn from a document."""
    prompt = Prompt("hi", language=language, small_talk=kind, person=person, facts=facts)
    text, finish = await parts_of(ExtractiveAnswerer(), prompt)
    assert isinstance(text, str)
    assert finish == Finish(made_from=())
    return text


@pytest.mark.parametrize("language", ["en", "id", "it", "es"])
@pytest.mark.parametrize("kind", ["greeting", "thanks", "farewell", "remembered"])
async def test_people_are_addressed_as_they_are_called(kind: str, language: str) -> None:
    assert await said_to(MADE, kind, language) == reply(kind, language, "Made {, name}")
    assert await said_to(replace(MADE, nickname=""), kind, language) == reply(kind, language, "I Made Wirawan")
    assert await said_to(Person(key=MADE.key), kind, language) == reply(kind, language)


async def test_what_is_remembered_is_listed() -> None:
    facts = ("You have a PT PMA.", "You live in Ubud.")
    for language in ("en", "id", "it", "es"):
        assert await said_to(MADE, "known", language, facts) == known(facts, language)
        assert await said_to(Person(), "known", language) == reply("nothing_known", language)


async def test_why_nothing_is_remembered() -> None:
    for language in ("en", "id", "it", "es"):
        assert await said_to(Person(name="Made"), "not_remembered", language) == reply("not_remembered", language)
        assert await said_to(MADE, "not_remembered", language) == reply("memory_off", language)


async def test_nobody_is_addressed_where_nothing_is_found() -> None:
    parts = await parts_of(ExtractiveAnswerer(), Prompt("what?", person=MADE))
    assert parts == [reply("nothing", "en"), Finish(made_from=())]


async def test_small_talk_is_no_question_whatever_was_found(library: Library) -> None:
    hits = (hit(passage("Renewal costs Rp 3 million.")),)
    prompt = Prompt("renewal cost", hits=hits, served=library.current, small_talk="remembered")
    assert await parts_of(ExtractiveAnswerer(), prompt) == [reply("remembered", "en"), Finish(made_from=())]


async def test_nothing_found() -> None:
    answerer = ExtractiveAnswerer()
    assert await parts_of(answerer, Prompt("what?", language="it")) == [reply("nothing", "it"), Finish(made_from=())]
    await answerer.close()


async def test_passages_without_a_sentence_are_nothing(library: Library) -> None:
    parts = await parts_of(ExtractiveAnswerer(), Prompt("what?", hits=(hit(passage("---")),), served=library.current))
    assert parts == [reply("nothing", "en"), Finish(made_from=())]


async def test_the_date_of_a_document_is_never_quoted(library: Library) -> None:
    dated = passage("Updated: 2026-06-09\n\nRenewal of a permit is free.")
    parts = [
        part
        async for part in ExtractiveAnswerer().answer(
            Prompt("updated renewal", hits=(hit(dated),), served=library.current)
        )
    ]
    assert [part.text for part in parts if isinstance(part, Quote)] == ["Renewal of a permit is free."]


async def test_a_sentence_that_two_passages_share_is_quoted_once(library: Library) -> None:
    words_of_both = "Renewal costs Rp 3 million for one year."
    hits = (hit(passage(words_of_both)), hit(passage(words_of_both, document="copy.md")))
    parts = await parts_of(ExtractiveAnswerer(), Prompt("What does renewal cost?", hits=hits, served=library.current))
    assert [part.passage.document for part in parts if isinstance(part, Quote)] == ["permits/renewal.md"]
    assert parts[-1] == Finish(made_from=hits[:1])


async def test_passages_of_the_questions_language_go_first(library: Library) -> None:
    english = passage("Renewal costs Rp 3 million.")
    italian = passage("Il rinnovo costa Rp 3 milioni.", document="rinnovo.md", language="it")
    for language, document in [("it", "rinnovo.md"), ("en", "permits/renewal.md")]:
        prompt = Prompt(
            "renewal?", hits=(hit(english, 0.8), hit(italian, 0.7)), language=language, served=library.current
        )
        parts = await parts_of(ExtractiveAnswerer(), prompt)
        assert {part.passage.document for part in parts if isinstance(part, Quote)} == {document}
        assert parts[-2] == reply("extractive", language)


async def test_poor_passages_of_the_questions_language_do_not_go_first(library: Library) -> None:
    english = passage("Renewal costs Rp 3 million.")
    italian = passage("Il sole.", document="sole.md", language="it")
    prompt = Prompt("renewal cost", hits=(hit(english, 0.8), hit(italian, 0.2)), language="it", served=library.current)
    parts = await parts_of(ExtractiveAnswerer(), prompt)
    assert next(part.passage for part in parts if isinstance(part, Quote)) == english


# --- Going on with an answer that broke off --------------------------------------------------------


async def test_what_is_remembered_is_gone_on_with() -> None:
    asked = Prompt("What do you know about me?", small_talk="known", person=MADE, facts=("You live in Ubud.",))
    whole = known(asked.facts, "en")
    rest = await parts_of(ExtractiveAnswerer(), replace(asked, written=whole[:30]))
    assert rest == [whole[30:], Finish(made_from=())]
    with pytest.raises(AnswerExpired):  # it was forgotten in between
        await parts_of(ExtractiveAnswerer(), replace(asked, facts=(), written=whole[:30]))


@pytest.mark.parametrize("query", ["How is late renewal of a permit fined?", "Who won the cup?", "ciao"])
async def test_an_answer_is_gone_on_with_after_any_character(library: Library, query: str) -> None:
    prompt = await retrieve(Question(query), library.current)
    answerer = ExtractiveAnswerer()
    whole = await parts_of(answerer, prompt)
    text = "".join(part for part in whole if isinstance(part, str))
    for place in range(len(text) + 1):
        rest = await parts_of(answerer, replace(prompt, written=text[:place]))
        assert text[:place] + "".join(part for part in rest if isinstance(part, str)) == text
        assert [part for part in rest if not isinstance(part, str)] == [
            part for part in whole if not isinstance(part, str)
        ]


async def test_an_answer_is_not_gone_on_with_when_the_documents_say_something_else(library: Library) -> None:
    asked = Prompt("renewal cost?", hits=(hit(passage("Renewal costs Rp 3 million.")),), served=library.current)
    written = "".join(part for part in await parts_of(ExtractiveAnswerer(), asked) if isinstance(part, str))
    changed = replace(asked, hits=(hit(passage("Renewal costs Rp 4 million.")),), written=written[:30])
    with pytest.raises(AnswerExpired):
        await parts_of(ExtractiveAnswerer(), changed)
