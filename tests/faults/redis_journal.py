"""Reads what Redis holds of answers, by itself: it knows how they lie there, and nothing of the server.

zantara:{…}:log:<answer>      a stream of entries `<epoch>-<number>`: wire bytes of one event or more, or a fence, which
                              begins an epoch: 1 when the answer is made, and one more with each takeover
zantara:{…}:opening:<answer>  what was asked
zantara:{…}:running           who writes what: nobody anything, once all is closed
zantara:{…}:closed            the closed answers
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from .checker import wire_blocks

FRAMES = (b"frame", b"frames")


@dataclass(slots=True)
class Logged:
    """One answer. `wire` is its log from the last event `gap` on, which stands for all before it."""

    question: str
    continuity: str = ""
    owner: str = ""
    wire: bytes = b""
    epochs: list[int] = field(default_factory=list)
    closed: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def takeovers(self) -> int:
        """How many times another one went on with it."""
        return max(self.epochs, default=1) - 1


@dataclass(slots=True)
class Content:
    """Everything that Redis holds of answers."""

    answers: dict[str, Logged] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """What is wrong with it once nothing is written any more."""
        found = [f"lease {lease} of nobody" for lease in self.running]
        for answer, logged in self.answers.items():
            found += [f"{answer} ({logged.question}): {problem}" for problem in logged.problems]
            if not logged.closed:
                found.append(f"{answer} ({logged.question}) is not closed")
        return found

    def wires(self) -> dict[str, bytes]:
        """The log of every answer."""
        return {answer: logged.wire for answer, logged in self.answers.items()}


def read(url: str) -> Content:
    """All that the Redis at that address holds."""
    with Redis.from_url(url, socket_timeout=20) as redis:
        content = Content()
        for key in redis.scan_iter("zantara:{*}:running"):
            content.running += [member.decode() for member in redis.zrange(key, 0, -1)]
        closed = {name.decode() for key in redis.scan_iter("zantara:{*}:closed") for name in redis.zrange(key, 0, -1)}
        for key in redis.scan_iter("zantara:{*}:log:*"):
            answer = key.decode().split(":", 3)[3]
            opening = redis.hgetall(key.replace(b":log:", b":opening:"))
            said = {name.decode(): value.decode(errors="replace") for name, value in opening.items()}
            logged = Logged(said.get("question", ""), said.get("continuity", ""), said.get("owner", ""))
            logged.closed = answer in closed
            content.answers[answer] = logged
            _take(answer, logged, redis.xrange(key))
        return content


def _take(answer: str, logged: Logged, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
    """Add up the entries, and note what is wrong with them."""
    number = 0
    for place, fields in entries:
        epoch, last = (int(part) for part in place.decode().split("-"))
        frames = [fields[name] for name in FRAMES if name in fields]
        if not frames:
            _need(logged, b"fence" in fields and last == 0, f"entry {place.decode()} is neither frames nor fence")
            logged.epochs.append(epoch)
            continue
        if not logged.epochs and frames[0].startswith(b"event: gap"):
            logged.epochs.append(epoch)  # what was before it is trimmed
        _need(logged, logged.epochs[-1:] == [epoch], f"entry {place.decode()} is of an epoch without a fence")
        _need(logged, last > number, f"entry {place.decode()} after number {number}")
        number = last
        for wire in _frames(frames[0]):
            logged.wire = wire if wire.startswith(b"event: gap") else logged.wire + wire
    _need(logged, logged.epochs == sorted(set(logged.epochs)), f"epochs {logged.epochs}")
    _look_through(answer, logged)


def _frames(joined: bytes) -> Iterator[bytes]:
    for *_, wire in wire_blocks(joined):
        yield wire


def _look_through(answer: str, logged: Logged) -> None:
    blocks: list[tuple[str, str, dict[str, Any], bytes]] = list(wire_blocks(logged.wire))
    names = [name.rpartition(".") for _, name, _, _ in blocks]
    _need(logged, {name for name, _, _ in names} <= {answer}, "events of another answer")
    offsets = [int(offset) for *_, offset in names]
    first = offsets[0] if offsets and logged.wire.startswith(b"event: gap") else 1
    _need(logged, offsets == list(range(first, first + len(offsets))), f"offsets {offsets}")
    ends = [place for place, (_, _, data, _) in enumerate(blocks) if "done" in data]
    if logged.closed:
        _need(logged, ends == [len(blocks) - 1], f"closed, and ends at {ends} of {len(blocks)} events")


def _need(logged: Logged, fact: bool, otherwise: str) -> None:
    if not fact:
        logged.problems.append(otherwise)
