from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.steady import GENERATIONS, SWITCH_INTERVAL, steady
from zantara_stream.testing import HashingEmbedder


async def test_while_it_serves_threads_give_way_sooner_and_less_is_looked_through(tmp_path: Path) -> None:
    before, threshold = sys.getswitchinterval(), gc.get_threshold()
    library = Library(tmp_path, HashingEmbedder.load)
    async with steady(library.ready.wait):
        assert sys.getswitchinterval() == SWITCH_INTERVAL < before
        assert gc.get_threshold() == GENERATIONS
    assert sys.getswitchinterval() == before
    assert gc.get_threshold() == threshold
    library.close()


async def test_what_an_open_index_needs_is_left_out_of_garbage_collections(small_index: Path) -> None:
    library = Library(small_index, HashingEmbedder.load)
    frozen = gc.get_freeze_count()
    async with steady(library.ready.wait):
        await asyncio.sleep(0)
        assert gc.get_freeze_count() == frozen, "not before all is there"
        await library.open()
        await asyncio.sleep(0)
        assert gc.get_freeze_count() > frozen + 10_000
    assert gc.get_freeze_count() == 0
    library.close()
    await asyncio.sleep(0)


async def test_without_an_index_nothing_is_left_behind(tmp_path: Path) -> None:
    library = Library(tmp_path, HashingEmbedder.load)
    tasks = len(asyncio.all_tasks())
    async with steady(library.ready.wait):
        await library.open()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == tasks
    library.close()
