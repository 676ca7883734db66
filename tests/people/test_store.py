"""The store is the same on both databases, is made ready once, and says what is wrong without saying whose."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from postgres import Cluster
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from zantara_stream.errors import ConfigError, StoreUnavailable
from zantara_stream.people import store as module
from zantara_stream.people.store import Store
from zantara_stream.people.tables import METADATA, VERSION, people


async def test_the_migrations_make_the_tables_that_the_code_asks(store: Store) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    async with store.reading() as connection:
        assert await connection.run_sync(differences) == []


def test_the_version_that_a_start_looks_for_is_that_of_the_newest_migration() -> None:
    assert module.__file__ is not None
    assert ScriptDirectory(str(Path(module.__file__).parent / "migrations")).get_current_head() == VERSION


async def test_what_was_written_is_there_when_it_is_opened_again(database_url: str) -> None:
    for owners in ([], ["anna"]):
        store = Store(database_url)
        await store.open()
        async with store.reading() as connection:
            assert list(await connection.scalars(people.select())) == owners
        async with store.writing() as connection:
            await connection.execute(
                people.insert(), {"owner": f"anna{'2' * len(owners)}", "summary": "", "forgotten": 0}
            )
        await store.close()


async def test_several_servers_may_open_it_at_once(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await store.probe()
        await store.close()


async def test_a_transaction_is_written_whole_or_not_at_all(store: Store) -> None:
    async def fail() -> None:
        async with store.writing() as connection:
            await connection.execute(people.insert(), {"owner": "anna", "summary": "", "forgotten": 0})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.reading() as connection:
        assert list(await connection.scalars(people.select())) == []


async def test_writers_wait_for_each_other(store: Store) -> None:
    async with store.writing() as connection:
        await connection.execute(people.insert(), {"owner": "anna", "summary": "", "forgotten": 0})

    async def add() -> None:
        async with store.writing() as connection:
            row = await connection.execute(people.select().with_for_update())
            forgotten = row.one().forgotten
            await connection.execute(people.update().values(forgotten=forgotten + 1))

    await asyncio.gather(*(add() for _ in range(20)))
    async with store.reading() as connection:
        assert (await connection.execute(people.select())).one().forgotten == 20


async def test_what_is_begun_is_done_though_whoever_wanted_it_leaves(store: Store) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def add(number: int) -> None:
        async with store.writing() as connection:
            await connection.execute(people.insert(), {"owner": f"{number}", "summary": "", "forgotten": 0})
            begun.set()
            await go.wait()

    for number in range(module.CONNECTIONS + 1):
        begun.clear()
        go.clear()
        task = asyncio.create_task(store.finish(add(number)))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
    await store.finish(asyncio.sleep(0))
    await store.probe()
    async with store.reading() as connection:
        assert len(list(await connection.scalars(people.select()))) == module.CONNECTIONS + 1


async def test_it_is_closed_when_what_was_begun_is_done(database_url: str) -> None:
    store = Store(database_url)
    await store.open()
    begun = asyncio.Event()

    async def add() -> None:
        async with store.writing() as connection:
            begun.set()
            await connection.execute(people.insert(), {"owner": "anna", "summary": "", "forgotten": 0})

    task = asyncio.create_task(store.finish(add()))
    await begun.wait()
    task.cancel()
    await store.close()
    store = Store(database_url)
    await store.open()
    async with store.reading() as connection:
        assert list(await connection.scalars(people.select())) == ["anna"]
    await store.close()


async def test_a_defect_stays_a_defect_and_says_nothing_of_the_values(store: Store) -> None:
    async def insert() -> None:
        async with store.writing() as connection:
            await connection.execute(people.insert(), {"owner": "anna", "summary": "loves secrets", "forgotten": 0})

    await insert()
    with pytest.raises(IntegrityError) as raised:
        await insert()
    assert "secrets" not in str(raised.value)
    assert store.problem == ""


async def test_what_takes_too_long_is_unavailable_and_left_to_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        async with store.reading():
            await go.wait()
        ended.set()

    monkeypatch.setattr(module, "DEADLINE", 0.05)
    with pytest.raises(StoreUnavailable):
        await store.finish(hang())
    assert "within 0.05 seconds" in store.problem
    monkeypatch.undo()
    go.set()
    await ended.wait()
    await store.probe()
    assert store.problem == ""


# ------------------------------------------------------------------------------------------------- SQLite


async def test_the_file_is_for_the_servers_own_eyes(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/new/people.db")
    await store.open()
    assert (tmp_path / "new" / "people.db").stat().st_mode & 0o777 == 0o600
    await store.close()


async def test_in_memory_it_lasts_as_long_as_it_is_open() -> None:
    store = Store("memory://")
    await store.open()
    await asyncio.gather(*(store.probe() for _ in range(20)))
    assert store.name == "memory://"
    await store.close()


async def test_a_locked_file_is_unavailable_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BUSY", 0.05)
    path = tmp_path / "people.db"
    store = Store(f"sqlite:///{path}")
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.probe()
            async with store.reading() as connection:
                await connection.execute(people.select())
            assert "locked" in store.problem, "that it can be read does not make it well"
    await store.probe()
    assert store.problem == ""
    told = [record.levelname for record in caplog.records if record.name.startswith("zantara_stream")]
    assert told == ["ERROR", "WARNING"], "said once, and once when it is well again"
    await store.close()


def _other_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE people (name TEXT)")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        db.execute("INSERT INTO alembic_version VALUES ('9999')")
        db.commit()


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a database": (lambda path: path.write_bytes(b"Dear diary,\n" * 1000), "not a database"),
    "of something else": (_other_tables, "something else"),
    "of a newer version": (_newer, "another version"),
    "a folder": (lambda path: path.mkdir(), "directory"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_a_file_that_cannot_be_used_stops_the_start_with_the_settings_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "people.db"
    make, problem = UNUSABLE[kind]
    make(path)
    with pytest.raises(ConfigError) as raised:
        await Store(f"sqlite:///{path}").open()
    assert "ZANTARA_DATABASE_URL" in str(raised.value)
    assert str(path) in str(raised.value)
    assert problem in str(raised.value).lower()


# --------------------------------------------------------------------------------------------- PostgreSQL


async def test_a_password_is_never_shown(unused_tcp_port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError) as raised:
        await Store(f"postgresql://anna:hunter2hunter2@127.0.0.1:{unused_tcp_port}/zantara").open()
    assert "127.0.0.1" in str(raised.value)
    assert "hunter2" not in str(raised.value) + caplog.text


async def test_a_database_that_goes_away_is_unavailable_and_comes_back(postgresql: Cluster) -> None:
    url = postgresql.database()
    store = Store(url)
    await store.open()
    name = url.rpartition("/")[2]
    postgresql.run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    postgresql.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    with pytest.raises(StoreUnavailable):
        await store.probe()
    assert store.problem
    postgresql.run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    await store.probe()
    assert store.problem == ""
    await store.close()


async def test_a_database_of_something_else_is_left_alone(postgresql: Cluster) -> None:
    url = postgresql.database()
    postgresql.run("CREATE TABLE invoices (number integer)", url.rpartition("/")[2])
    with pytest.raises(ConfigError, match="something else"):
        await Store(url).open()
    assert postgresql.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", url.rpartition("/")[2]) == "1"


async def test_the_statement_that_probes_changes_nothing(store: Store) -> None:
    await store.probe()
    async with store.reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM people"))).scalar_one() == 0
