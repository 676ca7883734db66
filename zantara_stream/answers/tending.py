"""What has to be done from time to time, as long as the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..errors import JournalUnavailable, RequestError
from .answers import Answers

logger = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds that unfinished answers wait for `ready`; then they are taken up to fail
FOLLOWING = 1.0  # seconds that a journal may wait for what others write
RETRY = 0.25  # seconds between tries to follow, while the journal cannot be used


async def tend(answers: Answers, period: float, ready: Callable[[], object]) -> None:
    """Tend the answers every `period` seconds; what nobody writes is gone on with once `ready` raises nothing."""
    loop = asyncio.get_running_loop()
    patience = loop.time() + PATIENCE
    well, failing_since = True, 0.0
    while True:
        try:
            if loop.time() > patience or _is(ready):
                await answers.take_over()
            await answers.tend()
            failing_since = 0.0
        except JournalUnavailable as error:
            failing_since = failing_since or loop.time()
            if well:
                logger.error("the journal %s cannot be used: %s", answers.journal.name, answers.journal.problem)
            if loop.time() - failing_since >= answers.journal.patience:
                answers.break_off_followed(error)
        if well != (not answers.journal.problem):
            well = not well
            if well:
                logger.warning("the journal %s can be used again", answers.journal.name)
        await asyncio.sleep(period)


async def follow(answers: Answers) -> None:
    """Show what others write as it comes, for ever."""
    while True:
        try:
            await answers.follow(FOLLOWING)
        except JournalUnavailable:  # whoever tends the answers says so, and what follows from it
            await asyncio.sleep(RETRY)


def _is(ready: Callable[[], object]) -> bool:
    try:
        ready()
    except RequestError:
        return False
    return True
