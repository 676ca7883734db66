"""What a document says of itself: the keys of front matter, sidecars and JSON, and what they may hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml

METADATA_LIMIT = 64 * 1024  # characters
LEVELS = ("0", "1", "2", "3")
FIELDS = {  # each with the keys that give it, the first that says something counting
    "title": ("title",),
    "language": ("language", "lang"),
    "updated": ("updated", "lastmod", "date"),
    "url": ("url", "source"),
    "level": ("level", "access_level"),
    "status": ("status",),
}


class BadMetadata(Exception):
    """Metadata that cannot be used; the message goes on after "has metadata that"."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is said of a document; what is not said is empty."""

    title: str = ""
    language: str = ""
    updated: str = ""
    url: str = ""
    level: int | None = None
    status: str = ""


def metadata_of(given: Mapping[Any, object]) -> Metadata:
    """The metadata among any keys. Raises `BadMetadata` for an access level or status that cannot be read."""
    found = {field: values_of(given, field) for field in FIELDS}
    return Metadata(
        title=_first(found["title"]),
        language=_first(found["language"]),
        updated=_first(found["updated"]),
        url=_first(found["url"]),
        level=level_of(found["level"]),
        status=_status(found["status"]),
    )


def values_of(given: Mapping[Any, object], field: str) -> list[object]:
    """The values of a field, in the order of the keys that may give it; "Access-Level" is `access_level`."""
    named = [(key_of(name), value) for name, value in given.items()]
    return [value for key in FIELDS[field] for name, value in named if name == key]


def key_of(name: object) -> str:
    """A key as it is compared."""
    return str(name).strip().lower().replace("-", "_")


def is_scalar(value: object) -> bool:
    """Whether a value is text, a number or a date."""
    return isinstance(value, str | int | float | date)


def level_of(values: Sequence[object]) -> int | None:
    """The access level, or None where none is given; what is given and cannot be read must never pass for 0."""
    levels = {shown(value) for value in values}
    if len(levels) > 1:
        raise BadMetadata(f"gives several access levels ({', '.join(sorted(levels))})")
    for level in levels:
        if level not in LEVELS:
            raise BadMetadata(f"gives the access level {level}, which is not 0, 1, 2 or 3")
        return int(level)
    return None


def _status(values: Sequence[object]) -> str:
    if not all(value is None or is_scalar(value) for value in values):
        raise BadMetadata("gives a status that is not text")
    return _first(values)


def _first(values: Sequence[object]) -> str:
    return next((str(value).strip() for value in values if value and is_scalar(value)), "")


def shown(value: object) -> str:
    """A value as an error shows it: on one line, and not all of a long one."""
    if isinstance(value, bool) or not is_scalar(value):
        return f"of type {type(value).__name__}"
    text = " ".join(str(value).split())
    return text[:40] or "(empty)"


class _SafeLoader(yaml.SafeLoader):
    """YAML without aliases, which can be made to unfold without end, and without a key given twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise yaml.YAMLError("a key is given twice")
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> object:
    """What a piece of YAML says. Raises `BadMetadata`."""
    _check_size(text)
    try:
        return yaml.load(text, _SafeLoader)
    except RecursionError:
        raise BadMetadata("is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that no calendar has
        raise BadMetadata(f"is not YAML ({' '.join(str(error).split())})") from None


def read_json(text: str) -> object:
    """What a piece of JSON says. Raises `BadMetadata`."""
    _check_size(text)
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise BadMetadata("is nested too deeply") from None
    except ValueError as error:
        raise BadMetadata(f"is not JSON ({error})") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def _check_size(text: str) -> None:
    if len(text) > METADATA_LIMIT:
        raise BadMetadata(f"is longer than {METADATA_LIMIT // 1024} KB")
