"""How a journal lies in Redis: its keys, and what Redis does in one step, as Lua.

    zantara:{0}:log:<answer>      a stream; the id of an entry is `<token>-<number of its last frame>`
    zantara:{0}:opening:<answer>  a hash: what it begins with, when it was read elsewhere, and whether to stop it
    zantara:{0}:running           `<answer>:<token>` by the end of the lease, milliseconds of Redis's own clock
    zantara:{0}:closed            closed answers by the moment from which their retention counts
    zantara:name:<continuity>     the id of the answer of that name

An entry holds under `frames` the bytes of one or more frames as readers get them, or `fence`, with which whoever takes
the answer over raises the token. Redis refuses an entry whose id is not above the last one: that is the fence. Beyond
that whoever writes says which entry it takes for the last: after a failover, another server may not have it. The number
in braces is the group that an answer belongs to; what is in one group lies on one server of a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from ..redis_connection import Command, clock
from .events import split
from .journal import Lease, Opening, Stored, add

FRAMES, FENCE = b"frames", "fence"
TEXTS = ("answer", "question", "request", "continuity", "owner")


# Which history of data it is that the server has, and the one that it had before somebody made it the leader.
_HISTORY = """
local told = redis.call('INFO', 'replication')
local history, before = told:match('master_replid:(%w+)'), told:match('master_replid2:(%w+)')
"""
_CREATE = f"""
{_HISTORY}
redis.call('HSET', KEYS[1], 'history', history, unpack(ARGV, 3))
redis.call('XADD', KEYS[2], '1-0', 'fence', '')
redis.call('ZADD', KEYS[3], now + ARGV[1], ARGV[2])
"""
# Of two who give one name the first has it, unless its answer is the stale one.
_NAME = """
local named = redis.call('GET', KEYS[1])
if named and named ~= ARGV[1] and named ~= ARGV[2] then return named end
redis.call('SET', KEYS[1], ARGV[1])
return false
"""
_UNNAME = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
_READ = f"""
{_HISTORY}
local doubtful = before:find('[^0]') and redis.call('HGET', KEYS[1], 'history') ~= history
return {{redis.call('HGETALL', KEYS[1]), redis.call('XRANGE', KEYS[2], '-', '+'), doubtful and 1 or 0}}
"""
_FIND = f"if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return false end {_READ}"
_CLOSED = """
redis.call('HSET', KEYS[2], 'request', '')
redis.call('ZREM', KEYS[3], leased)
redis.call('ZADD', KEYS[4], now, answer)
"""
_CLOSE = f"local leased, answer = ARGV[1], ARGV[2] {_CLOSED}"
_APPEND = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then return false end
if last[1] ~= ARGV[1] then return last[1] end
"""
_APPEND_ONE = f"{_APPEND} return redis.call('XADD', KEYS[1], unpack(ARGV, 2))"
_APPEND_LAST = f"""
{_APPEND}
local place, leased, answer = redis.call('XADD', KEYS[1], unpack(ARGV, 4)), ARGV[2], ARGV[3]
{_CLOSED}
return place
"""
_RENEW = """
local ends = 0
if ARGV[1] ~= '0' then ends = now + ARGV[1] end
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', ends, ARGV[place]) end
"""
# A lease that ends later than one could is of a clock that was set back since, and counts as run out.
_RUN_OUT = """
local later = '(' .. (now + ARGV[1])
return {
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[2]),
  redis.call('ZRANGEBYSCORE', KEYS[1], later, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
}
"""
# Of two who claim at once, whoever is first finds what stood there.
_CLAIM = """
local taken = {}
for place = 2, #ARGV, 2 do
  if redis.call('ZREM', KEYS[1], ARGV[place]) == 1 then
    redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[place + 1])
    taken[#taken + 1] = ARGV[place + 1]
  end
end
return taken
"""
_MARK_READ = """
for place = 1, #KEYS do
  if redis.call('EXISTS', KEYS[place]) == 1 then redis.call('HSET', KEYS[place], 'read', now) end
end
"""
_UNREAD = "local read = redis.call('HGET', KEYS[1], 'read') return read and tostring(now - read)"
_ASK_TO_STOP = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'stop', '1') end"
_CORRECT = """
redis.call('ZREM', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[1], 'NX', now + ARGV[1], ARGV[3])
"""
_TOUCH = "for place = 1, #ARGV do redis.call('ZADD', KEYS[1], 'XX', now, ARGV[place]) end"
_EXPIRED = "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[2])"
_FORGET = """
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[2])
"""


def member(answer: str, token: int) -> str:
    """What stands for a lease among those that run."""
    return f"{answer}:{token}"


def read_lease(text: bytes) -> Lease:
    """What `member` made."""
    answer, _, token = text.decode().rpartition(":")
    return Lease(answer, int(token))


def read_leases(found: list[list[bytes]]) -> list[tuple[float, Lease]]:
    """Leases that ran out, as `Layout.run_out` gives them, and when."""
    return [(float(moment), read_lease(text)) for part in found for text, moment in _pairs(part)]


def name_key(continuity: str) -> str:
    """The key of a continuity id."""
    return f"zantara:name:{continuity}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys, in so many groups, and the commands on them; `lease` in seconds."""

    slots: int
    lease: float

    @property
    def groups(self) -> range:
        """The numbers of all groups."""
        return range(self.slots)

    def group(self, answer: str) -> int:
        """The group of an answer."""
        return crc32(answer.encode()) % self.slots

    def by_group(self, answers: Iterable[str]) -> dict[int, list[str]]:
        """Those answers by their groups."""
        groups: dict[int, list[str]] = {}
        for answer in answers:
            groups.setdefault(self.group(answer), []).append(answer)
        return groups

    def log(self, answer: str) -> str:
        """The key of its log."""
        return f"zantara:{{{self.group(answer)}}}:log:{answer}"

    def opening(self, answer: str) -> str:
        """The key of what it begins with."""
        return f"zantara:{{{self.group(answer)}}}:opening:{answer}"

    def running(self, group: int) -> str:
        """The key of a group's leases."""
        return f"zantara:{{{group}}}:running"

    def closed(self, group: int) -> str:
        """The key of a group's closed answers."""
        return f"zantara:{{{group}}}:closed"

    @property
    def _milliseconds(self) -> int:
        return max(1, round(self.lease * 1000))

    def _all(self, answer: str) -> list[str]:
        group = self.group(answer)
        return [self.log(answer), self.opening(answer), self.running(group), self.closed(group)]

    def create(self, opening: Opening) -> Command:
        """Begin it, with a lease of token 1."""
        keys = [self.opening(opening.answer), self.log(opening.answer), self.running(self.group(opening.answer))]
        texts = [part for name in TEXTS for part in (name, _bytes(getattr(opening, name)))]
        leased = member(opening.answer, 1)
        return _script(_CREATE, keys, self._milliseconds, leased, *texts, "started", repr(opening.started))

    def name(self, continuity: str, answer: str, stale: str = "") -> Command:
        """Name it, unless another has the name, which is the answer then; a `stale` one loses it."""
        return _script(_NAME, [name_key(continuity)], answer, stale, timed=False)

    def unname(self, continuity: str, answer: str) -> Command:
        """Take the name away from that answer."""
        return _script(_UNNAME, [name_key(continuity)], answer, timed=False)

    def find(self, answer: str, owner: str) -> Command:
        """Its opening and its entries, if it is that owner's."""
        return _script(_FIND, [self.opening(answer), self.log(answer)], _bytes(owner), timed=False)

    def read(self, answer: str) -> Command:
        """Its opening and its entries, whoever's it is."""
        return _script(_READ, [self.opening(answer), self.log(answer)], timed=False)

    def append(self, answer: str, after: str, place: str, frames: bytes, *, alone: bool) -> Command:
        """One entry more, `after` the last one; `alone` where nothing before it counts any more.

        The answer is `place`; or the id of the last entry, where that is another, and None where there is none.
        """
        return _script(_APPEND_ONE, [self.log(answer)], after, *_entry(place, frames, alone=alone), timed=False)

    def append_last(self, answer: str, token: int, after: str, place: str, frames: bytes, *, alone: bool) -> Command:
        """The same of the last entry, with which the answer closes."""
        entry = _entry(place, frames, alone=alone)
        return _script(_APPEND_LAST, self._all(answer), after, member(answer, token), answer, *entry)

    def close(self, answer: str, token: int) -> Command:
        """Close what has its last entry."""
        return _script(_CLOSE, self._all(answer), member(answer, token), answer)

    def fence(self, answer: str, token: int) -> Command:
        """Keep every lower token from writing."""
        return ("XADD", self.log(answer), "NOMKSTREAM", f"{token}-0", FENCE, "")

    def latest(self, answer: str, count: int) -> Command:
        """Its last entries, the latest first."""
        return ("XREVRANGE", self.log(answer), "+", "-", "COUNT", count)

    def end(self, group: int, members: Iterable[str], *, now: bool = False) -> Command:
        """Let these leases end a lease's time from now, or at once."""
        return _script(_RENEW, [self.running(group)], 0 if now else self._milliseconds, *members)

    def run_out(self, group: int, most: int) -> Command:
        """Leases that ran out, with the moments when they did; `read_leases` reads them."""
        return _script(_RUN_OUT, [self.running(group)], self._milliseconds, most)

    def claim(self, group: int, leases: Iterable[Lease]) -> Command:
        """Take leases that ran out, if nobody else has; `read_lease` reads each that was."""
        raised = [member(lease.answer, lease.token + more) for lease in leases for more in (0, 1)]
        return _script(_CLAIM, [self.running(group)], self._milliseconds, *raised)

    def correct(self, answer: str, wrong: int, token: int) -> Command:
        """Put the lease of the token that the log has in the place of a wrong one."""
        keys = [self.running(self.group(answer))]
        return _script(_CORRECT, keys, self._milliseconds, member(answer, wrong), member(answer, token))

    def mark_read(self, answers: Iterable[str]) -> Command:
        """Say that these, of one group, are read now."""
        return _script(_MARK_READ, [self.opening(answer) for answer in answers])

    def unread(self, answer: str) -> Command:
        """The milliseconds since that was said last, as text."""
        return _script(_UNREAD, [self.opening(answer)])

    def ask_to_stop(self, answer: str) -> Command:
        """Note that it is to be stopped, if it is there."""
        return _script(_ASK_TO_STOP, [self.opening(answer)], timed=False)

    def asked_to_stop(self, answer: str) -> Command:
        """Whether that was noted."""
        return ("HGET", self.opening(answer), "stop")

    def touch(self, group: int, answers: Iterable[str]) -> Command:
        """Count their retention from now."""
        return _script(_TOUCH, [self.closed(group)], *answers)

    def expired(self, group: int, retention: float, most: int) -> Command:
        """The closed answers whose retention (seconds) is over."""
        return _script(_EXPIRED, [self.closed(group)], round(retention * 1000), most)

    def forget(self, answer: str, token: int) -> Command:
        """Leave nothing of it but its name."""
        log, opening, running, closed = self._all(answer)
        return _script(_FORGET, [opening, log, running, closed], answer, member(answer, token), timed=False)


def _script(body: str, keys: list[str], *values: Any, timed: bool = True) -> Command:
    return ("EVAL", f"{clock() if timed else ''}\n{body}", len(keys), *keys, *values)


def _entry(place: str, frames: bytes, *, alone: bool) -> tuple[str | bytes, ...]:
    trimmed = ("MINID", "=", place) if alone else ()
    return (*trimmed, place, FRAMES, frames)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


Entry = tuple[bytes, list[bytes]]  # as Redis gives it: the id, then names and values in turn


def token_and_number(entry: Entry) -> tuple[int, int]:
    """What the id of an entry says."""
    token, _, number = entry[0].partition(b"-")
    return int(token), int(number)


def kept_frames(entries: Iterable[Entry]) -> list[bytes]:
    """The log that entries make."""
    frames: list[bytes] = []
    for _, _, block in split(b"".join(values[1] for _, values in entries if values[0] == FRAMES)):
        add(frames, block)
    return frames


def read_opening(values: list[bytes]) -> Opening:
    """What an answer begins with, from its hash."""
    read = {name.decode(): value.decode("utf-8", "surrogatepass") for name, value in _pairs(values)}
    texts = {name: read.get(name, "") for name in TEXTS}
    return Opening(**texts, started=float(read["started"]))


def numbered(entries: Iterable[Entry]) -> int:
    """The number of the last frame among entries in their order; 0 where there is none."""
    return next((token_and_number(entry)[1] for entry in reversed(list(entries)) if entry[1][0] == FRAMES), 0)


def _pairs(values: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(values[::2], values[1::2], strict=True)


def read_stored(found: list[Any]) -> Stored:
    """An answer as `Layout.find` and `Layout.read` give it."""
    opening, entries, doubtful = found
    return Stored(read_opening(opening), tuple(kept_frames(entries)), bool(doubtful))
