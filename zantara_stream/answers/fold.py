"""A log folded to one value: what a reader has who has read it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .events import unframe


@dataclass(slots=True)
class Folded:
    """The answer as a whole; `done` and `error` are the terminal event's data, whichever came."""

    text: str = ""
    citations: list[Mapping[str, Any]] = field(default_factory=list)
    sources: list[Mapping[str, Any]] = field(default_factory=list)
    done: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None

    def add(self, data: Mapping[str, Any]) -> None:
        """Take in the data of one event."""
        if "error" in data:
            self.error = data
        elif "done" in data:
            self.done = data
        elif "text" in data:
            self.text += data["text"]
        elif "citation" in data:
            self.citations.append(data["citation"])
        else:
            self.sources.extend(data["sources"])


def fold(frames: Iterable[bytes]) -> Folded:
    """Fold encoded events in their order."""
    folded = Folded()
    for block in frames:
        folded.add(unframe(block))
    return folded
