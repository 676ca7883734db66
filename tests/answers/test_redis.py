"""The journal in Redis where Redis is away, restarted, failed over, or has lost what it had acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from logs import Clock, block, frames, last
from producing import Producer, complete, never, node
from redis_server import Redis, redis_server, sentinel, shared

from zantara_stream.answers import appending
from zantara_stream.answers.answers import Asked
from zantara_stream.answers.events import Done, Text, is_snapshot
from zantara_stream.answers.fold import fold, snapshot
from zantara_stream.answers.journal import Fenced, Journal, Lease, Opening
from zantara_stream.answers.redis import RedisJournal
from zantara_stream.answers.redis_layout import Layout, member, name_key
from zantara_stream.answers.writer import LEAP
from zantara_stream.errors import AnswerExpired, ConfigError, JournalUnavailable
from zantara_stream.redis_connection import Address, Command, RedisUnavailable

LEASE = 5.0
LAYOUT = Layout(1, LEASE)


@asynccontextmanager
async def opened(url: str, lease: float = LEASE) -> AsyncIterator[RedisJournal]:
    """A door."""
    journal = RedisJournal(url, lease)
    await journal.open()
    try:
        yield journal
    finally:
        try:
            await journal.close()
        except JournalUnavailable:
            assert journal.problem


@pytest.fixture
async def journal() -> AsyncIterator[RedisJournal]:
    """A door to an empty Redis."""
    async with opened(shared().emptied()) as journal:
        yield journal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that journals look at."""
    clock = Clock()
    clock.set_for_journals(monkeypatch)
    return clock


async def begin(journal: Journal, answer: str = "A", continuity: str = "") -> Lease:
    """Begin an answer."""
    lease = await journal.create(Opening(answer, "question", "request", continuity, 12.5))
    assert isinstance(lease, Lease)
    return lease


def appended(journal: Journal, lease: Lease, *what: bytes) -> list[asyncio.Future[Exception | None]]:
    """Append; what becomes of each."""
    loop = asyncio.get_running_loop()
    outcomes: list[asyncio.Future[Exception | None]] = [loop.create_future() for _ in what]
    for frame, outcome in zip(what, outcomes, strict=True):
        journal.append(lease, frame, outcome.set_result)
    return outcomes


async def write(journal: Journal, lease: Lease, *what: bytes) -> None:
    """Append what must be kept."""
    assert await asyncio.gather(*appended(journal, lease, *what)) == [None] * len(what)


def texts(*offsets: int, answer: str = "A") -> tuple[bytes, ...]:
    """Chunks at those offsets."""
    return tuple(block(answer, offset) for offset in offsets)


async def until(fact: Callable[[], object]) -> None:
    """Wait until it is so, for a bounded time."""
    async with asyncio.timeout(20):
        while not fact():  # noqa: ASYNC110 (another process makes it so)
            await asyncio.sleep(0.01)


class Unanswered:
    """Lets what a journal writes reach Redis, or not, and the answers be lost."""

    def __init__(self, journal: RedisJournal, patch: pytest.MonkeyPatch) -> None:
        self.lost = 0  # answers that get lost from now on
        self.reach = True
        self._run = journal._redis.run
        patch.setattr(journal._redis, "run", self.run)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """What `RedisConnection.run` does."""
        if not self.lost or not commands:
            return await self._run(commands)
        self.lost -= 1
        if self.reach:
            await self._run(commands)
        raise RedisUnavailable("the line was cut")


# ------------------------------------------------------------------------------------------ while it is away


async def test_what_is_appended_while_redis_restarts_is_kept_in_its_order_and_once(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with opened(server.url) as journal, opened(server.url) as other:
            lease = await begin(journal)
            await write(journal, lease, *texts(1, 2))
            server.kill()
            waiting = appended(journal, lease, *texts(3, 4))
            await until(lambda: journal.problem)
            waiting += appended(journal, lease, block("A", 5))
            await asyncio.to_thread(server.start)
            assert await asyncio.gather(*waiting) == [None] * 3
            assert journal.problem == ""
            await write(journal, lease, last("A", 6))
            assert await frames(other, "A") == (*texts(1, 2, 3, 4, 5), last("A", 6))


async def test_who_waits_for_a_redis_that_does_not_come_back_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appending, "PATIENCE", 0.3)
    with redis_server(tmp_path) as server:
        async with opened(server.url) as journal:
            lease = await begin(journal)
            server.kill()
            outcomes = await asyncio.gather(*appended(journal, lease, *texts(1, 2)))
            assert [type(outcome) for outcome in outcomes] == [JournalUnavailable] * 2
            (late,) = await asyncio.gather(*appended(journal, lease, block("A", 3)))
            assert isinstance(late, Fenced), "its log would have a hole"
            for asking in (journal.find("A"), journal.claim(9), journal.probe(), journal.renew([lease])):
                with pytest.raises(JournalUnavailable):
                    await asking
            assert "Connect" in journal.problem
            await asyncio.to_thread(server.start)
            await journal.probe()
            assert journal.problem == ""
            assert await frames(journal, "A") == ()


async def test_a_redis_that_is_not_there_stops_the_start_and_says_so(tmp_path: Path) -> None:
    server = Redis(tmp_path)
    server.start()
    server.stop()
    with pytest.raises(ConfigError, match=rf"ZANTARA_JOURNAL='redis://127.0.0.1:{server.port}': .*Connect"):
        await RedisJournal(server.url.replace("//", "//me:secret@")).open()


async def test_a_redis_that_is_full_is_a_journal_that_cannot_be_used(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with opened(server.url) as journal:
            lease = await begin(journal)
            server.ask("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(JournalUnavailable):
                await journal.probe()
            assert "maxmemory" in journal.problem
            waiting = appended(journal, lease, block("A", 1))
            await asyncio.sleep(0.05)
            server.ask("CONFIG", "SET", "maxmemory", "0")
            assert await asyncio.gather(*waiting) == [None]


@pytest.mark.parametrize("option", ["appendonly", "maxmemory-policy"])
async def test_a_redis_that_may_lose_answers_is_warned_of(
    tmp_path: Path, option: str, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path) as server:
        async with opened(server.url):
            assert not caplog.records
        bad = {"appendonly": ("no",), "maxmemory-policy": ("allkeys-lru", "maxmemory", "100mb")}[option]
        server.ask("CONFIG", "SET", option, *bad)
        async with opened(server.url):
            (record,) = caplog.records
            assert record.levelname == "WARNING"


async def test_after_redis_was_away_whoever_writes_gets_a_lease_to_say_so(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with opened(server.url, lease=0.4) as here, opened(server.url, lease=0.4) as there:
            lease = await begin(here)
            server.kill()
            for door in (here, there):
                with pytest.raises(JournalUnavailable):
                    await door.find("A")
            await asyncio.sleep(0.5)
            await asyncio.to_thread(server.start)
            await there.probe()
            assert await there.claim(9) == []
            await here.renew([lease])
            await asyncio.sleep(0.2)
            assert await there.claim(9) == []
            await asyncio.sleep(0.45)
            assert [lease.answer for lease, _ in await there.claim(9)] == ["A"], "and not for ever"


# --------------------------------------------------------------------------------- writes without an answer


@pytest.mark.parametrize("reached", [True, False])
async def test_a_write_that_is_not_answered_is_kept_once(
    journal: RedisJournal, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    line, lease = Unanswered(journal, monkeypatch), await begin(journal)
    await write(journal, lease, *texts(1, 2))
    line.lost, line.reach = 1, reached
    await write(journal, lease, *texts(3, 4))
    line.lost, line.reach = 3, reached
    await write(journal, lease, block("A", 5), last("A", 6))
    assert await frames(journal, "A") == (*texts(1, 2, 3, 4, 5), last("A", 6))
    assert shared().ask("ZCARD", LAYOUT.running(0)) == "0"
    assert shared().ask("ZRANGE", LAYOUT.closed(0), "0", "-1") == "A"


async def test_a_snapshot_that_is_not_answered_takes_the_place_of_what_was_before(
    journal: RedisJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, lease = Unanswered(journal, monkeypatch), await begin(journal)
    await write(journal, lease, *texts(1, 2, 3))
    gap = snapshot("A", 3, fold(texts(1, 2, 3)))
    line.lost = 1
    await write(journal, lease, gap, block("A", 4))
    assert await frames(journal, "A") == (gap, block("A", 4))
    assert shared().ask("XLEN", LAYOUT.log("A")) == "1"


async def test_who_was_taken_over_while_its_write_was_not_answered_is_fenced(
    journal: RedisJournal, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    async with opened(shared().url) as other:
        lease = await begin(journal)
        line = Unanswered(journal, monkeypatch)
        line.lost, line.reach = 1000, False
        waiting = appended(journal, lease, *texts(1, 2))
        clock.now += LEASE + 1
        assert [lease.token for lease, _ in await other.claim(1)] == [2]
        line.lost = 0
        assert [type(outcome) for outcome in await asyncio.gather(*waiting)] == [Fenced, Fenced]
        assert await frames(other, "A") == ()


async def test_an_answer_whose_beginning_was_not_answered_is_not_written_by_anybody(
    journal: RedisJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Unanswered(journal, monkeypatch)
    line.lost = 1
    with pytest.raises(JournalUnavailable):
        await begin(journal)
    assert await journal.find("A") is not None, "nobody was told of it"
    await journal.probe()
    assert await journal.find("A") is None
    assert shared().ask("KEYS", "*") == ""


async def test_an_answer_that_lost_the_race_for_its_name_and_its_node_is_not_gone_on_with(
    journal: RedisJournal, clock: Clock
) -> None:
    await begin(journal, "A", "c")
    await journal._redis.one(*LAYOUT.create(Opening("B", continuity="c")))  # and then its node was killed
    clock.now += LEASE + 1
    assert [lease.answer for lease, _ in await journal.claim(9)] == ["A"]
    assert await journal.find("B") is None
    assert await journal.named("c") == "A"


async def test_a_name_of_nothing_is_free(journal: RedisJournal) -> None:
    shared().ask("SET", name_key("c"), "gone")
    assert await journal.named("c") is None
    await begin(journal, "A", "c")
    assert await journal.named("c") == "A"


@pytest.mark.usefixtures("clock")
async def test_what_has_its_end_but_was_not_closed_is_closed_by_whoever_finds_it(journal: RedisJournal) -> None:
    await write(journal, await begin(journal), *texts(1), last("A", 2))
    shared().ask("ZADD", LAYOUT.running(0), "1", member("A", 1))
    shared().ask("DEL", LAYOUT.closed(0))
    assert await journal.claim(9) == []
    assert shared().ask("ZCARD", LAYOUT.running(0)) == "0"
    assert await journal.expire(0) == ["A"]


async def test_a_lease_of_nothing_is_cleared_away(journal: RedisJournal) -> None:
    shared().ask("ZADD", LAYOUT.running(0), "1", member("A", 7))
    assert await journal.claim(9) == []
    assert shared().ask("KEYS", "*") == ""


# ------------------------------------------------------------------------------- what a failover has lost


async def test_what_was_acknowledged_and_lost_is_written_again_by_whoever_writes(journal: RedisJournal) -> None:
    lease = await begin(journal)
    await write(journal, lease, *texts(1, 2))
    before = await journal._redis.one("DUMP", LAYOUT.log("A"))
    await write(journal, lease, *texts(3, 4, 5))
    await journal._redis.one("RESTORE", LAYOUT.log("A"), 0, before, "REPLACE")
    assert await frames(journal, "A") == texts(1, 2)
    await write(journal, lease, block("A", 6))
    assert await frames(journal, "A") == texts(1, 2, 3, 4, 5, 6)


async def test_a_lost_fence_is_put_up_again_by_whoever_writes(journal: RedisJournal, clock: Clock) -> None:
    async with opened(shared().url) as other:
        lost = await begin(journal)
        await write(journal, lost, *texts(1, 2))
        before = await journal._redis.one("DUMP", LAYOUT.log("A"))
        clock.now += LEASE + 1
        ((lease, _),) = await other.claim(1)
        await write(other, lease, block("A", 3))
        await journal._redis.one("RESTORE", LAYOUT.log("A"), 0, before, "REPLACE")
        await write(other, lease, block("A", 4))
        assert [type(o) for o in await asyncio.gather(*appended(journal, lost, block("A", 9)))] == [Fenced]
        assert await frames(other, "A") == texts(1, 2, 3, 4)


async def test_a_lease_that_was_lost_is_taken_from_the_log(journal: RedisJournal, clock: Clock) -> None:
    async with opened(shared().url) as other:
        await write(journal, await begin(journal), block("A", 1))
        clock.now += LEASE + 1
        ((lease, _),) = await other.claim(1)
        await write(other, lease, block("A", 2))
        shared().ask("DEL", LAYOUT.running(0))
        shared().ask("ZADD", LAYOUT.running(0), "1", member("A", 1))
        assert await journal.claim(1) == [], "the log says that a later one writes it"
        await other.renew([lease])
        await write(other, lease, block("A", 3))
        clock.now += LEASE + 1
        ((taken, stored),) = await journal.claim(1)
        assert (taken, stored.frames) == (Lease("A", 3), texts(1, 2, 3))


@asynccontextmanager
async def promoted(folder: Path) -> AsyncIterator[tuple[Redis, Redis]]:
    """A leader that an answer was begun and shown on, and a server that has only half of it and leads now."""
    with (
        redis_server(folder / "leader") as leader,
        redis_server(folder / "follower", "--replicaof", f"127.0.0.1 {leader.port}") as follower,
    ):
        await until(lambda: "master_link_status:up" in follower.ask("INFO", "replication"))
        yield leader, follower


async def test_where_acknowledged_events_were_lost_readers_get_a_gap_and_never_another_text(tmp_path: Path) -> None:
    async with promoted(tmp_path) as (leader, follower), opened(leader.url) as journal:
        first = node(Producer(Text("one "), Text("two "), never()), journal)
        answer = await first.ask(Asked("question"))
        await until(lambda: answer.log.tail == 2)
        await until(lambda: follower.ask("XLEN", LAYOUT.log(answer.id)) == leader.ask("XLEN", LAYOUT.log(answer.id)))
        follower.ask("REPLICAOF", "NO", "ONE")
        seen = f"{answer.id}.{LEAP // 2}"  # by readers, of what the old leader alone had
        leader.kill()
        async with opened(follower.url) as there:
            second = node(Producer(Text("three"), Done("end_turn")), there)
            again, offset = await second.find(seen)
            assert (again.log.tail, offset) == (2, LEAP // 2)
            with pytest.raises(AnswerExpired):
                await second.find(f"{answer.id}.{2 * LEAP}")
            follower.ask("ZADD", LAYOUT.running(0), "1", member(answer.id, 1))
            with again.follow(offset) as cursor:
                await second.take_over()
                whole = await complete(again)
                assert whole.text == "one two three"
                got = cursor.read()
                assert is_snapshot(got)
                assert fold([part + b"\n\n" for part in got.split(b"\n\n")[:-1]]).text == whole.text
                assert cursor.offset == again.log.tail == LEAP + 4
        await first.drain(0)


async def test_a_restart_is_no_reason_for_doubt(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with opened(server.url, lease=0.2) as journal:
            await write(journal, await begin(journal), block("A", 1))
            server.kill()
            await asyncio.to_thread(server.start)
            await journal.probe()
            stored = await journal.find("A")
            assert stored is not None
            assert not stored.doubtful


async def test_an_answer_goes_on_with_the_server_that_sentinel_has_lead(tmp_path: Path) -> None:
    async with promoted(tmp_path) as (leader, follower):
        with sentinel(tmp_path / "sentinel", leader) as watcher:
            await until(lambda: str(follower.port) in watcher.ask("SENTINEL", "REPLICAS", "answers"))
            async with opened(f"redis+sentinel://127.0.0.1:{watcher.port}/answers") as journal:
                lease = await begin(journal)
                await write(journal, lease, *texts(1, 2))
                await until(lambda: follower.ask("XLEN", LAYOUT.log("A")) == "2")
                leader.kill()
                await write(journal, lease, *texts(3, 4))
                await write(journal, lease, last("A", 5))
                assert await frames(journal, "A") == (*texts(1, 2, 3, 4), last("A", 5))
                assert "role:master" in follower.ask("INFO", "replication")


# ------------------------------------------------------------------------------------------------ following


async def news(door: Journal, **tails: int) -> dict[str, tuple[bytes, ...] | None]:
    """The next that comes."""
    while not (found := await door.follow(tails, 1)):
        pass
    return found


async def test_what_another_node_writes_comes_as_it_is_written(journal: RedisJournal) -> None:
    async with opened(shared().url) as other:
        leases = {name: await begin(journal, name) for name in "AB"}
        await write(journal, leases["A"], block("A", 1))
        assert await other.follow({"A": 1, "B": 0}, 0) == {"A": (block("A", 1),)}, "what is known may come with it"
        waiting = asyncio.create_task(news(other, A=1, B=0))
        await asyncio.sleep(0.02)
        await write(journal, leases["B"], block("B", 1, Text("b")))
        assert await waiting == {"B": (block("B", 1, Text("b")),)}
        await write(journal, leases["A"], *texts(2, 3))
        assert await news(other, A=1, B=1) == {"A": texts(2, 3)}
        assert await news(other, A=0) == {"A": texts(1, 2, 3)}, "whoever has less gets all of it"


async def test_who_follows_what_is_forgotten_is_told(journal: RedisJournal) -> None:
    await write(journal, await begin(journal), last("A", 1))
    assert await journal.follow({"A": 0, "B": 0}, 0) == {"A": (last("A", 1),), "B": None}
    await journal.expire(0)
    assert await journal.follow({"A": 1}, 0) == {"A": None}


async def test_nothing_comes_of_what_nobody_writes(journal: RedisJournal) -> None:
    await begin(journal)
    assert await journal.follow({"A": 0}, 0.01) == {}


# ------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "shown", "hosts"),
    [
        ("redis://localhost", "redis://localhost:6379", (("localhost", 6379),)),
        ("rediss://me:a%2Fsecret@one:6380/3", "rediss://one:6380/3", (("one", 6380),)),
        ("redis://[::1]:7000", "redis://[::1]:7000", (("::1", 7000),)),
        ("redis://[::1]", "redis://[::1]:6379", (("::1", 6379),)),
        (
            "redis+sentinel://:secret@one:26380,two/answers/2",
            "redis+sentinel://one:26380,two:26379/answers/2",
            (("one", 26380), ("two", 26379)),
        ),
        ("rediss+cluster://one:7000,two", "rediss+cluster://one:7000,two:6379", (("one", 7000), ("two", 6379))),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str, hosts: tuple[tuple[str, int], ...]) -> None:
    address = Address.parse(url)
    assert (str(address), address.hosts) == (shown, hosts)


def test_who_asks_and_with_what_is_read_from_the_address() -> None:
    address = Address.parse("rediss://me:a%2Fsecret@one/3")
    assert (address.user, address.password, address.database, address.encrypted) == ("me", "a/secret", 3, True)
