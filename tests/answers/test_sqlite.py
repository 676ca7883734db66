"""The journal in a SQLite file: what it survives, and what it says when it cannot write."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from logs import Clock, block, frames, last
from producing import settled

from zantara_stream.answers import database, sqlite
from zantara_stream.answers.database import PROBE, Append, Database
from zantara_stream.answers.database_schema import APPLICATION, VERSION
from zantara_stream.answers.events import Text
from zantara_stream.answers.journal import Fenced, Lease, Opening
from zantara_stream.answers.sqlite import SqliteJournal
from zantara_stream.errors import ConfigError, JournalUnavailable

LONG = 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is; its folder is not there yet."""
    return tmp_path / "var" / "answers.db"


@asynccontextmanager
async def journal_at(path: Path, lease: float = LONG) -> AsyncIterator[SqliteJournal]:
    """The open journal of that file."""
    journal = SqliteJournal(path, lease)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


async def create(journal: SqliteJournal, answer: str, request: str = "") -> Lease:
    """Begin an answer that is not there yet."""
    lease = await journal.create(Opening(answer, request=request))
    assert isinstance(lease, Lease)
    return lease


def appending(journal: SqliteJournal, lease: Lease, *frames: bytes) -> list[asyncio.Future[Exception | None]]:
    """Append; what becomes of each."""
    loop = asyncio.get_running_loop()
    outcomes: list[asyncio.Future[Exception | None]] = []
    for frame in frames:
        outcomes.append(loop.create_future())
        journal.append(lease, frame, outcomes[-1].set_result)
    return outcomes


async def append(journal: SqliteJournal, lease: Lease, *frames: bytes) -> list[type]:
    """Append, and wait; the kinds of what became of each."""
    return [type(outcome) for outcome in await asyncio.gather(*appending(journal, lease, *frames))]


KEPT, FENCED, UNAVAILABLE = type(None), Fenced, JournalUnavailable


def rows(path: Path, query: str) -> list[Any]:
    """What another connection sees in the file."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


# -------------------------------------------------------------------------------------- outliving a process


async def test_all_is_there_when_the_file_is_opened_again(path: Path) -> None:
    async with journal_at(path) as journal:
        closed, running = await create(journal, "A"), await create(journal, "B", "request")
        await append(journal, closed, block("A", 1), last("A", 2))
        await append(journal, running, block("B", 1))
        await journal.release([running])
    async with journal_at(path) as journal:
        assert await frames(journal, "A") == (block("A", 1), last("A", 2))
        ((lease, stored),) = await journal.claim(9)
        assert (lease, stored.frames) == (Lease("B", 2), (block("B", 1),))
        assert stored.opening.request == "request"
        assert await append(journal, lease, last("B", 2)) == [KEPT]


async def test_what_waits_is_written_before_the_file_is_closed(path: Path) -> None:
    async with journal_at(path) as journal:
        lease = await create(journal, "A")
        await append(journal, lease, block("A", 1))
        outcomes = appending(journal, lease, block("A", 2), block("A", 3))
    assert [outcome.result() for outcome in outcomes] == [None, None]
    async with journal_at(path) as journal:
        assert len(await frames(journal, "A")) == 3


KILLED = """
import asyncio, sys
from pathlib import Path
from zantara_stream.answers.events import Stamp, Text, encode
from zantara_stream.answers.journal import Opening
from zantara_stream.answers.sqlite import SqliteJournal

async def main():
    journal = SqliteJournal(Path(sys.argv[1]), 3600.0)
    await journal.open()
    leases = [await journal.create(Opening(name)) for name in "ABC"]
    for offset in range(1, 10**6):
        outcomes = []
        for lease in leases:
            outcome = asyncio.get_running_loop().create_future()
            frame = encode(Text(f"{lease.answer}{offset} "),
                           Stamp(lease.answer, offset, offset, 1730552400.0 + offset, 1.0, 0.5))
            journal.append(lease, frame, outcome.set_result)
            outcomes.append(outcome)
        assert await asyncio.gather(*outcomes) == [None] * 3
        print(offset, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 7, 40])
def test_a_killed_process_loses_nothing_that_it_was_told_is_kept(path: Path, after: int) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(after):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        told = after + len(process.stdout.read().splitlines())
    assert process.returncode == -signal.SIGKILL

    async def check() -> None:
        async with journal_at(path) as journal:
            for name in "ABC":
                kept = await frames(journal, name)
                assert len(kept) >= told
                assert kept == tuple(block(name, offset) for offset in range(1, len(kept) + 1))

    asyncio.run(check())


async def test_the_answers_of_a_killed_process_are_taken_over_when_their_leases_have_run_out(path: Path) -> None:
    dead = Database(path, 0.0)
    dead.open()
    dead.create(Opening("A"))
    dead.commit([Append(Lease("A", 1), block("A", 1))])
    async with journal_at(path) as journal:
        ((lease, stored),) = await journal.claim(9)
        assert stored.frames == (block("A", 1),)
        assert await append(journal, lease, block("A", 2)) == [KEPT]
    dead.close()


# ------------------------------------------------------------------------------------------------ the file


async def test_the_file_is_readable_by_its_owner_only(path: Path) -> None:
    before = os.umask(0)
    try:
        async with journal_at(path) as journal:
            await create(journal, "A")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes["answers.db"] == 0o600
    assert set(modes.values()) == {0o600}, "and so are those that SQLite puts beside it"


async def test_all_that_is_appended_in_one_turn_is_one_commit(path: Path) -> None:
    async with journal_at(path) as journal:
        leases = [await create(journal, name) for name in "ABC"]
        await append(journal, leases[0], block("A", 1))
        assert len(rows(path, "SELECT frames FROM commits")) == 1
        outcomes = [
            outcome
            for offset in range(2, 22)
            for lease in leases
            for outcome in appending(journal, lease, block(lease.answer, offset))
        ]
        await asyncio.gather(*outcomes)
        (_, (written,)) = rows(path, "SELECT frames FROM commits")
        assert written == b"".join(block(name, offset) for offset in range(2, 22) for name in "ABC")


async def test_what_only_closed_answers_needed_is_deleted(path: Path) -> None:
    async with journal_at(path) as journal:
        for name in "ABC":
            lease = await create(journal, name)
            await append(journal, lease, block(name, 1))
            await append(journal, lease, last(name, 2))
        assert rows(path, "SELECT count(*) FROM commits") == [(6,)]
        await journal.expire(LONG)
        assert rows(path, "SELECT count(*) FROM commits") == [(0,)]
        assert await frames(journal, "A") == (block("A", 1), last("A", 2))


async def test_the_request_is_erased_when_the_answer_closes(path: Path) -> None:
    async with journal_at(path) as journal:
        lease = await create(journal, "A", "what was asked, and the history")
        await append(journal, lease, block("A", 1))
        assert rows(path, "SELECT request FROM answers") == [("what was asked, and the history",)]
        await append(journal, lease, last("A", 2))
        assert rows(path, "SELECT request FROM answers") == [("",)]
        stored = await journal.find("A")
        assert stored is not None
        assert stored.opening.request == ""


async def test_a_probe_leaves_nothing_behind(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.probe()
        assert rows(path, "SELECT count(*) FROM commits") == [(0,)]


# ---------------------------------------------------------------------------------------- files of before


OF_VERSION_1 = """
    CREATE TABLE answers (answer TEXT PRIMARY KEY, question TEXT NOT NULL, request TEXT NOT NULL,
        continuity TEXT UNIQUE, started REAL NOT NULL, token INTEGER NOT NULL, lease_ends REAL NOT NULL,
        place INTEGER NOT NULL, closed REAL, frames BLOB) STRICT;
    CREATE TABLE commits (place INTEGER PRIMARY KEY AUTOINCREMENT, frames BLOB NOT NULL) STRICT;
    INSERT INTO answers VALUES ('A', 'a digest', '{"query": "What is due?"}', 'c', 12.5, 1, 0, 1, NULL, NULL);
    INSERT INTO answers VALUES ('B', 'a digest', '', NULL, 12.5, 1, 0, 1, 13.5, x'');
    PRAGMA user_version = 1;
"""


async def test_a_file_of_version_1_goes_on(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(OF_VERSION_1 + f"PRAGMA application_id = {APPLICATION};")
    for _ in ("changed", "opened again"):
        async with journal_at(path) as journal:
            stored = await journal.find("A")
            assert stored is not None
            assert stored.opening == Opening("A", "What is due?", '{"query": "What is due?"}', "/c", 12.5, "")
            assert await journal.named("/c") == "A"
            assert await journal.find("B") is not None
    assert rows(path, "PRAGMA user_version") == [(VERSION,)]


# ------------------------------------------------------------------------------------- what cannot be opened


def _database(path: Path, application: int, version: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE things (name TEXT)")
        db.execute(f"PRAGMA application_id = {application}")
        db.execute(f"PRAGMA user_version = {version}")


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a database": (lambda path: path.write_bytes(b"Dear diary,\n" * 1000), "not a database"),
    "somebody's database": (lambda path: _database(path, 0, 0), "something else"),
    "another application's": (lambda path: _database(path, 7, VERSION), "something else"),
    "of a newer version": (lambda path: _database(path, APPLICATION, VERSION + 1), f"version {VERSION + 1}"),
    "a folder": (lambda path: path.mkdir(), "directory"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_a_file_that_cannot_be_used_stops_the_start_with_the_settings_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "answers.db"
    make, problem = UNUSABLE[kind]
    make(path)
    journal = SqliteJournal(path)
    with pytest.raises(ConfigError) as raised:
        await journal.open()
    assert "ZANTARA_JOURNAL" in str(raised.value)
    assert str(path) in str(raised.value)
    assert problem in str(raised.value).lower()


@pytest.mark.parametrize("kind", [kind for kind in UNUSABLE if kind != "a folder"])
async def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "answers.db"
    UNUSABLE[kind][0](path)
    before = path.read_bytes()
    journal = SqliteJournal(path)
    with pytest.raises(ConfigError):
        await journal.open()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["answers.db"]


async def test_doors_that_are_opened_at_the_same_time_share_one_new_file(path: Path) -> None:
    journals = [SqliteJournal(path) for _ in range(5)]
    await asyncio.gather(*(journal.open() for journal in journals))
    await create(journals[0], "A")
    for journal in journals:
        assert await frames(journal, "A") == ()
        await journal.close()


# -------------------------------------------------------------------------------------------- a locked file


@contextmanager
def locked(path: Path) -> Iterator[Callable[[], object]]:
    """Another process's lock on the file, and how to let it go."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield lambda: db.execute("ROLLBACK") if db.in_transaction else None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is waited for only shortly."""
    monkeypatch.setattr(database, "BUSY", 0.02)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each commit was given."""
    sizes: list[int] = []
    commit = Database.commit

    def counted(self: Database, appends: list[Append]) -> list[Fenced | None]:
        sizes.append(len(appends))
        return commit(self, appends)

    monkeypatch.setattr(Database, "commit", counted)
    return sizes


@pytest.mark.usefixtures("impatient")
async def test_a_locked_file_is_unavailable_and_says_why_and_recovers(path: Path) -> None:
    async with journal_at(path) as journal:
        lease = await create(journal, "A")
        await append(journal, lease, block("A", 1))
        with locked(path) as let_go:
            assert await append(journal, lease, block("A", 2)) == [UNAVAILABLE]
            assert "locked" in journal.problem
            for attempt in (journal.create(Opening("B")), journal.renew([lease]), journal.probe()):
                with pytest.raises(JournalUnavailable):
                    await attempt
            assert await frames(journal, "A") == (block("A", 1),), "what is kept can still be read"
            assert journal.problem, "which does not mean that it can be written"
            let_go()
            await journal.probe()
            assert journal.problem == ""
        assert await journal.find("B") is None
        assert await append(journal, await create(journal, "B"), block("B", 1)) == [KEPT]


@pytest.mark.usefixtures("impatient")
async def test_an_append_that_succeeds_ends_the_problem_too(path: Path) -> None:
    async with journal_at(path) as journal:
        a, b = await create(journal, "A"), await create(journal, "B")
        with locked(path):
            assert await append(journal, a, block("A", 1)) == [UNAVAILABLE]
            assert journal.problem
        assert await append(journal, b, block("B", 1)) == [KEPT]
        assert journal.problem == ""


@pytest.mark.usefixtures("impatient")
async def test_what_follows_a_failed_append_is_refused_or_the_log_would_have_a_hole(
    path: Path, commits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PACE", 0.0)  # or they may be of one commit
    async with journal_at(path) as journal:
        lease, other = await create(journal, "A"), await create(journal, "B")
        await append(journal, lease, block("A", 1))
        with locked(path) as let_go:
            failing = appending(journal, lease, block("A", 2))
            await settled()
            following = [*appending(journal, lease, block("A", 3)), *appending(journal, other, block("B", 1))]
            failing[0].add_done_callback(lambda _: let_go())
            outcomes = await asyncio.gather(*failing, *following)
        assert commits == [1, 1, 2], "each of them was tried"
        assert [type(outcome) for outcome in outcomes] == [UNAVAILABLE, FENCED, KEPT]
        assert await append(journal, lease, block("A", 4)) == [FENCED], "for good"
        assert await frames(journal, "A") == (block("A", 1),)
        await journal.release([lease])
        ((again, stored),) = await journal.claim(9)
        assert stored.frames == (block("A", 1),)
        assert await append(journal, again, block("A", 2)) == [KEPT]


async def test_the_loop_goes_on_while_the_file_is_locked(path: Path) -> None:
    async with journal_at(path) as journal:
        lease = await create(journal, "A")
        with locked(path) as let_go:
            (outcome,) = appending(journal, lease, block("A", 1))
            await settled()
            assert not outcome.done()
            let_go()  # which nobody could if the loop waited for the file
            assert await outcome is None


# ------------------------------------------------------------------------------------------------ a full disk


@contextmanager
def no_more_pages(journal: SqliteJournal) -> Iterator[None]:
    """The file may not grow."""
    db = journal._database._db
    db.execute("PRAGMA max_page_count = 1")  # which stands for as many as it has
    yield
    db.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def no_longer_files(journal: SqliteJournal) -> Iterator[None]:
    """No file of this process may grow beyond what the journal's has."""
    folder = Path(journal.name.removeprefix("sqlite:///")).parent
    size = max(file.stat().st_size for file in folder.iterdir() if not file.name.endswith("-shm"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("full", [no_more_pages, no_longer_files])
async def test_a_full_disk_is_unavailable_and_recovers_without_a_hole(path: Path, full: Any) -> None:
    big = block("A", 2, Text("x" * 2 * PROBE))
    async with journal_at(path) as journal:
        lease = await create(journal, "A")
        await append(journal, lease, block("A", 1))
        with full(journal):
            assert await append(journal, lease, big) == [UNAVAILABLE]
            assert journal.problem
            with pytest.raises(JournalUnavailable):
                await journal.probe()
            assert await append(journal, lease, block("A", 3)) == [FENCED]
            assert await frames(journal, "A") == (block("A", 1),)
        await journal.probe()
        assert journal.problem == ""
        await journal.release([lease])
        ((again, _),) = await journal.claim(9)
        assert await append(journal, again, big, last("A", 3)) == [KEPT, KEPT]
        assert await frames(journal, "A") == (block("A", 1), big, last("A", 3))


# -------------------------------------------------------------------------------------------- a thread that hangs


@asynccontextmanager
async def hanging(journal: SqliteJournal) -> AsyncIterator[threading.Event]:
    """The file's thread hangs until it is let go on."""
    go = threading.Event()
    work = asyncio.get_running_loop().run_in_executor(journal._thread, go.wait, 60)
    try:
        yield go
    finally:
        go.set()
        assert await work


async def test_a_file_that_hangs_is_unavailable_for_all_who_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal_at(path) as journal:
        lease, other = await create(journal, "A"), await create(journal, "B")
        with monkeypatch.context() as patch:
            patch.setattr(sqlite, "DEADLINE", 0.02)
            async with hanging(journal):
                first = appending(journal, lease, block("A", 1))
                await settled()
                waiting = appending(journal, other, block("B", 1))
                outcomes = await asyncio.gather(*first, *waiting)
                assert [type(outcome) for outcome in outcomes] == [UNAVAILABLE, UNAVAILABLE]
                assert "within 0.02 seconds" in journal.problem
                assert await append(journal, other, block("B", 2)) == [UNAVAILABLE], "and who comes later, too"
                for attempt in (journal.find("A"), journal.create(Opening("C")), journal.release([lease])):
                    with pytest.raises(JournalUnavailable):
                        await attempt
        await journal.probe()
        assert journal.problem == ""
        assert await append(journal, await create(journal, "D"), block("D", 1)) == [KEPT]


async def test_whoever_goes_on_after_the_file_hung_goes_on_from_what_was_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journal_at(path) as journal:
        lease = await create(journal, "A")
        with monkeypatch.context() as patch:
            patch.setattr(sqlite, "DEADLINE", 0.02)
            async with hanging(journal):
                assert await append(journal, lease, block("A", 1)) == [UNAVAILABLE]
                assert await append(journal, lease, block("A", 2)) == [UNAVAILABLE]
        await journal.release([lease])
        ((again, stored),) = await journal.claim(9)
        assert stored.frames in ((), (block("A", 1),)), "the first may have been written after all, the second not"
        offset = len(stored.frames) + 1
        assert await append(journal, again, block("A", offset), last("A", offset + 1)) == [KEPT, KEPT]
        kept = await frames(journal, "A")
        assert kept == (*(block("A", number) for number in range(1, offset + 1)), last("A", offset + 1))


async def test_a_file_that_hangs_can_be_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = SqliteJournal(path)
    await journal.open()
    lease = await create(journal, "A")
    monkeypatch.setattr(sqlite, "DEADLINE", 0.02)
    async with hanging(journal):
        (outcome,) = appending(journal, lease, block("A", 1))
        with pytest.raises(JournalUnavailable):
            await journal.close()
        assert isinstance(await outcome, JournalUnavailable)


# ------------------------------------------------------------------------------------------------- the clock


@pytest.mark.parametrize("hours", [1, 24])
async def test_a_lease_of_a_clock_that_was_set_back_counts_as_run_out(
    path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    clock = Clock()
    clock.set_for_journals(monkeypatch)
    async with journal_at(path, lease=5.0) as here, journal_at(path, lease=5.0) as there:
        await create(here, "A")
        assert await there.claim(9) == []
        clock.now -= hours * 3600
        kept = await create(here, "B")
        ((lease, _),) = await there.claim(9)
        assert lease == Lease("A", 2)
        await here.renew([kept])
        assert await there.claim(9) == [], "and what is taken or renewed since is held by the new time"


async def test_a_producer_that_renews_in_time_keeps_its_answer_though_the_clock_was_set_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    clock.set_for_journals(monkeypatch)
    async with journal_at(path, lease=5.0) as here, journal_at(path, lease=5.0) as there:
        lease = await create(here, "A")
        clock.now -= 3600
        await here.renew([lease])
        assert await there.claim(9) == []
        assert await append(here, lease, last("A", 1)) == [KEPT]


# ------------------------------------------------------------------------------------- what another process writes


async def followed(journal: SqliteJournal, tails: dict[str, int], wait: float = 5.0) -> dict[str, list[bytes]]:
    """What comes of these answers."""
    return {name: list(found or ()) for name, found in (await journal.follow(tails, wait)).items()}


async def test_what_another_process_writes_comes_as_it_is_committed(path: Path) -> None:
    async with journal_at(path) as ours, journal_at(path) as theirs:
        lease, other = await create(theirs, "A" * 22), await create(theirs, "B" * 22)
        one, two, three = (block("A" * 22, offset) for offset in (1, 2, 3))
        await append(theirs, lease, one)
        assert await followed(ours, {"A" * 22: 0}) == {"A" * 22: [one]}, "all there is, the first time"
        assert await followed(ours, {"A" * 22: 1}, 0.05) == {}, "and then nothing until something comes"
        coming = asyncio.create_task(followed(ours, {"A" * 22: 1}))
        await append(theirs, other, block("B" * 22, 1))
        await append(theirs, lease, two, three)
        assert await coming == {"A" * 22: [two, three]}, "only what is new, and of nobody else"


async def test_where_something_is_missing_in_between_the_whole_log_comes(path: Path) -> None:
    async with journal_at(path) as ours, journal_at(path) as theirs:
        lease = await create(theirs, "A" * 22)
        one, two, three = (block("A" * 22, offset) for offset in (1, 2, 3))
        await append(theirs, lease, one, two)
        assert await followed(ours, {"A" * 22: 0}) == {"A" * 22: [one, two]}
        await append(theirs, lease, three)
        assert await followed(ours, {"A" * 22: 1}) == {"A" * 22: [one, two, three]}, "who asks has not got the second"


async def test_one_who_was_not_followed_meanwhile_is_told_all(path: Path) -> None:
    async with journal_at(path) as ours, journal_at(path) as theirs:
        a, b = await create(theirs, "A" * 22), await create(theirs, "B" * 22)
        of_a, of_b = ([block(name * 22, offset) for offset in (1, 2)] for name in "AB")
        await append(theirs, a, of_a[0])
        await append(theirs, b, of_b[0])
        assert await followed(ours, {"A" * 22: 0, "B" * 22: 0}) == {"A" * 22: of_a[:1], "B" * 22: of_b[:1]}
        await append(theirs, a, of_a[1])
        assert await followed(ours, {"B" * 22: 1}, 0.05) == {}
        assert await followed(ours, {"A" * 22: 1, "B" * 22: 1}) == {"A" * 22: of_a}


async def test_a_lost_answer_is_refused_whenever_it_is_appended_to_again(path: Path) -> None:
    """The tokens of only those answers are compared that are appended to."""
    async with journal_at(path, 0.05) as ours, journal_at(path) as theirs:
        lost, kept = await create(ours, "A" * 22), await create(ours, "B" * 22)
        await asyncio.sleep(0.1)
        await ours.renew([kept])
        assert [lease.answer for lease, _ in await theirs.claim(10)] == ["A" * 22]
        assert await append(ours, kept, block("B" * 22, 1)) == [KEPT]
        assert await append(ours, kept, block("B" * 22, 2)) == [KEPT]
        assert await append(ours, lost, block("A" * 22, 1)) == [FENCED]
