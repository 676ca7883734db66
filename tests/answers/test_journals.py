"""What every journal promises, held against all of them; each test has the doors of two nodes to one store."""

from __future__ import annotations

import asyncio
import math
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import Clock, block, frames, last
from redis_server import emptied_cluster, shared

from zantara_stream.answers.events import Citation, Done, Event, Sources, Text
from zantara_stream.answers.fold import fold, snapshot
from zantara_stream.answers.journal import Fenced, Journal, Lease, Opening, Stored
from zantara_stream.answers.memory import MemoryJournal
from zantara_stream.answers.redis import RedisJournal
from zantara_stream.answers.sqlite import SqliteJournal

JOURNALS = ["memory", "sqlite", "redis", "cluster"]
LEASE = 5.0


@dataclass(frozen=True)
class Doors:
    """The doors of two nodes to one store."""

    here: Journal
    there: Journal
    clock: Clock


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Doors]:
    """Two doors of that kind, with a clock of their own."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        clock.set_for_journals(patch)
        async with AsyncExitStack() as stack:
            here, there = _doors(kind, folder)
            for door in (here, there):
                await door.open()
                stack.push_async_callback(door.close)
            yield Doors(here, there, clock)


def _doors(kind: str, folder: Path) -> tuple[Journal, Journal]:
    if kind == "memory":
        journal = MemoryJournal(LEASE)
        return journal, journal.peer()
    if kind in ("redis", "cluster"):
        url = shared().emptied() if kind == "redis" else emptied_cluster()
        return RedisJournal(url, LEASE), RedisJournal(url, LEASE)
    return SqliteJournal(folder / "answers.db", LEASE), SqliteJournal(folder / "answers.db", LEASE)


@pytest.fixture(params=JOURNALS)
async def doors(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Doors]:
    """Two doors, of each kind."""
    async with opened(request.param, tmp_path) as doors:
        yield doors


async def create(door: Journal, answer: str, continuity: str = "") -> Lease:
    """Begin an answer that is not there yet."""
    lease = await door.create(Opening(answer, f"question of {answer}", f"request of {answer}", continuity, 12.5))
    assert isinstance(lease, Lease)
    return lease


async def append(door: Journal, *appends: tuple[Lease, bytes]) -> list[Exception | None]:
    """Append all of it in one turn; what became of each."""
    loop = asyncio.get_running_loop()
    outcomes: list[asyncio.Future[Exception | None]] = [loop.create_future() for _ in appends]
    for (lease, frame), outcome in zip(appends, outcomes, strict=True):
        door.append(lease, frame, outcome.set_result)
    return list(await asyncio.gather(*outcomes))


async def write(door: Journal, lease: Lease, *frames: bytes) -> None:
    """Append what must be kept."""
    assert await append(door, *((lease, frame) for frame in frames)) == [None] * len(frames)


def names(claimed: list[tuple[Lease, Stored]]) -> list[str]:
    """Which answers were claimed."""
    return [lease.answer for lease, _ in claimed]


# ------------------------------------------------------------------------------------------ beginning


async def test_an_answer_that_begins_is_there_for_all(doors: Doors) -> None:
    lease = await create(doors.here, "A", "c")
    assert lease == Lease("A", 1)
    opening = Opening("A", "question of A", "request of A", "c", 12.5)
    for door in (doors.here, doors.there):
        stored = await door.find("A")
        assert stored == Stored(opening, ())
        assert not stored.closed
        assert await door.named("c") == "A"


async def test_what_is_not_there_is_not_found(doors: Doors) -> None:
    await create(doors.here, "A")
    assert await doors.here.find("B") is None
    assert await doors.here.named("c") is None
    assert await doors.here.named("") is None, "answers without a continuity id have no name"


async def test_an_answer_is_found_by_its_owner_only(doors: Doors) -> None:
    lease = await doors.here.create(Opening("A", "question", owner="anna"))
    assert isinstance(lease, Lease)
    await create(doors.here, "B")
    for closed in (False, True):
        for door in (doors.here, doors.there):
            found = await door.find("A", "anna")
            assert found is not None
            assert found.opening.owner == "anna"
            assert [await door.find("A"), await door.find("A", "made"), await door.find("B", "anna")] == [None] * 3
            assert await door.find("B") is not None, "what is nobody's is found by its id"
        if not closed:
            await write(doors.here, lease, last("A", 1))


async def test_whoever_takes_an_answer_over_knows_its_owner(doors: Doors) -> None:
    lease = await doors.here.create(Opening("A", "question", owner="anna"))
    assert isinstance(lease, Lease)
    await doors.here.release([lease])
    ((_, stored),) = await doors.there.claim(10)
    assert stored.opening.owner == "anna"


async def test_a_continuity_id_names_one_answer_whoever_asks(doors: Doors) -> None:
    await create(doors.here, "A", "c")
    for door in (doors.here, doors.there):
        assert await door.create(Opening("B", "another question", continuity="c")) == "A"
        assert await door.find("B") is None


async def test_answers_without_a_continuity_id_are_each_their_own(doors: Doors) -> None:
    await create(doors.here, "A")
    await create(doors.there, "B")
    assert await doors.here.find("B") is not None


async def test_of_many_who_race_with_one_continuity_id_one_begins_the_answer(doors: Doors) -> None:
    made = await asyncio.gather(
        *((doors.here, doors.there)[number % 2].create(Opening(f"A{number}", continuity="c")) for number in range(20))
    )
    (lease,) = [result for result in made if isinstance(result, Lease)]
    assert [result for result in made if result != lease] == [lease.answer] * 19


# ----------------------------------------------------------------------------------------- appending


async def test_what_is_appended_is_kept_in_its_order_and_seen_by_all(doors: Doors) -> None:
    a, b = await create(doors.here, "A"), await create(doors.there, "B")
    log = {name: [block(name, offset) for offset in range(1, 21)] for name in "AB"}
    for one, other in zip(log["A"], log["B"], strict=True):
        await asyncio.gather(write(doors.here, a, one), write(doors.there, b, other))
    for door in (doors.here, doors.there):
        for name in "AB":
            assert await frames(door, name) == tuple(log[name])


async def test_who_appends_is_told_in_the_order_of_the_appends(doors: Doors) -> None:
    leases = [await create(doors.here, name) for name in "ABC"]
    told: list[int] = []
    done = asyncio.Event()

    def tell(number: int, error: Exception | None) -> None:
        told.append(number)

    for number in range(60):
        lease = leases[number % 3]
        doors.here.append(lease, block(lease.answer, number // 3 + 1), partial(tell, number))
    doors.here.append(leases[0], last("A", 21), lambda error: done.set())
    await done.wait()
    assert told == list(range(60))


async def test_what_was_told_to_be_kept_is_seen_by_the_next_who_looks(doors: Doors) -> None:
    lease = await create(doors.here, "A")
    for offset in range(1, 30):
        await write(doors.here, lease, block("A", offset))
        assert len(await frames(doors.there, "A")) == offset


@pytest.mark.parametrize("kind", JOURNALS)
@given(texts=st.lists(st.text(), max_size=12), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_bytes_that_come_back_are_those_that_were_appended(kind: str, texts: list[str], seed: int) -> None:
    async def check(folder: Path) -> None:
        chance = random.Random(seed)
        async with opened(kind, folder) as doors:
            leases = {name: await create(doors.here, name) for name in "AB"}
            log: dict[str, list[bytes]] = {"A": [], "B": []}
            appends = []
            for text in texts:
                name = chance.choice("AB")
                log[name].append(block(name, len(log[name]) + 1, Text(text)))
                appends.append((leases[name], log[name][-1]))
            await append(doors.here, *appends[: len(appends) // 2])
            await append(doors.here, *appends[len(appends) // 2 :])
            for closed in (False, True):
                for name in "AB":
                    if closed:
                        log[name].append(last(name, len(log[name]) + 1))
                        await write(doors.here, leases[name], log[name][-1])
                    assert await frames(doors.there, name) == await frames(doors.here, name) == tuple(log[name])

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))


async def test_a_snapshot_takes_the_place_of_what_was_before(doors: Doors) -> None:
    lease = await create(doors.here, "A")
    other = await create(doors.here, "B")
    before = [block("A", offset) for offset in (1, 2, 3)]
    await append(doors.here, *((lease, frame) for frame in before), (other, block("B", 1)))
    gap = snapshot("A", 3, fold(before))
    await append(doors.here, (lease, gap), (other, block("B", 2)), (lease, block("A", 4)))
    assert await frames(doors.there, "A") == (gap, block("A", 4))
    assert await frames(doors.there, "B") == (block("B", 1), block("B", 2))
    await write(doors.here, lease, last("A", 5))
    assert await frames(doors.here, "A") == (gap, block("A", 4), last("A", 5))


# ------------------------------------------------------------------------------------------- fencing


async def test_who_lost_an_answer_cannot_write_to_it_but_to_others_in_the_same_batch(doors: Doors) -> None:
    lost, kept = await create(doors.here, "A"), await create(doors.here, "B")
    await append(doors.here, (lost, block("A", 1)), (kept, block("B", 1)))
    doors.clock.now += LEASE + 1
    ((lease, stored),) = await doors.there.claim(1)
    assert (lease, stored.frames) == (Lease("A", 2), (block("A", 1),))
    outcomes = await append(
        doors.here,
        (kept, block("B", 2)),
        (lost, block("A", 2)),
        (kept, block("B", 3)),
        (lost, last("A", 3)),
        (kept, last("B", 4)),
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Fenced, type(None), Fenced, type(None)]
    assert await frames(doors.there, "A") == (block("A", 1),)
    assert await frames(doors.there, "B") == (block("B", 1), block("B", 2), block("B", 3), last("B", 4))
    await write(doors.there, lease, block("A", 2, Sources(({"source": "S"},))), last("A", 3))
    assert len(await frames(doors.here, "A")) == 3


async def test_a_claim_and_appends_at_the_same_time_leave_one_writer(doors: Doors) -> None:
    lost = await create(doors.here, "A")
    doors.clock.now += LEASE + 1
    outcomes, ((lease, stored),) = await asyncio.gather(
        append(doors.here, *((lost, block("A", offset)) for offset in range(1, 6))), doors.there.claim(1)
    )
    assert len({type(outcome) for outcome in outcomes}) == 1, "all of one batch, or none"
    kept = tuple(block("A", offset) for offset, outcome in enumerate(outcomes, 1) if outcome is None)
    assert stored.frames == kept, "whoever takes over sees all that was kept"
    assert [type(error) for error in await append(doors.here, (lost, block("A", 6)))] == [Fenced]
    await write(doors.there, lease, block("A", 6))
    assert await frames(doors.here, "A") == (*kept, block("A", 6))


async def test_an_answer_that_went_away_and_came_back_has_one_writer(doors: Doors) -> None:
    first = await create(doors.here, "A")
    leases = [first]
    for door in (doors.there, doors.here, doors.there):
        doors.clock.now += LEASE + 1
        ((lease, _),) = await door.claim(1)
        leases.append(lease)
    assert [lease.token for lease in leases] == [1, 2, 3, 4]
    for lease, door in zip(leases[:-1], (doors.here, doors.there, doors.here), strict=True):
        assert [type(error) for error in await append(door, (lease, block("A", 1)))] == [Fenced]
    await write(doors.there, leases[-1], block("A", 1))


async def test_nobody_writes_to_what_is_not_there_or_forgotten(doors: Doors) -> None:
    lease = await create(doors.here, "A")
    await write(doors.here, lease, last("A", 1))
    await doors.here.expire(0)
    for unknown in (lease, Lease("B", 1)):
        assert [type(error) for error in await append(doors.here, (unknown, block(unknown.answer, 1)))] == [Fenced]
        assert await doors.here.find(unknown.answer) is None


@pytest.mark.parametrize("claimed", [False, True])
async def test_nothing_follows_the_terminal_event(doors: Doors, claimed: bool) -> None:
    lease = await create(doors.here, "A")
    if claimed:
        doors.clock.now += LEASE + 1
        ((lease, _),) = await doors.here.claim(1)
    outcomes = await append(doors.here, (lease, block("A", 1)), (lease, last("A", 2)))
    assert outcomes == [None, None]
    for frame in (block("A", 3), last("A", 3)):
        assert [type(error) for error in await append(doors.here, (lease, frame))] == [Fenced]
    stored = await doors.there.find("A")
    assert stored is not None
    assert stored.closed
    assert stored.frames == (block("A", 1), last("A", 2))


# -------------------------------------------------------------------------------------------- leases


async def test_a_lease_runs_out_when_it_is_not_renewed(doors: Doors) -> None:
    await create(doors.here, "A")
    doors.clock.now += LEASE - 1
    assert await doors.there.claim(9) == []
    doors.clock.now += 2
    assert names(await doors.there.claim(9)) == ["A"]
    assert await doors.here.claim(9) == [], "whoever took it has a new lease"


async def test_a_lease_that_is_renewed_does_not_run_out(doors: Doors) -> None:
    kept, _ = await create(doors.here, "A"), await create(doors.here, "B")
    for _ in range(3):
        doors.clock.now += LEASE - 1
        await doors.here.renew([kept])
    assert names(await doors.there.claim(9)) == ["B"]


async def test_a_lease_that_was_lost_is_not_renewed_and_keeps_nobody_out(doors: Doors) -> None:
    lost = await create(doors.here, "A")
    doors.clock.now += LEASE + 1
    await doors.there.claim(9)
    doors.clock.now += LEASE - 1
    await doors.here.renew([lost])
    await doors.here.release([lost])
    assert await doors.here.claim(9) == [], "the lease of the other is as it was"
    doors.clock.now += 2
    assert names(await doors.here.claim(9)) == ["A"]


async def test_a_lease_that_is_released_is_free_at_once_with_all_that_was_appended(doors: Doors) -> None:
    a, b = await create(doors.here, "A"), await create(doors.here, "B")
    outcomes: list[Exception | None] = []
    doors.here.append(a, block("A", 1), outcomes.append)
    await doors.here.release([a])
    assert outcomes == [None]
    ((lease, stored),) = await doors.there.claim(9)
    assert (lease, stored.frames) == (Lease("A", 2), (block("A", 1),))
    await write(doors.here, b, block("B", 1))
    await doors.here.release([])
    assert await doors.there.claim(9) == []


async def test_no_more_are_claimed_than_wanted_and_none_that_is_held(doors: Doors) -> None:
    for name in "ABCDE":
        await create(doors.here, name)
    doors.clock.now += LEASE + 1
    assert names(await doors.there.claim(0)) == []
    assert names(await doors.there.claim(2, {"A", "C"})) == ["B", "D"], "the oldest first"
    assert names(await doors.there.claim(9, {"A"})) == ["C", "E"]
    assert names(await doors.here.claim(9)) == ["A"]


async def test_of_two_who_claim_at_once_one_gets_each_answer(doors: Doors) -> None:
    for number in range(10):
        await create(doors.here, f"A{number}")
    doors.clock.now += LEASE + 1
    here, there = await asyncio.gather(doors.here.claim(99), doors.there.claim(99))
    assert sorted(names(here) + names(there)) == sorted(f"A{number}" for number in range(10))
    assert {lease.token for lease, _ in here + there} == {2}


async def test_what_is_claimed_comes_with_what_is_needed_to_go_on(doors: Doors) -> None:
    lease = await create(doors.here, "A", "c")
    await write(doors.here, lease, block("A", 1), block("A", 2))
    doors.clock.now += LEASE + 1
    ((_, stored),) = await doors.there.claim(1)
    assert stored == Stored(Opening("A", "question of A", "request of A", "c", 12.5), (block("A", 1), block("A", 2)))


async def test_the_terminal_event_ends_the_lease_and_nobody_takes_the_answer_over(doors: Doors) -> None:
    lease = await create(doors.here, "A")
    await write(doors.here, lease, last("A", 1))
    await doors.here.release([lease])
    doors.clock.now += LEASE + 1
    assert await doors.there.claim(9) == []
    await doors.here.renew([lease])
    assert await doors.here.claim(9) == []


# ---------------------------------------------------------------------------------------- forgetting


async def test_a_closed_answer_is_forgotten_when_its_retention_is_over(doors: Doors) -> None:
    await write(doors.here, await create(doors.here, "A", "c"), block("A", 1), last("A", 2))
    doors.clock.now += 99
    assert await doors.here.expire(100) == []
    assert len(await frames(doors.there, "A")) == 2
    doors.clock.now += 2
    assert await doors.there.expire(100) == ["A"]
    for door in (doors.here, doors.there):
        assert await door.find("A") is None
        assert await door.named("c") is None
    assert await create(doors.here, "B", "c") == Lease("B", 1), "its name is free"


async def test_an_answer_that_is_not_closed_is_never_forgotten(doors: Doors) -> None:
    await write(doors.here, await create(doors.here, "A"), block("A", 1))
    doors.clock.now += 10**6
    assert await doors.there.expire(0) == []
    assert names(await doors.there.claim(9)) == ["A"]


async def test_an_answer_that_is_read_is_kept(doors: Doors) -> None:
    for name in "AB":
        await write(doors.here, await create(doors.here, name), last(name, 1))
    doors.clock.now += 101
    assert await doors.here.expire(100, {"A", "Z"}) == ["B"]
    assert await frames(doors.here, "A") == (last("A", 1),)
    assert await doors.here.expire(100) == ["A"]


async def test_retention_counts_from_when_it_was_last_read(doors: Doors) -> None:
    for name in "AB":
        await write(doors.here, await create(doors.here, name), last(name, 1))
    running = await create(doors.here, "C")
    doors.clock.now += 60
    await doors.there.touch(["A", "C", "Z"])
    await doors.there.touch([])
    doors.clock.now += 60
    assert await doors.here.expire(100) == ["B"]
    assert await doors.there.expire(100) == []
    await write(doors.here, running, last("C", 1))
    doors.clock.now += 60
    assert await doors.here.expire(100) == ["A"], "and C counts from its end"


async def test_forgetting_closed_answers_takes_nothing_from_those_that_run(doors: Doors) -> None:
    a, b, c = [await create(doors.here, name) for name in "ABC"]
    for offset in range(1, 10):
        await append(doors.here, (a, block("A", offset)), (b, block("B", offset)), (c, block("C", offset)))
    await write(doors.here, a, last("A", 10))
    assert await doors.here.expire(0) == ["A"]
    expected = {name: tuple(block(name, offset) for offset in range(1, 10)) for name in "BC"}
    assert await frames(doors.there, "B") == expected["B"]
    await write(doors.here, b, last("B", 10))
    assert await doors.there.expire(0) == ["B"]
    late = await create(doors.there, "D")
    await write(doors.there, late, block("D", 1))
    await doors.here.expire(0)
    assert await frames(doors.there, "C") == expected["C"]
    doors.clock.now += LEASE + 1
    assert [(lease.answer, stored.frames) for lease, stored in await doors.there.claim(9)] == [
        ("C", expected["C"]),
        ("D", (block("D", 1),)),
    ]


async def test_answers_are_begun_and_written_after_everything_was_forgotten(doors: Doors) -> None:
    for name in "ABC":
        lease = await create(doors.here, name)
        await write(doors.here, lease, block(name, 1))
        assert await frames(doors.there, name) == (block(name, 1),)
        await write(doors.here, lease, last(name, 2))
        assert await doors.there.expire(0) == [name]


async def test_a_citation_and_all_other_events_come_back_too(doors: Doors) -> None:
    lease = await create(doors.here, "A")
    events: list[Event] = [
        Text("x"),
        Citation("p", "S", "q", 0, 1, 0, 1, verified=True),
        Sources(({"source": "S", "snippet": "a\n\nb"},)),
        Done("end_turn"),
    ]
    log = tuple(block("A", offset, event) for offset, event in enumerate(events, 1))
    for frame in log:
        await write(doors.here, lease, frame)
    assert await frames(doors.there, "A") == log


async def test_all_know_for_how_long_nobody_has_read_an_answer_where_it_is_not_written(doors: Doors) -> None:
    lease = await create(doors.here, "A")
    await create(doors.here, "B")
    assert await doors.here.unread_for("A") == math.inf
    await doors.there.mark_read(["A", "Z"])
    await doors.there.mark_read([])
    doors.clock.now += 3
    for door in (doors.here, doors.there):
        assert [await door.unread_for(name) for name in "ABZ"] == [3, math.inf, math.inf]
    await doors.there.mark_read(["A"])
    doors.clock.now += 1
    assert await doors.here.unread_for("A") == 1
    await write(doors.here, lease, last("A", 1))
    await doors.here.expire(0)
    assert await doors.here.find("A") is None
    assert await doors.here.unread_for("A") == math.inf


async def test_every_door_may_ask_whoever_writes_an_answer_to_stop_it(doors: Doors) -> None:
    lease = await create(doors.here, "A")
    await create(doors.here, "B")
    assert await doors.here.asked_to_stop(["A", "B"]) == []
    await doors.there.ask_to_stop("A")
    await doors.there.ask_to_stop("A")
    await doors.there.ask_to_stop("Z")  # which nobody has
    for door in (doors.here, doors.there):
        assert await door.asked_to_stop(["A", "B", "Z"]) == ["A"], "whoever takes it over, too"
    assert await doors.here.asked_to_stop([]) == []
    await write(doors.here, lease, last("A", 1))
    await doors.there.ask_to_stop("A")  # which is over
    assert (await doors.here.find("A")) is not None


async def test_a_journal_that_is_well_says_so(doors: Doors) -> None:
    await doors.here.probe()
    assert (doors.here.problem, doors.there.problem) == ("", "")
    assert await doors.here.claim(9) == []
    await create(doors.here, "A")
    assert await frames(doors.here, "A") == (), "a probe leaves nothing behind"
