"""What reads Redis for the checker finds what is wrong with what lies there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from redis_server import redis_server

from . import redis_journal
from .test_checker import wire

OPENING, LOG, RUNNING, CLOSED = (
    "zantara:{0}:opening:A",
    "zantara:{0}:log:A",
    "zantara:{0}:running",
    "zantara:{0}:closed",
)
Entry = tuple[str, dict[str, bytes]]
FENCED: Entry = ("1-0", {"fence": b""})
GAP = b'event: gap\nid: A.3\ndata: {"text":"1 2 3 "}\n\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """An empty Redis."""
    with redis_server(tmp_path_factory.mktemp("redis")) as running, Redis.from_url(running.url) as client:
        yield client


def held(server: Redis, *entries: Entry, closed: bool = True) -> redis_journal.Content:
    """What is read where those entries are the log of an answer."""
    server.flushall()
    server.hset(OPENING, mapping={"question": "Why?", "continuity": "c", "owner": ""})
    for place, fields in entries:
        server.xadd(LOG, {name: value for name, value in fields.items()}, id=place)
    if closed:
        server.zadd(CLOSED, {"A": 1})
    else:
        server.zadd(RUNNING, {"A:1": 1})
    return redis_journal.read(f"redis://127.0.0.1:{server.connection_pool.connection_kwargs['port']}/0")


def test_a_log_is_read_over_its_epochs(server: Redis) -> None:
    content = held(
        server,
        FENCED,
        ("1-2", {"frames": wire(1, 2, end=False)}),
        ("2-0", {"fence": b""}),
        ("2-4", {"frames": wire(3)}),
    )
    logged = content.answers["A"]
    assert content.problems() == []
    assert (logged.question, logged.wire, logged.takeovers) == ("Why?", wire(1, 2, 3), 1)


def test_a_gap_stands_for_all_before_it(server: Redis) -> None:
    content = held(server, FENCED, ("1-2", {"frames": wire(1, 2, end=False)}), ("1-5", {"frames": GAP + wire()}))
    assert content.problems() == []
    assert content.wires() == {"A": GAP + wire()}
    assert held(server, ("3-5", {"frames": GAP + wire()})).answers["A"].takeovers == 2


@pytest.mark.parametrize(
    "entries",
    [
        [FENCED, ("1-1", {"frames": wire(1, end=False)}), ("1-4", {"frames": wire(3)})],
        [FENCED, ("1-2", {"frames": wire(1, 2, end=False)}), ("1-5", {"frames": wire(2, 3)})],
        [("1-4", {"frames": wire(1, 2, 3)})],
        [FENCED, ("2-4", {"frames": wire(1, 2, 3)})],
        [FENCED, ("1-3", {"frames": wire(1, 2, 3, end=False)}), ("2-0", {"fence": b""}), ("2-2", {"frames": wire()})],
        [FENCED, ("1-4", {"frames": wire(1, 2, 3, answer="B")})],
        [FENCED, ("1-3", {"frames": wire(1, 2, 3, end=False)})],
        [FENCED, ("1-5", {"frames": wire(1, 2, 3) + wire(last=5)})],
        [FENCED, ("1-4", {"other": wire(1, 2, 3)})],
        [FENCED],
    ],
    ids=[
        "lost",
        "twice",
        "no epoch",
        "epoch without a fence",
        "number falls",
        "other answer",
        "closed without an end",
        "two ends",
        "unknown entry",
        "empty",
    ],
)
def test_what_is_wrong_is_found(server: Redis, entries: list[Entry]) -> None:
    assert held(server, *entries).problems()


def test_what_is_not_closed_and_its_lease_are_found(server: Redis) -> None:
    content = held(server, FENCED, ("1-4", {"frames": wire(1, 2, 3)}), closed=False)
    assert content.problems() == ["lease A:1 of nobody", "A (Why?) is not closed"]
