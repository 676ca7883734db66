"""HTML: the text of its body, without navigation, scripts and footers."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from .details import Draft, decode
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


def read_html(data: bytes) -> Draft:
    """Read a page; its title is the first heading, or what `<title>` says."""
    tree = LexborHTMLParser(decode(data))
    title, language = _text(tree.css_first("title")), _attribute(tree, "html", "lang")
    updated = _attribute(tree, "meta[name=date]", "content") or _attribute(tree, "time", "datetime")
    url = _attribute(tree, "link[rel=canonical]", "href")
    for node in tree.css(_BOILERPLATE):
        node.decompose()
    outline = Outline()
    if tree.body is not None:
        _Writer(outline).walk(tree.body)
    title = outline.first_heading or title
    return Draft(outline.text, outline.sections(title), title, language, updated, url)


def _text(node: LexborNode | None) -> str:
    return " ".join(node.text(separator=" " * _holds(node, _BLOCKS)).split()) if node else ""


def _attribute(tree: LexborHTMLParser, selector: str, name: str) -> str:
    node = tree.css_first(selector)
    return (node.attributes.get(name) or "").strip() if node else ""


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
