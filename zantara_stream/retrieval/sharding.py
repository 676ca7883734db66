"""Embedding shared out over processes, here or on other machines, by Dask.

What is shared out are the lots of texts that one process would embed after each other, unchanged and in their order, so
that the index is the same. The scheduler and its workers run whatever whoever reaches them tells them to.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from multiprocessing.resource_tracker import ensure_running
from threading import Lock
from typing import Any

from .. import __version__
from ..errors import ConfigError, CorpusError
from .embedding import Embedder
from .encoder import Vectors
from .vectors import Encode, Lots, Progress

PATIENCE = 10.0  # seconds until a scheduler must answer, and have a worker
STARTING = 120.0  # seconds until processes of this machine must have started
LOOKED = 5.0  # seconds between two looks whether there are workers left
ALONE = 60.0  # seconds without any worker, until that is given up
AHEAD = 2  # lots a worker that are under way: one is embedded while the next is sent
RETRIES = 2  # of a lot whose worker is lost or breaks

Load = Callable[[str], Embedder]  # by a setting; the workers import it by its name
Client = Any  # distributed's, and its futures: its types are in parts its own only
Future = Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a worker must embed with, so that the index is the same: how to load it, and what it must be."""

    load: Load
    setting: str
    version: str  # of this package
    name: str
    sha256: str

    @classmethod
    def of(cls, load: Load, setting: str, embedder: Embedder) -> Wanted:
        """What `load(setting)` must give, by the embedder that is here."""
        return cls(load, setting, __version__, embedder.name, embedder.sha256)


@contextmanager
def processes(count: int, load: Load, setting: str, embedder: Embedder) -> Iterator[Encode]:
    """So many processes of this machine, which share its cores; `load(setting)` is the embedder there.

    Raises `ConfigError` and `CorpusError`.
    """
    _installed()
    import dask
    from distributed import Client, LocalCluster

    threads = str(max(1, (os.cpu_count() or 1) // count))
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    try:
        with dask.config.set({"distributed.nanny.pre-spawn-environ": environment}), _interrupts_held():
            cluster = LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=count,
                threads_per_worker=1,
                host="127.0.0.1",
                protocol="tls://",
                security=True,  # keys of its own: others on this machine could have the workers run what they like
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                worker_dashboard_address="127.0.0.1:0",
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
    except (OSError, RuntimeError, TimeoutError) as error:
        raise CorpusError(f"{count} processes could not be started ({_told(error)}).") from error
    with cluster, Client(cluster, timeout=PATIENCE, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        yield _shared(client, count, STARTING, Wanted.of(load, setting, embedder))


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes and threads that are begun here do not hear of Ctrl-C: this one does, afterwards, and ends them."""
    heard: list[int] = []
    ensure_running()  # which would let them hear of it again
    # Another thread may get the signal, and this one would be told of it in the middle of what loses it.
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if heard and callable(handler):  # it is not where Ctrl-C is ignored
        handler(signal.SIGINT, None)


@contextmanager
def scheduled(address: str, load: Load, setting: str, embedder: Embedder) -> Iterator[Encode]:
    """The workers of the scheduler at an address, likewise. Raises `ConfigError` and `CorpusError`."""
    _installed()
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise CorpusError(f"The scheduler {address} cannot be reached ({_told(error)}).") from error
    with client:
        yield _shared(client, 1, PATIENCE, Wanted.of(load, setting, embedder))


def _installed() -> None:
    if find_spec("distributed") is None:
        raise ConfigError(
            "Sharing a build out needs Dask, which is not installed: pip install 'zantara-stream[cluster]'"
        )


def _shared(client: Client, count: int, patience: float, wanted: Wanted) -> Encode:
    """Have the workers load their embedder, hold it against ours, and let them embed."""
    try:
        client.wait_for_workers(count, timeout=patience)
    except TimeoutError as error:
        raise CorpusError(
            f"The scheduler {client.scheduler.address} has no workers: start some with "
            f"dask worker {client.scheduler.address}"
        ) from error
    for worker, problem in client.run(_prepared, wanted, on_error="return").items():
        if problem is not None:
            raise CorpusError(f"The worker {worker} cannot embed for this build: {_told(problem)}.")

    def encode(lots: Lots, progress: Progress) -> Iterator[Vectors]:
        return _encoded(client, wanted, lots, progress)

    return encode


def _encoded(client: Client, wanted: Wanted, lots: Lots, progress: Progress) -> Iterator[Vectors]:
    """The rows of each lot, in their order; only so many are under way that the workers are busy."""
    waiting: deque[tuple[Future, Sequence[str]]] = deque()
    try:
        for texts in lots:
            waiting.append((client.submit(_embed, wanted, texts, pure=False, retries=RETRIES), texts))
            if len(waiting) >= AHEAD * max(1, len(client.nthreads())):
                yield _next(client, waiting, progress)
        while waiting:
            yield _next(client, waiting, progress)
    finally:
        with suppress(Exception):  # what is no longer wanted; the client may have gone
            client.cancel([future for future, _ in waiting])


def _next(client: Client, waiting: deque[tuple[Future, Sequence[str]]], progress: Progress) -> Vectors:
    future, texts = waiting.popleft()
    rows = _result(client, future)
    progress.update(len(texts))
    return rows


def _result(client: Client, future: Future) -> Vectors:
    alone = 0.0
    while True:
        try:
            rows: Vectors = future.result(timeout=LOOKED)
            return rows
        except TimeoutError:
            alone = 0.0 if client.nthreads() else alone + LOOKED
            if alone >= ALONE:
                raise CorpusError(
                    f"The scheduler {client.scheduler.address} has lost all its workers; what was embedded is kept."
                ) from None
        except Exception as error:
            raise CorpusError(f"A worker could not embed what it was given ({_told(error)}).") from error


def _told(error: BaseException) -> str:
    said = " ".join(str(error).split())[:200]
    return said if isinstance(error, _OtherwiseError) else f"{type(error).__name__}: {said}"


# -------------------------------------------------------------------------------------------- in the workers

_TURN = Lock()  # a worker may have several threads; a model is for one


class _OtherwiseError(Exception):
    """This worker would embed otherwise than the build does."""


@cache
def _loaded(load: Load, setting: str) -> Embedder:
    return load(setting)


def _prepared(wanted: Wanted) -> None:
    with _TURN:
        _embedder(wanted)


def _embedder(wanted: Wanted) -> Embedder:
    if wanted.version != __version__:
        raise _OtherwiseError(f"it has version {__version__} of this package, the build is of {wanted.version}")
    embedder = _loaded(wanted.load, wanted.setting)
    if embedder.sha256 != wanted.sha256:
        raise _OtherwiseError(
            f"it has the model {embedder.name} ({embedder.sha256[:12]}…), "
            f"the build {wanted.name} ({wanted.sha256[:12]}…)"
        )
    return embedder


def _embed(wanted: Wanted, texts: Sequence[str]) -> Vectors:
    with _TURN:
        return _embedder(wanted).encode(texts)
