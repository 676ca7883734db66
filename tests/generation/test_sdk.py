"""The provider's SDK, which is imported late, once, and beside whatever streams."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zantara_stream.generation import sdk

MANY = """
import asyncio, sys, threading
from zantara_stream.generation import sdk

async def main():
    turns, most = 0, 0
    loading = asyncio.gather(*(sdk.load() for _ in range(100)))
    while not loading.done():
        await asyncio.sleep(0)
        turns, most = turns + 1, max(most, threading.active_count())
    print(turns > 1, most, sdk.anthropic is sys.modules["anthropic"], sdk.httpx2 is sys.modules["httpx2"])

asyncio.run(main())
"""


def test_a_hundred_who_ask_at_once_wait_for_one_import_and_the_loop_for_none() -> None:
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "2", "True", "True"], done.stderr


def test_without_a_word_it_is_imported_where_it_is_named() -> None:
    code = "from zantara_stream.generation import sdk; print(sdk.anthropic.__name__, sdk.httpx2.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["anthropic", "httpx2"], done.stderr


def test_it_has_nothing_else() -> None:
    with pytest.raises(AttributeError):
        sdk.requests  # noqa: B018
