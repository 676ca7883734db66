"""Passages and hits made for tests of answerers."""

from __future__ import annotations

from zantara_stream.retrieval.passages import Passage
from zantara_stream.retrieval.search import Hit

DOCUMENT = "permits/renewal.md"
LEAD = "# Renewing a permit\n\n"  # what stands before the passage in its document
TEXT = "A permit is renewed at the office. Renewal costs Rp 3 million. It takes five days."
BLOCKS = ["A permit is renewed at the office. ", "Renewal costs Rp 3 million. ", "It takes five days."]


def passage(
    text: str = TEXT,
    *,
    lead: str = LEAD,
    document: str = DOCUMENT,
    title: str = "Renewing a permit",
    section: str = "Fees",
    language: str = "en",
    updated: str = "",
    url: str = "",
    level: int = 0,
) -> Passage:
    """A passage that stands after `lead` in its document."""
    return Passage(
        id=f"id of {document}",
        document=document,
        title=title,
        section=section,
        page=None,
        language=language,
        updated=updated,
        url=url,
        level=level,
        start=len(lead),
        end=len(lead) + len(text),
        text=text,
    )


def hit(found: Passage | None = None, similarity: float = 0.8) -> Hit:
    """A relevant hit."""
    return Hit(found or passage(), similarity, similarity, relevant=True)
