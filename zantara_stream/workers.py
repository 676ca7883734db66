"""Several processes on one port, each of them a server; they share the journal, and what is kept of people.

Their parent is to them what systemd is to a server: it holds their sockets, hears their signs of life, and starts anew
what ends before its time. Each has a listening socket of its own for the same port (SO_REUSEPORT), which stays open
when it ends: who connects meanwhile waits for the next one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .cancelling import cancel
from .config import MEMORY, Settings
from .errors import ConfigError
from .exposure import check_exposure
from .listening import address, bound
from .supervisor import CREDENTIALS, Supervisor

WELL, FAILED = 0, 1  # exit codes
MOST = 64  # workers
BEAT = 10.0  # seconds: a worker gives signs of life twice as often, and one that gave none for twice as long is killed
STEADY = 10.0  # seconds after which the end of a worker is no failure to start
PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0)  # seconds before one is started again, the longer the more often it fails to start
BEYOND_DRAIN = 15.0  # seconds that a worker may take to stop, beyond those that answers have
LOOK = 0.25  # seconds between two looks at a worker
GIVEN = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", CREDENTIALS}
SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP

logger = logging.getLogger(__name__)


class Worker:
    """One of the processes: what the command is given, what it listens on, and where it is heard."""

    def __init__(self, place: int, arguments: Sequence[str], sockets: Sequence[socket.socket], folder: Path) -> None:
        self.place = place
        self.ready = asyncio.Event()
        self._sockets = sockets
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.setblocking(False)
        self._told.bind(str(folder / f"{place}.told"))
        descriptors = ",".join(str(one.fileno()) for one in sockets)
        given = [descriptors, str(folder), str(place), *arguments]
        self._command = [sys.executable, "-m", "zantara_stream.worker", *given]
        self._environment = _environment(self._told.getsockname())
        self._process: asyncio.subprocess.Process | None = None
        self._heard = 0.0  # when it last gave a sign of life
        self._stopping = False

    async def keep(self) -> int:
        """Let it run, again and again, until it is stopped or ends before it was ever ready; its exit code."""
        failures = 0
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                began = time.monotonic()
                code = await self._run()
                if self._stopping or not self.ready.is_set():
                    return code
                failures = failures + 1 if time.monotonic() - began < STEADY else 0
                logger.error("worker %d ended with %d and is started again", self.place, code)
                await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
        finally:
            listening.cancel()

    async def _run(self) -> int:
        self._heard = math.inf  # it may take its time to begin
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            pass_fds=[one.fileno() for one in self._sockets],
            stdout=asyncio.subprocess.DEVNULL,
        )
        ending = asyncio.create_task(self._process.wait())
        while not (await asyncio.wait({ending}, timeout=LOOK))[0]:
            if time.monotonic() - self._heard > 2 * BEAT:
                logger.error("worker %d gives no sign of life and is killed", self.place)
                self._process.kill()
        return ending.result()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            state = await loop.sock_recv(self._told, 4096)
            self._heard = time.monotonic()
            if state == b"READY=1":
                self.ready.set()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Tell it to stop, and start it no more."""
        self._stopping = True
        self.signal(signal.SIGTERM)

    def close(self) -> None:
        """Hear it no more, and see that it has ended."""
        self.signal(signal.SIGKILL)
        self._told.close()


def _environment(told: str) -> dict[str, str]:
    """That of this process, with what it is given by who started it left out, and signs of life asked for."""
    kept = {name: value for name, value in os.environ.items() if name not in GIVEN}
    return kept | {"NOTIFY_SOCKET": told, "WATCHDOG_USEC": str(int(BEAT * 1e6))}


async def serve_workers(
    settings: Settings,
    count: int,
    arguments: Sequence[str],
    announce: Callable[[str], None],
    supervisor: Supervisor,
) -> int:
    """Serve with `count` workers, which are given these arguments of the command, until told to stop; the exit code.

    A worker that ends before it was ever ready ends them all. Raises `ConfigError`.
    """
    _check(settings, count)
    passed = supervisor.sockets()
    check_exposure(settings, [one.getsockname()[0] for one in passed])
    listening = [passed] * count if passed else _one_port(settings, count)
    given = [*arguments, *_shares(settings, count)]
    with TemporaryDirectory(prefix="zantara-stream-") as folder:
        workers = [Worker(place, given, sockets, Path(folder)) for place, sockets in enumerate(listening)]
        kept: list[asyncio.Task[int]] = []
        beside = asyncio.create_task(supervisor.live())
        try:
            stopped = _signals(workers)
            if not await _begun(workers, kept, stopped):
                return FAILED
            supervisor.tell("READY=1")
            announce(f"Zantara Stream answers on {address(listening[0][0])} with {count} workers (Ctrl-C stops it)")
            await stopped.wait()
            supervisor.tell("STOPPING=1")
            announce("Stopping: no new answers, running ones may finish")
            return WELL
        finally:
            for one in () if passed else [one for sockets in listening for one in sockets]:
                one.close()  # else who connects now would wait for a worker that does not come
            await _ended(workers, kept, settings.drain + BEYOND_DRAIN)
            for number in SIGNALS:
                asyncio.get_running_loop().remove_signal_handler(number)
            beside.cancel()
            supervisor.close()


def _check(settings: Settings, count: int) -> None:
    if not 1 <= count <= MOST:
        raise ConfigError(f"--workers {count}: give a number from 1 to {MOST}.")
    for name, value in (("ZANTARA_JOURNAL", settings.journal), ("ZANTARA_DATABASE_URL", settings.database_url)):
        if value == MEMORY:
            raise ConfigError(f"--workers {count}: workers share what {name} names, so it cannot be {MEMORY!r}.")


def _one_port(settings: Settings, count: int) -> list[list[socket.socket]]:
    """For each worker its own sockets of the one port. Raises `ConfigError` where another server has it."""
    first = bound(settings)
    settings = replace(settings, port=first[0].getsockname()[1])
    for one in first:
        one.close()
    return [bound(settings, reuse_port=True) for _ in range(count)]


def _shares(settings: Settings, count: int) -> list[str]:
    """What each of them has of what is limited in all, as arguments."""
    shares = {"max-connections": settings.max_connections, "max-answers": settings.max_answers}
    options = [part for name, most in shares.items() for part in (f"--{name}", str(math.ceil(most / count)))]
    return [*options, "--workers", "1"]


def _signals(workers: Sequence[Worker]) -> asyncio.Event:
    """Set once this process is told to stop; what is to be taken up is told to the workers."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in SIGNALS[:2]:
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, _tell, workers, signal.SIGHUP)
    return stopped


def _tell(workers: Sequence[Worker], number: signal.Signals) -> None:
    for worker in workers:
        worker.signal(number)


async def _begun(workers: Sequence[Worker], kept: list[asyncio.Task[int]], stopped: asyncio.Event) -> bool:
    """Begin with the first one, which makes what is not there yet; whether all are ready."""
    for some in (workers[:1], workers[1:]):
        kept += [asyncio.create_task(worker.keep()) for worker in some]
        ready = asyncio.create_task(_ready(some))
        stopping = asyncio.create_task(stopped.wait())
        waited: set[asyncio.Task[Any]] = {ready, stopping, *kept}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ready.done():
            ready.cancel()
            return stopped.is_set()
    return True


async def _ready(workers: Sequence[Worker]) -> None:
    for worker in workers:
        await worker.ready.wait()


async def _ended(workers: Sequence[Worker], kept: Sequence[asyncio.Task[int]], within: float) -> None:
    for worker in workers:
        worker.stop()
    if kept:
        await asyncio.wait(kept, timeout=within)
    for worker in workers:
        worker.close()
    await cancel(kept)
