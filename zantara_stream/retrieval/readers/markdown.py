"""Markdown (CommonMark with tables and YAML front matter); the document's text is the file's own."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.front_matter import front_matter_plugin

from ..documents import Unreadable
from .details import Draft, decode
from .outline import sections_between

_parser = MarkdownIt("commonmark").enable("table").use(front_matter_plugin)


def read_markdown(data: bytes) -> Draft:
    """Read Markdown; headings and front matter cut it into sections, spans count in the source."""
    text = decode(data)
    tokens = _parser.parse(text)
    lines = _line_starts(text)
    matter = _front_matter(tokens)
    headings = list(_headings(tokens, lines))
    title = _field(matter, "title") or next((h[2] for h in headings if h[3] == 1), "")
    return Draft(
        text=text,
        sections=sections_between(text, headings, title, _matter_end(tokens, lines)),
        title=title,
        language=_field(matter, "language", "lang"),
        updated=_field(matter, "updated", "lastmod", "date"),
        url=_field(matter, "url", "source"),
        markdown=True,
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


def _front_matter(tokens: list[Token]) -> dict[str, Any]:
    if not tokens or tokens[0].type != "front_matter":
        return {}
    try:
        matter = yaml.safe_load(tokens[0].content)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that no calendar has
        raise Unreadable(f"has front matter that is not YAML ({' '.join(str(error).split())})") from None
    return matter if isinstance(matter, dict) else {}


def _field(matter: dict[str, Any], *names: str) -> str:
    return next((str(matter[name]) for name in names if matter.get(name)), "")
