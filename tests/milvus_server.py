"""A real Milvus Lite for tests: a process that speaks Milvus's protocol on a loopback port."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ports import free_port
from pymilvus import MilvusClient, MilvusException

PATIENCE = 60.0  # seconds until it must answer; what it imports takes seconds where much runs beside it


@dataclass
class Milvus:
    """A server that can be killed and started again on the same port and data."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its address, as the setting has it."""
        return f"milvus://127.0.0.1:{self.port}"

    def client(self) -> MilvusClient:
        """A client of its own, which the test closes."""
        return MilvusClient(f"http://127.0.0.1:{self.port}", timeout=PATIENCE, dedicated=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        place = ["--data-dir", str(self.folder / "data"), "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-W", "ignore", "-m", "milvus_lite", "server", *place]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "log").read_text(encoding="utf-8"))
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def empty(self) -> None:
        """Drop all that it has."""
        client = self.client()
        try:
            for collection in client.list_collections():
                for alias in client.list_aliases(collection)["aliases"]:
                    client.drop_alias(alias)
                client.drop_collection(collection)
        finally:
            client.close()

    def collections(self) -> list[str]:
        """What it has, by name."""
        client = self.client()
        try:
            return sorted(client.list_collections())
        finally:
            client.close()

    def leads_to(self, alias: str) -> str:
        """The collection that an alias leads to; empty where there is none."""
        client = self.client()
        try:
            return str(client.describe_alias(alias)["collection_name"])
        except MilvusException:
            return ""
        finally:
            client.close()


@contextmanager
def milvus_server(folder: Path) -> Iterator[Milvus]:
    """One for a test that kills it."""
    milvus = Milvus(folder)
    milvus.start()
    try:
        yield milvus
    finally:
        milvus.kill()


@cache
def shared_milvus() -> Milvus:
    """One for all tests of a process, ended with it."""
    folder = Path(tempfile.mkdtemp())
    milvus = Milvus(folder)
    milvus.start()

    def end() -> None:
        milvus.kill()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return milvus
