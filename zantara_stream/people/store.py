"""The database of people: SQLite or PostgreSQL, its tables made ready when it is opened.

Whatever keeps it from being used is `StoreUnavailable`, within a bounded time; what is wrong in a statement is a
defect and stays one. Values never stand in errors or logs.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from sqlalchemy import AsyncAdaptedQueuePool, Connection, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ..allowed import MEMORY
from ..errors import ConfigError, StoreUnavailable
from ..sqlite_file import make, write_ahead
from .tables import VERSION

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)
logging.getLogger("aiosqlite").setLevel(logging.INFO)  # below that it tells every value of every statement

DEADLINE = 8.0  # seconds that whoever wants something waits for it
BUSY = 3.0  # seconds to wait for another process's lock
PROBE, RETRY = 15.0, 1.0  # seconds between looks at a store that can be used, and at one that cannot
CONNECTIONS = 4  # to the database at once
_DEFECTS = (ArgumentError, DataError, IntegrityError, ProgrammingError)
_MIGRATING = 0x7A616E74  # the lock under which one of several servers makes the tables


class Store:
    """One door to the database; `url` as the setting has it."""

    def __init__(self, url: str) -> None:
        self._url = _async_url(url)
        self.name = MEMORY if url == MEMORY else make_url(url).render_as_string(hide_password=True)
        self.problem = ""  # why it cannot be used, or ""
        self._failed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._engine = _engine(self._url)

    async def open(self) -> None:
        """Make the tables ready. Raises `ConfigError`."""
        try:
            if self._file is not None:
                await asyncio.to_thread(make, self._file)
            async with self.writing() as connection:
                await connection.run_sync(_migrate)
            if self._file is not None:
                await asyncio.to_thread(_write_ahead, self._file)
        except (StoreUnavailable, OSError, sqlite3.Error, SQLAlchemyError, _Unusable) as error:
            await self.close()
            raise ConfigError(f"ZANTARA_DATABASE_URL={self.name!r}: {self._why(error)}") from error

    @property
    def _file(self) -> Path | None:
        is_file = self._url.get_backend_name() == "sqlite" and self._url.database != ":memory:"
        return Path(str(self._url.database)) if is_file else None

    def _why(self, error: BaseException) -> str:
        return self.problem if isinstance(error, StoreUnavailable) else _in_words(error)

    async def close(self) -> None:
        """Let go of it, once what is being done is done."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DEADLINE)
        await self._engine.dispose()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work to its end, whoever stops waiting for it. Raises `StoreUnavailable` after `DEADLINE`.

        Nothing is cancelled in the middle of a transaction: the driver's thread and whoever closes its connection
        would wait for each other for ever.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        await asyncio.wait({task}, timeout=DEADLINE)
        if not task.done():
            raise self._unavailable(TimeoutError(f"it did not answer within {DEADLINE:g} seconds"))
        return task.result()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits raises it

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads. Raises `StoreUnavailable`."""
        async with self._transaction(self._engine) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes, all of it or nothing. Raises `StoreUnavailable`."""
        # On SQLite the lock is taken at the beginning: a reader that turns into a writer may have to fail.
        async with self._transaction(self._engine.execution_options(writes=True)) as connection:
            yield connection
        if self.problem:  # a full disk can be read all along
            logger.warning("the store %s can be used again", self.name)
        self.problem = ""
        self._failed.clear()

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            async with engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            if isinstance(error, _DEFECTS):
                raise
            raise self._unavailable(error) from error

    def _unavailable(self, error: BaseException) -> StoreUnavailable:
        problem = _in_words(error)
        if not self.problem:
            logger.error("the store %s cannot be used: %s", self.name, problem)
        self.problem = problem
        self._failed.set()
        return StoreUnavailable()

    def check(self) -> None:
        """Raise `StoreUnavailable` where it cannot be used."""
        if self.problem:
            raise StoreUnavailable

    async def tend(self) -> None:
        """See from time to time whether it can be used, and sooner while it cannot; for ever."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._failed.wait(), PROBE)
                await asyncio.sleep(RETRY)
            with suppress(StoreUnavailable):
                await self.probe()

    async def probe(self) -> None:
        """See whether it can be written. Raises `StoreUnavailable`."""
        await self.finish(self._write_nothing())

    async def _write_nothing(self) -> None:
        async with self.writing() as connection:
            await connection.execute(text("UPDATE people SET summary = summary WHERE owner = ''"))


def whole(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A method of something that has a `_store`, as `Store.finish` does it."""

    @wraps(method)
    async def finished(*arguments: P.args, **named: P.kwargs) -> T:
        store: Store = cast(Any, arguments[0])._store
        return await store.finish(method(*arguments, **named))

    return finished


class _Unusable(Exception):
    """What is in the database is not for this server."""


def _async_url(url: str) -> URL:
    if url == MEMORY:
        return make_url("sqlite+aiosqlite:///:memory:")
    parsed = make_url(url)
    driver = "aiosqlite" if parsed.get_backend_name() == "sqlite" else "asyncpg"
    return parsed.set(drivername=f"{parsed.get_backend_name()}+{driver}")


def _engine(url: URL) -> AsyncEngine:
    # One in memory lives as long as its only connection.
    most = 1 if url.database == ":memory:" else CONNECTIONS
    waits = {"timeout": BUSY} if url.get_backend_name() == "sqlite" else {"timeout": BUSY, "command_timeout": DEADLINE}
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=most,
        max_overflow=0,
        pool_timeout=DEADLINE,
        pool_pre_ping=url.get_backend_name() != "sqlite",
        hide_parameters=True,  # they are people's own words
        connect_args=waits,
    )
    if url.get_backend_name() == "sqlite":
        event.listen(engine.sync_engine, "connect", _connected)
        event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _connected(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin says, and not where the driver guesses
    cursor = connection.cursor()
    for pragma in ("synchronous = NORMAL", "secure_delete = FAST"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _write_ahead(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        write_ahead(db, BUSY)


def _migrate(connection: Connection) -> None:
    """Bring the tables to this version."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATING})
    found = inspect(connection).get_table_names()
    if found and "alembic_version" not in found:
        raise _Unusable("The database holds tables of something else; give the server one of its own.")
    if not found or _version(connection) != VERSION:
        from .migrating import Unknown, migrate  # most starts do without, and it takes a while to import

        try:
            migrate(connection)
        except Unknown as error:
            raise _Unusable(
                "its tables were made by another version of the server, which this one cannot read."
            ) from error


def _version(connection: Connection) -> str | None:
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _in_words(error: BaseException) -> str:
    """What the driver says, without the statement."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__
