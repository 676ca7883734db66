"""Markers of passages (`[2]`, `[1][3]`, `[1, 3]`, `[^2]`, `[passage 2]`, `【2】`), taken out of a text as it streams.

- A marker names passages that were given, and nothing else: `[2026]`, `[x]` and `[text](url)` are text.
- In code nothing is a marker, nor is what is escaped, or followed by `(` as links are.
- A marker stands behind its statement. One that begins a line is text (a footnote, a list of sources), unless it
  is all of the line.
- One that clings to ASCII letters may be an index, as in `a[1]`. It is a marker if the sentence or the line ends
  with it and the letters are a plain word of at least three.

What is no marker is passed on as it is. What may still become one is held back: brackets of a bounded length, up to
eight characters of white space before them, and one or two characters after them, which decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NUMBER = r"(?:\^|passages? ?)?[1-9][0-9]{0,2}"
_MARKER = rf"[\[【] ?{_NUMBER}(?: ?[,;] ?{_NUMBER}){{0,7}} ?[\]】]"
_GROUP = re.compile(rf"(\s{{0,8}})({_MARKER}(?: ?{_MARKER}){{0,7}})", re.IGNORECASE)
_ONE = re.compile(_MARKER, re.IGNORECASE)
_PASSAGE_BEGUN = "|".join("passages"[:length] for length in range(1, 9))
_NUMBER_BEGUN = rf"(?:\^|(?:{_PASSAGE_BEGUN}) ?)"
_MARKER_BEGUN = rf"[\[【] ?(?:{_NUMBER} ?[,;] ?){{0,7}}(?:{_NUMBER} ?[,;]? ?|{_NUMBER_BEGUN})?"
_BEGUN = re.compile(rf"\s{{0,8}}(?:{_MARKER} ?){{0,8}}(?:{_MARKER_BEGUN})?", re.IGNORECASE)
_NEXT = re.compile(r"\s{0,8}(?:[\[【]|\Z)")

_LINE_BEGUN = re.compile(r"\W*(?:[0-9]{1,3}[.)]\W*)?")  # indented, quoted, as an item
_WORD = re.compile(r"[\w.]*\w$")
_MARKS = ".,;:!?)"
_ENDS_STATEMENT = re.compile(rf"[{_MARKS}](?![\w(\[【])|[\r\n]|\Z")
_NEEDS_NO_SPACE = re.compile(r"[\s.,;:!?)\]}»”’…。，、；：！？）]|\Z")
_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|[0-9]{1,3}[.)])[ \t]+)*(?:(`{3,})[^`]*|(~{3,}).*)")
_TICKS = re.compile(r"`+")


@dataclass(frozen=True, slots=True)
class Marker:
    """Passages, by their place from 0, on which the statement before it is said to rest."""

    passages: tuple[int, ...]


class Markers:
    """Reads a text with markers of `count` passages, which goes on after what is `written`."""

    def __init__(self, count: int, written: str = "") -> None:
        self._count = count
        self._held = ""
        self._place = _Place().after(written)

    def take(self, text: str) -> list[str | Marker]:
        """The text without its markers, and the markers where they stood, as far as that is known."""
        self._held += text
        return _joined(self._read(last=False))

    def finish(self) -> list[str | Marker]:
        """What was held back; the text ends here."""
        return _joined(self._read(last=True))

    def _read(self, *, last: bool) -> Iterator[str | Marker]:
        while found := _NEXT.search(self._held):
            yield self._pass_on(found.start())
            if not self._held or not (last or self._is_decided()):
                return
            group = _GROUP.match(self._held)
            given = self._given(group) if group else ()
            if group and given and self._is_behind_statement(group):
                yield Marker(given)
                yield self._without_markers(group)
            else:
                yield self._pass_on(group.end() if group else found.end() - found.start())

    def _is_decided(self) -> bool:
        """Whether more text would change nothing. A mark after an index may begin a name: `items[2].name`."""
        if _BEGUN.fullmatch(self._held):
            return False
        group = _GROUP.match(self._held)
        return group is None or self._held[group.end() :] not in [*_MARKS] or not self._clings(group)

    def _given(self, group: re.Match[str]) -> tuple[int, ...]:
        """The passages that were given, of those that a group of markers names, once each."""
        named = (_numbers(marker) for marker in _ONE.findall(group[2]))
        return tuple(dict.fromkeys(number for numbers in named if self._all_given(numbers) for number in numbers))

    def _all_given(self, numbers: list[int]) -> bool:
        return max(numbers) < self._count

    def _is_behind_statement(self, group: re.Match[str]) -> bool:
        place, rest = self._place.after(group[1]), self._held[group.end() :]
        if place.in_code or rest.startswith("("):
            return False
        if _LINE_BEGUN.fullmatch(place.line):
            return not place.line.strip() and rest[:1] in ("", "\r", "\n")
        return not self._clings(group) or (self._is_plain_word() and bool(_ENDS_STATEMENT.match(rest)))

    def _clings(self, group: re.Match[str]) -> bool:
        """Whether it stands where an index would."""
        word, last = self._place.word, self._place.line[-1:]
        if group[1] or group[2].startswith("【"):
            return False
        return last in ("]", "\\", "/") or (word.isascii() and not word.replace(".", "0").isdigit() and word != "")

    def _is_plain_word(self) -> bool:
        word = self._place.word.strip("_")
        return len(word) > 2 and word.isalpha()

    def _without_markers(self, group: re.Match[str]) -> str:
        """What is left in place of a group: markers of passages that were not given, and the white space if needed."""
        left = "".join(one for one in _ONE.findall(group[2]) if not self._all_given(_numbers(one)))
        self._held = self._held[group.end() :]
        left = group[1] + left if left or not _NEEDS_NO_SPACE.match(self._held) else ""
        self._place = self._place.after(left)
        return left

    def _pass_on(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        self._place = self._place.after(text)
        return text


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in its Markdown a text stands: what opened the code block that it is in, and its line so far."""

    fence: str = ""
    line: str = ""

    def after(self, text: str) -> _Place:
        """The place after more text."""
        *ended, line = (self.line + text).split("\n")
        fence = self.fence
        for one in ended:
            fence = _fence_after(fence, one)
        return _Place(fence, line)

    @property
    def word(self) -> str:
        """What the line ends with, if that is a word."""
        found = _WORD.search(self.line[-50:])
        return found[0] if found else ""

    @property
    def in_code(self) -> bool:
        """Whether it is in a code block or between backticks; those that nothing closes are open to the line's end."""
        if self.fence or _FENCE.fullmatch(self.line):
            return True
        opened = 0
        for ticks in _TICKS.findall(self.line):
            opened = len(ticks) if not opened else 0 if len(ticks) == opened else opened
        return bool(opened)


def _fence_after(fence: str, line: str) -> str:
    if not fence:
        opens = _FENCE.fullmatch(line)
        return (opens[1] or opens[2]) if opens else ""
    closes = line.strip(" \t>\r")
    return "" if len(closes) >= len(fence) and set(closes) == {fence[0]} else fence


def _numbers(marker: str) -> list[int]:
    """The numbers of a marker, from 0."""
    return [int(number) - 1 for number in re.findall(r"[0-9]+", marker)]


def _joined(pieces: Iterator[str | Marker]) -> list[str | Marker]:
    """The pieces without empty text, and texts that follow each other as one."""
    joined: list[str | Marker] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece:
            joined.append(piece)
    return joined
