"""The application on a socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .app import ANSWERS, IDLE, LIBRARY, PEOPLE, PIPELINE, create_app
from .config import Settings
from .exposure import check_exposure
from .listening import BACKLOG, address, bound
from .retrieval.library import Library
from .retrieval.steady import steady
from .supervisor import Supervisor
from .web.siblings import Siblings

PARSER_LINE_LIMIT = 256 * 1024  # bytes; beyond parameters.LINE_LIMIT, so that a long line gets our answer with CORS
PARSER_FIELD_LIMIT = 32 * 1024  # bytes of a header, so that a long Last-Event-ID is answered as an unknown one
OPENING = 60.0  # seconds that connections wait for the index at a start, where the socket was there before
SHUTDOWN_TIMEOUT = 5.0  # seconds for handlers to end once their logs are closed

logger = logging.getLogger(__name__)


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


async def serve(
    settings: Settings, announce: Callable[[str], None] = print, supervisor: Supervisor | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then let running answers finish within `settings.drain`.

    SIGHUP takes up the current build, and reads the collaborators file again. Sockets that a supervisor passes stay
    open when this process stops: who connects meanwhile is served by the next one.
    """
    supervisor = supervisor or Supervisor({})
    passed = supervisor.sockets()
    check_exposure(settings, [listening.getsockname()[0] for listening in passed])
    app = create_app(settings, siblings=Siblings(*supervisor.worker) if supervisor.worker else None)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _take_up, app)  # else it would end the process
    runner = make_runner(app)
    await runner.setup()
    _take_descriptors()
    beside = [asyncio.create_task(work) for work in (app[IDLE].watch(runner), supervisor.live())]
    try:
        async with steady(app[PIPELINE].prepared.wait):
            if passed:
                await _opened(app[LIBRARY])
            sockets = passed or bound(settings)
            for listening in sockets:
                await _listen(runner, listening)
            supervisor.tell("READY=1")
            announce(f"Zantara Stream answers on {address(sockets[0])} (Ctrl-C stops it)")
            await _stop_signal()
            supervisor.tell("STOPPING=1")
            announce("Stopping: no new answers, running ones may finish")
            await _drain(app, runner, settings.drain, handed_on=bool(passed))
    finally:
        for task in beside:
            task.cancel()
        await runner.cleanup()
        supervisor.close()


async def _opened(library: Library) -> None:
    """Wait for the index: who waits at a socket that was there before us waits for an answer, not for a refusal."""
    try:
        await asyncio.wait_for(library.tried.wait(), OPENING)
    except TimeoutError:
        logger.warning("the index is not open after %g seconds; questions are refused until it is", OPENING)


async def _drain(app: web.Application, runner: web.AppRunner, seconds: float, *, handed_on: bool) -> None:
    if handed_on:
        for site in tuple(runner.sites):
            await site.stop()  # who connects from now on waits in the kernel for the next process
    # Who has a connection still cannot get at the next process, and is answered here.
    await app[ANSWERS].drain(seconds, admitting=handed_on)


def _take_descriptors() -> None:
    """Use as many descriptors as the system lets this process have: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _take_up(app: web.Application) -> None:
    """Take up what the operator has changed."""
    app[LIBRARY].wake()
    asyncio.get_running_loop().run_in_executor(None, app[PEOPLE].collaborators.reload)


async def _listen(runner: web.AppRunner, listening: socket.socket) -> None:
    # asyncio accepts as many at a time as the backlog that it is told; where descriptors run out, it tries each of them
    # again and again, and does nothing else. So it is told 1, and the kernel more.
    await web.SockSite(runner, listening, backlog=1).start()
    listening.listen(BACKLOG)


async def _stop_signal() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
