"""A real PostgreSQL for tests, on a loopback socket: a cluster of its own in a folder, ended with its process."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from ports import free_port
from sqlalchemy import text

from zantara_stream.people.store import Store

PATIENCE = 60.0  # seconds until it must answer
USER = "zantara"


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, as Debian installs them; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@dataclass
class Cluster:
    """A running server; each `database` is a new and empty one."""

    port: int
    programs: Path
    _numbers: Iterator[int] = field(default_factory=count)

    def database(self) -> str:
        """The address of a new database."""
        name = f"test{next(self._numbers)}"
        self.run(f'CREATE DATABASE "{name}"')
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def run(self, statement: str, database: str = "postgres") -> str:
        """What a statement gives, run by psql."""
        psql: list[str | Path] = [
            self.programs / "psql",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            USER,
            "-d",
            database,
        ]
        done = subprocess.run([*psql, "-XAtqc", statement], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return str(done.stdout).strip()


@contextmanager
def cluster(folder: Path, found: Path) -> Iterator[Cluster]:
    """A cluster in `folder`, run by the user postgres where tests run as root, who may not."""
    folder.mkdir(mode=0o755)
    user = "postgres" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    make: list[str | Path] = [
        found / "initdb",
        "--no-sync",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        f"--username={USER}",
        "-D",
        data,
    ]
    subprocess.run(make, check=True, capture_output=True, user=user, cwd="/", timeout=PATIENCE)
    port = free_port()
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [found / "postgres", "-D", data, *settings], stdout=log, stderr=log, user=user, cwd="/"
        )
        try:
            made = Cluster(port, found)
            _wait(made, server, folder / "log")
            yield made
        finally:
            server.terminate()
            server.wait(PATIENCE)


def _wait(made: Cluster, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    ready: list[str | Path] = [made.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(made.port), "-t", "1"]
    while subprocess.run(ready, timeout=PATIENCE).returncode != 0:
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError(log.read_text(encoding="utf-8"))
        time.sleep(0.05)


async def waiting(store: Store, number: int) -> None:
    """Return when so many transactions wait for a lock; at once on SQLite, whose writers come one after another."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with store.reading() as connection:
        while connection.dialect.name == "postgresql":
            if (await connection.execute(query)).scalar_one() == number:
                return
