"""A real Redis with a replica, and a Sentinel that has the replica lead when the other one is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis_server import PATIENCE, Redis, redis_server, sentinel

NAME = "answers"  # by which the Sentinel knows the one that leads


@dataclass(frozen=True)
class Replicated:
    """The three of them."""

    leader: Redis
    replica: Redis
    sentinel: Redis

    @property
    def url(self) -> str:
        """The address of whoever leads, as the setting has it."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{NAME}"

    @property
    def leads(self) -> int:
        """The port of who leads now."""
        return int(self.sentinel.ask("SENTINEL", "get-master-addr-by-name", NAME).split()[1])

    def await_failover(self) -> None:
        """Wait until the replica leads."""
        _await(lambda: self.leads == self.replica.port)
        _await(lambda: "role:master" in self.replica.ask("INFO", "replication"))


@contextmanager
def replicated(folder: Path) -> Iterator[Replicated]:
    """One that leads, its replica, which has all that it has, and the Sentinel that watches both."""
    with (
        redis_server(folder / "leader", "--repl-diskless-sync-delay", "0") as leader,
        redis_server(folder / "replica", "--replicaof", f"127.0.0.1 {leader.port}") as replica,
        sentinel(folder / "sentinel", leader) as watcher,
    ):
        _await(lambda: "state=online" in leader.ask("INFO", "replication"))
        _await(lambda: "slaves=1," in watcher.ask("INFO", "sentinel"))
        yield Replicated(leader, replica, watcher)


def _await(fact: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < until, "the replica does not come up"
        time.sleep(0.05)
