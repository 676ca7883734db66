"""A start does without what most servers never need, and without what the first answer only needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

START = """
import asyncio, sys
from pathlib import Path
from zantara_stream import serving
from zantara_stream.config import Settings
from zantara_stream.retrieval.library import Library
from zantara_stream.testing import HashingEmbedder

def there():
    return {"alembic", "anthropic", "httpx2", "redis"} & set(sys.modules)

async def main():
    index, store = sys.argv[1:]
    settings = Settings(journal="memory://", database_url=f"sqlite:///{store}")
    app = serving.create_app(settings, library=Library(Path(index), HashingEmbedder.load))
    runner = serving.make_runner(app)
    await runner.setup()
    await app[serving.LIBRARY].ready.wait()
    started = there()
    await app[serving.PIPELINE].prepared.wait()
    print(*sorted(started), "|", *sorted(there() - started))
    await runner.cleanup()

asyncio.run(main())
"""


def started(index: Path, store: Path) -> list[list[str]]:
    """Of a few modules those that are there once a server is ready, and those that come when its model is prepared."""
    environment = os.environ | {"ANTHROPIC_API_KEY": "test"}
    done = subprocess.run(
        [sys.executable, "-c", START, str(index), str(store)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [names.split() for names in done.stdout.split("|")]


def test_nothing_is_imported_that_a_start_can_do_without(small_index: Path, tmp_path: Path) -> None:
    store, model = tmp_path / "people.db", ["anthropic", "httpx2"]
    assert started(small_index, store) == [["alembic"], model], "which makes the tables"
    assert started(small_index, store) == [[], model]
