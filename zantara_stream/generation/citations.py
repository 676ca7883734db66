"""Citations: a quote holds only if it stands in the document character for character."""

from __future__ import annotations

import logging

from ..retrieval.passages import Passage
from .answerer import Quote

logger = logging.getLogger(__name__)


def locate(quote: str, passage: Passage) -> tuple[int, int] | None:
    """The span of the quote in the passage's document, or None where the passage does not hold it.

    A passage's text is a slice of its document's, so a place in it is a place in the document.
    """
    place = passage.text.find(quote) if quote else -1
    return (passage.start + place, passage.start + place + len(quote)) if place >= 0 else None


def verified(quote: Quote) -> tuple[str, int, int] | None:
    """The quoted words and their span in the document; None, and a line in the log, where they are not there."""
    words = quote.text.strip()
    span = locate(words, quote.passage)
    if span is None:
        logger.warning("dropped a citation that passage %s does not hold", quote.passage.id)
        return None
    return words, *span
