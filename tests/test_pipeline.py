"""The way of one question, with a scripted answerer over small indexes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.answers.events import (
    CLOSED,
    ORDER,
    SOURCED,
    WRITING,
    Citation,
    Done,
    Event,
    Sources,
    Stamp,
    Text,
    encode,
)
from zantara_stream.answers.fold import Folded, fold
from zantara_stream.errors import IndexUnavailable, ModelTimeout
from zantara_stream.generation.answerer import Answerer, Finish, Part, Prompt, Quote, Turn
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.metrics import CITATIONS
from zantara_stream.people.person import Person
from zantara_stream.pipeline import PASSAGES, SOURCES, Pipeline, Question
from zantara_stream.retrieval import builder
from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.passages import Passage
from zantara_stream.retrieval.reading import fingerprint, read_folder
from zantara_stream.retrieval.search import Hit
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

ASKED = "permit renewal costs"  # all five documents of `permits` bear on it
UNANSWERABLE = "quantum chromodynamics lecture"


@pytest.fixture(scope="module")
def permits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of five documents about the same thing, with two passages each, and many about other things."""
    root = tmp_path_factory.mktemp("permits") / "documents"
    root.mkdir()
    for name in "abcde":
        (root / f"{name}.md").write_text(
            f"---\nupdated: 2026-01-31\nurl: https://example.com/{name}\n---\n# Permit {name}\n\n"
            f"## Fees\n\nA permit costs {ord(name)} rupiah for renewal.\n\n"
            f"## Late renewal\n\nA permit renewal that is late costs more.\n",
            encoding="utf-8",
        )
    for number in range(30):  # without them, the words of the five would tell nothing
        (root / f"{number}.txt").write_text(f"Fable number{number}\n\nThe fox{number} met the crow{number}.\n")
    builder.build(read_folder(root), HashingEmbedder(), root.parent / "index", fingerprint(root))
    return root.parent / "index"


@pytest.fixture
async def library(permits: Path) -> AsyncIterator[Library]:
    """The five documents, open."""
    opened = Library(permits, HashingEmbedder.load)
    await opened.open()
    yield opened
    opened.close()


async def events_of(
    library: Library, answerer: Answerer, query: str = ASKED, written: Folded | None = None
) -> list[Event]:
    events = [event async for event in Pipeline(library, answerer).answer(Question(query), written)]
    assert_grammar(events, written.state if written is not None else WRITING)
    return events


def assert_grammar(events: list[Event], state: str = WRITING) -> None:
    for event in events:
        state = ORDER[state, type(event)]
    assert state == CLOSED


async def text_of(library: Library, document: str) -> str:
    """A document's text as it was indexed."""
    text = await library.current.run(lambda build: build.corpus.text(document))
    assert text is not None
    return text


def sources_of(events: list[Event]) -> list[Any]:
    return [entry for event in events if isinstance(event, Sources) for entry in event.entries]


class Answering:
    """Answers as a function of the prompt; for scripts that need the passages found."""

    model = "answering"

    def __init__(self, parts: Callable[[Prompt], list[Part]]) -> None:
        self._parts = parts

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """What the function says."""
        for part in self._parts(prompt):
            yield part

    async def prepare(self) -> None:
        """Nothing has to be there."""

    async def close(self) -> None:
        """Nothing is held."""


# --- Events ----------------------------------------------------------------------------------------


async def test_text_citations_sources_and_the_end_in_this_order(library: Library) -> None:
    def parts(prompt: Prompt) -> list[Part]:
        words = prompt.hits[0].passage.text
        return ["It costs ", "more.", Quote(prompt.hits[0].passage, words, (0, 14)), Finish("max_tokens", {"n": 1})]

    events = await events_of(library, Answering(parts))
    assert [type(event) for event in events] == [Text, Text, Citation, Sources, Done]
    assert events[:2] == [Text("It costs "), Text("more.")]
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.stop_reason, done.model, done.usage, done.used_rag) == ("max_tokens", "answering", {"n": 1}, True)
    assert done.retrieval is not None
    assert done.retrieval > 0


async def test_chunks_pass_unchanged(library: Library) -> None:
    chunks = [" a", "\n\n", "\u2028b ", "\ud800"]
    events = await events_of(library, ScriptedAnswerer(*chunks))
    assert [event.text for event in events if isinstance(event, Text)] == chunks


async def test_a_citation_has_the_words_and_their_places(library: Library) -> None:
    given: list[Passage] = []

    def parts(prompt: Prompt) -> list[Part]:
        given.append(next(hit.passage for hit in prompt.hits if "that is late" in hit.passage.text))
        return ["Late costs more.", Quote(given[0], " renewal that is late ", (0, 16)), Finish()]

    events = await events_of(library, Answering(parts))
    (citation,) = (event for event in events if isinstance(event, Citation))
    (passage,) = given
    assert (citation.passage, citation.source) == (passage.id, passage.title)
    assert (citation.document, citation.section, citation.page) == (passage.document, passage.section, None)
    assert citation.url == f"https://example.com/{passage.document[0]}"
    assert (citation.quote, citation.verified) == ("renewal that is late", True)
    assert (citation.text_start, citation.text_end) == (0, 16)
    document = await text_of(library, passage.document)
    assert document[citation.start : citation.end] == citation.quote


async def test_an_unverifiable_citation_is_dropped_and_logged(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    def parts(prompt: Prompt) -> list[Part]:
        last = prompt.hits[-1].passage
        return ["Free!", Quote(last, "A permit costs nothing.", (0, 5)), Finish()]

    events = await events_of(library, Answering(parts))
    assert [type(event) for event in events] == [Text, Sources, Done]
    assert "dropped a citation" in caplog.text
    assert sources_of(events)[0]["document"] == "b.md"  # and what was not cited is not preferred


async def test_a_quote_is_held_against_the_stored_document_and_not_only_its_passage(library: Library) -> None:
    def parts(prompt: Prompt) -> list[Part]:
        found = prompt.hits[0].passage
        moved, lost = replace(found, start=found.start + 1), replace(found, document="lost.md")
        altered = replace(found, text=found.text.replace("permit", "PERMIT"))
        return ["text", *(Quote(one, one.text, (0, 4)) for one in (moved, lost, altered, found)), Finish()]

    dropped = CITATIONS.labels(verified="false")
    before = dropped._value.get()
    events = await events_of(library, Answering(parts))
    (citation,) = (event for event in events if isinstance(event, Citation))
    document = await text_of(library, citation.document)
    assert document[citation.start : citation.end] == citation.quote
    assert dropped._value.get() == before + 3


async def test_a_repeated_sentence_has_the_place_that_was_cited(library: Library) -> None:
    def parts(prompt: Prompt) -> list[Part]:
        found = prompt.hits[0].passage
        place = found.text.rindex("e")
        return ["text", Quote(found, "e", (0, 4), (place, place + 1)), Quote(found, "e", (0, 4)), Finish()]

    events = await events_of(library, Answering(parts))
    last, first = (event for event in events if isinstance(event, Citation))
    assert (last.quote, first.quote) == ("e", "e")
    assert last.start > first.start


# --- Sources ---------------------------------------------------------------------------------------


async def test_sources_are_the_passages_given_best_first(library: Library) -> None:
    answerer = ScriptedAnswerer("text")
    sources = sources_of(await events_of(library, answerer))
    hits = answerer.prompts[0].hits
    assert len(hits) == PASSAGES
    assert len({hit.passage.document for hit in hits}) == 5
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.passage.document, hit)
    assert [source["passage"] for source in sources] == [hit.passage.id for hit in best.values()][:SOURCES]
    assert len({source["document"] for source in sources}) == SOURCES


async def test_a_source_is_told_as_the_contract_says(library: Library) -> None:
    answerer = ScriptedAnswerer("text")
    sources = sources_of(await events_of(library, answerer))
    for source in sources:
        hit = next(hit for hit in answerer.prompts[0].hits if hit.passage.id == source["passage"])
        name = source["document"].removesuffix(".md")
        assert source == {
            "source": f"Permit {name}",
            "snippet": hit.passage.text,
            "similarity": round(hit.similarity, 4),
            "passage": hit.passage.id,
            "document": f"{name}.md",
            "section": hit.passage.section,
            "url": f"https://example.com/{name}",
            "updated": "2026-01-31",
            "start": hit.passage.start,
            "end": hit.passage.end,
        }
        assert 0 <= source["similarity"] <= 1
        document = await text_of(library, source["document"])
        assert document[source["start"] : source["end"]] == source["snippet"]


async def test_cited_documents_go_before_others(library: Library) -> None:
    def parts(prompt: Prompt) -> list[Part]:
        cited = next(hit.passage for hit in prompt.hits if hit.passage.document == "e.md")
        return ["text", Quote(cited, cited.text, (0, 4)), Finish()]

    sources = sources_of(await events_of(library, Answering(parts)))
    assert len(sources) == SOURCES
    assert "e.md" in {source["document"] for source in sources}


async def test_sources_are_what_the_answer_was_made_from(library: Library) -> None:
    made: list[Hit] = []

    def parts(prompt: Prompt) -> list[Part]:
        made.append(prompt.hits[-1])
        return ["text", Finish(made_from=prompt.hits[-1:])]

    events = await events_of(library, Answering(parts))
    assert [source["passage"] for source in sources_of(events)] == [made[0].passage.id]


async def test_an_answer_made_from_nothing_has_no_sources(library: Library) -> None:
    events = await events_of(library, Answering(lambda prompt: ["I do not know.", Finish(made_from=())]))
    assert [type(event) for event in events] == [Text, Done]
    assert isinstance(events[-1], Done)
    assert not events[-1].used_rag


async def test_nothing_relevant_has_no_sources(library: Library) -> None:
    answerer = ScriptedAnswerer("I do not know.")
    events = await events_of(library, answerer, UNANSWERABLE)
    assert answerer.prompts[0].hits == ()
    assert [type(event) for event in events] == [Text, Done]
    assert isinstance(events[-1], Done)
    assert not events[-1].used_rag


async def test_the_extractive_answerer_names_what_it_quotes(library: Library) -> None:
    events = await events_of(library, ExtractiveAnswerer())
    cited = {event.passage for event in events if isinstance(event, Citation)}
    assert cited
    assert {source["passage"] for source in sources_of(events)} <= cited
    text = "".join(event.text for event in events if isinstance(event, Text))
    for event in events:
        if isinstance(event, Citation):
            assert text[event.text_start : event.text_end] == event.quote


# --- What the answerer is asked --------------------------------------------------------------------


async def test_the_prompt(library: Library) -> None:
    answerer = ScriptedAnswerer("text")
    history = (Turn("user", "Hello"), Turn("assistant", "Good day"))
    async for _ in Pipeline(library, answerer).answer(Question(ASKED, history, Person("key"))):
        pass
    (prompt,) = answerer.prompts
    assert (prompt.query, prompt.history, prompt.language, prompt.small_talk) == (ASKED, history, "en", "")
    assert all(hit.relevant for hit in prompt.hits)


@pytest.mark.parametrize(("query", "kind", "language"), [("Ciao!", "greeting", "it"), ("thank you", "thanks", "en")])
async def test_small_talk_is_not_searched_for(tmp_path: Path, query: str, kind: str, language: str) -> None:
    closed = Library(tmp_path / "nothing is here", HashingEmbedder.load)  # any search would raise
    answerer = ScriptedAnswerer("Hello!")
    events = await events_of(closed, answerer, query)
    assert [type(event) for event in events] == [Text, Done]
    assert answerer.prompts == [Prompt(query, language=language, small_talk=kind)]


async def test_a_question_of_no_clear_language_is_answered_in_that_of_the_documents(
    small_index: Path,
) -> None:
    async with AsyncExitStack() as stack:
        library = Library(small_index, HashingEmbedder.load)
        stack.callback(library.close)
        await library.open()
        answerer = ScriptedAnswerer("text")
        for query in ["denda", "Keterlambatan melapor dikenai denda berapa rupiah?"]:
            await events_of(library, answerer, query)
        assert [prompt.language for prompt in answerer.prompts] == ["id", "id"]


# --- Questions as text -----------------------------------------------------------------------------

ANY = st.text(max_size=20)


@given(query=ANY, turns=st.lists(st.tuples(st.sampled_from(["user", "assistant"]), ANY), max_size=4), key=ANY)
def test_a_question_is_the_same_after_it_was_text(query: str, turns: list[tuple[str, str]], key: str) -> None:
    person = Person(key, "Anna", "Ann", "Clerk", "Tax", 2, "it", "VAT")
    question = Question(query, tuple(Turn(*turn) for turn in turns), person, "session", remembers=False)
    text = question.to_json()
    assert Question.from_json(text) == question
    assert text.encode().decode() == text, "it can be kept anywhere"


def test_a_question_of_a_version_before_can_still_be_answered() -> None:
    kept = '{"query": "What?", "history": [["user", "Hi"]], "asker": "", "level": 0}'
    assert Question.from_json(kept) == Question("What?", (Turn("user", "Hi"),), remembers=False)


# --- Going on with what is written -----------------------------------------------------------------


def written_of(events: list[Event], usage: dict[str, int] | None = None) -> Folded:
    """What a journal has of these events."""
    chunks = 0
    frames = []
    for offset, event in enumerate(events, 1):
        chunks += isinstance(event, Text)
        frames.append(encode(event, Stamp("a", offset, chunks, float(offset), 0.0, None)))
    written = fold(frames)
    written.usage = usage or {}
    return written


def untimed(events: list[Event]) -> list[Event]:
    return [replace(event, retrieval=None) if isinstance(event, Done) else event for event in events]


async def test_an_extractive_answer_cut_after_any_event_is_made_again_to_exactly_the_rest(library: Library) -> None:
    answerer = ExtractiveAnswerer()
    whole = await events_of(library, answerer)
    assert {type(event) for event in whole} == {Text, Citation, Sources, Done}
    for cut in range(len(whole)):
        rest = await events_of(library, answerer, written=written_of(whole[:cut]))
        assert untimed(rest) == untimed(whole[cut:]), f"cut after {cut} events"


async def test_an_answer_from_nothing_cut_after_any_event_is_made_again_to_exactly_the_rest(library: Library) -> None:
    answerer = ExtractiveAnswerer()
    whole = await events_of(library, answerer, UNANSWERABLE)
    for cut in range(len(whole)):
        rest = await events_of(library, answerer, UNANSWERABLE, written_of(whole[:cut]))
        assert untimed(rest) == untimed(whole[cut:])


async def test_the_answerer_is_told_what_is_written_and_its_rest_is_passed_on(library: Library) -> None:
    answerer = ScriptedAnswerer(" is", " fined.")
    events = await events_of(library, answerer, written=written_of([Text("Late "), Text("renewal")]))
    assert [event for event in events if isinstance(event, Text)] == [Text(" is"), Text(" fined.")]
    assert answerer.prompts[0].written == "Late renewal"
    assert answerer.prompts[0].hits, "and is given the passages again"


async def test_small_talk_is_gone_on_with_too(library: Library) -> None:
    answerer = ScriptedAnswerer("llo!")
    await events_of(library, answerer, "Ciao!", written_of([Text("He")]))
    assert answerer.prompts == [Prompt("Ciao!", language="it", small_talk="greeting", written="He")]


async def test_citations_that_are_written_are_not_written_again(library: Library) -> None:
    def parts(prompt: Prompt) -> list[Part]:
        first = prompt.hits[0].passage
        quotes = [Quote(first, "A permit", (0, 2)), Quote(first, "A permit", (3, 5)), Quote(first, "costs", (0, 2))]
        return ["ab ", "cd", *quotes, Finish()]

    whole = await events_of(library, Answering(parts))
    assert [type(event) for event in whole[2:5]] == [Citation] * 3
    for kept in range(4):
        rest = await events_of(
            library, Answering(lambda prompt: parts(prompt)[2:]), written=written_of(whole[: 2 + kept])
        )
        assert untimed(rest) == untimed(whole[2 + kept :])


async def test_documents_that_were_cited_before_the_break_still_go_before_others(library: Library) -> None:
    def cites_the_last(prompt: Prompt) -> list[Part]:
        cited = next(hit.passage for hit in prompt.hits if hit.passage.document == "e.md")
        return ["text", Quote(cited, cited.text, (0, 4)), Finish()]

    whole = await events_of(library, Answering(cites_the_last))
    answerer = ScriptedAnswerer(" and more")
    sources = sources_of(await events_of(library, answerer, written=written_of(whole[:2])))
    assert "e.md" in {source["document"] for source in sources}
    assert sources == sources_of(whole)
    uncited = sources_of(await events_of(library, ScriptedAnswerer(" and more"), written=written_of(whole[:1])))
    assert "e.md" not in {source["document"] for source in uncited}


async def test_after_the_sources_only_the_end_is_written_and_nobody_is_asked(library: Library) -> None:
    answerer = ScriptedAnswerer("text")
    whole = await events_of(library, answerer)
    assert isinstance(whole[-2], Sources)
    written = written_of(whole[:-1], {"input_tokens": 7})
    assert written.state == SOURCED
    (done,) = await events_of(library, answerer, written=written)
    assert done == Done("end_turn", "scripted", {"input_tokens": 7}, used_rag=True)
    assert len(answerer.prompts) == 1


async def test_what_was_paid_before_the_break_is_counted_too(library: Library) -> None:
    answerer = ScriptedAnswerer("rest", Finish(usage={"input_tokens": 3, "output_tokens": 5}))
    written = written_of([Text("begun")], {"input_tokens": 10, "cache_read_input_tokens": 2})
    done = (await events_of(library, answerer, written=written))[-1]
    assert isinstance(done, Done)
    assert done.usage == {"input_tokens": 13, "output_tokens": 5, "cache_read_input_tokens": 2}


# --- Ends ------------------------------------------------------------------------------------------


async def test_without_an_index_nothing_is_asked(tmp_path: Path) -> None:
    library = Library(tmp_path / "nothing is here", HashingEmbedder.load)
    answerer = ScriptedAnswerer("text")
    pipeline = Pipeline(library, answerer)
    with pytest.raises(IndexUnavailable):
        pipeline.check()
    await library.open()
    with pytest.raises(IndexUnavailable):
        pipeline.check()
    with pytest.raises(IndexUnavailable):
        await anext(pipeline.answer(Question(ASKED)))
    assert answerer.prompts == []
    await pipeline.close()


async def test_check_names_the_build_and_model_the_answerer(library: Library) -> None:
    pipeline = Pipeline(library, ScriptedAnswerer(model="some model"))
    assert pipeline.check() == library.current.manifest.build
    assert pipeline.model == "some model"


async def test_closing_the_answer_closes_the_answerers(library: Library) -> None:
    answerer = ScriptedAnswerer("first", asyncio.Event(), "never")
    events = Pipeline(library, answerer).answer(Question(ASKED))
    assert await anext(events) == Text("first")
    assert answerer.cancelled == 0
    await events.aclose()
    assert answerer.cancelled == 1


async def test_cancelling_the_reader_closes_the_answerers(library: Library) -> None:
    answerer = ScriptedAnswerer("first", asyncio.Event(), "never")
    events = Pipeline(library, answerer).answer(Question(ASKED))
    assert await anext(events) == Text("first")
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert answerer.cancelled == 1


async def test_a_failing_model_ends_the_answer_as_it_failed(library: Library) -> None:
    events = Pipeline(library, ScriptedAnswerer("first", ModelTimeout())).answer(Question(ASKED))
    assert await anext(events) == Text("first")
    with pytest.raises(ModelTimeout):
        await anext(events)


async def test_closing_the_pipeline_closes_answerer_and_library(permits: Path) -> None:
    closed: list[str] = []

    class Closing(ScriptedAnswerer):
        async def close(self) -> None:
            closed.append("answerer")

    library = Library(permits, HashingEmbedder.load)
    await library.open()
    await Pipeline(library, Closing()).close()
    assert closed == ["answerer"]
    with pytest.raises(RuntimeError):  # its thread has ended
        await library.current.search(ASKED, 1)
