"""The settings made into the parts of a server, none of which is open yet."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .afterwards import Kept
from .answers.answer import Answer, Lifetimes
from .answers.answers import Answers
from .answers.events import Event
from .answers.fold import Folded
from .answers.journal import Journal, Opening
from .answers.memory import MemoryJournal
from .answers.sqlite import SqliteJournal
from .config import EXTRACTIVE, JWT, MEMORY, REDIS, SQLITE, Settings
from .errors import ConfigError
from .generation.answerer import Answerer
from .generation.chain import Chain
from .generation.extractive import ExtractiveAnswerer
from .measuring import measure_end
from .people.collaborators import CollaboratorsFile
from .people.conversations import Conversations
from .people.feedback import Feedbacks
from .people.identity import Tokens
from .people.keys import Keys, make_keys
from .people.memory import Memory
from .people.spending import Spending
from .people.store import Store
from .people.tickets import Tickets
from .pipeline import Pipeline, Question
from .recording import Recording
from .retrieval.embedding import model_name
from .retrieval.library import Library
from .retrieval.reranker import Reranker
from .retrieval.stores import configured_store
from .web.rates import OwnRates, Rates

if TYPE_CHECKING:
    from .tracing import Traces


def make_library(settings: Settings) -> Library:
    """The library of the configured index, not yet open. Raises `ConfigError`."""
    reranker = partial(Reranker, settings.reranker) if settings.reranker else None
    configured_store(settings.vectors, settings.index)  # or the server would find out only when it asks
    return Library(
        settings.index,
        model=model_name(settings.embedding_model),
        load_reranker=reranker,
        vectors=settings.vectors,
    )


def make_answerer(
    settings: Settings,
    environment: Mapping[str, str] = os.environ,
    spend: Callable[[str, int], object] = lambda owner, tokens: None,
) -> Answerer:
    """The answerer that the settings and the SDK's own variables name; `spend` hears of whom tokens are paid for.

    Raises `ConfigError`.
    """
    key = environment.get("ANTHROPIC_API_KEY") or environment.get("ANTHROPIC_AUTH_TOKEN")
    if settings.model == (EXTRACTIVE,) or not (settings.model or key):
        return ExtractiveAnswerer()
    if not key and not environment.get("ANTHROPIC_BASE_URL"):
        raise ConfigError(
            f"ZANTARA_MODEL={','.join(settings.model)!r} needs a key: set ANTHROPIC_API_KEY, "
            f"or ANTHROPIC_BASE_URL for a local server, or ZANTARA_MODEL={EXTRACTIVE}."
        )
    from .generation.claude import DEFAULT_MODEL, ClaudeAnswerer, ClaudeOptions
    from .generation.prices import Prices

    prices = Prices(settings.prices)

    def paid(model: str, usage: Mapping[str, int], owner: str) -> None:
        prices.count(model, usage)
        spend(owner, sum(usage.values()))

    # A local server asks for no key, but the SDK does.
    options = ClaudeOptions(
        api_key=None if key else "none",
        silence=settings.token_timeout,
        first_token=settings.first_token_timeout,
        connect=settings.connect_timeout,
        paid=paid,
    )
    names = settings.model or (DEFAULT_MODEL,)
    return Chain([ExtractiveAnswerer() if name == EXTRACTIVE else ClaudeAnswerer(name, options) for name in names])


def make_journal(settings: Settings) -> Journal:
    """The journal that the settings name, not yet open."""
    if settings.journal == MEMORY:
        return MemoryJournal(settings.lease)
    if settings.journal.startswith(REDIS):
        from .answers.redis import RedisJournal

        return RedisJournal(settings.journal, settings.lease)
    return SqliteJournal(Path(settings.journal.removeprefix(SQLITE)), settings.lease)


def make_rates(settings: Settings) -> Rates:
    """What counts questions: for all nodes where they share a journal in Redis."""
    if not settings.journal.startswith(REDIS):
        return OwnRates()
    from .redis_connection import RedisConnection
    from .web.shared_rates import SharedRates

    return SharedRates(RedisConnection(settings.journal))


@dataclass(frozen=True, slots=True)
class People:
    """What is kept of people, who of them is known, and what shows who they are."""

    store: Store
    conversations: Conversations
    memory: Memory
    tickets: Tickets
    feedback: Feedbacks
    spending: Spending
    collaborators: CollaboratorsFile
    keys: Keys | None
    tokens: Tokens | None


def make_token_keys(settings: Settings) -> Keys | None:
    """What tokens are checked with, not yet loaded; None where no tokens are asked for. Raises `ConfigError`."""
    return make_keys(settings.jwt_secret, settings.jwt_jwks) if settings.auth == JWT else None


def make_people(settings: Settings) -> People:
    """The store and all that is kept in it. Raises `ConfigError`."""
    store = Store(settings.database_url)
    keys = make_token_keys(settings)
    return People(
        store,
        Conversations(store, settings.conversation_retention),
        Memory(store),
        Tickets(store, settings.retention),
        Feedbacks(store),
        Spending(store, settings.daily_tokens, settings.daily_tokens_person),
        CollaboratorsFile(settings.collaborators),
        keys,
        Tokens(keys, settings.jwt_issuer, settings.jwt_audience) if keys is not None else None,
    )


def make_recording(settings: Settings, people: People, answerer: Answerer) -> Recording:
    """What keeps the record of answers; where Claude writes them, it is also asked for facts and summaries."""
    kept = Kept(people.conversations, people.memory, people.tickets, settings.memory)
    if isinstance(answerer, ExtractiveAnswerer):
        return Recording(kept)
    from .generation.background import ClaudeBackground
    from .generation.claude import ClaudeAnswerer

    first = answerer.links[0].answerer if isinstance(answerer, Chain) else answerer
    return Recording(kept, ClaudeBackground(first) if isinstance(first, ClaudeAnswerer) else None)


def make_traces(settings: Settings) -> Traces | None:
    """What makes traces of answers; None where none are wanted. Raises `ConfigError`."""
    if not settings.traces:
        return None
    try:
        from .tracing import Traces
    except ImportError as error:
        raise ConfigError(
            f"ZANTARA_TRACES=true needs packages that are not installed ({error}): pip install zantara-stream[tracing]"
        ) from error
    return Traces()


def make_answers(settings: Settings, pipeline: Pipeline, recording: Recording, traces: Traces | None = None) -> Answers:
    """The answers that a pipeline writes, kept as the settings say, recorded, measured and traced."""
    lifetimes = Lifetimes(settings.grace, settings.retention, settings.max_answers, settings.max_log)

    def produce(opening: Opening, written: Folded) -> AsyncGenerator[Event, None]:
        return pipeline.answer(Question.from_json(opening.request), written, partial(recording.begin, opening))

    watching = [measure_end, recording.ended, *([traces.trace] if traces is not None else [])]

    def ended(answer: Answer) -> None:
        for watch in watching:
            watch(answer)

    answers = Answers(make_journal(settings), produce, lifetimes, pipeline.model, ended)
    recording.watch(answers)
    return answers
