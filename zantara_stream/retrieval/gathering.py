"""Texts embedded off the event loop: those that arrive together go together, those seen lately not at all."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from itertools import islice

import numpy as np

from .encoder import Encoder, Vectors

CACHED = 4096  # vectors, 6 MB at 384 dimensions
LONGEST = 2000  # characters of a text that is remembered; longer ones would be most of the memory
TOGETHER = 32  # texts, about 70 ms of work: whoever asks meanwhile is in the lot after
RESERVED = 8  # of them for whoever waits longest, so that many short lists do not keep a long one out


class Gathering:
    """One encoder shared by all questions; it embeds one lot at a time, in a thread of `executor`.

    Whoever wants the fewest texts goes first: a question does not wait for another's long list of sentences.
    """

    def __init__(self, encoder: Encoder, executor: Executor) -> None:
        self._encoder = encoder
        self._executor = executor
        self._recent = _Recent()
        self._asking: dict[_Asking, None] = {}  # in the order in which they came
        self._work: asyncio.Task[None] | None = None

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """One normalised row a text. Raises what the encoder raises for one of them."""
        asking = _Asking(texts)
        asking.take(self._recent.find(texts))
        if asking.missing:
            await self._embedded(asking)
        rows = [asking.found[text] for text in texts]
        return np.stack(rows) if rows else np.empty((0, self._encoder.dimensions), np.float32)

    async def _embedded(self, asking: _Asking) -> None:
        self._asking[asking] = None
        if self._work is None:
            self._work = asyncio.create_task(self._embed_all())
        try:
            await asking.ended
        finally:
            self._asking.pop(asking, None)  # whoever leaves wants nothing more

    async def _embed_all(self) -> None:
        try:
            while self._asking:
                await self._embed(self._lot())
        finally:
            self._work = None
            for asking in self._asking:  # some are left only when the executor or the loop is ended
                asking.ended.cancel()

    def _lot(self) -> list[str]:
        first = next(iter(self._asking))
        lot = dict.fromkeys(islice(first.missing, RESERVED))
        for asking in sorted(self._asking, key=lambda asking: len(asking.missing)):
            lot |= asking.missing
            if len(lot) >= TOGETHER:
                break
        return list(lot)[:TOGETHER]

    async def _embed(self, texts: list[str]) -> None:
        loop = asyncio.get_running_loop()
        try:
            vectors = await loop.run_in_executor(self._executor, self._encoder.encode, texts)
            made = {text: row.copy() for text, row in zip(texts, vectors, strict=True)}  # a row keeps its whole lot
        except Exception as error:
            await self._without(texts, error)
        else:
            self._recent.add(made)
            self._hand_out(made)

    async def _without(self, texts: list[str], error: Exception) -> None:
        """Embed those texts apart, so that only who wants the one at fault hears of it."""
        if len(texts) == 1:
            for asking in self._wanting(texts[0]):
                del self._asking[asking]
                asking.fail(error)
            return
        for text in texts:
            if self._wanting(text):
                await self._embed([text])

    def _wanting(self, text: str) -> list[_Asking]:
        return [asking for asking in self._asking if text in asking.missing]

    def _hand_out(self, made: Mapping[str, Vectors]) -> None:
        for asking in list(self._asking):
            asking.take(made)
            if not asking.missing:
                del self._asking[asking]
                asking.ended.set_result(None)


class _Asking:
    """Somebody's texts, some of them with their vectors by now."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.missing = dict.fromkeys(texts)
        self.found: dict[str, Vectors] = {}
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, vectors: Mapping[str, Vectors]) -> None:
        """Take those that are missed."""
        for text in self.missing.keys() & vectors.keys():
            self.found[text] = vectors[text]
            del self.missing[text]

    def fail(self, error: Exception) -> None:
        """Let whoever asked hear of it, if they are still there."""
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # heard here, in case that they leave at this moment


class _Recent:
    """The vectors of the texts that were wanted last."""

    def __init__(self) -> None:
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()

    def find(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """Those of these texts that are remembered."""
        found = {text: self._vectors[text] for text in texts if text in self._vectors}
        for text in found:
            self._vectors.move_to_end(text)
        return found

    def add(self, vectors: Mapping[str, Vectors]) -> None:
        """Remember them in place of those that were wanted longest ago."""
        self._vectors.update((text, vector) for text, vector in vectors.items() if len(text) <= LONGEST)
        while len(self._vectors) > CACHED:
            self._vectors.popitem(last=False)
