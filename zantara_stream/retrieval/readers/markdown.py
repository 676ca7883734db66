"""Markdown (CommonMark with tables and YAML front matter); the document's text is the file's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.front_matter import front_matter_plugin

from ..documents import Unreadable
from .details import Draft, decode
from .metadata import BadMetadata, Metadata, metadata_of, read_yaml
from .outline import sections_between

_parser = MarkdownIt("commonmark").enable("table").use(front_matter_plugin)
_LEVEL_NEAR_TOP = re.compile(
    r"\s*(?:---|\+\+\+)[ \t]*\n(?:[^\n]*\n){0,40}?[ \t]*(?:access[-_])?level[ \t]*[:=]", re.IGNORECASE
)


def read_markdown(data: bytes) -> Draft:
    """Read Markdown; headings and front matter cut it into sections, spans count in the source."""
    text = decode(data)
    tokens = _parser.parse(text)
    lines = _line_starts(text)
    matter = _front_matter(tokens, text)
    headings = list(_headings(tokens, lines))
    title = matter.title or next((h[2] for h in headings if h[3] == 1), "")
    return Draft(
        text=text,
        sections=sections_between(text, headings, title, _matter_end(tokens, lines)),
        title=title,
        language=matter.language,
        updated=matter.updated,
        url=matter.url,
        markdown=True,
        level=matter.level,
        status=matter.status,
    )


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    starts[-1] = len(text)
    return starts


def _headings(tokens: list[Token], lines: list[int]) -> Iterable[tuple[int, int, str, int]]:
    for opening, inline in pairwise(tokens):
        # A heading inside a quotation or list is part of that, not of the document's structure.
        if opening.type == "heading_open" and opening.level == 0 and opening.map:
            first, last = opening.map
            text = "".join(child.content for child in inline.children or ())
            yield lines[first], lines[last], text, int(opening.tag[1])


def _matter_end(tokens: list[Token], lines: list[int]) -> int:
    first = tokens[0] if tokens else None
    return lines[first.map[1]] if first and first.type == "front_matter" and first.map else 0


def _front_matter(tokens: list[Token], text: str) -> Metadata:
    if not tokens or tokens[0].type != "front_matter":
        if _LEVEL_NEAR_TOP.match(text):  # meant as front matter: to read past it would make the document public
            raise Unreadable("gives an access level in front matter that does not begin at the top or does not end")
        return Metadata()
    try:
        matter = read_yaml(tokens[0].content)
        return metadata_of(matter) if isinstance(matter, dict) else Metadata()
    except BadMetadata as problem:
        raise Unreadable(f"has front matter that {problem}") from None
