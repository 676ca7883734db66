"""Texts between delimiters that they cannot forge: the delimiters bear a tag that is drawn for each request."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

Draw = Callable[[], str]

_LINE_END = re.compile("[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A text to stand between delimiters of that name, and what the opening one says of it."""

    name: str
    text: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    def between(self, tag: str) -> str:
        """The text as it is, each of its delimiters on a line of its own."""
        attributes = "".join(f' {name}="{_escaped(value)}"' for name, value in self.attributes.items())
        return f"<{self.name}-{tag}{attributes}>\n{self.text}\n</{self.name}-{tag}>"


def drawn() -> str:
    """Eight hexadecimal digits, which nobody can know beforehand."""
    return secrets.token_hex(4)


def enclose(texts: Sequence[Enclosed], elsewhere: Iterable[str] = (), draw: Draw = drawn) -> tuple[str, list[str]]:
    """The tag, and the texts between their delimiters.

    `draw` gives a tag in small letters; it is asked again as long as the tag stands, in letters of any size, in a
    text, an attribute, or what else goes `elsewhere` into the request. So the tag stands in delimiters only.
    """
    held = [part for text in texts for part in (text.text, *text.attributes.values())]
    said = "\n".join([*held, *elsewhere]).casefold()
    while (tag := draw()) in said:
        pass
    return tag, [text.between(tag) for text in texts]


def _escaped(value: str) -> str:
    return _LINE_END.sub(lambda end: f"&#{ord(end[0])};", escape(value))
