"""Going on with an answer that broke off: what is written already is not written again."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from ..errors import AnswerExpired
from .answerer import Finish, Part

CHANGED = "The documents changed while this answer was being written. Please ask again."


class Seam:
    """Joins the rest of an answer to its beginning.

    White space that ends the beginning does not begin the rest too. Whoever was *shown* the beginning may
    repeat the end of it: from a word's start on, never from within one, so that `10.000` goes on with
    `.000` and stays a number. What may yet turn out to be a repetition is held back.
    """

    def __init__(self, written: str, *, shown: bool = True) -> None:
        self._written = written
        self._text = text = written.rstrip()
        self._space = written[len(text) :]
        self._held = ""
        self._repeats = self._dropped = 0  # characters of the rest: that repeat the end, and that are not passed on
        self._open = bool(written)
        starts = (n for n in range(len(text)) if not text[n].isspace() and (n == 0 or text[n - 1].isspace()))
        self._starts = list(starts) if shown else []  # of its words, the longest end first

    @property
    def holds(self) -> bool:
        """Whether it holds back what may yet turn out to be a repetition."""
        return bool(self._held)

    def place(self, taken: int) -> int:
        """Where in the answer the rest stands after that many of its characters, once nothing is held back."""
        if taken <= self._repeats:
            return len(self._text) - self._repeats + taken
        return len(self._written) - self._dropped + taken

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
        longest = len(self._written) - len(self._held)
        return any(n < longest and self._written.startswith(self._held, n) for n in self._starts)

    def finish(self) -> str:
        """What was held back and is new after all; from now on everything is."""
        held, self._held = self._held, ""
        if not held:
            return ""
        self._open, self._repeats = False, self._repeated(held)
        rest = held[self._repeats :]
        common = 0
        while common < min(len(rest), len(self._space)) and rest[common] == self._space[common]:
            common += 1
        self._dropped = self._repeats + common
        return rest[common:]

    def _repeated(self, held: str) -> int:
        """How much of it repeats the end of the text; a word that ended there is no beginning of a longer one."""
        for start in self._starts:
            length = len(self._text) - start
            whole = not self._space or not held[length : length + 1].strip()
            if whole and length <= len(held) and self._text.startswith(held[:length], start):
                return length
        return 0


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
        elif isinstance(part, Finish) and rest:
            raise AnswerExpired(CHANGED)
        if part:
            yield part
