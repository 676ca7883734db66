"""The store on both databases, and a clock for what is kept in it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from postgres import Cluster, cluster, programs

from zantara_stream.people.store import Store


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A PostgreSQL that runs as long as the tests do."""
    found = programs()
    if found is None:
        assert "CI" not in os.environ, "CI must have PostgreSQL: make test-services installs it"
        pytest.skip("PostgreSQL is not installed; make test-services installs it")
    # Its user must be able to reach the folder, which those of tests are not for others.
    folder = Path("/tmp") / f"zantara-postgresql-{os.getpid()}"
    with cluster(folder, found) as running:
        yield running


DATABASES = ("sqlite", "postgresql")


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/people.db"
    running: Cluster = request.getfixturevalue("postgresql")
    return running.database()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An open store on each database."""
    store = Store(database_url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Clock:
    """The time that is looked at, in unix seconds."""

    def __init__(self) -> None:
        self.now = 1_780_000_000.0

    def time(self) -> float:
        """It."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that tests set, for all that the store's users do."""
    from zantara_stream.people import conversations, feedback, memory, tickets

    clock = Clock()
    for module in (conversations, feedback, memory, tickets):
        monkeypatch.setattr(module, "time", clock)
    return clock
