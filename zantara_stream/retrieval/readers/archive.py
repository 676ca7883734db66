"""Zip archives, the containers of DOCX and EPUB, unpacked within limits."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from ..documents import Unreadable

UNPACKED_LIMIT = 100 * 1024 * 1024  # bytes
ENTRIES_LIMIT = 2000
_CHUNK = 1024 * 1024
_ENCRYPTED = 0x1  # bit of an entry's flags


class Archive:
    """The parts of a zip archive. Raises `Unreadable` where they are too many, too large or encrypted."""

    def __init__(self, data: bytes) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(data))
        self._unpacked = 0
        entries = self._archive.infolist()
        if len(entries) > ENTRIES_LIMIT:
            raise Unreadable(f"has {len(entries)} parts; at most {ENTRIES_LIMIT} are read")
        if any(entry.flag_bits & _ENCRYPTED for entry in entries):
            raise Unreadable("is encrypted with a password")
        self._allow(sum(entry.file_size for entry in entries))
        self.names = frozenset(entry.filename for entry in entries)

    def read(self, name: str) -> bytes:
        """One part; what comes out is counted over all of them."""
        return b"".join(self._chunks(name))

    def check(self) -> None:
        """Unpack every part and keep none: what an archive says of its size is no promise."""
        for entry in self._archive.infolist():
            for _ in self._chunks(entry):
                pass

    def _chunks(self, entry: zipfile.ZipInfo | str) -> Iterator[bytes]:
        with self._archive.open(entry) as part:
            while chunk := part.read(_CHUNK):
                self._unpacked += len(chunk)
                self._allow(self._unpacked)
                yield chunk

    def _allow(self, size: int) -> None:
        if size > UNPACKED_LIMIT:
            raise Unreadable(f"unpacks to more than {UNPACKED_LIMIT // 2**20} MB")
