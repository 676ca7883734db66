"""Word documents (.docx), their parts unpacked within limits."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from itertools import groupby

from docx import Document as open_docx
from docx.table import Table, _Row
from docx.text.paragraph import Paragraph

from ..documents import Unreadable
from .details import Draft
from .outline import Outline

UNPACKED_LIMIT = 100 * 1024 * 1024  # bytes
ENTRIES_LIMIT = 2000
_CHUNK = 1024 * 1024
_LEVEL = re.compile(r"(?:heading|judul|titolo)\s+(\d)", re.IGNORECASE)


def read_docx(data: bytes) -> Draft:
    """Read headings, paragraphs, lists and tables in their order."""
    _check_size(data)
    document = open_docx(io.BytesIO(data))
    outline = Outline()
    tight = False
    for block in document.iter_inner_content():
        tight = _paragraph(outline, block, tight) if isinstance(block, Paragraph) else _table(outline, block)
    properties = document.core_properties
    title = properties.title or outline.first_heading
    updated = properties.modified.date().isoformat() if properties.modified else ""
    return Draft(outline.text, outline.sections(title), title, properties.language or "", updated)


def _check_size(data: bytes) -> None:
    """Count the bytes that really come out: what a zip archive says of its size is no promise."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > ENTRIES_LIMIT:
            raise Unreadable(f"has {len(entries)} parts; at most {ENTRIES_LIMIT} are read")
        total = 0
        for entry in entries:
            with archive.open(entry) as part:
                while chunk := part.read(_CHUNK):
                    total += len(chunk)
                    if total > UNPACKED_LIMIT:
                        raise Unreadable(f"unpacks to more than {UNPACKED_LIMIT // 2**20} MB")


def _paragraph(outline: Outline, paragraph: Paragraph, tight: bool) -> bool:
    """Write one paragraph; says whether it was a list item, after which the next one follows closely."""
    style = (paragraph.style.name or "") if paragraph.style else ""
    text = " ".join(paragraph.text.split())
    level = _LEVEL.match(style)
    if style == "Title" or level:
        outline.heading(int(level[1]) if level else 1, text)
        return False
    if style.startswith("List"):
        outline.block(f"- {text}" if text else "", tight=tight)
        return True
    outline.block(text)
    return False


def _table(outline: Outline, table: Table) -> bool:
    for number, row in enumerate(table.rows):
        outline.block(" | ".join(_cells(row)), tight=number > 0)
    return False


def _cells(row: _Row) -> Iterator[str]:
    for _, merged in groupby(row.cells, lambda cell: cell._tc):  # python-docx gives a merged cell once a column
        yield " ".join(next(merged).text.split())
