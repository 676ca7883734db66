"""What happened in a run, as lines of JSON that are written while it happens.

run         seed, minutes, readers                        the first line
connection  reader, question, continuity, how, received   what one connection of a reader got; `how` it ended
reader      reader, question, finished                    a reader has its answer, or why not
model       question, written, broken                     a request to the model: how much of the answer it began with
fault       fault, node                                   what was done; `at`, `until`: seconds since the run began
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RUN, CONNECTION, READER, MODEL, FAULT = "run", "connection", "reader", "model", "fault"


class History:
    """The file; of each kind of line it knows how many there are."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.counts: dict[str, int] = {}
        self._lines = file.open("w", encoding="utf-8", buffering=1)
        self._began = time.monotonic()

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return round(time.monotonic() - self._began, 3)

    def note(self, what: str, **facts: Any) -> None:
        """Write a line."""
        self.counts[what] = self.counts.get(what, 0) + 1
        self._lines.write(json.dumps({"what": what, "until": self.now, **facts}) + "\n")

    def close(self) -> None:
        """No line will follow."""
        self._lines.close()


def as_text(received: bytes) -> str:
    """Bytes as a line can hold them, whatever they are."""
    return received.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """The bytes of such a text."""
    return text.encode("utf-8", "surrogateescape")


def read(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a history."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
