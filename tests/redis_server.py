"""A real Redis for tests, on a loopback port: in a folder of its own, with an append-only file."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

PATIENCE = 20.0  # seconds until it must answer
SERVER, CLIENT = "/usr/bin/redis-server", "/usr/bin/redis-cli"


@dataclass
class Redis:
    """A server that can be killed and started again on the same port and data; `options` are for its command line."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = 0
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
        settings = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "appendonly": "yes", "save": ""}
        named = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([SERVER, *named, *self.options], stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE
        while self.ask("PING") != "PONG":
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "log").read_text(encoding="utf-8"))
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None and self.process.poll() is None:
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
