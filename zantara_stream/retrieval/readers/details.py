"""What a reader found, completed to a document: its title, language and date."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..documents import Document, Section, Unreadable
from ..language import language_of

UPDATED_LINE = re.compile(
    r"^\W*(?:last\s+)?(?:updated|diperbarui|aggiornato|date|tanggal|data)\W*:\W*(\d{4}-\d{2}-\d{2})\b",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"[^\W_]")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NEAR_TOP = 1500  # characters in which a visible date is looked for
_SAMPLE = 4000  # characters that tell the language


@dataclass(frozen=True, slots=True)
class Draft:
    """What a format's reader drew from a file."""

    text: str
    sections: tuple[Section, ...]
    title: str = ""
    language: str = ""
    updated: str = ""
    url: str = ""
    pages: tuple[int, ...] = ()
    markdown: bool = False


def complete(path: str, draft: Draft) -> Document:
    """The draft as a document. Raises `Unreadable` where there is no text in it."""
    if not any(_WORD.search(draft.text, section.start, section.end) for section in draft.sections):
        raise Unreadable("has no text in it")
    return Document(
        path=path,
        title=" ".join(draft.title.split()) or _title_of(path),
        text=draft.text,
        sections=draft.sections,
        language=_language(draft),
        updated=_updated(draft),
        url=draft.url,
        pages=draft.pages,
        markdown=draft.markdown,
    )


def _title_of(path: str) -> str:
    return re.sub(r"[-_\s]+", " ", PurePosixPath(path).stem).strip().capitalize()


def _language(draft: Draft) -> str:
    declared = draft.language.strip().lower()[:2]
    if re.fullmatch("[a-z]{2}", declared):
        return declared
    return language_of(draft.text[:_SAMPLE])


def _updated(draft: Draft) -> str:
    # What the text says of itself goes before metadata, which programs stamp on what they save.
    visible = UPDATED_LINE.search(draft.text[:_NEAR_TOP])
    declared = _DATE.match(draft.updated)
    return visible[1] if visible else declared[0] if declared else ""


def decode(data: bytes) -> str:
    """Text as Python's `open` reads it: UTF-8, without byte order mark, every line end a newline."""
    if b"\0" in data:
        raise Unreadable("is not text (it holds zero bytes)")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text (byte {error.start} of {len(data)})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
