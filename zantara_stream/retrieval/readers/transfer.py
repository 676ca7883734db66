"""What came of reading a file as JSON, between the process that parses it and the one that keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from ..documents import Document, Section, Unreadable

REASON_LIMIT = 300  # characters
_KINDS = {"str": str, "int": int, "bool": bool}
_PLAIN = {field.name: _KINDS[str(field.type)] for field in fields(Document) if str(field.type) in _KINDS}


def encoded(document: Document) -> bytes:
    """A document as one line of JSON."""
    return json.dumps(asdict(document), ensure_ascii=False).encode() + b"\n"


def encoded_problem(reason: str) -> bytes:
    """The reason why there is no document, as one line of JSON; what is no text in it is spelled out."""
    return json.dumps({"problem": reason.encode("utf-8", "backslashreplace").decode()}).encode() + b"\n"


def decoded(line: bytes, path: str) -> Document:
    """The document of that path that a line holds. Raises `Unreadable` for a problem that it holds instead.

    Whoever wrote it may have been subverted by what it parsed: nothing of it is run, every value is held against
    its type. Raises `ValueError` where one is not what it should be.
    """
    try:
        given = json.loads(line)
        if "problem" in given:
            raise Unreadable(" ".join(_plain(given["problem"], str).split())[:REASON_LIMIT])
        plain = {name: _plain(given[name], kind) for name, kind in _PLAIN.items()}
        sections = tuple(_section(held, len(plain["text"])) for held in given["sections"])
        pages = tuple(_plain(start, int) for start in given["pages"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a document ({error})") from None
    return Document(**plain | {"path": path}, sections=sections, pages=pages)


def _plain(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    if isinstance(value, str):
        value.encode()  # half characters, which could not be stored, are a ValueError
    return value


def _section(held: dict[str, Any], length: int) -> Section:
    section = Section(_plain(held["heading"], str), _plain(held["start"], int), _plain(held["end"], int))
    if not 0 <= section.start <= section.end <= length:
        raise ValueError("not a section of the text")
    return section
