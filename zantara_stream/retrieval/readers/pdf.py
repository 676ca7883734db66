"""PDF: the lines of each page put together to paragraphs, larger type read as headings."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from dataclasses import dataclass

import pypdfium2
import pypdfium2.raw as pdfium

from ..documents import Unreadable
from .details import Draft
from .outline import Outline

PAGES_LIMIT = 2000
_ITEM = re.compile(r"(?:[•▪◦‣·–-]|\d{1,2}[.)])\s+")
_BULLET = re.compile(r"[•▪◦‣·–-]\s+")
_HEADING_RATIO = 1.12  # of the body's size of type
_SMALLER = 0.85  # of the body's size: bold type below that is a caption
_FULL_LINE = 0.9  # of the text's width: a shorter line ends its paragraph
_MARGINS = 2  # lines at each end of a page that may be running headers and footers


Style = tuple[float, bool]  # size in points, bold


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    style: Style
    right: float  # points from the page's left edge
    page: int


def read_pdf(data: bytes) -> Draft:
    """Read a PDF that has text in it; scanned and encrypted ones are `Unreadable`."""
    if not data.lstrip()[:5] == b"%PDF-":
        raise Unreadable("is not a PDF file")
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise Unreadable("is encrypted with a password") from None
        raise Unreadable(f"cannot be opened as PDF ({error})") from None
    try:
        return _read(pdf)
    finally:
        pdf.close()


def _read(pdf: pypdfium2.PdfDocument) -> Draft:
    if len(pdf) > PAGES_LIMIT:
        raise Unreadable(f"has {len(pdf)} pages; at most {PAGES_LIMIT} are read")
    pages = [_lines(pdf[number], number) for number in range(len(pdf))]
    lines = _without_margins(pages)
    if not lines:
        raise Unreadable("has no text; it may be scanned")
    outline = _compose(lines, len(pages))
    metadata = pdf.get_metadata_dict()
    title = metadata.get("Title", "").strip() or outline.first_heading
    return Draft(
        outline.text,
        outline.sections(title),
        title,
        updated=_date(metadata.get("ModDate", "")),
        pages=tuple(outline.pages),
    )


def _lines(page: pypdfium2.PdfPage, number: int) -> list[_Line]:
    textpage = page.get_textpage()
    lines, position = [], 0
    for raw in textpage.get_text_range().split("\n"):
        text = " ".join(raw.replace("\ufffe", "").split())
        if text:
            last = position + len(raw.rstrip()) - 1
            lines.append(_Line(text, _style(textpage, position, last), textpage.get_charbox(last)[2], number))
        position += len(raw) + 1
    return lines


def _style(textpage: pypdfium2.PdfTextPage, first: int, last: int) -> Style:
    size = pdfium.FPDFText_GetFontSize(textpage, first)
    return round(size, 1), _bold(textpage, first) and _bold(textpage, last)


def _bold(textpage: pypdfium2.PdfTextPage, position: int) -> bool:
    name = ctypes.create_string_buffer(128)
    pdfium.FPDFText_GetFontInfo(textpage, position, name, len(name), None)
    return b"bold" in name.value.lower()


def _without_margins(pages: list[list[_Line]]) -> list[_Line]:
    """Leave out what stands at the top or bottom of most pages, page numbers aside."""
    if len(pages) < 2:
        return [line for page in pages for line in page]
    seen = Counter(shape for page in pages for shape in {_shape(line) for line in _edges(page)})
    running = {shape for shape, count in seen.items() if count > len(pages) / 2 and count > 1}
    return [
        line
        for page in pages
        for place, line in enumerate(page)
        if not (_shape(line) in running and not _MARGINS <= place < len(page) - _MARGINS)
    ]


def _edges(page: list[_Line]) -> list[_Line]:
    return page[:_MARGINS] + page[-_MARGINS:]


def _shape(line: _Line) -> str:
    return re.sub(r"\d+", "#", line.text)


def _compose(lines: list[_Line], pages: int) -> Outline:
    outline = Outline()
    body = _body(lines)
    width = max(line.right for line in lines)
    levels = _levels(lines, body)
    listed = False
    for paragraph in _paragraphs(lines, levels, width):
        while len(outline.pages) <= paragraph[0].page:
            outline.page()
        text = " ".join(line.text for line in paragraph)
        if paragraph[0].style in levels:
            outline.heading(levels[paragraph[0].style], text)
        else:
            outline.block(
                _BULLET.sub("- ", text, count=1) if _BULLET.match(text) else text,
                tight=bool(_ITEM.match(text)) and listed,
            )
        listed = bool(_ITEM.match(text))
    while len(outline.pages) < pages:
        outline.page()
    return outline


def _body(lines: list[_Line]) -> Style:
    """The style that most characters have."""
    weights: Counter[Style] = Counter()
    for line in lines:
        weights[line.style] += len(line.text)
    return weights.most_common(1)[0][0]


def _levels(lines: list[_Line], body: Style) -> dict[Style, int]:
    """The heading level of each style that stands out: larger than the body, or bold where that is not."""
    larger = {line.style for line in lines if line.style[0] > body[0] * _HEADING_RATIO}
    bolder = {line.style for line in lines if line.style[1] > body[1] and line.style[0] > body[0] * _SMALLER}
    styles = sorted(larger | bolder, reverse=True)
    return {style: min(level, 6) for level, style in enumerate(styles, 1)}


def _paragraphs(lines: list[_Line], levels: dict[Style, int], width: float) -> list[list[_Line]]:
    paragraphs: list[list[_Line]] = []
    for line in lines:
        if paragraphs and _continues(paragraphs[-1][-1], line, levels, width):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    return paragraphs


def _continues(before: _Line, line: _Line, levels: dict[Style, int], width: float) -> bool:
    if before.style != line.style or _ITEM.match(line.text):
        return False
    if line.style in levels:
        return before.page == line.page
    if before.page != line.page and before.text[-1] in ".:;!?":
        return False
    return before.right >= width * _FULL_LINE


def _date(stamp: str) -> str:
    """The ISO date of a PDF date ("D:20260514…")."""
    match = re.match(r"D:(\d{4})(\d{2})(\d{2})", stamp)
    return "-".join(match.groups()) if match else ""
