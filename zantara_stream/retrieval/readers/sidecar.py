"""Sidecars: `report.pdf.meta.yaml` beside `report.pdf` says what the document does not say of itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..documents import Unreadable
from .details import decode
from .metadata import FIELDS, BadMetadata, Metadata, is_scalar, key_of, metadata_of, read_json, read_yaml, shown

_READ: dict[str, Callable[[str], object]] = {
    ".meta.yaml": read_yaml,
    ".meta.yml": read_yaml,
    ".meta.json": read_json,
}
_KEYS = frozenset(key for keys in FIELDS.values() for key in keys)
_LANGUAGE = re.compile(r"[a-z]{2}(?:[-_].*)?", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:\D.*)?")


def document_of(path: str) -> str | None:
    """The path of the document whose sidecar has that path, or None where it is no sidecar's."""
    return next((path[: -len(end)] for end in _READ if path.lower().endswith(end)), None)


def read_sidecar(file: Path) -> Metadata:
    """Read a sidecar. Raises `Unreadable`, since a document whose access level is unknown must not be indexed."""
    read = next(read for end, read in _READ.items() if file.name.lower().endswith(end))
    try:
        return _metadata(read(decode(file.read_bytes())))
    except (BadMetadata, Unreadable) as problem:
        raise Unreadable(f"has metadata in {file.name} that {problem}") from None


def _metadata(given: object) -> Metadata:
    if not isinstance(given, dict):
        raise BadMetadata("has no keys and values")
    for key, value in given.items():
        if key_of(key) not in _KEYS:
            raise BadMetadata(f"has the key {shown(key)}, which is not one of {', '.join(sorted(_KEYS))}")
        if not is_scalar(value):
            raise BadMetadata(f"has a value of {key} that is not text")
    return _checked(metadata_of(given))


def _checked(metadata: Metadata) -> Metadata:
    if metadata.language and not _LANGUAGE.fullmatch(metadata.language):
        raise BadMetadata(f"gives the language {shown(metadata.language)}, which is not a code such as en")
    if metadata.updated and not _DATE.fullmatch(metadata.updated):
        raise BadMetadata(f"gives the date {shown(metadata.updated)}, which is not one such as 2026-01-31")
    return metadata
