"""The way to Redis or Valkey: to one server, to the one that Sentinel names, or to a cluster.

    redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]                      one server
    redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/NAME[/DATABASE]  whichever the Sentinels say leads NAME
    redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT                 a cluster

With `rediss` in place of `redis` it is encrypted. Commands go out together and are answered in their order. A command
that fails for what the server is in (full, loading, no leader) is as if the server was not there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

logging.getLogger("redis").setLevel(logging.ERROR)  # what cannot be reached is told of by whoever asks

TIMEOUT = 2.0  # seconds for a connection, and for an answer
PORT, SENTINEL_PORT = 6379, 26379
CLUSTER_SLOTS = 16  # groups of keys, each of which lies on one server of a cluster
_NOT_ABOVE = "equal or smaller than the target stream top item"
_RAW = ("SET", "HGETALL", "XADD", "XRANGE", "XREVRANGE", "XREAD", "INFO")  # whose answers are taken as they come

Command = tuple[str | bytes | int | float, ...]


def clock() -> str:
    """The Lua that takes the time: `now`, in milliseconds since 1970."""
    return "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)"


class RedisUnavailable(Exception):
    """It cannot be used, for the reason that it says."""


class NotAbove:
    """The answer to an `XADD` whose id is not above the last one of its stream."""


NOT_ABOVE: Final = NotAbove()


@dataclass(frozen=True, slots=True)
class Address:
    """What an address says; `hosts` are Sentinels where `leader` is named, and some of a cluster's servers else."""

    kind: str  # "", "sentinel" or "cluster"
    encrypted: bool
    user: str | None
    password: str | None
    hosts: tuple[tuple[str, int], ...]
    leader: str
    database: int

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take an address of the forms above apart, as the setting has checked it."""
        scheme, _, rest = url.partition("://")
        base, _, kind = scheme.partition("+")
        place, *path = rest.rstrip("/").split("/")
        who, _, hosts = place.rpartition("@")
        user, _, password = who.partition(":")
        standard = SENTINEL_PORT if kind == "sentinel" else PORT
        leader = path.pop(0) if kind == "sentinel" else ""
        return cls(
            kind,
            base == "rediss",
            unquote(user) or None,
            unquote(password) or None,
            tuple(_host(host, standard) for host in hosts.split(",")),
            leader,
            int(path[0]) if path else 0,
        )

    def __str__(self) -> str:
        """The address without its password."""
        scheme = ("rediss" if self.encrypted else "redis") + (f"+{self.kind}" if self.kind else "")
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        path = "".join(f"/{part}" for part in (self.leader, self.database or "") if part)
        return f"{scheme}://{hosts}{path}"


class RedisConnection:
    """One process's way to it. Keys in one of the `slots` groups, named `{0}`, `{1}`, …, may stand in one command."""

    def __init__(self, url: str) -> None:
        self._address = Address.parse(url)
        self.name = str(self._address)
        self.slots = CLUSTER_SLOTS if self._address.kind == "cluster" else 1
        self._client, self._sentinels = _clients(self._address)
        for command in _RAW:
            self._client.response_callbacks.pop(command, None)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in their order, `NOT_ABOVE` for an entry that comes too late. Raises `RedisUnavailable`."""
        if not commands:
            return []
        try:
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisUnavailable(_in_words(error)) from error
        return [_answer(answer) for answer in answers]

    async def one(self, *command: str | bytes | int | float) -> Any:
        """The answer to one command. Raises `RedisUnavailable`."""
        (answer,) = await self.run([command])
        return answer

    async def close(self) -> None:
        """Let go of all connections."""
        for client in (self._client, *self._sentinels):
            await client.aclose()


def _host(text: str, standard: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        return text.strip("[]"), standard
    return host.strip("[]"), int(port)


def _clients(address: Address) -> tuple[Any, list[Any]]:
    """The library's client, Redis or RedisCluster, which have what is used of them in common; and its Sentinels."""
    options: dict[str, Any] = {
        "username": address.user,
        "password": address.password,
        "ssl": address.encrypted,
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "retry": Retry(NoBackoff(), 0),  # whoever asks knows better what may be asked again
        "protocol": 2,
    }
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        options["retry"] = Retry(NoBackoff(), 1)  # of another server, once the library knows who leads now
        return RedisCluster(startup_nodes=nodes, **options), []
    options["db"] = address.database
    if address.kind == "sentinel":
        told = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        make: Any = Sentinel  # without types of its own
        watching = make(address.hosts, sentinel_kwargs=told)
        return watching.master_for(address.leader, **options), list(watching.sentinels)
    ((host, port),) = address.hosts
    return Redis(host=host, port=port, **options), []


def _answer(answer: Any) -> Any:
    if not isinstance(answer, Exception):
        return answer
    if _NOT_ABOVE in str(answer):
        return NOT_ABOVE
    raise RedisUnavailable(_in_words(answer)) from answer


def _in_words(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
