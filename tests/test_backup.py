"""Back-up and restore: a server under load is backed up, loses everything, and goes on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from faults import checker
from faults.client import Reader, session
from faults.process import Node
from faults.upstream import Upstream, text_of

from zantara_stream import backup as backups
from zantara_stream.answers.database import Database
from zantara_stream.answers.journal import Opening
from zantara_stream.backup import BackupError, backup, left_out
from zantara_stream.cli import main
from zantara_stream.config import MEMORY, Settings
from zantara_stream.people.store import Store
from zantara_stream.restore import restore

SESSION = "a-conversation-kept-0123456789"


def silent(line: str) -> None:
    """Say nothing."""


def settings_in(folder: Path) -> Settings:
    """Journal and store in that folder."""
    return Settings(journal=f"sqlite:///{folder}/answers.db", database_url=f"sqlite:///{folder}/people.db")


@pytest.fixture
async def kept(tmp_path: Path) -> Settings:
    """Settings whose files a server has made and left, with an answer that is not finished."""
    settings = settings_in(tmp_path / "var")
    database = Database(tmp_path / "var" / "answers.db", 5.0)
    database.open()
    database.create(opening("first"))
    database.close()
    store = Store(settings.database_url)
    await store.open()
    await store.close()
    return settings


def opening(name: str) -> Opening:
    """The opening of an answer of that id."""
    return Opening(name, "q", "{}", "", 1.0, "")


def answers(folder: Path) -> list[str]:
    """The ids in the journal of that folder."""
    with closing(sqlite3.connect(folder / "answers.db")) as db:
        return sorted(name for (name,) in db.execute("SELECT answer FROM answers"))


def mode(path: Path) -> int:
    """Who may do what with it."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_server_under_load_is_backed_up_destroyed_restored_and_goes_on(
    small_index: Path, tmp_path: Path
) -> None:
    folder, settings = tmp_path / "node", settings_in(tmp_path / "node")
    folder.mkdir()
    async with Upstream(0.03).serving() as model, session() as http:
        node = Node(folder, small_index, model.url, database_url=settings.database_url)
        await node.start()
        try:
            finished = await ask(http, node, "Short question?", session_id=SESSION)
            readers = [Reader(node.url, f"Question {n}?", f"c{n}") for n in range(5)]
            reading = [asyncio.create_task(reader.run(http)) for reader in readers]
            await asyncio.gather(*(reader.first.wait() for reader in readers))
            made = await asyncio.to_thread(backup, settings, tmp_path / "backups", 7, silent)
            assert checker.unfinished(made / "answers.db") == 5
            with pytest.raises(BackupError, match=r"answers\.db is in use .*: stop the server"):
                await asyncio.to_thread(restore, settings, made)
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
            await node.kill()
            for file in folder.glob("*.db*"):
                file.write_bytes(b"lost")
            await asyncio.to_thread(restore, settings, made)
            await node.start()
            again = [Reader(node.url, reader.query, f"c{n}") for n, reader in enumerate(readers)]
            await asyncio.gather(*(reader.run(http) for reader in again))
            journal = checker.journalled(node.journal)
            assert [problem for reader in again for problem in checker.problems(reader.received, journal)] == []
            assert all(checker.text(reader.received) == text_of(reader.query) for reader in again)
            assert max(model.begun.values()) == 1  # gone on with, and not begun anew
            async with http.get(f"{node.url}/bali-zero/answers/{finished['answer']}") as response:
                assert (await response.json())["text"] == text_of("Short question?")
            async with http.get(f"{node.url}/bali-zero/conversations/{SESSION}") as response:
                assert "Short question?" in await response.text()
        finally:
            await node.stop()


async def ask(http: ClientSession, node: Node, query: str, **parameters: str) -> dict[str, Any]:
    """The whole answer as JSON."""
    async with http.post(f"{node.url}/bali-zero/chat", json={"query": query, **parameters}) as response:
        said: dict[str, Any] = await response.json()
        assert response.status == 200, said
        return said


def test_what_is_committed_while_it_is_copied_neither_gets_in_nor_stops_it(
    kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "PAGES", 1)
    monkeypatch.setattr(backups, "LARGE", 0)
    server, said = Database(tmp_path / "var" / "answers.db", 5.0), list[str]()
    server.open()

    def write(line: str) -> None:
        said.append(line)
        assert len(said) < 1000, "each commit begins the copy anew"
        if line.startswith("answers.db"):
            server.create(opening(f"later-{len(said)}"))

    made = backup(kept, tmp_path / "backups", 7, write)
    server.close()
    assert len(answers(tmp_path / "var")) > 2
    assert answers(made) == ["first"]
    assert "answers.db: 100 %" in said


def test_only_its_owner_reads_a_backup_and_its_manifest_tells_what_it_holds(kept: Settings, tmp_path: Path) -> None:
    made = backup(kept, tmp_path / "backups", 7, silent)
    assert {path.name for path in made.iterdir()} == {"answers.db", "people.db", "manifest.json"}
    assert (mode(made.parent), mode(made)) == (0o700, 0o700)
    assert {mode(path) for path in made.iterdir()} == {0o600}
    assert (made / "answers.db").read_bytes()[18:20] == b"\1\1"  # no WAL file belongs to it
    said = json.loads((made / "manifest.json").read_text())
    assert {name: file["schema"] for name, file in said["files"].items()} == {"answers.db": "2", "people.db": "0002"}
    assert said["files"]["people.db"]["bytes"] == (made / "people.db").stat().st_size


def test_the_newest_are_kept(kept: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    (folder / ".unfinished-killed").mkdir(parents=True)
    (folder / "mine").mkdir()
    made = [backup(kept, folder, 2, silent) for _ in range(4)]
    assert set(folder.iterdir()) == {*made[2:], folder / "mine"}


def test_a_backup_that_fails_leaves_nothing_and_takes_nothing(
    kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    first = backup(kept, folder, 1, silent)
    (tmp_path / "var" / "people.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(BackupError, match="not a database"):
        backup(kept, folder, 1, silent)
    assert list(folder.iterdir()) == [first]
    (tmp_path / "var" / "people.db").unlink()
    with pytest.raises(BackupError, match=r"nothing to back up: .*people\.db"):
        backup(kept, folder, 1, silent)


def test_restored_files_are_as_they_were_and_the_replaced_ones_are_kept(kept: Settings, tmp_path: Path) -> None:
    var = tmp_path / "var"
    made = backup(kept, tmp_path / "backups", 7, silent)
    with killed_writer(var / "answers.db"):
        (var / "answers.db-wal").rename(tmp_path / "wal")
    shutil.copy(tmp_path / "wal", var / "answers.db-wal")  # as a killed server leaves it
    before = restore(kept, made)
    assert answers(var) == ["first"]
    assert [path.name.partition(".before-restore-")[0] for path in before] == ["answers.db", "people.db"]
    with closing(sqlite3.connect(before[0])) as db:
        assert db.execute("SELECT count(*) FROM answers").fetchone() == (2,)
    assert mode(var / "answers.db") == 0o600
    assert not list(var.glob(".restoring-*"))


class killed_writer:
    """Writes one more answer, which stands in the WAL file alone while the block runs."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, 5.0)

    def __enter__(self) -> None:
        self._database.open()
        self._database.create(opening("second"))

    def __exit__(self, *_: object) -> None:
        self._database.close()


@pytest.mark.parametrize("name", ["answers.db", "people.db"])
def test_a_damaged_backup_is_refused_and_nothing_is_replaced(kept: Settings, tmp_path: Path, name: str) -> None:
    made, var = backup(kept, tmp_path / "backups", 7, silent), tmp_path / "var"
    content = bytearray((made / name).read_bytes())
    content[len(content) // 2] ^= 1
    (made / name).write_bytes(content)
    before = {path.name: path.read_bytes() for path in var.iterdir()}
    with pytest.raises(BackupError, match=rf"{name} is damaged: it is not what the manifest says"):
        restore(kept, made)
    assert {path.name: path.read_bytes() for path in var.iterdir()} == before


@pytest.mark.parametrize(("name", "schema"), [("answers.db", "3"), ("people.db", "9999"), ("other.db", "1")])
def test_another_schema_is_refused(kept: Settings, tmp_path: Path, name: str, schema: str) -> None:
    made = backup(kept, tmp_path / "backups", 7, silent)
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["files"][name] = {**manifest["files"]["answers.db"], "schema": schema}
    (made / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BackupError, match=f"{name} has tables of version {schema}, which this server cannot read"):
        restore(kept, made)


def test_what_is_no_backup_is_refused(kept: Settings, tmp_path: Path) -> None:
    made = backup(kept, tmp_path / "backups", 7, silent)
    with pytest.raises(BackupError, match=rf"has no manifest\.json\. The newest one in it is {made}\."):
        restore(kept, made.parent)
    (made / "manifest.json").write_text("{}")
    with pytest.raises(BackupError, match="cannot be read"):
        restore(kept, made)
    (made / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(BackupError, match="is a back-up of format 2; this version reads format 1"):
        restore(kept, made)


@pytest.mark.parametrize("name", ["answers.db", "people.db"])
async def test_files_that_an_idle_server_has_open_are_not_replaced(kept: Settings, tmp_path: Path, name: str) -> None:
    made = backup(kept, tmp_path / "backups", 7, silent)
    async with opened(kept, name), ClientSession():
        refused = await asyncio.to_thread(in_another_process, kept, made)
    assert f"{name} is in use" in refused
    restore(kept, made)


@asynccontextmanager
async def opened(settings: Settings, name: str) -> AsyncIterator[None]:
    """The journal or the store, open as in a server that has nothing to do."""
    database, store = Database(Path(settings.journal.removeprefix("sqlite:///")), 5.0), Store(settings.database_url)
    open_it: Callable[[], Awaitable[None]] = store.open
    if name == "answers.db":
        database.open()
    else:
        await open_it()
    try:
        yield
    finally:
        if name == "answers.db":
            database.close()
        await store.close()


def in_another_process(settings: Settings, made: Path) -> str:
    """What the command says there; locks keep no process out of its own files."""
    import subprocess
    import sys

    environment = {**os.environ, "ZANTARA_JOURNAL": settings.journal, "ZANTARA_DATABASE_URL": settings.database_url}
    command = [sys.executable, "-m", "zantara_stream", "restore", str(made)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    return done.stderr


def test_a_backup_of_another_store_is_said_to_be_partial(
    kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZANTARA_JOURNAL", kept.journal)
    monkeypatch.setenv("ZANTARA_DATABASE_URL", kept.database_url)
    folder = str(tmp_path / "backups")
    assert main(["backup", folder]) == 0
    whole = Path(capsys.readouterr().out.strip())
    monkeypatch.setenv("ZANTARA_DATABASE_URL", "postgresql://u:p@db.example.com/people")
    assert main(["backup", folder]) == 3
    said = capsys.readouterr()
    assert "pg_dump" in said.err
    assert {path.name for path in Path(said.out.strip()).iterdir()} == {"answers.db", "manifest.json"}
    assert main(["restore", str(whole)]) == 1
    assert "holds people.db, and the settings name no SQLite file for it" in capsys.readouterr().err
    monkeypatch.setenv("ZANTARA_DATABASE_URL", kept.database_url)
    assert main(["restore", str(whole)]) == 0
    assert "kept what was there: " in capsys.readouterr().out


def test_a_backup_without_the_answers_in_redis_is_said_to_be_partial(
    kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZANTARA_JOURNAL", "redis://:secret@redis.example.com")
    monkeypatch.setenv("ZANTARA_DATABASE_URL", kept.database_url)
    assert main(["backup", str(tmp_path / "backups")]) == 3
    said = capsys.readouterr()
    assert "answers are in Redis" in said.err
    assert "secret" not in said.err
    assert {path.name for path in Path(said.out.strip()).iterdir()} == {"people.db", "manifest.json"}
    monkeypatch.setenv("ZANTARA_DATABASE_URL", "postgresql://u:p@db.example.com/people")
    assert main(["backup", str(tmp_path / "backups")]) == 1
    assert "pg_dump; answers are in Redis" in capsys.readouterr().err


def test_in_memory_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    settings = Settings(journal=MEMORY, database_url=MEMORY)
    assert left_out(settings) == []
    with pytest.raises(BackupError, match="nothing to back up: the settings name no SQLite file"):
        backup(settings, tmp_path, 7, silent)
