"""The journal in Redis or Valkey: any number of nodes write and read the same answers.

Each answer is one stream there (`redis_layout`). Whoever follows answers that are written elsewhere does it with one
blocking read for all of them (one a group of keys, in a cluster), not one a connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..errors import ConfigError, JournalUnavailable
from ..redis_connection import NOT_ABOVE, Command, RedisConnection, RedisUnavailable
from .appending import PATIENCE, Appending
from .events import split
from .journal import Committed, Lease, Opening, Stored
from .redis_layout import (
    Entry,
    Layout,
    kept_frames,
    member,
    name_key,
    numbered,
    read_lease,
    read_leases,
    read_stored,
    token_and_number,
)

BLOCK = 0.1  # seconds that a read for what is followed may wait: then it reads for who has come since, too
BREATH, A_LOG = 0.005, 0.00001  # seconds between two such reads at least, and more for each log that is followed
TAKEN, TOGETHER = 500, 20  # answers at once that are taken over, and read: meanwhile no lease is renewed
FORGOTTEN = 500  # answers of a group at once
KEEPING = ("noeviction", "volatile-")  # what Redis may do when its memory is full, without throwing logs away

logger = logging.getLogger(__name__)


class RedisJournal:
    """Keeps answers in the Redis at `url`; every node of it has one door."""

    durable = True
    patience = PATIENCE

    def __init__(self, url: str, lease: float = 5.0) -> None:
        self._redis = RedisConnection(url)
        self.name = self._redis.name
        self._layout = Layout(self._redis.slots, lease)
        self._appending = Appending(self._redis, self._layout)
        self._problem = ""
        self._claims_from = 0.0  # after Redis was away, whoever writes gets a lease's time to say so
        self._unwanted: set[str] = set()  # answers that may have been begun without anybody's being told
        self._places: dict[str, tuple[int, bytes]] = {}  # what is followed: offset and id up to which it was read

    @property
    def problem(self) -> str:
        """Why nothing can be written, or ""."""
        return self._problem or self._appending.problem

    async def open(self) -> None:
        """Reach Redis. Raises `ConfigError`."""
        try:
            await self.probe()
            await self._warn()
        except JournalUnavailable as error:
            await self._redis.close()
            raise ConfigError(f"ZANTARA_JOURNAL={self.name!r}: {self.problem}") from error

    async def _warn(self) -> None:
        facts = bytes(await self._one("INFO")).decode(errors="replace").split("\r\n")
        told = dict(line.split(":", 1) for line in facts if ":" in line)
        if told.get("aof_enabled") == "0":
            logger.warning("%s has no append-only file: a restart of it loses every answer", self.name)
        policy = told.get("maxmemory_policy", KEEPING[0])
        if not policy.startswith(KEEPING) and told.get("maxmemory") != "0":
            logger.warning("%s throws answers away when it is full: set maxmemory-policy noeviction", self.name)

    async def close(self) -> None:
        """Write what is waiting, and let go."""
        try:
            await self._appending.flush()
        finally:
            await self._redis.close()

    async def probe(self) -> None:
        """Write something that goes by itself, in every group."""
        was = self.problem
        await self._run([("SET", f"zantara:{{{group}}}:probe", "", "PX", 1) for group in self._layout.groups])
        self._problem = self._appending.problem = ""
        if was:
            self._claims_from = asyncio.get_running_loop().time() + self._layout.lease
        unwanted = frozenset(self._unwanted)
        await self._forget(unwanted)
        self._unwanted -= unwanted

    # ------------------------------------------------------------------------------------------- asking it

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return await self._redis.run(commands)
        except RedisUnavailable as error:
            self._problem = str(error)
            raise JournalUnavailable from error

    async def _one(self, *command: str | bytes | int | float) -> Any:
        (answer,) = await self._run([command])
        return answer

    # ----------------------------------------------------------------------------------- writing and finding

    def append(self, lease: Lease, frame: bytes, committed: Committed) -> None:
        """Append with whatever else is appended until the next write."""
        self._appending.append(lease, frame, committed)

    async def create(self, opening: Opening) -> Lease | str:
        """Begin an answer, or name the one that is there."""
        try:
            await self._one(*self._layout.create(opening))
            other = await self._named_otherwise(opening)
        except JournalUnavailable:
            self._unwanted.add(opening.answer)
            raise
        if other is not None:
            await self._one(*self._layout.forget(opening.answer, 1))
            return other
        lease = Lease(opening.answer, 1)
        self._appending.hold(lease, "1-0")
        return lease

    async def _named_otherwise(self, opening: Opening) -> str | None:
        """Give it its name; or the answer that has that name already."""
        stale: str = ""
        while opening.continuity:
            found = await self._one(*self._layout.name(opening.continuity, opening.answer, stale))
            if found is None:
                return None
            stale = str(found.decode())
            if await self._one("EXISTS", self._layout.opening(stale)):
                return stale
        return None

    async def _forget(self, answers: Collection[str], token: int = 1) -> None:
        """Leave nothing of these answers, their names included, nor of leases of that token."""
        names = await self._run([("HGET", self._layout.opening(answer), "continuity") for answer in answers])
        named = [(name.decode("utf-8", "surrogatepass"), a) for name, a in zip(names, answers, strict=True) if name]
        await self._run([self._layout.unname(name, answer) for name, answer in named])
        await self._run([self._layout.forget(answer, token) for answer in answers])

    async def find(self, answer: str, owner: str = "") -> Stored | None:
        """The answer of that id, if it is that owner's."""
        found = await self._one(*self._layout.find(answer, owner))
        return None if found is None else read_stored(found)

    async def named(self, continuity: str) -> str | None:
        """The id of the answer that a continuity id names."""
        found = await self._one("GET", name_key(continuity)) if continuity else None
        if found is None:
            return None
        answer: str = found.decode()
        return answer if await self._one("EXISTS", self._layout.opening(answer)) else None

    # ----------------------------------------------------------------------------------------------- leases

    async def renew(self, leases: Collection[Lease]) -> None:
        """Keep these leases from running out."""
        await self._end(leases, now=False)

    async def release(self, leases: Collection[Lease]) -> None:
        """Let these leases run out now, after what was appended with them."""
        await self._appending.flush()
        await self._end(leases, now=True)

    async def _end(self, leases: Collection[Lease], *, now: bool) -> None:
        tokens = {lease.answer: lease.token for lease in leases}
        groups = self._layout.by_group(tokens)
        await self._run(
            [self._layout.end(group, [member(a, tokens[a]) for a in names], now=now) for group, names in groups.items()]
        )

    async def claim(self, most: int, held: Collection[str] = ()) -> list[tuple[Lease, Stored]]:
        """Take over unfinished answers whose leases ran out."""
        if most <= 0 or asyncio.get_running_loop().time() < self._claims_from:
            return []
        most = min(most, TAKEN)
        run_out = await self._run([self._layout.run_out(group, most + len(held)) for group in self._layout.groups])
        oldest = sorted(
            (pair for found in run_out for pair in read_leases(found)), key=lambda pair: (pair[0], pair[1].answer)
        )
        wanted = {lease.answer: lease for _, lease in oldest if lease.answer not in held}
        groups = self._layout.by_group(list(wanted)[:most])
        claimed = await self._run(
            [self._layout.claim(group, [wanted[name] for name in names]) for group, names in groups.items()]
        )
        leases = {lease.answer: lease for found in claimed for lease in map(read_lease, found)}
        mine = [leases[name] for name in wanted if name in leases]
        taken: list[tuple[Lease, Stored]] = []
        for start in range(0, len(mine), TOGETHER):
            some = mine[start : start + TOGETHER]
            read = await asyncio.gather(*map(self._take, some))
            taken += [(lease, stored) for lease, stored in zip(some, read, strict=True) if stored is not None]
        return taken

    async def _take(self, lease: Lease) -> Stored | None:
        """Fence an answer whose lease was taken, and read it; None where there is nothing to go on with."""
        answer, token = lease.answer, lease.token
        fenced, found = await self._run([self._layout.fence(answer, token), self._layout.read(answer)])
        opening, entries, _ = found
        if fenced is None or not opening:
            await self._forget([answer], token)
            return None
        stored = read_stored(found)
        if fenced is NOT_ABOVE:  # a failover lost the lease, and not the log
            await self._one(*self._layout.correct(answer, token, token_and_number(entries[-1])[0]))
        elif stored.closed:
            await self._one(*self._layout.close(answer, token))
        elif await self._named_otherwise(stored.opening) is not None:  # who began it lost the name, and then its life
            await self._one(*self._layout.forget(answer, token))
        else:
            self._appending.hold(lease, f"{token}-0", list(stored.frames), numbered(entries))
            return stored
        return None

    # -------------------------------------------------------------------------------------------- following

    async def mark_read(self, answers: Collection[str]) -> None:
        """Say that somebody reads these answers here."""
        groups = self._layout.by_group(answers)
        await self._run([self._layout.mark_read(names) for names in groups.values()])

    async def unread_for(self, answer: str) -> float:
        """The seconds since some node said that it is read there."""
        milliseconds = await self._one(*self._layout.unread(answer))
        return math.inf if milliseconds is None else float(milliseconds) / 1000

    async def ask_to_stop(self, answer: str) -> None:
        """Ask whoever writes an answer to stop it."""
        await self._one(*self._layout.ask_to_stop(answer))

    async def asked_to_stop(self, answers: Collection[str]) -> list[str]:
        """Those of these that somebody asked to be stopped."""
        asked = await self._run([self._layout.asked_to_stop(answer) for answer in answers])
        return [name for name, one in zip(answers, asked, strict=True) if one is not None]

    async def follow(self, tails: Mapping[str, int], wait: float) -> dict[str, tuple[bytes, ...] | None]:
        """What there is of these answers beyond the offsets, as soon as there is some; None for one that is gone."""
        began = asyncio.get_running_loop().time()
        self._places = {name: place for name, place in self._places.items() if tails.get(name, -1) >= place[0]}
        groups = self._layout.by_group(tails)
        reads = [self._read(names, min(wait, BLOCK)) for names in groups.values()]
        found = [entries for read in await asyncio.gather(*reads) for entries in read]
        news: dict[str, tuple[bytes, ...] | None] = {
            name: frames for name, entries in found if (frames := self._news(name, entries))
        }
        if wait:
            breath = BREATH + A_LOG * len(tails)
            await asyncio.sleep(began + breath - asyncio.get_running_loop().time())
            return news
        there = await self._run([("EXISTS", self._layout.log(name)) for name in tails])
        return news | {name: None for name, is_there in zip(tails, there, strict=True) if not is_there}

    async def _read(self, names: list[str], wait: float) -> list[tuple[str, list[Entry]]]:
        """The entries that came to those logs of one group, within so many seconds."""
        keys = {self._layout.log(name): name for name in names}
        places = [self._places.get(name, (0, b"0-0"))[1] for name in names]
        blocking = ("BLOCK", max(1, round(wait * 1000))) if wait else ()
        found = await self._one("XREAD", *blocking, "STREAMS", *keys, *places)
        return [(keys[key.decode()], entries) for key, entries in found or ()]

    def _news(self, name: str, entries: list[Entry]) -> tuple[bytes, ...]:
        frames = tuple(kept_frames(entries))
        offset = self._places.get(name, (0, b""))[0]
        if frames:
            ((_, offset, _),) = split(frames[-1])
        self._places[name] = (offset, entries[-1][0])
        return frames

    # ------------------------------------------------------------------------------------------- forgetting

    async def touch(self, answers: Collection[str]) -> None:
        """Count the retention of these answers from now."""
        groups = self._layout.by_group(answers)
        await self._run([self._layout.touch(group, names) for group, names in groups.items()])

    async def expire(self, retention: float, read: Collection[str] = ()) -> list[str]:
        """Forget what nobody reads any more."""
        most = FORGOTTEN + len(read)
        found = await self._run([self._layout.expired(group, retention, most) for group in self._layout.groups])
        old = [name.decode() for names in found for name in names if name.decode() not in read]
        await self._forget(old)
        return old
