"""Word documents (.docx), their parts unpacked within limits."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from docx import Document as open_docx
from docx.oxml.ns import qn
from docx.text.paragraph import Paragraph

from ..documents import Unreadable
from .archive import Archive
from .details import Draft
from .outline import Outline

_LEVEL = re.compile(r"(?:heading|judul|titolo)\s+(\d)", re.IGNORECASE)
_OLE = b"\xd0\xcf\x11\xe0"  # begins what Word wrote before 2007, and what it encrypts to this day
_PARAGRAPH, _TABLE, _ROW, _CELL, _RUN = (qn(f"w:{name}") for name in ("p", "tbl", "tr", "tc", "r"))
# What may stand around any of these: content controls, links, fields, and insertions not yet accepted.
_AROUND = frozenset(
    qn(f"w:{name}")
    for name in ("sdt", "sdtContent", "ins", "moveTo", "hyperlink", "smartTag", "fldSimple", "customXml", "dir", "bdo")
)

_PLACEHOLDER = f"{qn('w:sdtPr')}/{qn('w:showingPlcHdr')}"


def read_docx(data: bytes) -> Draft:
    """Read headings, paragraphs, lists and tables in their order, those in content controls too."""
    if data.startswith(_OLE):
        raise Unreadable("is encrypted with a password, or of a format before Word 2007")
    Archive(data).check()
    document = open_docx(io.BytesIO(data))
    outline = Outline()
    tight = False
    for block in _inside(document.element.body, _PARAGRAPH, _TABLE):
        if block.tag == _PARAGRAPH:
            tight = _paragraph(outline, block, Paragraph(block, document), tight)
        else:
            tight = _table(outline, block)
    properties = document.core_properties
    title = properties.title or outline.first_heading
    updated = properties.modified.date().isoformat() if properties.modified else ""
    return Draft(outline.text, outline.sections(title), title, properties.language or "", updated)


def _inside(element: Any, *tags: str) -> Iterator[Any]:
    """The children of those tags, and those that stand in what may be around them."""
    for child in element:
        if child.tag in tags:
            yield child
        elif child.tag in _AROUND and child.find(_PLACEHOLDER) is None:  # "Click here to enter text"
            yield from _inside(child, *tags)


def _text(paragraph: Any) -> str:
    return " ".join("".join(run.text for run in _inside(paragraph, _RUN)).split())


def _paragraph(outline: Outline, element: Any, paragraph: Paragraph, tight: bool) -> bool:
    """Write one paragraph; says whether it was a list item, after which the next one follows closely."""
    style = (paragraph.style.name or "") if paragraph.style else ""
    text = _text(element)
    level = _LEVEL.match(style)
    if style == "Title" or level:
        outline.heading(int(level[1]) if level else 1, text)
        return False
    if style.startswith("List"):
        outline.block(f"- {text}" if text else "", tight=tight)
        return True
    outline.block(text)
    return False


def _table(outline: Outline, table: Any) -> bool:
    for number, row in enumerate(_rows(table)):
        outline.block(" | ".join(row), tight=number > 0)
    return False


def _rows(table: Any) -> Iterator[list[str]]:
    """The texts of each row's cells; a cell merged downwards says its text in every row, which then stands alone."""
    above: dict[int, str] = {}
    for row in _inside(table, _ROW):
        column, texts = 0, []
        for cell in _inside(row, _CELL):
            merged = cell.vMerge == "continue"
            above[column] = above.get(column, "") if merged else " ".join(_cell_texts(cell))
            texts.append(above[column])
            column += cell.grid_span
        yield texts


def _cell_texts(cell: Any) -> Iterator[str]:
    for block in _inside(cell, _PARAGRAPH, _TABLE):
        if block.tag == _PARAGRAPH:
            yield _text(block)
        else:
            for row in _rows(block):
                yield from row
