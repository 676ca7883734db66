"""One message of the Messages API, as the events of its stream tell it.

https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import ModelRefused
from ..retrieval.passages import Passage
from ..retrieval.sentences import partition
from .answerer import Finish, Part, Prompt, Quote
from .citations import Span, drop
from .continuation import Seam
from .failures import broken_off, failure
from .markers import Marker, Markers
from .prices import BYTES_PER_TOKEN
from .statements import Statements

STOP_REASONS = {
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
}
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class Text:
    """The text of a message, joined to what is written of its answer; `length` is that of both, in characters."""

    def __init__(self, written: str, *, shown: bool) -> None:
        self.length = len(written)
        self._seam = Seam(written, shown=shown)

    def take(self, text: str) -> Iterable[Part]:
        """What is new of the text that has come."""
        return self._new(self._seam.take(text))

    def finish(self) -> Iterable[Part]:
        """What was held back."""
        return self._new(self._seam.finish())

    def _new(self, text: str) -> Iterable[Part]:
        self.length += len(text)
        return (text,) if text else ()


class MarkedText(Text):
    """Text whose markers become quotes.

    They are taken out first: what is written has none, and what repeats it must be the same. So a marker may stand
    in what is held back, and its place in the answer is known only afterwards.
    """

    def __init__(self, prompt: Prompt, *, shown: bool) -> None:
        super().__init__(prompt.written, shown=shown)
        self._markers = Markers(len(prompt.hits), prompt.written)
        self._statements = Statements([hit.passage for hit in prompt.hits], prompt.language, prompt.written)
        self._read = 0  # characters that have come, without markers
        self._waiting: list[tuple[Marker, int]] = []  # with how much had been read before each

    def take(self, text: str) -> Iterable[Part]:
        """What is new of the text that has come, without markers, and their quotes."""
        return self._pieces(self._markers.take(text))

    def finish(self) -> Iterable[Part]:
        """What was held back."""
        yield from self._pieces(self._markers.finish())
        yield from super().finish()
        yield from self._quotes()

    def _pieces(self, pieces: list[str | Marker]) -> Iterator[Part]:
        for piece in pieces:
            if isinstance(piece, str):
                self._read += len(piece)
                yield from super().take(piece)
            else:
                self._waiting.append((piece, self._read))
            if not self._seam.holds:
                yield from self._quotes()

    def _new(self, text: str) -> Iterable[Part]:
        self._statements.add(text)
        return super()._new(text)

    def _quotes(self) -> Iterator[Part]:
        waiting, self._waiting = self._waiting, []
        for marker, read in waiting:
            yield from self._statements.quotes(marker, self._seam.place(read))


class Message:
    """The message that answers a prompt."""

    def __init__(self, prompt: Prompt) -> None:
        self.usage: dict[str, int] = {}
        self._prompt = prompt
        self._text = Text(prompt.written, shown=False)
        self._block_start = 0
        self._cited: list[Mapping[str, Any]] = []
        self._stop_reason = ""
        self._ended = False
        self._size = 0  # bytes of all that it wrote

    def begin(self, *, shown: bool, marked: bool) -> None:
        """Say how it was asked for: whether it was shown what is written, and asked to mark passages by number."""
        written = self._prompt.written
        self._text = MarkedText(self._prompt, shown=shown) if marked else Text(written, shown=shown)

    def take(self, event: Mapping[str, Any] | str) -> Iterable[Part]:
        """The parts that an event brings, or a piece of text. Raises `ModelError` for an error event."""
        return self._of_text(event) if isinstance(event, str) else self._of_event(event)

    def _of_event(self, event: Mapping[str, Any]) -> Iterator[Part]:
        match event.get("type"):
            case "content_block_delta":
                yield from self._delta(event["delta"])
            case "content_block_start":
                self._block_start = self._text.length
                yield from self._text.take(event["content_block"].get("text") or "")
            case "content_block_stop":
                yield from self._quotes()
            case "message_start":
                self._count(event["message"].get("usage") or {})
            case "message_delta":
                self._stop_reason = event["delta"].get("stop_reason") or self._stop_reason
                self._count(event.get("usage") or {})
            case "message_stop":
                self._ended = True
                yield from self._text.finish()
            case "error":
                raise failure(event)

    def _of_text(self, text: str) -> Iterable[Part]:
        self._size += len(text.encode(errors="replace"))
        return self._text.take(text)

    def _delta(self, delta: Mapping[str, Any]) -> Iterable[Part]:
        if delta["type"] == "text_delta":
            return self._of_text(delta["text"])
        self._size += len(str(delta.get("thinking") or "").encode(errors="replace"))
        if delta["type"] == "citations_delta":
            self._cited.append(delta["citation"])
        return ()

    def _quotes(self) -> Iterator[Part]:
        cited, self._cited = self._cited, []
        if self._text.length == self._block_start:  # it repeated what is written, with its citations
            return
        for citation in cited:
            quote = _quote(citation, self._prompt, (self._block_start, self._text.length))
            if quote is not None:
                yield quote

    def _count(self, usage: Mapping[str, Any]) -> None:
        self.usage |= {name: usage[name] for name in _COUNTS if isinstance(usage.get(name), int)}

    @property
    def spent(self) -> dict[str, int]:
        """The tokens paid for. The output of a message that was cut off is estimated: only its end would tell."""
        if self._ended:
            return self.usage
        return self.usage | {"output_tokens": max(self.usage.get("output_tokens", 0), self._size // BYTES_PER_TOKEN)}

    def finish(self) -> Finish:
        """The end of the message. Raises `ModelError` where the stream ended without it."""
        if not self._ended:
            raise broken_off()
        if self._stop_reason == "refusal" and not self._text.length:
            raise ModelRefused
        return Finish(STOP_REASONS.get(self._stop_reason, "end_turn"), self.usage)


def _quote(citation: Mapping[str, Any], prompt: Prompt, supports: Span) -> Quote | None:
    """A citation as the words of its passage; None, and counted, for one that names no passage that was given."""
    number = citation.get("search_result_index")
    if not isinstance(number, int) or not 0 <= number < len(prompt.hits):
        drop("it is of a passage that was not given")
        return None
    passage = prompt.hits[number].passage
    place = _place(passage, citation.get("start_block_index"), citation.get("end_block_index"))
    words = passage.text[slice(*place)] if place else ""
    return Quote(passage, citation.get("cited_text") or words, supports, place)


def _place(passage: Passage, first: object, last: object) -> Span | None:
    """The span in a passage's text of its blocks from the first to before the last; None where there are no such."""
    pieces = partition(passage.text, passage.language)
    if isinstance(first, int) and isinstance(last, int) and 0 <= first < last <= len(pieces):
        return pieces[first][0], pieces[last - 1][1]
    return None
