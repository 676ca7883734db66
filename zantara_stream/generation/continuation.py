"""Going on with an answer that broke off: what is written already is not written again."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from ..errors import AnswerExpired
from .answerer import Part

CHANGED = "The documents changed while this answer was being written. Please ask again."


class Seam:
    """Joins the rest of an answer to its beginning.

    White space that ends the beginning does not begin the rest too. Whoever was *shown* the beginning may
    repeat the end of it: from a word's start on, never from within one, so that `10.000` goes on with
    `.000` and stays a number. What may yet turn out to be a repetition is held back.
    """

    def __init__(self, written: str, *, shown: bool = True) -> None:
        self._written = written
        self._held = ""
        self._open = bool(written)
        space = written[len(written.rstrip()) :]
        self._space = space
        starts = [n for n in range(len(written)) if not written[n].isspace() and (n == 0 or written[n - 1].isspace())]
        self._ends = [written[n:] for n in starts] if shown else []  # longest first

    def take(self, text: str) -> str:
        """What of it is new, as far as that is known."""
        if not self._open:
            return text
        self._held += text
        if self._undecided():
            return ""
        return self.finish()

    def _undecided(self) -> bool:
        if not self._held.strip() and self._space.startswith(self._held):
            return True
        return any(len(end) > len(self._held) and end.startswith(self._held) for end in self._ends)

    def finish(self) -> str:
        """What was held back and is new after all; from now on everything is."""
        held, self._held = self._held, ""
        self._open = self._open and not held
        for end in self._ends:
            if held.startswith(end):
                return held[len(end) :]
        common = 0
        while common < min(len(held), len(self._space)) and held[common] == self._space[common]:
            common += 1
        return held[common:]


async def unwritten(parts: AsyncGenerator[Part, None], written: str) -> AsyncGenerator[Part, None]:
    """The parts of an answer that is made anew, its text only from behind what is written.

    Raises `AnswerExpired` where it would not begin with that, since the documents have changed.
    """
    rest = written
    async for part in parts:
        if isinstance(part, str):
            known = min(len(rest), len(part))
            if part[:known] != rest[:known]:
                raise AnswerExpired(CHANGED)
            part, rest = part[known:], rest[known:]
        if part:
            yield part
