"""Doubles for tests of whatever is built on this package: a scripted model, a small embedder, a reader of streams."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from .generation.answerer import Finish, Part, Prompt
from .retrieval.encoder import Description, Vectors
from .retrieval.lexical import words

Step = Part | float | Exception | asyncio.Event


class ScriptedAnswerer:
    """Plays a script: parts are yielded, numbers are seconds slept, exceptions raised, futures and events awaited.

    Each call plays the next script, and the last one ever after; `then` adds one. A script is what its call writes,
    whatever `prompt.written` is: one that goes on with an answer holds only the rest of it.

        ScriptedAnswerer("Late renewal ", ModelTimeout()).then("is fined.")

    `prompts` holds what it was asked, `cancelled` counts the answers that were closed before their end, and
    `closed_early` is set by the first of them. A script without a `Finish` is given one.
    """

    def __init__(self, *script: Step, model: str = "scripted") -> None:
        self.model = model
        self.scripts = [script]
        self.prompts: list[Prompt] = []
        self.cancelled = 0
        self.closed_early = asyncio.Event()

    def then(self, *script: Step) -> Self:
        """What the next call plays."""
        self.scripts.append(script)
        return self

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """Play the script whose turn it is."""
        script = self.scripts[min(len(self.prompts), len(self.scripts) - 1)]
        self.prompts.append(prompt)
        try:
            for step in script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, int | float):
                    await asyncio.sleep(step)
                else:
                    yield step
            if not any(isinstance(step, Finish) for step in script):
                yield Finish(usage={"input_tokens": 1, "output_tokens": 1})
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            self.closed_early.set()
            raise

    async def prepare(self) -> None:
        """Nothing has to be there."""

    async def close(self) -> None:
        """Nothing is held."""


class HashingEmbedder:
    """An `Embedder` without a model: words are hashed to dimensions, so that common words make texts near."""

    def __init__(self, dimensions: int = 64, name: str = "hashing", max_tokens: int = 256) -> None:
        self.name = name
        self.sha256 = hashlib.sha256(name.encode()).hexdigest()
        self.dimensions = dimensions
        self.max_tokens = max_tokens

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """One normalised row a text."""
        vectors = np.full((len(texts), self.dimensions), 1e-6, np.float32)
        for row, text in enumerate(texts):
            for word in words(text):
                vectors[row, int(hashlib.sha256(word.encode()).hexdigest(), 16) % self.dimensions] += 1
            if progress is not None:
                progress(1)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def count_tokens(self, text: str) -> int:
        """Words, and the two special tokens that models add."""
        return len(words(text)) + 2

    def export(self, folder: Path, texts: Sequence[str]) -> None:
        """Write what `load` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        Description(self.name, self.sha256, self.dimensions, self.max_tokens, "hashing").save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The same embedder, as the encoder of queries."""
        about = Description.load(folder)
        return cls(about.dimensions, about.model, about.max_tokens)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event as an `EventSource` dispatches it."""

    event: str  # "message" for an unnamed one
    id: str  # the last event id
    data: str
    retry: int | None = None

    @property
    def json(self) -> Any:
        """The data, decoded."""
        return json.loads(self.data)


class EventReader:
    """Parses an event stream as the specification says; `feed` takes any cuts of it.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._fields: dict[str, str] = {}
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[StreamEvent]:
        """The events that `piece` completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line:
                self._line(line.decode())
            else:
                yield from self._dispatch()

    def _line(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        elif name:
            self._fields[name] = value

    def _dispatch(self) -> Iterator[StreamEvent]:
        if self._data:
            retry = self._fields.get("retry")
            event = self._fields.get("event", "message")
            yield StreamEvent(event, self._id, "\n".join(self._data), int(retry) if retry else None)
        self._data, self._fields = [], {}


def read_events(stream: bytes | Iterable[bytes]) -> list[StreamEvent]:
    """The events of a whole stream."""
    reader = EventReader()
    pieces = [stream] if isinstance(stream, bytes) else stream
    return [event for piece in pieces for event in reader.feed(piece)]


async def follow_events(pieces: AsyncIterable[bytes]) -> AsyncIterator[StreamEvent]:
    """The events of a stream as they come: `follow_events(response.content.iter_any())`."""
    reader = EventReader()
    async for piece in pieces:
        for event in reader.feed(piece):
            yield event
