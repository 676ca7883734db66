"""The Redis that tests are run against keeps what it was told over a kill, and a replica takes its place."""

from __future__ import annotations

import time
from pathlib import Path

from redis_replicated import replicated
from redis_server import PATIENCE, redis_server


def test_what_was_written_is_there_after_a_kill(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        assert server.ask("SET", "a", "1") == "OK"
        server.kill()
        assert server.ask("PING") != "PONG"
        server.start()
        assert server.ask("GET", "a") == "1"


def test_a_replica_takes_the_place_of_one_that_is_killed(tmp_path: Path) -> None:
    with replicated(tmp_path / "redis") as three:
        assert three.leads == three.leader.port
        three.leader.ask("SET", "a", "1")
        until = time.monotonic() + PATIENCE
        while three.replica.ask("GET", "a") != "1":
            assert time.monotonic() < until, "the replica does not follow"
        three.leader.kill()
        three.await_failover()
        assert three.replica.ask("GET", "a") == "1"
        assert three.leads == three.replica.port
