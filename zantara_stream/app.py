"""The composition root: settings made into an application, and that into a running server."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .answers.answer import Lifetimes
from .answers.answers import Answers
from .answers.events import Event
from .answers.fold import Folded
from .answers.journal import Journal
from .answers.memory import MemoryJournal
from .answers.sqlite import SqliteJournal
from .answers.tending import tend
from .config import AUTOMATIC, EXTRACTIVE, MEMORY, SQLITE, Settings
from .errors import ConfigError, JournalUnavailable
from .generation.answerer import Answerer
from .generation.extractive import ExtractiveAnswerer
from .pipeline import Pipeline, Question
from .retrieval.embedding import model_name
from .retrieval.library import Library
from .retrieval.reranker import Reranker
from .retrieval.steady import steady
from .web.admin import Admin
from .web.answers import AnswersById
from .web.chat import Chat
from .web.cors import OriginPolicy
from .web.failures import failures
from .web.operations import Operations, page
from .web.parameters import BODY_LIMIT
from .web.search import Search
from .web.sse import Connections

PARSER_LINE_LIMIT = 256 * 1024  # bytes; beyond parameters.LINE_LIMIT, so that a long line gets our answer with CORS
PARSER_FIELD_LIMIT = 32 * 1024  # bytes of a header, so that a long Last-Event-ID is answered as an unknown one
SHUTDOWN_TIMEOUT = 5.0  # seconds for handlers to end once their logs are closed

logger = logging.getLogger(__name__)


def make_library(settings: Settings) -> Library:
    """The library of the configured index, not yet open."""
    reranker = partial(Reranker, settings.reranker) if settings.reranker else None
    return Library(settings.index, model=model_name(settings.embedding_model), load_reranker=reranker)


def make_answerer(settings: Settings, environment: Mapping[str, str] = os.environ) -> Answerer:
    """The answerer that the settings and the SDK's own variables name. Raises `ConfigError`."""
    key = environment.get("ANTHROPIC_API_KEY") or environment.get("ANTHROPIC_AUTH_TOKEN")
    if settings.model == EXTRACTIVE or (settings.model == AUTOMATIC and not key):
        return ExtractiveAnswerer()
    base_url = environment.get("ANTHROPIC_BASE_URL")
    if not key and not base_url:
        raise ConfigError(
            f"ZANTARA_MODEL={settings.model!r} needs a key: set ANTHROPIC_API_KEY, "
            f"or ANTHROPIC_BASE_URL for a local server, or ZANTARA_MODEL={EXTRACTIVE}."
        )
    from .generation.claude import DEFAULT_MODEL, ClaudeAnswerer, ClaudeOptions

    # A local server asks for no key, but the SDK does.
    options = ClaudeOptions(api_key=None if key else "none")
    return ClaudeAnswerer(settings.model or DEFAULT_MODEL, options)


def make_journal(settings: Settings) -> Journal:
    """The journal that the settings name, not yet open."""
    if settings.journal == MEMORY:
        return MemoryJournal(settings.lease)
    return SqliteJournal(Path(settings.journal.removeprefix(SQLITE)), settings.lease)


def create_app(
    settings: Settings, *, library: Library | None = None, answerer: Answerer | None = None
) -> web.Application:
    """The application; its index is opened in the background once it has started."""
    library = library or make_library(settings)
    pipeline = Pipeline(library, answerer or make_answerer(settings))
    answers = make_answers(settings, pipeline)
    connections = Connections(settings.heartbeat, settings.max_connections, settings.max_readers)
    policy = OriginPolicy(settings.cors_origins, settings.hosts)
    app = web.Application(middlewares=[failures, policy.guard], client_max_size=BODY_LIMIT)
    app[ANSWERS], app[LIBRARY] = answers, library
    chat, by_id = Chat(answers, pipeline, connections), AnswersById(answers, connections)
    _routes(app, chat, by_id, Search(library))
    _operators(app, Admin(library, settings.admin_token), Operations(answers, pipeline, library))
    policy.install(app)
    tending = partial(tend, answers, settings.lease / 4, pipeline.check)
    work: list[Callable[[], Coroutine[Any, Any, None]]] = [connections.beat, library.serve, tending]
    app.cleanup_ctx.extend([_journal, partial(_background, work=work)])
    app.on_shutdown.append(_close_logs)
    app.on_cleanup.append(lambda _: pipeline.close())
    return app


def make_answers(settings: Settings, pipeline: Pipeline) -> Answers:
    """The answers that a pipeline writes, kept as the settings say."""
    lifetimes = Lifetimes(settings.grace, settings.retention, settings.max_answers, settings.max_log)

    def produce(request: str, written: Folded) -> AsyncGenerator[Event, None]:
        return pipeline.answer(Question.from_json(request), written)

    return Answers(make_journal(settings), produce, lifetimes, pipeline.model)


ANSWERS = web.AppKey("answers", Answers)
LIBRARY = web.AppKey("library", Library)


def _routes(app: web.Application, chat: Chat, by_id: AnswersById, search: Search) -> None:
    app.add_routes(
        [
            web.get("/bali-zero/chat-stream", chat.stream, allow_head=False),
            web.head("/bali-zero/chat-stream", chat.probe),
            web.post("/bali-zero/chat-stream", chat.stream),
            web.post("/bali-zero/chat", chat.whole),
            web.get("/bali-zero/answers/{id}", by_id.show),
            web.delete("/bali-zero/answers/{id}", by_id.stop),
            web.get("/bali-zero/answers/{id}/events", by_id.events, allow_head=False),
            web.head("/bali-zero/answers/{id}/events", chat.probe),
            web.post("/bali-zero/search", search.search),
            web.get("/", page),
            web.get(r"/{file:page\.js|style\.css|icon\.svg}", page),
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
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _close_logs(app: web.Application) -> None:
    # Before the connections are waited for: readers leave when their logs close.
    await app[ANSWERS].drain(0)


class _NoAddresses(logging.Filter):
    """Keeps request targets out of the log: aiohttp shows them in the traceback of a malformed request."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.exc_info = None
            record.msg, record.args = "malformed request: %s", (type(error).__name__,)
        return True


def http_logger() -> logging.Logger:
    """The logger that aiohttp's server is given."""
    log = logging.getLogger("zantara_stream.http")
    if not log.filters:
        log.addFilter(_NoAddresses())
    return log


def make_runner(app: web.Application) -> web.AppRunner:
    """What runs the application on a socket."""
    return web.AppRunner(
        app,
        handler_cancellation=True,  # else a reader who leaves a silent stream is never noticed
        access_log=None,  # request targets hold questions and addresses
        logger=http_logger(),
        max_line_size=PARSER_LINE_LIMIT,
        max_field_size=PARSER_FIELD_LIMIT,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
    )


async def serve(settings: Settings, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT, then let running answers finish within `settings.drain`.

    SIGHUP takes up the current build.
    """
    app = create_app(settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app[LIBRARY].wake)  # else it would end the process
    runner = make_runner(app)
    await runner.setup()
    try:
        async with steady(app[LIBRARY]):
            await _listen(web.TCPSite(runner, settings.host, settings.port), settings)
            announce(f"Zantara Stream answers on {_address(runner)} (Ctrl-C stops it)")
            await _stop_signal()
            announce("Stopping: no new answers, running ones may finish")
            await app[ANSWERS].drain(settings.drain)
    finally:
        await runner.cleanup()


async def _listen(site: web.TCPSite, settings: Settings) -> None:
    try:
        await site.start()
    except OSError as error:
        raise ConfigError(
            f"ZANTARA_HOST={settings.host!r}, ZANTARA_PORT={settings.port}: cannot listen there ({error.strerror})."
        ) from error


def _address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _stop_signal() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
