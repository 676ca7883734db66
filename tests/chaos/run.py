"""One run: three nodes, a crowd of readers, planned faults, and the history of it."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from faults.house import until
from faults.several import NODES, Several, several

from .crowd import Crowd
from .history import CONNECTION, FAULT, MODEL, READER, RUN, History
from .plan import Planned, plan
from .trouble import Trouble

PROGRESS = 5.0  # seconds between two lines of it
PATIENCE = 120.0  # seconds that readers may still need when no fault is done any more
GRACE = 15.0  # seconds: longer than readers stay away that are told to come back later, twice
PACE = 0.1  # seconds from chunk to chunk: an answer of ten seconds


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: seconds of faults, readers at a time.

    `lease`: seconds that a silent node keeps its answers; `grace`: seconds that an answer without readers goes on.
    """

    seed: int
    seconds: float
    readers: int
    lease: float = 2.0
    grace: float = GRACE


async def run(folder: Path, index: Path, size: Size) -> Path:
    """Do it; the file of the history, beside what Redis wrote."""
    history = History(folder / "history.jsonl")
    planned = plan(size.seed, size.seconds, NODES)
    kinds = dict(Counter(one.fault for one in planned))
    history.note(RUN, **asdict(size), planned=kinds)
    try:
        async with several(folder, index, size.lease, grace=size.grace) as h:
            await _run(h, size, planned, history)
    finally:
        history.close()
    return history.file


async def _run(h: Several, size: Size, planned: list[Planned], history: History) -> None:
    h.upstream.pace = PACE
    h.upstream.told = lambda question, written, broken: history.note(
        MODEL, question=question, written=written, broken=broken
    )
    crowd = Crowd(h.front.url, h.session, history, size.seed)
    asking = asyncio.create_task(crowd.ask(size.readers))
    telling = asyncio.create_task(_progress(crowd, history))
    try:
        await Trouble(h, crowd, history, random.Random(size.seed).randrange(2**31)).make(planned)
        crowd.over = True
        await _finish(h, crowd, asking, history)
    finally:
        for task in (telling, asking):
            task.cancel()
        await asyncio.wait({telling, asking})


async def _finish(h: Several, crowd: Crowd, asking: asyncio.Task[None], history: History) -> None:
    """Wait until all have their answers, and nobody writes anything; who waits for ever is noted."""
    await asyncio.wait({asking}, timeout=PATIENCE)
    if asking.done():
        await asking
    for visitor in crowd.reading:
        history.note(READER, reader=visitor.name, question=visitor.query, finished=False, why="still waits at the end")
    with suppress(TimeoutError):  # what is left then is found by the checker
        await until(lambda: not h.running)


async def _progress(crowd: Crowd, history: History) -> None:
    while True:
        await asyncio.sleep(PROGRESS)
        counts = Counter(history.counts)
        print(
            f"{history.now:5.0f} s: {len(crowd.reading)} readers, {crowd.answered} answers, {counts[CONNECTION]} "
            f"connections, {counts[MODEL]} requests to the model, {counts[FAULT]} faults",
            file=sys.stderr,
            flush=True,
        )
