"""The text of a document put together block by block, with its headings and pages."""

from __future__ import annotations

from ..documents import JOIN, Section, Unreadable

TEXT_LIMIT = 50_000_000  # characters, so that a small file cannot be made to grow without end


class HeadingPath:
    """The headings above a place: a heading replaces those of its level and below."""

    def __init__(self) -> None:
        self._levels: list[tuple[int, str]] = []

    def enter(self, level: int, text: str) -> None:
        """Step under a heading."""
        self._levels = [held for held in self._levels if held[0] < level]
        self._levels.append((level, text))

    def shown(self, title: str) -> str:
        """The path without the document's own title."""
        return JOIN.join(text for _, text in self._levels if text not in ("", title))


class Outline:
    """Collects headings and blocks of text; blocks stand a blank line apart in the document's text."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._marks: list[tuple[int, int, str, int]] = []  # start, end, heading text, level
        self.pages: list[int] = []
        self.first_heading = ""

    def _add(self, text: str, gap: str = "\n\n") -> int:
        start = self._length + (len(gap) if self._parts else 0)
        if self._parts:
            self._parts.append(gap)
        self._parts.append(text)
        self._length = start + len(text)
        if self._length > TEXT_LIMIT:
            raise Unreadable(f"has more than {TEXT_LIMIT:,} characters of text")
        return start

    def page(self) -> None:
        """Begin a new page."""
        self.pages.append(self._length + 2 if self._parts else 0)

    def part(self, name: str = "") -> None:
        """Begin a part that is under none of the headings before; its name is not written into the text."""
        self._marks.append((self._length, self._length, name, 1))

    def heading(self, level: int, text: str) -> None:
        """Add a heading; 1 is the highest level."""
        text = " ".join(text.split())
        if text:
            start = self._add(text)
            self._marks.append((start, self._length, text, level))
            self.first_heading = self.first_heading or text

    def block(self, text: str, *, tight: bool = False) -> None:
        """Add a paragraph, or with `tight` a list item or table row that follows on the next line."""
        if text:
            self._add(text, "\n" if tight else "\n\n")

    @property
    def text(self) -> str:
        """Everything added so far."""
        return "".join(self._parts)

    def sections(self, title: str) -> tuple[Section, ...]:
        """The stretches between the headings that have text in them."""
        return sections_between(self.text, self._marks, title)


def sections_between(
    text: str, headings: list[tuple[int, int, str, int]], title: str, start: int = 0
) -> tuple[Section, ...]:
    """Cut `text` at its headings, each given as (start, end, heading, level); blank stretches are left out."""
    path, sections = HeadingPath(), []
    begin = start
    for heading_start, heading_end, heading, level in [*headings, (len(text), len(text), "", 1)]:
        if text[begin:heading_start].strip():
            sections.append(Section(path.shown(title), begin, heading_start))
        path.enter(level, heading)
        begin = heading_end
    return tuple(sections)
