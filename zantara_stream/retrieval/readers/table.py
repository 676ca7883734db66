"""Tables as text (CSV, TSV): the first row names the columns of the others."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator

from ..documents import Unreadable
from .details import Draft, decode
from .outline import Outline

_DELIMITERS = "\t;|,"  # spreadsheets of some countries write semicolons; a comma most easily stands in a name


def read_csv(data: bytes) -> Draft:
    """Read a table whose columns are parted by what most often stands in its first line."""
    return _read(decode(data), lambda line: max(_DELIMITERS, key=line.count))


def read_tsv(data: bytes) -> Draft:
    """Read a table whose columns are parted by tabs."""
    return _read(decode(data), lambda line: "\t")


def _read(text: str, delimiter: Callable[[str], str]) -> Draft:
    lines = text.lstrip("\n").split("\n")
    rows = _rows(lines, delimiter(lines[0]))
    names = [" ".join(name.split()) for name in next(rows, [])]
    outline = Outline()
    for row in rows:
        outline.block(_line(names, row), tight=True)
    return Draft(outline.text, outline.sections(""))


def _rows(lines: list[str], delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
    try:
        yield from reader
    except csv.Error as error:
        raise Unreadable(f"has a row that cannot be read (line {reader.line_num}: {error})") from None


def _line(names: list[str], row: list[str]) -> str:
    # A row says its columns itself: as a passage or a quote it stands alone, however far its header is.
    values = [" ".join(value.split()) for value in row]
    return "; ".join(f"{_name(names, place)}: {value}" for place, value in enumerate(values) if value)


def _name(names: list[str], place: int) -> str:
    return (names[place] if place < len(names) else "") or f"Column {place + 1}"
