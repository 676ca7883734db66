"""The way of one question: recall, retrieve, generate, and yield the answer's events.

It knows no log and no HTTP. The sources are the very passages that the answerer was given.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Any

from .answers.events import Citation, Done, Event, Sources, Text, added
from .answers.fold import Folded
from .generation.answerer import Answerer, Finish, Prompt, Quote, Turn, earlier
from .generation.citations import verified
from .generation.small_talk import recognise
from .people.facts import RECALLED, Fact, dated, relevant
from .people.person import NOBODY, Person
from .people.remembering import asks_what_is_known, only_states
from .retrieval.library import Library
from .retrieval.opened import Build
from .retrieval.search import Hit
from .retrieval.served import Served

PASSAGES = 8  # searched for an answer
SOURCES = 3  # documents named with it
LOOKED_BACK = 3  # questions that may tell the language


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked and by whom, after what, in which conversation ("" for none).

    `remembers` says whether what is remembered of the person is used, and added to.
    """

    query: str
    history: tuple[Turn, ...] = ()
    person: Person = NOBODY
    session: str = ""
    remembers: bool = True

    def to_json(self) -> str:
        """The question as text, so that whoever takes its answer over can ask it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Question:
        """What `to_json` made."""
        value = json.loads(text)
        turns = tuple(Turn(**turn) if isinstance(turn, dict) else Turn(*turn) for turn in value["history"])
        person = Person(**value.get("person", {}))
        return cls(value["query"], turns, person, value.get("session", ""), value.get("remembers", False))


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is known before a question is answered: the turns before it, the summary of those before them, facts.

    `remembers` says whether what the person says can be remembered, `about` is the summary of them.
    """

    turns: tuple[Turn, ...] = ()
    summary: str = ""
    facts: tuple[Fact, ...] = ()
    about: str = ""
    remembers: bool = False


Recall = Callable[[Question], Awaitable[Recalled]]


async def recall_nothing(question: Question) -> Recalled:
    """Where nothing is kept of anybody."""
    return Recalled()


class Pipeline:
    """Answers questions from a library, in the words of an answerer."""

    def __init__(self, library: Library, answerer: Answerer) -> None:
        self._library = library
        self._answerer = answerer
        self.prepared = asyncio.Event()  # set once what asks the model is there

    @property
    def model(self) -> str:
        """What writes the answers."""
        return self._answerer.model

    def check(self) -> str:
        """The name of the build that would be searched now. Raises `IndexUnavailable`."""
        return self._library.current.manifest.build

    async def answer(
        self, question: Question, written: Folded | None = None, recall: Recall = recall_nothing
    ) -> AsyncGenerator[Event, None]:
        """The events of the answer that follow what is `written`, ending with `Done`. Raises `RequestError`."""
        written = written or Folded()
        if written.sources:  # only the end is missing
            yield Done("end_turn", self.model, written.usage, used_rag=True)
            return
        began = time.monotonic()
        prompt = replace(await self._prompt(question, recall), written=written.text)
        retrieval = time.monotonic() - began
        seen = {(citation["passage"], citation["textStart"], citation["start"]) for citation in written.citations}
        cited = {hit.passage.document for hit in prompt.hits if any(hit.passage.id == passage for passage, *_ in seen)}
        finish = Finish()
        async with aclosing(self._answerer.answer(prompt)) as parts:
            async for part in parts:
                if isinstance(part, str):
                    yield Text(part)
                elif isinstance(part, Finish):
                    finish = part
                elif (citation := await _citation(part, prompt)) is not None and _key(citation) not in seen:
                    cited.add(part.passage.document)
                    yield citation
        sources = _sources(prompt.hits if finish.made_from is None else finish.made_from, cited)
        if sources:
            yield Sources(tuple(sources))
        usage = added(written.usage, finish.usage)
        yield Done(finish.stop_reason, finish.model or self.model, usage, bool(sources), retrieval)

    async def _prompt(self, question: Question, recall: Recall) -> Prompt:
        recalled = await recall(question)
        question = replace(question, history=question.history or recalled.turns)
        talk = recognise(question.query)
        if talk is not None:
            prompt = Prompt(question.query, question.history, language=talk.language, small_talk=talk.kind)
        else:
            prompt = await self._searched(question, recalled)
        return replace(prompt, person=question.person, summary=recalled.summary)

    async def _searched(self, question: Question, recalled: Recalled) -> Prompt:
        served = self._library.current
        kind = _of_memory(question, recalled)
        if kind:
            language = await served.run(lambda build: _language(question, (), build))
            facts = tuple(map(dated, recalled.facts)) if kind == "known" else ()
            return Prompt(question.query, question.history, language=language, small_talk=kind, facts=facts)
        prompt = await retrieve(question, served)
        return replace(prompt, facts=await _relevant(question, recalled, served))

    async def prepare(self) -> None:
        """Once the index is open, have there what the first answer would wait for."""
        await self._library.ready.wait()
        await self._answerer.prepare()
        self.prepared.set()
        await self._library.prepare()

    async def close(self) -> None:
        """Let go of the answerer's connections and the library's thread."""
        await self._answerer.close()
        self._library.close()


async def retrieve(question: Question, served: Served) -> Prompt:
    """The prompt for a question: the relevant passages, and the language to answer in."""
    found = await served.search(question.query, PASSAGES, question.person.level, earlier(question.history))
    hits = tuple(hit for hit in found if hit.relevant)
    language = await served.run(lambda build: _language(question, hits, build))
    return Prompt(question.query, question.history, hits, language, served=served)


def _language(question: Question, hits: tuple[Hit, ...], build: Build) -> str:
    """The question's language where that is clear, else the conversation's, the person's, or that of what was found."""
    asked = (question.query, *reversed(earlier(question.history)))
    told = next(filter(None, map(build.language, asked[:LOOKED_BACK])), None)
    return told or question.person.language or (hits[0].passage.language if hits else "en")


def _of_memory(question: Question, recalled: Recalled) -> str:
    """What kind of message about memory it is, and nothing else; "" for any other."""
    if only_states(question.query):
        return "remembered" if recalled.remembers else "not_remembered"
    if not asks_what_is_known(question.query):
        return ""
    return "not_recalled" if question.person.key and not recalled.remembers else "known"


async def _relevant(question: Question, recalled: Recalled, served: Served) -> tuple[str, ...]:
    """The facts that bear on a question; where they are only some, the summary of the person before them."""
    if len(recalled.facts) <= RECALLED:
        return tuple(map(dated, recalled.facts))
    query, *others = await served.encode([question.query, *(fact.text for fact in recalled.facts)])
    chosen = relevant(recalled.facts, question.query, [float(query @ other) for other in others])
    return (recalled.about, *map(dated, chosen)) if recalled.about else tuple(map(dated, chosen))


def _key(citation: Citation) -> tuple[str, int, int]:
    """What tells one citation of an answer from another."""
    return citation.passage, citation.text_start, citation.start


async def _citation(quote: Quote, prompt: Prompt) -> Citation | None:
    assert prompt.served is not None  # passages come from a build
    found = await prompt.served.run(lambda build: verified(quote, build.text))
    if found is None:
        return None
    words, start, end = found
    passage = quote.passage
    return Citation(
        passage=passage.id,
        source=passage.title,
        quote=words,
        start=start,
        end=end,
        text_start=quote.supports[0],
        text_end=quote.supports[1],
        verified=True,
        document=passage.document,
        section=passage.section,
        page=passage.page,
        url=passage.url,
    )


def _sources(hits: Iterable[Hit], cited: set[str]) -> list[dict[str, Any]]:
    """One entry a document, its best passage; cited documents go before others, in the order of the hits."""
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.passage.document, hit)
    chosen = sorted(best, key=lambda document: document not in cited)[:SOURCES]
    return [_source(hit) for document, hit in best.items() if document in chosen]


def _source(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    more = {"section": passage.section, "page": passage.page, "url": passage.url, "updated": passage.updated}
    return {
        "source": passage.title,
        "snippet": passage.text,
        "similarity": round(hit.similarity, 4),
        "passage": passage.id,
        "document": passage.document,
        **{name: value for name, value in more.items() if value},
        "start": passage.start,
        "end": passage.end,
    }
