"""What a reader found, completed to a document: its title, language and date."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..documents import UPDATED_LINE, Document, Section, Unreadable
from ..language import SAMPLE, language_of
from .metadata import Metadata

_WORD = re.compile(r"[^\W_]")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_ADDRESS = re.compile(r"https?://[^\s<>\"\x00-\x20\ud800-\udfff]+", re.IGNORECASE)
_NEAR_TOP = 1500  # characters in which a visible date is looked for
_UNSTORABLE = re.compile(r"[\ud800-\udfff\x00]")  # half characters and zeros, which escapes can spell
NOTHING = Metadata()


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
    level: int | None = None
    status: str = ""


def complete(path: str, draft: Draft, sidecar: Metadata = NOTHING) -> Document:
    """The draft as a document, of which its sidecar knows best. Raises `Unreadable` where there is no text in it."""
    if not any(_WORD.search(draft.text, section.start, section.end) for section in draft.sections):
        raise Unreadable("has no text in it")
    declared = _declared(sidecar.language) or _declared(draft.language)
    level = draft.level if sidecar.level is None else sidecar.level
    return Document(
        path=path,
        title=_storable(" ".join((sidecar.title or draft.title).split())) or _title_of(path),
        text=_storable(draft.text),
        sections=tuple(Section(_storable(held.heading), held.start, held.end) for held in draft.sections),
        language=declared or language_of(draft.text[:SAMPLE]),
        updated=_date(sidecar.updated) or _updated(draft),
        url=_address(sidecar.url) or _address(draft.url),
        pages=draft.pages,
        markdown=draft.markdown,
        level=level or 0,
        status=_storable(sidecar.status or draft.status),
        language_declared=bool(declared),
    )


def _address(text: str) -> str:
    """An address that a reader may be led to: of the web, and nothing that a browser would run."""
    return text if _ADDRESS.fullmatch(text) else ""


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _title_of(path: str) -> str:
    return re.sub(r"[-_\s]+", " ", PurePosixPath(path).stem).strip().capitalize()


def _declared(language: str) -> str:
    code = language.strip().lower()[:2]
    return code if re.fullmatch("[a-z]{2}", code) else ""


def _updated(draft: Draft) -> str:
    # What the text says of itself goes before metadata, which programs stamp on what they save.
    visible = UPDATED_LINE.search(draft.text[:_NEAR_TOP])
    return visible[1] if visible else _date(draft.updated)


def _date(stamp: str) -> str:
    match = _DATE.match(stamp)
    return match[0] if match else ""


def decode(data: bytes) -> str:
    """Text as Python's `open` reads it: UTF-8, without byte order mark, every line end a newline."""
    if b"\0" in data:
        raise Unreadable("is not text (it holds zero bytes)")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text (byte {error.start} of {len(data)})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
