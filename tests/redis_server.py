"""A real Redis for tests, on a loopback port: in a folder of its own, with an append-only file."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

PATIENCE = 20.0  # seconds until it must answer
SERVER, CLIENT = "/usr/bin/redis-server", "/usr/bin/redis-cli"


@dataclass
class Redis:
    """A server that can be killed and started again on the same port and data.

    `options` are for its command line, `environment` for its environment (libfaketime's, for one).
    """

    folder: Path
    options: tuple[str, ...] = ()
    port: int = 0
    sentinel: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its address, as the setting has it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if not Path(SERVER).exists():
            assert not os.environ.get("CI"), "Redis is missing in CI; make test-services installs it"
            pytest.skip("needs Redis: make test-services")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or _free_port()
        with (self.folder / "log").open("ab") as log:
            command, environment = [SERVER, *self._arguments(), *self.options], {**os.environ, **self.environment}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        until = time.monotonic() + PATIENCE
        while self.ask("PING") != "PONG":
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "log").read_text(encoding="utf-8"))
            time.sleep(0.02)

    def _arguments(self) -> list[str]:
        settings: dict[str, object] = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder}
        if not self.sentinel:
            settings |= {"appendonly": "yes", "save": "", "cluster-node-timeout": "2000"}
            settings["appendfsync"] = "no"  # else a write waits up to 2 s for a slow fsync, and a kill loses it
        named = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        return [str(self.folder / "sentinel.conf"), "--sentinel", *named] if self.sentinel else named

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)  # a frozen one does not end
            self.process.terminate()
            self.process.wait(PATIENCE)

    def ask(self, *command: str) -> str:
        """What a command gives, asked by redis-cli."""
        asked = [CLIENT, "-h", "127.0.0.1", "-p", str(self.port), *command]
        return subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()

    def emptied(self) -> str:
        """The address, with nothing left of what was there."""
        assert self.ask("FLUSHALL") == "OK"
        return self.url


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[Redis]:
    """A running server."""
    server = Redis(folder, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@cache
def shared() -> Redis:
    """One for all tests of this process."""
    folder = tempfile.mkdtemp(prefix="redis-")
    server = Redis(Path(folder))
    server.start()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.stop)
    return server


@cache
def cluster() -> tuple[Redis, ...]:
    """A cluster of two for all tests of this process, each with half of the slots."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    servers = tuple(Redis(folder / name, ("--cluster-enabled", "yes")) for name in ("one", "two"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for server, slots in zip(servers, (("0", "8191"), ("8192", "16383")), strict=True):
        server.start()
        atexit.register(server.stop)
        assert server.ask("CLUSTER", "ADDSLOTSRANGE", *slots) == "OK"
    assert servers[0].ask("CLUSTER", "MEET", "127.0.0.1", str(servers[1].port)) == "OK"
    until = time.monotonic() + PATIENCE
    while not all("cluster_state:ok" in server.ask("CLUSTER", "INFO") for server in servers):
        assert time.monotonic() < until
        time.sleep(0.05)
    return servers


def emptied_cluster() -> str:
    """The cluster's address, with nothing left of what was there."""
    servers = cluster()
    for server in servers:
        server.emptied()
    return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)


@contextmanager
def sentinel(folder: Path, leader: Redis) -> Iterator[Redis]:
    """A Sentinel that watches a server under the name of `answers`, and has another lead after half a second."""
    watcher = Redis(folder, sentinel=True)
    folder.mkdir(parents=True)
    lines = [
        f"sentinel monitor answers 127.0.0.1 {leader.port} 1",
        "sentinel down-after-milliseconds answers 500",
        "sentinel failover-timeout answers 2000",
    ]
    (folder / "sentinel.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


def _free_port() -> int:
    # Those of a cluster talk to each other 10,000 above, so that a port the system would give may be too high.
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
