"""A chain of models: the next one writes where the one before cannot."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from ..errors import AnswerExpired, ModelError, ModelOverloaded, ModelRefused
from ..metrics import BREAKER_OPEN, UPSTREAM_REQUESTS, UPSTREAM_RETRIES
from .answerer import Answerer, Finish, Part, Prompt
from .breaker import CLOSED, Breaker
from .extractive import ExtractiveAnswerer

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Link:
    """One model of a chain, and whether it is well."""

    answerer: Answerer
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def model(self) -> str:
        """Its name."""
        return self.answerer.model


class Chain:
    """Answers in the words of the first of its models that can, and says which that was.

    Another one is asked only before anything was written: an answer that breaks off is gone on with by whoever asks
    again with what is written.
    """

    def __init__(self, answerers: Sequence[Answerer]) -> None:
        self.model = answerers[0].model
        self.links = [Link(answerer) for answerer in answerers]

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """The parts of the first model that answers. Raises `ModelError`, the last one's."""
        failure: ModelError | None = None
        for link in self.links:
            if not link.breaker.admits():
                failure = failure or _left_alone(link)
                continue
            if failure is not None:
                UPSTREAM_RETRIES.labels("fallback").inc()
            written = told = False
            try:
                async with aclosing(link.answerer.answer(prompt)) as parts:
                    async for part in parts:
                        if not written:
                            written = told = True
                            link.breaker.succeeded()
                        yield replace(part, model=link.model) if isinstance(part, Finish) else part
                _count(link, "ok")
                return
            except ModelError as error:
                told = True
                _failed(link, error)
                if written or isinstance(error, ModelRefused):
                    raise
                failure = error
            except AnswerExpired as error:
                raise failure or error from None  # what another model has begun cannot be quoted on
            finally:
                if not told:
                    link.breaker.let_go()
        assert failure is not None
        raise failure

    async def prepare(self) -> None:
        """Have there what the first answer would have to wait for."""
        for link in self.links:
            await link.answerer.prepare()

    async def close(self) -> None:
        """Let go of all connections."""
        for link in self.links:
            await link.answerer.close()


def _failed(link: Link, error: ModelError) -> None:
    if isinstance(error, ModelRefused):
        link.breaker.succeeded()
    else:
        link.breaker.failed(for_long=not error.retryable)
        logger.warning("%s does not answer: %s", link.model, error)
    _count(link, error.code)


def _count(link: Link, code: str) -> None:
    if isinstance(link.answerer, ExtractiveAnswerer):
        return  # it asks nobody
    UPSTREAM_REQUESTS.labels(model=link.model, code=code).inc()
    BREAKER_OPEN.labels(link.model).set(link.breaker.state != CLOSED)


def _left_alone(link: Link) -> ModelError:
    wait = math.ceil(link.breaker.wait)
    when = f"is tried again in {wait} seconds" if wait else "is being tried again"
    return ModelOverloaded(f"The language model has been failing, and {when}. Please ask again then.")
