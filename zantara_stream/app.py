"""The composition root: the parts of a server made into an application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.hdrs import CONNECTION

from .answers.answers import Answers
from .answers.tending import follow, tend
from .cancelling import cancel
from .config import Settings
from .errors import JournalUnavailable, StoreUnavailable
from .generation.answerer import Answerer
from .measuring import expect, measure_loop
from .parts import (
    People,
    make_answerer,
    make_answers,
    make_library,
    make_people,
    make_rates,
    make_recording,
    make_traces,
)
from .pipeline import Pipeline
from .recording import Recording
from .retrieval.library import Library
from .web import openapi
from .web.account import Account
from .web.address import Addresses
from .web.admin import Admin
from .web.answers import AnswersById
from .web.authentication import Authentication
from .web.chat import Chat
from .web.cors import OriginPolicy
from .web.failures import failures
from .web.feedback import Ratings
from .web.idle import IdleConnections
from .web.limits import Limits
from .web.operations import Operations
from .web.page import FILES, StreamTest, static_file
from .web.parameters import BODY_LIMIT
from .web.search import Search
from .web.siblings import Siblings
from .web.sse import Connections

ANSWERS = web.AppKey("answers", Answers)
LIBRARY = web.AppKey("library", Library)
PIPELINE = web.AppKey("pipeline", Pipeline)
PEOPLE = web.AppKey("people", People)
RECORDING = web.AppKey("recording", Recording)
IDLE = web.AppKey("idle", IdleConnections)

SPARE = 100  # connections beside those that stream

logger = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    *,
    library: Library | None = None,
    answerer: Answerer | None = None,
    siblings: Siblings | None = None,
) -> web.Application:
    """The application; its index is opened in the background once it has started. Raises `ConfigError`."""
    library, people = library or make_library(settings), make_people(settings)
    answerer = answerer or make_answerer(settings, spend=people.spending.spend)
    pipeline = Pipeline(library, answerer)
    recording = make_recording(settings, people, answerer)
    traces = make_traces(settings)
    answers = make_answers(settings, pipeline, recording, traces)
    expect(pipeline.model)
    policy = OriginPolicy(settings.cors_origins, settings.hosts)
    trusts = settings.trust_email
    authentication = Authentication(people.tokens, people.tickets, people.collaborators, trust_email=trusts)
    app = _guarded(settings, policy, authentication)
    app[ANSWERS], app[LIBRARY], app[PEOPLE], app[RECORDING] = answers, library, people, recording
    app[PIPELINE] = pipeline
    connections = Connections(settings.heartbeat, settings.max_connections, settings.max_readers)
    _routes(app, settings, pipeline, connections, authentication)
    operations = Operations(answers, pipeline, library, people.store, siblings)
    _operators(app, Admin(library, settings.admin_token), operations)
    if siblings is not None:
        app.cleanup_ctx.append(siblings.listen)
    policy.install(app)
    tending = [partial(tend, answers, settings.lease / 4, pipeline.check), partial(follow, answers)]
    background = [measure_loop, connections.beat, library.serve, people.store.tend, people.spending.run]
    _lifetime(app, [*tending, *background, recording.run, pipeline.prepare])
    app.on_cleanup.append(lambda _: pipeline.close())
    if traces is not None:
        app.on_cleanup.append(lambda _: asyncio.to_thread(traces.close))
    return app


def _routes(
    app: web.Application,
    settings: Settings,
    pipeline: Pipeline,
    connections: Connections,
    authentication: Authentication,
) -> None:
    answers, library, people = app[ANSWERS], app[LIBRARY], app[PEOPLE]
    rates = make_rates(settings)
    app.on_cleanup.append(lambda _: rates.close())
    limits = Limits(settings.rate_limit, settings.max_streams, Addresses(settings.trusted_proxies), rates)
    chat = Chat(answers, pipeline, connections, authentication, limits, people.spending)
    by_id = AnswersById(answers, connections, authentication)
    _questions(app, limits, chat, by_id, Search(library), Ratings(answers, people.feedback))
    _account(app, limits, Account(people.conversations, people.memory, people.tickets, settings.memory))
    _page(app, limits, StreamTest(connections))


def _guarded(settings: Settings, policy: OriginPolicy, authentication: Authentication) -> web.Application:
    """An application without routes: what every request passes before its handler, and every response after it."""
    idle = IdleConnections(settings.max_connections + SPARE)
    middlewares = [idle.busy, failures, policy.guard, authentication.identify]
    app = web.Application(middlewares=middlewares, client_max_size=BODY_LIMIT)
    app[IDLE] = idle
    app.on_response_prepare.append(_close_when_draining)
    return app


def _lifetime(app: web.Application, work: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    """What is opened at the start, done as long as the server runs, and closed at its end."""
    app.cleanup_ctx.extend([_journal, _people, partial(_background, work=work)])
    app.on_shutdown.append(_close_logs)


def _questions(
    app: web.Application, limits: Limits, chat: Chat, by_id: AnswersById, search: Search, ratings: Ratings
) -> None:
    app.add_routes(
        [
            web.get("/bali-zero/chat-stream", limits.streaming(chat.stream), allow_head=False),
            web.head("/bali-zero/chat-stream", chat.probe),
            web.post("/bali-zero/chat-stream", limits.streaming(chat.stream)),
            web.post("/bali-zero/chat", limits.streaming(chat.whole)),
            web.get("/bali-zero/answers/{id}", by_id.show),
            web.delete("/bali-zero/answers/{id}", by_id.stop),
            web.get("/bali-zero/answers/{id}/events", limits.streaming(by_id.events), allow_head=False),
            web.head("/bali-zero/answers/{id}/events", chat.probe),
            web.post("/bali-zero/search", limits.asking(search.search)),
            web.post("/bali-zero/feedback", limits.asking(ratings.rate)),
        ]
    )


def _account(app: web.Application, limits: Limits, account: Account) -> None:
    app.add_routes(
        [
            web.post("/bali-zero/tickets", limits.asking(account.issue_ticket)),
            web.get("/bali-zero/conversations", account.conversations, allow_head=False),
            web.get("/bali-zero/conversations/{id}", account.conversation, allow_head=False),
            web.delete("/bali-zero/conversations/{id}", account.delete_conversation),
            web.get("/bali-zero/memory", account.memory, allow_head=False),
            web.delete("/bali-zero/memory", account.forget_all),
            web.delete("/bali-zero/memory/{fact}", account.forget),
        ]
    )


def _operators(app: web.Application, admin: Admin, operations: Operations) -> None:
    app.add_routes(
        [
            web.get("/health", operations.health),
            web.get("/ready", operations.ready),
            web.get("/metrics", admin.guarded(operations.metrics, open_to_own=True), allow_head=False),
            web.post("/admin/reload", admin.guarded(admin.reload)),
            web.get("/admin/documents/{path:.+}", admin.guarded(admin.document), allow_head=False),
        ]
    )


def _page(app: web.Application, limits: Limits, stream_test: StreamTest) -> None:
    app.add_routes(
        [
            web.get("/", static_file),
            web.get(f"/{{file:{FILES}}}", static_file),
            web.get("/openapi.json", openapi.show),
            web.get("/bali-zero/stream-test", limits.streaming(stream_test.run), allow_head=False),
        ]
    )


async def _close_when_draining(request: web.Request, response: web.StreamResponse) -> None:
    """Have whoever asks again come on a new connection: to another node, or to the process that follows."""
    if request.app[ANSWERS].draining:
        response.headers[CONNECTION] = "close"
        response.force_close()


async def _journal(app: web.Application) -> AsyncIterator[None]:
    journal = app[ANSWERS].journal
    await journal.open()
    yield
    try:
        await journal.close()
    except JournalUnavailable:
        logger.error("the journal %s was not closed: %s", journal.name, journal.problem)


async def _background(
    app: web.Application, work: Sequence[Callable[[], Coroutine[Any, Any, None]]]
) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(start()) for start in work]
    yield
    await cancel(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()  # what has ended before its time has broken


async def _people(app: web.Application) -> AsyncIterator[None]:
    people = app[PEOPLE]
    if people.keys is not None:
        await people.keys.load()
    await people.store.open()
    await people.spending.keep()  # what was spent today before this start
    yield
    with suppress(StoreUnavailable):
        await people.spending.keep()
    await people.store.close()


async def _close_logs(app: web.Application) -> None:
    # Before the connections are waited for: readers leave when their logs close.
    await app[ANSWERS].drain(0)
    await app[RECORDING].settled()
