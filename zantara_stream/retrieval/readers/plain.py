"""Plain text: headings are recognised by underlines, numbers, capitals, or standing alone and short."""

from __future__ import annotations

import re

from .details import Draft, decode
from .outline import sections_between

_UNDERLINED = re.compile(r"^(?P<text>\S.*)\n(?P<rule>={3,}|-{3,})[ \t]*$", re.MULTILINE)
_NUMBERED = re.compile(r"(?:(?<=\n\n)|\A)(?P<number>\d+(?:\.\d+)*)[.)]?[ \t]+(?P<text>\S[^\n]{0,79})(?=\n|\Z)")
_CAPITALS = re.compile(r"(?:(?<=\n\n)|\A)(?P<text>[^\Wa-z\d_][^a-z\n]{3,79})(?=\n|\Z)")
_ALONE = re.compile(r"(?<=\n\n)(?P<text>[^\W\d_][^\n:]{2,59}[\w)?!])[ \t]*(?=\n\n)")


def read_plain(data: bytes) -> Draft:
    """Read plain text; the first line is the title where it stands alone like one."""
    text = decode(data)
    title = _title(text)
    return Draft(text, sections_between(text, _headings(text), title), title)


def _title(text: str) -> str:
    first = text.lstrip().split("\n", 1)[0].strip()
    return first if 0 < len(first) <= 120 and first[-1] not in ".,;:" else ""


def _headings(text: str) -> list[tuple[int, int, str, int]]:
    found: dict[int, tuple[int, int, str, int]] = {}
    for match in _ALONE.finditer(text):
        found[match.start()] = (match.start(), match.end(), match["text"], 3)
    for match in _CAPITALS.finditer(text):
        if match["text"].isupper():  # which scripts without capitals never are
            found[match.start()] = (match.start(), match.end(), match["text"].strip(), 2)
    for match in _NUMBERED.finditer(text):
        if match["text"].rstrip()[-1] not in ".,;:":
            level = 2 + match["number"].count(".")
            found[match.start()] = (match.start(), match.end(), match["text"].strip(), level)
    for match in _UNDERLINED.finditer(text):
        level = 1 if match["rule"].startswith("=") else 2
        found[match.start()] = (match.start(), match.end(), match["text"].strip(), level)
    return [found[start] for start in sorted(found)]
