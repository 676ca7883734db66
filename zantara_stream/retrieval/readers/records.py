"""JSON and JSON Lines: each object a record of a title, a text, and lines of what else it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from ..documents import Unreadable
from .details import Draft, decode
from .metadata import BadMetadata, Metadata, level_of, metadata_of, values_of
from .outline import Outline

DEPTH_LIMIT = 100  # levels of nesting
_TITLES = ("title", "name", "heading")
_TEXTS = ("text", "content", "body", "abstract", "description", "summary")


def read_json(data: bytes) -> Draft:
    """Read one object, or a list of objects or texts. An object with a text in it is a document with metadata."""
    value = _parsed(decode(data), "")
    if isinstance(value, dict):
        return _document(value)
    if not isinstance(value, list):
        raise Unreadable("holds neither an object nor a list")
    return _records(value)


def read_json_lines(data: bytes) -> Draft:
    """Read one value a line, blank lines aside."""
    lines = enumerate(decode(data).split("\n"), 1)
    return _records([_parsed(line, f" in line {number}") for number, line in lines if line.strip()])


def _parsed(text: str, place: str) -> object:
    try:  # numbers are kept as they are written, so that they can be quoted
        return json.loads(text, parse_int=str, parse_float=str)
    except RecursionError:
        raise Unreadable(f"is nested too deeply{place}") from None
    except ValueError as error:
        raise Unreadable(f"is not JSON{place} ({error})") from None


def _document(value: dict[str, object]) -> Draft:
    outline = Outline()
    title = _named(value, _TITLES)[1]
    try:
        said = metadata_of(value) if _named(value, _TEXTS)[1] else Metadata()
    except BadMetadata as problem:
        raise Unreadable(f"has a record that {problem}") from None
    _write(outline, value)
    sections = outline.sections(title)
    return Draft(
        outline.text, sections, title, said.language, said.updated, said.url, (), False, said.level, said.status
    )


def _records(values: list[object]) -> Draft:
    """Records of one document; the highest access level of any of them is the document's."""
    outline = Outline()
    levels = [level for value in values if (level := _level(value)) is not None]
    for value in values:
        outline.part()
        if isinstance(value, dict):
            _write(outline, value)
        else:
            _lines(outline, "", value)
    return Draft(outline.text, outline.sections(""), level=max(levels, default=None))


def _level(value: object) -> int | None:
    if not isinstance(value, dict) or not _named(value, _TEXTS)[1]:
        return None
    try:
        return level_of(values_of(value, "level"))
    except BadMetadata as problem:
        raise Unreadable(f"has a record that {problem}") from None


def _named(value: Mapping[str, object], names: tuple[str, ...]) -> tuple[str, str]:
    """The first of the names that holds text, and that text."""
    held = ((name, value.get(name)) for name in names)
    return next(((name, text) for name, text in held if isinstance(text, str) and text.strip()), ("", ""))


def _write(outline: Outline, value: Mapping[str, object]) -> None:
    title_name, title = _named(value, _TITLES)
    text_name, text = _named(value, _TEXTS)
    outline.heading(1, title)
    for paragraph in re.split(r"\n\s*\n", text):
        outline.block(" ".join(paragraph.split()))
    _lines(outline, "", {name: held for name, held in value.items() if name not in (title_name, text_name)})


def _lines(outline: Outline, name: str, value: object) -> None:
    for number, line in enumerate(_spelled(name, value, 0)):
        outline.block(line, tight=number > 0)


def _spelled(name: str, value: object, depth: int) -> Iterator[str]:
    """Lines of "path: value", as `fees[0].amount: 3`; names that begin with an underscore are a program's own."""
    if depth > DEPTH_LIMIT:
        raise Unreadable(f"is nested more than {DEPTH_LIMIT} levels deep")
    if isinstance(value, dict):
        for key, held in value.items():
            if not key.startswith("_"):
                yield from _spelled(f"{name}.{key}" if name else key, held, depth + 1)
    elif isinstance(value, list) and not all(isinstance(held, str) for held in value):
        for place, held in enumerate(value):
            yield from _spelled(f"{name}[{place}]", held, depth + 1)
    else:
        text = ", ".join(value) if isinstance(value, list) else _scalar(value)
        shown = " ".join(text.split())
        if shown:
            yield f"{name}: {shown}" if name else shown


def _scalar(value: object) -> str:
    return {None: "", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
