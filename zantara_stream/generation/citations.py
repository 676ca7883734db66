"""Citations: a quote holds only if the stored document has it, character for character, where it is said to stand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from ..metrics import CITATIONS
from ..retrieval.passages import Passage
from .answerer import Quote

logger = logging.getLogger(__name__)

Span = tuple[int, int]
Stored = Callable[[str, int, int], str | None]  # a stretch of a document's text as it was indexed; None for no document


def verified(quote: Quote, stored: Stored) -> tuple[str, int, int] | None:
    """The document's own words and their span in it; None, and a line in the log, where it does not have them.

    Words that stand in a passage several times are those of the quote's place, or the first.
    """
    passage = quote.passage
    for start, end in _places(quote):
        words = passage.text[start:end]
        span = (passage.start + start, passage.start + end)
        if stored(passage.document, *span) == words:
            CITATIONS.labels(verified="true").inc()
            return words, *span
    drop("document %s does not hold what is quoted of passage %s", passage.document, passage.id)
    return None


def drop(why: str, *where: object) -> None:
    """Count a citation that does not hold, and log why; its words stay out of the log."""
    CITATIONS.labels(verified="false").inc()
    logger.warning(f"dropped a citation: {why}", *where)


def _places(quote: Quote) -> Iterator[Span]:
    """Where in its passage's text a quote may stand."""
    if quote.place is None:
        yield from occurrences(quote.text.strip(), quote.passage)
        return
    start, end = quote.place
    found = quote.passage.text[start:end]
    if found.split() == quote.text.split() != []:  # models send other line ends
        start += len(found) - len(found.lstrip())
        yield start, start + len(found.strip())


def occurrences(words: str, passage: Passage) -> Iterator[Span]:
    """Every span of a passage's text that is these words."""
    start = passage.text.find(words) if words else -1
    while start >= 0:
        yield start, start + len(words)
        start = passage.text.find(words, start + 1)
