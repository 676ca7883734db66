"""What tests of logs and journals share: events by letter, blocks as they are appended, and a clock that tests set."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from zantara_stream.answers import database, memory, redis_layout
from zantara_stream.answers.events import Citation, Done, Event, Failed, Sources, Stamp, Text, encode
from zantara_stream.answers.journal import Journal

LETTERS: dict[str, Event] = {
    "t": Text("word "),
    "c": Citation("p", "Source", "quote", 0, 5, 0, 4, verified=True),
    "s": Sources(({"source": "Source"},)),
    "d": Done("end_turn"),
    "f": Failed("internal", "Broken.", retryable=False),
}
ANSWERS = st.from_regex(r"[tc]{0,12}s?[df]", fullmatch=True)  # text* (citation | text)* sources? (done | error)


class Clock:
    """The time that journals look at."""

    def __init__(self) -> None:
        self.now = 1730552400.0

    def time(self) -> float:
        """Unix seconds."""
        return self.now

    monotonic = time

    def set_for_journals(self, patch: pytest.MonkeyPatch) -> None:
        """Let all journals look at this one."""
        patch.setattr(memory, "time", self)
        patch.setattr(database, "time", self)
        patch.setattr(redis_layout, "clock", lambda: f"local now = {round(self.now * 1000)}")


def block(answer: str, offset: int, event: Event | None = None) -> bytes:
    """An event as it is appended; a text unless another is given."""
    return encode(event or Text(f"{answer}{offset} "), Stamp(answer, offset, offset, 1730552400.0 + offset, 1.0, 0.5))


def last(answer: str, offset: int) -> bytes:
    """Its terminal event."""
    return block(answer, offset, Done("end_turn"))


async def frames(journal: Journal, answer: str) -> tuple[bytes, ...]:
    """What is kept of an answer's log."""
    stored = await journal.find(answer)
    assert stored is not None
    return stored.frames
