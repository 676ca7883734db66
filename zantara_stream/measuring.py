"""What is measured of answers that have ended, and of the event loop: observers, which change nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from .answers.answer import Answer
from .answers.events import unframe
from .config import EXTRACTIVE
from .errors import RequestError
from .generation.prices import BYTES_PER_TOKEN
from .metrics import ABANDONED_TOKENS, ANSWER_DURATION, ANSWERS, LOOP_LAG, REFUSALS

logger = logging.getLogger(__name__)

LAG_PERIOD = 0.25  # seconds between two looks at the loop


STOP_REASONS = ("end_turn", "max_tokens", "stopped", "refusal")


def expect(model: str) -> None:
    """Have a count of each outcome and refusal from the start: a series that begins at 1 is no rise to Prometheus."""
    codes = {error.code for error in _kinds(RequestError)}
    for outcome in (*STOP_REASONS, *codes):
        ANSWERS.labels(outcome=outcome, model=model)
    for code in codes:
        REFUSALS.labels(code)


def _kinds(error: type[RequestError]) -> Iterator[type[RequestError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _kinds(kind)


def measure_end(answer: Answer) -> None:
    """Count an answer whose end was recorded here: how it ended, who wrote it, how long that took."""
    end = unframe(answer.log.frames()[-1])
    model = end.get("model", answer.model)
    outcome = end.get("stopReason") or end["code"]
    ANSWERS.labels(outcome=outcome, model=model).inc()
    ANSWER_DURATION.observe(end["streamDuration"])
    logger.info(
        "ended: %s by %s after %.1f s and %d chunks",
        outcome,
        model,
        end["streamDuration"],
        end["sequenceNumber"],
        extra={"answer": answer.id},
    )
    if model != EXTRACTIVE:
        # The provider says what it has counted at the end of a message only, which one that is stopped never has.
        ABANDONED_TOKENS.inc(answer.abandoned / BYTES_PER_TOKEN)


async def measure_loop() -> None:
    """Look for ever how late the event loop is."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_PERIOD
        await asyncio.sleep(LAG_PERIOD)
        LOOP_LAG.observe(max(0.0, loop.time() - due))
