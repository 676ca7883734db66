"""Who is known: a TOML file that the operator keeps; `collaborators.example.toml` explains it."""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from unicodedata import category

from ..errors import ConfigError
from .person import Person, folded

logger = logging.getLogger(__name__)

MOST_BYTES = 5_000_000
MOST = 10_000  # collaborators
LONGEST, LONGEST_EXPERTISE = 200, 500  # characters
LEVELS = ("Public", "Curious", "Practitioner", "Initiated")
_SHOWN = 80  # characters of a value that a message shows
_ABOVE = "write [[collaborator]] above each person"
_HIDDEN = {"Cc", "Cf", "Zl", "Zp"}  # control, direction and zero width, ends of lines
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_LANGUAGE = re.compile(r"[a-z]{2}")
_NOT_TOML = re.compile(r"(.*?)( \(at (?:line \d+, column \d+|end of document)\))?", re.DOTALL)


class _Fault(Exception):
    """What is wrong with a file, told in full, and for the log without a word of it: those are of people."""

    def __init__(self, problem: str, about: str = "", quoted: str = "") -> None:
        super().__init__(problem)
        self.problem, self.about, self.quoted = problem, about, quoted or about
        self.entry, self.id = 0, ""  # of the collaborator, counted from 1; 0 for the file as a whole

    @property
    def anonymous(self) -> str:
        """In words that name nobody."""
        place = f"collaborator {self.entry}:" if self.entry else "it"
        return " ".join(filter(None, (place, self.about, self.problem)))

    def full(self, path: Path) -> str:
        """In words for whoever can mend it."""
        named = f" (id {self.id})" if self.id else ""
        place = f", collaborator {self.entry}{named}:" if self.entry else ""
        return " ".join(filter(None, (f"The collaborators file {path}{place}", self.quoted, self.problem))) + "."


@dataclass(frozen=True, slots=True)
class Collaborators:
    """The people that a file names, by id and by e-mail address."""

    _by_id: Mapping[str, Person] = field(default_factory=dict, repr=False)
    _by_email: Mapping[str, Person] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, path: Path) -> Collaborators:
        """Read a file. Raises `ConfigError` that says which entry is wrong, and what is allowed."""
        try:
            return _read(path)
        except _Fault as fault:
            raise ConfigError(fault.full(path)) from None

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, subject: str = "", email: str = "") -> Person | None:
        """Who has this id, else this address (its ASCII letters in either case); their `key` is not set."""
        return self._by_id.get(subject) or self._by_email.get(folded(email))


NO_COLLABORATORS = Collaborators()


class CollaboratorsFile:
    """Who is known, as their file had it when it was last read without a fault; nobody where there is no file."""

    def __init__(self, path: Path | None) -> None:
        """Read the file. Raises `ConfigError`."""
        self._path = path
        self._reading = Lock()  # else the older of two readings might be the one that stays
        self.current = NO_COLLABORATORS if path is None else Collaborators.load(path)

    def reload(self) -> None:
        """Read the file again; a damaged one is logged, and whoever was known stays so. Blocks: call it in a thread."""
        if self._path is None:
            return
        with self._reading:
            try:
                self.current = _read(self._path)
            except _Fault as fault:
                known = len(self.current)
                logger.error(
                    "the collaborators file %s is refused, %d stay known: %s", self._path, known, fault.anonymous
                )
            else:
                logger.info("the collaborators file %s is read, %d are known", self._path, len(self.current))


def _read(path: Path) -> Collaborators:
    by_id: dict[str, Person] = {}
    by_email: dict[str, Person] = {}
    seen: dict[tuple[str, str], int] = {}
    for number, entry in enumerate(_entries(path), 1):
        try:
            values = _values(entry)
            _claim(values, number, seen)
        except _Fault as fault:
            fault.entry, fault.id = number, _id_of(entry)
            raise
        own, email = values.pop("id"), values.pop("email", "")
        by_id[own] = Person(**values)
        if email:
            by_email[email] = by_id[own]
    return Collaborators(by_id, by_email)


def _entries(path: Path) -> list[object]:
    book = _parsed(_text_of(path))
    for key in book:
        if key != "collaborator":
            raise _Fault(_ABOVE, "has an unknown key;", f"has an unknown key, {_shown(key)};")
    entries = book.get("collaborator", [])
    if not isinstance(entries, list):
        raise _Fault(f"has no list of collaborators; {_ABOVE}")
    if len(entries) > MOST:
        raise _Fault(f"has {len(entries)} collaborators, and {MOST} are the most")
    return entries


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise _Fault(f"cannot be read ({error.strerror})") from None
    if len(data) > MOST_BYTES:
        raise _Fault(f"is larger than {MOST_BYTES // 1_000_000} MB")
    try:
        return data.decode("utf-8-sig")  # Windows' editors mark the beginning
    except UnicodeDecodeError as error:
        raise _Fault(f"is not UTF-8 text (byte {error.start})") from None


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, or brackets in brackets
        told = _NOT_TOML.fullmatch(str(error))
        assert told is not None  # it matches any text
        raise _Fault((told[2] or "").strip(), "is not TOML", f"is not TOML: {told[1]}") from None


def _values(entry: object) -> dict[str, Any]:
    """The values of one collaborator as `Person` takes them, with their id and email."""
    if not isinstance(entry, dict):
        raise _Fault(f"is no table of keys and values; {_ABOVE}")
    values = {_known(key): _value(key, value) for key, value in entry.items()}
    for key in ("id", "name"):
        if not values.get(key):
            raise _Fault("is missing; every collaborator has one", key)
    return values


def _known(key: str) -> str:
    if key in _KEYS:
        return key
    close = get_close_matches(key, _KEYS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(_KEYS)}"
    raise _Fault(f"is not known here ({hint})", "a key", _shown(key))


def _value(key: str, value: object) -> Any:
    try:
        return _KEYS[key](value)
    except ValueError as allowed:
        raise _Fault(f"cannot be used: it takes {allowed}", key, f"{key} = {_shown(value)}") from None


def _claim(values: dict[str, Any], number: int, seen: dict[tuple[str, str], int]) -> None:
    """Note whose the id and the address are. Raises `_Fault` where they are somebody's already."""
    for key in ("id", "email"):
        value = values.get(key)
        first = seen.setdefault((key, value), number) if value else number
        if first != number:
            raise _Fault(f"is that of collaborator {first} too; each has its own", key, f"{key} = {_shown(value)}")


def _id_of(entry: object) -> str:
    found = entry.get("id") if isinstance(entry, dict) else None
    return _shown(found) if isinstance(found, str) and found.strip() else ""


def _shown(value: object) -> str:
    """A value as a message can bear it: on one line, short, and a name for what might be neither."""
    if isinstance(value, str):
        shown = ascii(value) if _BLANK.search(value) else repr(value)
        return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    if isinstance(value, int) and value.bit_length() < 64:
        return str(value).lower()
    names = {int: "a huge number", float: "a decimal number", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")


def _text(value: object, most: int = LONGEST, what: str = "a text") -> str:
    text = value.strip() if isinstance(value, str) else None
    if text is None or len(text) > most or _BLANK.search(text) or not _HIDDEN.isdisjoint(map(category, text)):
        raise ValueError(f"{what} of one line, at most {most} characters long, without invisible characters")
    return text


def _email(value: object) -> str:
    address = _text(value)
    if address and not _EMAIL.fullmatch(address):
        raise ValueError("an address such as made@example.com")
    return folded(address)


def _level(value: object) -> int:
    if type(value) is not int or not 0 <= value < len(LEVELS):  # true is an int to Python
        raise ValueError(", ".join(f"{number} ({name})" for number, name in enumerate(LEVELS)))
    return value


def _language(value: object) -> str:
    code = _text(value)
    if code and not _LANGUAGE.fullmatch(code):
        raise ValueError("an ISO 639-1 code, two small letters, such as id or en")
    return code


def _expertise(value: object) -> str:
    listed = value if isinstance(value, list) else [value]
    text = partial(_text, most=LONGEST_EXPERTISE, what="a text, or a list of texts,")
    return text(", ".join(filter(None, map(text, listed))))


_KEYS: dict[str, Callable[[object], Any]] = {
    **dict.fromkeys(("id", "name", "nickname", "role", "department"), _text),
    **{"email": _email, "level": _level, "language": _language, "expertise": _expertise},
}
