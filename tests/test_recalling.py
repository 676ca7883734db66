"""What is recalled for a question: how it gets into the prompt, and the messages that are about memory itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from zantara_stream.answers.events import Done, Event, Sources, Text
from zantara_stream.answers.fold import Folded
from zantara_stream.generation.answerer import Answerer, Prompt, Turn
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.people.facts import RECALLED, Fact, dated
from zantara_stream.people.person import NOBODY, Person
from zantara_stream.pipeline import Pipeline, Question, Recall, Recalled, recall_nothing
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.library import Library
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

ASKED = "How is late renewal of a permit fined?"
COMPANY = "Remember that my company is a PT PMA."
ANNA = Person("anna", "Anna Rossi", "Anna", language="it")
DAY = 1_780_000_000.0  # 2026-05-28
KEPT = (Turn("user", "What is a permit?"), Turn("assistant", "A paper."))
SENT = (Turn("user", "And a company?"), Turn("assistant", "Another paper."))
MANY = tuple(Fact(f"f{number}", f"They like colour{number}.", "", DAY, DAY + number) for number in range(RECALLED + 8))


def recalling(recalled: Recalled) -> Recall:
    """What recalls that for every question."""

    async def recall(question: Question) -> Recalled:
        return recalled

    return recall


def knowing(*facts: Fact, about: str = "", remembers: bool = True) -> Recalled:
    return Recalled(facts=facts, about=about, remembers=remembers)


async def events_of(
    library: Library, answerer: Answerer, question: Question, recalled: Recalled | None = None
) -> list[Event]:
    recall = recall_nothing if recalled is None else recalling(recalled)
    return [event async for event in Pipeline(library, answerer).answer(question, recall=recall)]


async def prompt_of(library: Library, query: str, recalled: Recalled | None = None, **values: Any) -> Prompt:
    """What the answerer is asked."""
    answerer = ScriptedAnswerer("text")
    await events_of(library, answerer, Question(query, **values), recalled)
    return answerer.prompts[0]


async def answer_of(library: Library, query: str, recalled: Recalled | None = None, **values: Any) -> str:
    """What the extractive answerer says; that it names no sources and ends well is checked."""
    events = await events_of(library, ExtractiveAnswerer(), Question(query, **values), recalled)
    assert not any(isinstance(event, Sources) for event in events)
    assert isinstance(events[-1], Done)
    assert not events[-1].used_rag
    return "".join(event.text for event in events if isinstance(event, Text))


# --------------------------------------------------------------------------------- the conversation


async def test_the_turns_that_are_kept_are_the_history(library: Library) -> None:
    prompt = await prompt_of(library, ASKED, Recalled(KEPT, "They planned a visa."))
    assert (prompt.history, prompt.summary) == (KEPT, "They planned a visa.")


async def test_history_that_a_page_sends_is_in_place_of_the_kept_one(library: Library) -> None:
    assert (await prompt_of(library, ASKED, Recalled(KEPT), history=SENT)).history == SENT


async def test_where_nothing_is_kept_there_is_nothing(library: Library) -> None:
    prompt = await prompt_of(library, ASKED)
    assert (prompt.history, prompt.summary, prompt.facts, prompt.person) == ((), "", (), NOBODY)


async def test_a_follow_up_is_searched_for_with_the_turns_that_are_kept(library: Library) -> None:
    alone = await prompt_of(library, "And how much is that?")
    after = (Turn("user", ASKED), Turn("assistant", "By the day."))
    following = await prompt_of(library, "And how much is that?", Recalled(after))
    assert "permits/renewal.md" not in {hit.passage.document for hit in alone.hits}
    assert "permits/renewal.md" in {hit.passage.document for hit in following.hits}


async def test_what_is_recalled_is_asked_for_once_and_before_anything(library: Library) -> None:
    asked: list[Question] = []

    async def recall(question: Question) -> Recalled:
        asked.append(question)
        assert answerer.prompts == []
        return Recalled()

    answerer, question = ScriptedAnswerer("text"), Question(ASKED, SENT, ANNA, "visas")
    async for _ in Pipeline(library, answerer).answer(question, recall=recall):
        pass
    assert asked == [question]


async def test_small_talk_has_the_person_and_the_conversation(library: Library) -> None:
    prompt = await prompt_of(library, "Ciao!", Recalled(KEPT, "Before.", MANY[:1]), person=ANNA)
    assert prompt == Prompt("Ciao!", KEPT, language="it", small_talk="greeting", person=ANNA, summary="Before.")


# --------------------------------------------------------------------------------------- the person


async def test_the_person_and_their_facts_reach_the_prompt(library: Library) -> None:
    fact = Fact("f", "My company is a PT PMA.", "my company", DAY, DAY, "My company is a CV.", DAY - 86_400)
    prompt = await prompt_of(library, ASKED, knowing(fact, about="A founder."), person=ANNA)
    assert prompt.person == ANNA
    (said,) = prompt.facts
    assert said.startswith("My company is a PT PMA. (said on 2026-05-28")
    assert '"My company is a CV."' in said
    assert prompt.hits, "it is searched for as any"


async def test_few_facts_are_told_all_without_the_summary(library: Library) -> None:
    few = MANY[:RECALLED]
    prompt = await prompt_of(library, ASKED, knowing(*few, about="They like colours."), person=ANNA)
    assert prompt.facts == tuple(map(dated, few))


@pytest.mark.parametrize("about", ["", "They like colours."])
async def test_of_many_facts_those_are_told_that_bear_on_the_question_and_the_summary(
    library: Library, about: str
) -> None:
    late = Fact("late", "Their permit renewal is late.", "", DAY - 50, DAY - 50)
    named = Fact("name", "Their name is Anna.", "name", DAY - 60, DAY - 60)
    prompt = await prompt_of(library, ASKED, knowing(named, late, *MANY, about=about), person=ANNA)
    summary, facts = prompt.facts[: bool(about)], prompt.facts[bool(about) :]
    assert summary == ((about,) if about else ())
    assert len(facts) == RECALLED
    assert facts[:2] == (dated(named), dated(late)), "in the order in which they were learned"


class Telling(HashingEmbedder):
    """Finds one fact near to the question, though they have no word in common."""

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        return super().encode([ASKED if text == MANY[3].text else text for text in texts], progress)


@pytest.mark.parametrize(("encoder", "told"), [(HashingEmbedder(), False), (Telling(), True)])
async def test_facts_are_compared_with_the_question_by_meaning_too(
    small_index: Path, encoder: HashingEmbedder, told: bool
) -> None:
    library = Library(small_index, lambda folder: encoder)
    await library.open()
    prompt = await prompt_of(library, ASKED, knowing(*MANY), person=ANNA)
    library.close()
    assert (dated(MANY[3]) in prompt.facts) is told


@pytest.mark.parametrize(
    ("query", "person", "language"),
    [("KITAS?", ANNA, "it"), ("KITAS?", NOBODY, "en"), (ASKED, ANNA, "en"), ("PT PMA?", Person("budi"), "en")],
)
async def test_an_unclear_question_is_answered_in_the_language_of_the_person(
    library: Library, query: str, person: Person, language: str
) -> None:
    assert (await prompt_of(library, query, person=person)).language == language


async def test_the_language_of_the_conversation_goes_before_the_persons(library: Library) -> None:
    spoken = (Turn("user", "Berapa denda keterlambatan melapor pajak tahunan?"), Turn("assistant", "Seratus ribu."))
    assert (await prompt_of(library, "KITAS?", Recalled(spoken), person=ANNA)).language == "id"


# -------------------------------------------------------------------------------- messages about memory


def unsearched(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    """A search would fail."""

    async def search(*arguments: object) -> None:
        raise AssertionError("it was searched for")

    monkeypatch.setattr(type(library.current), "search", search)


@pytest.mark.parametrize(("remembers", "kind"), [(True, "remembered"), (False, "not_remembered")])
async def test_what_is_only_to_be_remembered_is_not_searched_for(
    library: Library, monkeypatch: pytest.MonkeyPatch, remembers: bool, kind: str
) -> None:
    unsearched(monkeypatch, library)
    recalled = Recalled(KEPT, "Before.", MANY[:2], "They like colours.", remembers)
    prompt = await prompt_of(library, COMPANY, recalled, person=ANNA)
    assert prompt == Prompt(COMPANY, KEPT, language="en", small_talk=kind, person=ANNA, summary="Before.")


@pytest.mark.parametrize("facts", [(), MANY[:2], MANY], ids=["none", "few", "many"])
async def test_who_asks_what_is_known_of_them_is_told_all_of_it(
    library: Library, monkeypatch: pytest.MonkeyPatch, facts: tuple[Fact, ...]
) -> None:
    unsearched(monkeypatch, library)
    prompt = await prompt_of(library, "What do you know about me?", knowing(*facts), person=ANNA)
    assert (prompt.small_talk, prompt.facts, prompt.hits) == ("known", tuple(map(dated, facts)), ())


@pytest.mark.parametrize(("person", "kind"), [(ANNA, "not_recalled"), (NOBODY, "known")])
async def test_where_nothing_is_recalled_it_is_not_said_that_nothing_is_known(
    library: Library, monkeypatch: pytest.MonkeyPatch, person: Person, kind: str
) -> None:
    unsearched(monkeypatch, library)
    prompt = await prompt_of(library, "What do you know about me?", Recalled(), person=person)
    assert (prompt.small_talk, prompt.facts) == (kind, ())


async def test_a_message_that_asks_something_too_is_searched_for(library: Library) -> None:
    query = f"{COMPANY} How is late renewal of a permit fined?"
    prompt = await prompt_of(library, query, knowing(*MANY[:1]), person=ANNA)
    assert (prompt.small_talk, prompt.query, prompt.facts) == ("", query, (dated(MANY[0]),))
    assert "permits/renewal.md" in {hit.passage.document for hit in prompt.hits}


async def test_a_mixed_message_about_a_company_is_answered_from_the_documents(library: Library) -> None:
    query = "Remember that my company is a PT PMA. What does it pay?"
    prompt = await prompt_of(library, query, knowing(), person=ANNA)
    assert (prompt.small_talk, prompt.query) == ("", query)
    assert prompt.served is library.current


SAID = {
    "en": ("Remember that my company is a PT PMA.", "What do you know about me?"),
    "id": ("Tolong ingat bahwa perusahaan saya adalah PT PMA.", "Apa yang kamu ketahui tentang saya?"),
    "it": ("Ricorda che la mia società è una PT PMA.", "Che cosa sai di me?"),
}
REPLIES = {
    "en": ("I will remember that, Anna.", "I cannot remember this", "This is what I remember", "I remember nothing"),
    "id": ("Akan saya ingat, Anna.", "Saya tidak dapat mengingat", "Inilah yang saya ingat", "Saya tidak mengingat"),
    "it": ("Me lo ricorderò, Anna.", "Non posso ricordarlo", "Ecco che cosa ricordo", "Non ricordo nulla"),
}
every_language = pytest.mark.parametrize("language", [*SAID])


@every_language
async def test_without_a_model_a_statement_is_confirmed_in_its_language(library: Library, language: str) -> None:
    said, _ = SAID[language]
    assert await answer_of(library, said, knowing(), person=ANNA) == REPLIES[language][0]


@every_language
async def test_without_a_model_one_that_cannot_be_remembered_is_refused_in_its_language(
    library: Library, language: str
) -> None:
    said, _ = SAID[language]
    of_nobody = await answer_of(library, said)
    of_anna = await answer_of(library, said, person=ANNA)
    assert of_nobody.startswith(REPLIES[language][1])
    assert of_anna.startswith(REPLIES[language][1])
    assert of_nobody != of_anna, "a stranger is told to sign in"


@every_language
async def test_without_a_model_what_is_known_is_told_in_the_language_of_the_question(
    library: Library, language: str
) -> None:
    _, asks = SAID[language]
    fact = Fact("f", "My company is a PT PMA.", "my company", DAY, DAY)
    told = await answer_of(library, asks, knowing(fact), person=ANNA)
    first, _, facts = told.partition("\n\n")
    assert first.startswith(REPLIES[language][2])
    assert facts == f"- {dated(fact)}"
    assert (await answer_of(library, asks, knowing(), person=ANNA)).startswith(REPLIES[language][3])


async def test_an_answer_about_memory_that_was_cut_is_gone_on_with(library: Library) -> None:
    whole = await answer_of(library, COMPANY, knowing(), person=ANNA)
    written = Folded(text=whole[:9])
    question = Question(COMPANY, person=ANNA)
    events = Pipeline(library, ExtractiveAnswerer()).answer(question, written, recalling(knowing()))
    rest = "".join([event.text async for event in events if isinstance(event, Text)])
    assert whole[:9] + rest == whole


async def test_what_cannot_be_recalled_ends_the_answer_and_no_model_is_asked(library: Library) -> None:
    async def recall(question: Question) -> Recalled:
        raise ConnectionError

    answerer = ScriptedAnswerer("text")
    with pytest.raises(ConnectionError):
        await anext(Pipeline(library, answerer).answer(Question(ASKED), recall=recall))
    assert answerer.prompts == []
