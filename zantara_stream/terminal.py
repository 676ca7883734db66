"""Answers and findings in the terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, TypeVar

from .answers.events import Event, Sources, Text, to_json
from .answers.journal import Journal
from .config import Settings
from .errors import ZantaraError
from .exposure import check_exposure
from .generation.chain import Chain
from .generation.extractive import ExtractiveAnswerer
from .parts import make_answerer, make_journal, make_library, make_token_keys
from .people.collaborators import CollaboratorsFile
from .people.feedback import Feedbacks
from .people.store import Store
from .pipeline import Pipeline, Question
from .retrieval.library import inspect
from .retrieval.manifest import current_build
from .retrieval.stores import open_vectors
from .web.parameters import read_query

WELL, FAILED = 0, 1
Place = TypeVar("Place", Store, Journal)


async def ask(settings: Settings, query: str) -> int:
    """Stream the answer to the terminal, its sources below it."""
    question = Question(read_query({"query": query}))
    library = make_library(settings)
    pipeline = Pipeline(library, make_answerer(settings))
    try:
        print("Opening the index …", end="\r", file=sys.stderr, flush=True)
        await library.open()
        print(" " * 19, end="\r", file=sys.stderr, flush=True)
        async for event in pipeline.answer(question):
            _show(event)
        print()
    finally:
        await pipeline.close()
    return WELL


def _show(event: Event) -> None:
    if isinstance(event, Text):
        print(event.text, end="", flush=True)
    elif isinstance(event, Sources):
        print("\n\nSources:")
        for number, entry in enumerate(event.entries, 1):
            print(f"  {number}. {_described(entry)}")


def _described(entry: Mapping[str, Any]) -> str:
    page = f"page {entry['page']}" if entry.get("page") else ""
    details = [entry.get("section"), page, entry.get("updated"), f"similarity {entry['similarity']:.2f}"]
    return f"{entry['source']} — {', '.join(detail for detail in details if detail)} [{entry['document']}]"


async def feedback(settings: Settings) -> int:
    """Print all feedback, a line of JSON each: the answer, what was thought of it, and not who gave it."""
    async with _opened(Store(settings.database_url)) as store:
        async for given in Feedbacks(store).all():
            print(to_json(asdict(given)), flush=True)
    return WELL


@asynccontextmanager
async def _opened(place: Place) -> AsyncIterator[Place]:
    """A store or journal, open for as long as a command needs it."""
    await place.open()
    try:
        yield place
    finally:
        await place.close()


async def check(settings: Settings) -> int:
    """Print of every part whether it is fine or what to do; 1 where one is not."""
    parts = {"settings": _settings, "journal": _journal, "store": _store, "people": _people}
    parts |= {"index": _index, "model": _model}
    return max([await _report(name, examine, settings) for name, examine in parts.items()])


async def _report(name: str, examine: Callable[[Settings], Awaitable[str]], settings: Settings) -> int:
    try:
        found = await examine(settings)
        print(f"{name:9} fine{': ' if found else ''}{found}")
    except ZantaraError as error:
        print(f"{name:9} {error}")
        return FAILED
    return WELL


async def _settings(settings: Settings) -> str:
    check_exposure(settings)
    return ""


async def _store(settings: Settings) -> str:
    async with _opened(Store(settings.database_url)) as store:
        await store.probe()
    kept = f"unused conversations are kept for {settings.conversation_retention:.12g} seconds"
    return f"{store.name}, {kept}, memory is {settings.memory}"


async def _people(settings: Settings) -> str:
    keys = make_token_keys(settings)
    if keys is not None:
        await keys.load()
    known = len(CollaboratorsFile(settings.collaborators).current)
    how = "by user_email, which a proxy verifies" if settings.trust_email else "nobody is asked who they are"
    how = how if keys is None else f"by tokens ({', '.join(keys.algorithms)})"
    return f"{how}; {known} collaborators"


async def _journal(settings: Settings) -> str:
    async with _opened(make_journal(settings)) as journal:
        await journal.probe()
    kept = f"answers are kept for {settings.retention:g} seconds" if journal.durable else "answers end with the server"
    return f"{journal.name}, {kept}"


async def _index(settings: Settings) -> str:
    manifest = inspect(settings.index, settings.embedding_model)
    await asyncio.to_thread(open_vectors, current_build(settings.index), manifest, settings.vectors)
    return (
        f"{settings.index}, build {manifest.build}, {manifest.documents} documents, "
        f"{manifest.passages} passages, {manifest.model}, {manifest.index}"
    )


async def _model(settings: Settings) -> str:
    answerer = make_answerer(settings)
    try:
        if isinstance(answerer, ExtractiveAnswerer):
            return "extractive; with ANTHROPIC_API_KEY set, Claude writes the answers"
        from .generation.claude import ClaudeAnswerer

        assert isinstance(answerer, Chain)
        for link in answerer.links:
            if isinstance(link.answerer, ClaudeAnswerer):
                await link.answerer.probe()
        return ", then ".join(link.model for link in answerer.links)
    finally:
        await answerer.close()
