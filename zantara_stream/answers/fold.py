"""A log folded to one value: what a reader has who has read it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .events import CLOSED, SOURCED, WRITING, frame, split, unframe

_DETAILS = ("model", "stopReason", "usage", "timings", "usedRag", "error", "code", "retryable", "streamDuration")


@dataclass(slots=True)
class Folded:
    """The answer as a whole; `done` and `error` are the terminal event's data, whichever came.

    `chunks` counts the text events, `first` and `last` are the unix seconds of the first and the latest
    of them. `usage` is what is known to be paid for it before its end, by whoever wrote it.
    """

    text: str = ""
    citations: list[Mapping[str, Any]] = field(default_factory=list)
    sources: list[Mapping[str, Any]] = field(default_factory=list)
    done: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    chunks: int = 0
    first: float | None = None
    last: float = 0.0
    usage: Mapping[str, int] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """Where in the grammar of `events.ORDER` the log stands."""
        if self.done is not None or self.error is not None:
            return CLOSED
        return SOURCED if self.sources else WRITING

    @property
    def outcome(self) -> str:
        """What has become of the answer: running, complete, stopped or failed."""
        if self.error is not None:
            return "failed"
        if self.done is None:
            return "running"
        return "stopped" if self.done["stopReason"] == "stopped" else "complete"

    @property
    def details(self) -> dict[str, Any]:
        """What is said of the answer beside its text: its sources, its citations, how it ended and what it took."""
        ending = self.done or self.error or {}
        said = {name: ending[name] for name in _DETAILS if name in ending}
        return {"citations": self.citations, "sources": self.sources, **said}

    def add(self, data: Mapping[str, Any]) -> None:
        """Take in the data of one event."""
        if "error" in data:
            self.error = data
        elif "done" in data:
            self.done = data
        elif "offset" in data:
            self._begin_with(data)
        elif "text" in data:
            self._chunk(data)
        elif "citation" in data:
            self.citations.append(data["citation"])
        else:
            self.sources.extend(data["sources"])

    def _chunk(self, data: Mapping[str, Any]) -> None:
        self.text += data["text"]
        self.chunks = data["sequenceNumber"]
        self.first = data["timestamp"] if self.first is None else self.first
        self.last = data["timestamp"]

    def _begin_with(self, snapshot: Mapping[str, Any]) -> None:
        self.text, self.citations = snapshot["text"], list(snapshot["citations"])
        self.chunks = snapshot["sequenceNumber"]
        self.first, self.last = snapshot["first"], snapshot["timestamp"]


def fold(frames: Iterable[bytes]) -> Folded:
    """Fold encoded events in their order."""
    folded = Folded()
    for block in frames:
        folded.add(unframe(block))
    return folded


def snapshot(answer: str, offset: int, folded: Folded) -> bytes:
    """The event that stands for all up to `offset`, none of which is terminal or names sources."""
    data = {
        "answer": answer,
        "offset": offset,
        "text": folded.text,
        "citations": folded.citations,
        "sequenceNumber": folded.chunks,
        "timestamp": folded.last,
        "first": folded.first,
    }
    return frame(data, event="gap", id=f"{answer}.{offset}")


def offset_after(frames: Iterable[bytes], moment: float) -> int:
    """The offset after the last text not later than `moment` (unix seconds); 0 where all are later."""
    found = 0
    for _, offset, block in split(b"".join(frames)):
        data = unframe(block)
        if "sequenceNumber" in data and "done" not in data and data["timestamp"] <= moment:
            found = offset
    return found
