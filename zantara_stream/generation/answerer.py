"""What an answerer is given and what it yields; the two answerers share no more than this."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..people.person import NOBODY, Person
from ..retrieval.passages import Passage
from ..retrieval.search import Hit
from ..retrieval.served import Served
from .small_talk import recognise


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier turn of a conversation; `role` is user or assistant."""

    role: str
    content: str


def earlier(history: tuple[Turn, ...]) -> list[str]:
    """What the person asked before, oldest first, without greetings and thanks."""
    return [turn.content for turn in history if turn.role == "user" and recognise(turn.content) is None]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question with what was found for it, best first; `language` is the likely one of the question.

    `written` is the text that an answer broke off after: what is wanted is the rest of it. `served` is the build
    in which the passages were found. `facts` are sentences that the person said about themself, `summary` stands for
    the turns before the history.
    """

    query: str
    history: tuple[Turn, ...] = ()
    hits: tuple[Hit, ...] = ()
    language: str = "en"
    small_talk: str = ""  # its kind, where the question is none
    written: str = ""
    served: Served | None = None
    person: Person = NOBODY
    facts: tuple[str, ...] = ()
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """Words that an answerer says stand in a passage, and the span of its answer that they support.

    `place` is their span in the passage's text, where the answerer knows it.
    """

    passage: Passage
    text: str
    supports: tuple[int, int]
    place: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete.

    `made_from` are the passages it was made from, None for all that were given; `model` is who wrote it, where it is
    not who was asked.
    """

    stop_reason: str = "end_turn"
    usage: Mapping[str, int] = field(default_factory=dict)
    made_from: tuple[Hit, ...] | None = None
    model: str = ""


Part = str | Quote | Finish


class Answerer(Protocol):
    """Writes an answer: text as it is produced, quotes after the text they support, one finish at the end.

    The spans of quotes count from the beginning of the answer, `Prompt.written` included.
    """

    model: str

    def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """Yield the answer's parts. Raises `ModelError`."""
        ...

    async def prepare(self) -> None:
        """Have there what the first answer would have to wait for."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
