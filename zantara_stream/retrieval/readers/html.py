"""HTML: the text of its body, without navigation, scripts and footers."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from ..documents import Unreadable
from .details import Draft, decode
from .metadata import BadMetadata, level_of
from .outline import Outline

_BOILERPLATE = "script,style,noscript,template,nav,footer,aside,form,iframe,svg,button,head"
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        """
        p div section article main header ul ol dl li dt dd table thead tbody tfoot tr caption blockquote
        td th figure figcaption pre address hr br details summary body h1 h2 h3 h4 h5 h6
        """,
    )
)

_ITEMS = ("tr", "li", "dt", "dd")
_LAYOUT = frozenset(("table", "ul", "ol", "dl", *_HEADINGS))  # in a table row: it is there for the looks


class Page:
    """A page as its parser sees it: what its head says, and its body to be written out."""

    def __init__(self, text: str) -> None:
        self._tree = LexborHTMLParser(text)
        self.title = _text(self._tree.css_first("title"))

    def attribute(self, selector: str, name: str) -> str:
        """An attribute of the first element that matches."""
        node = self._tree.css_first(selector)
        return (node.attributes.get(name) or "").strip() if node else ""

    def said(self, name: str) -> list[str]:
        """What every `<meta>` of that name says."""
        return [node.attributes.get("content") or "" for node in self._tree.css(f'meta[name="{name}" i]')]

    def write(self, outline: Outline) -> None:
        """Write the body without its furniture, which is taken out of the page."""
        for node in self._tree.css(_BOILERPLATE):
            node.decompose()
        if self._tree.body is not None:
            _Writer(outline).walk(self._tree.body)


def read_html(data: bytes) -> Draft:
    """Read a page; its title is the first heading, or what `<title>` says."""
    page, outline = Page(decode(data)), Outline()
    language, url = page.attribute("html", "lang"), page.attribute("link[rel=canonical]", "href")
    updated = page.attribute("meta[name=date]", "content") or page.attribute("time", "datetime")
    level, status = _level(page), next(iter(page.said("zantara:status")), "").strip()
    page.write(outline)
    title = outline.first_heading or page.title
    sections = outline.sections(title)
    return Draft(outline.text, sections, title, language, updated, url, level=level, status=status)


def _level(page: Page) -> int | None:
    try:
        return level_of(page.said("zantara:level"))
    except BadMetadata as problem:
        raise Unreadable(f"has a head that {problem}") from None


def _text(node: LexborNode | None) -> str:
    return " ".join(node.text(separator=" " * _holds(node, _BLOCKS)).split()) if node else ""


class _Writer:
    """Writes a tree's blocks to an outline; runs of inline text become one paragraph."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._run: list[str] = []
        self._items = 0

    def walk(self, parent: LexborNode) -> None:
        stack = [(child, False) for child in reversed(list(parent.iter(include_text=True)))]
        while stack:  # a loop, since a hostile page can be nested deeper than Python recurses
            node, seen = stack.pop()
            tag = node.tag or ""
            if seen or tag == "-text":
                self._leave(node, tag)
            elif tag in _HEADINGS or (tag in _ITEMS and not _holds(node, _LAYOUT if tag == "tr" else _BLOCKS)):
                self._whole(node, tag)
            else:
                self._enter(tag)
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(list(node.iter(include_text=True))))
        self._flush()

    def _enter(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._flush()

    def _leave(self, node: LexborNode, tag: str) -> None:
        if tag == "-text":
            self._run.append(node.text_content or "")
        elif tag in _BLOCKS:
            self._flush()

    def _flush(self) -> None:
        text = " ".join("".join(self._run).split())
        self._run.clear()
        if text:
            self._outline.block(text)
            self._items = 0

    def _whole(self, node: LexborNode, tag: str) -> None:
        self._flush()
        if tag in _HEADINGS:
            self._outline.heading(_HEADINGS[tag], _text(node))
            self._items = 0
            return
        text = " | ".join(_text(cell) for cell in node.css("td,th")) if tag == "tr" else _text(node)
        if text:
            self._outline.block(text if tag == "tr" else f"- {text}", tight=self._items > 0)
            self._items += 1


def _holds(node: LexborNode, tags: frozenset[str]) -> bool:
    below = list(node.iter())
    while below:  # not `traverse`, which visits all of them before it yields the first
        child = below.pop()
        if child.tag in tags:
            return True
        below.extend(child.iter())
    return False
