from __future__ import annotations

import io
import zipfile

import pytest

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers import archive
from zantara_stream.retrieval.readers.archive import Archive


def _zip(**parts: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in parts.items():
            made.writestr(name, content)
    return data.getvalue()


def _lying(data: bytes, size: int) -> bytes:
    """The archive of one part, which claims that its part is of that size."""
    changed = bytearray(data)
    for place in (changed.index(b"PK\x03\x04") + 22, changed.index(b"PK\x01\x02") + 24):
        changed[place : place + 4] = size.to_bytes(4, "little")
    return bytes(changed)


def test_parts_are_named_and_read() -> None:
    held = Archive(_zip(a=b"one", b=b""))
    assert (held.names, held.read("a"), held.read("b")) == (frozenset("ab"), b"one", b"")


def test_what_it_says_of_its_size_is_enough_to_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 2 * 2**20)
    Archive(_zip(a=bytes(2**20), b=bytes(2**20)))
    with pytest.raises(Unreadable, match="unpacks to more than 2 MB"):
        Archive(_zip(a=bytes(2**20), b=bytes(2**20 + 1)))
    with pytest.raises(Unreadable, match="unpacks to more than 2 MB"):
        Archive(_lying(_zip(a=b"small"), 2**31))


def test_what_it_does_not_say_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 2**20)
    held = Archive(_lying(_zip(a=bytes(2**22)), 2**20 - 1))
    with pytest.raises((Unreadable, zipfile.BadZipFile)):
        held.check()


def test_parts_read_again_and_again_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 2**20)
    held = Archive(_zip(a=bytes(2**19), b=b"x"))
    held.read("a")
    held.read("a")
    with pytest.raises(Unreadable, match="unpacks to more than 1 MB"):
        held.read("b")


def test_parts_that_lie_over_each_other_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 2**20)
    data = _zip(a=bytes(2**19 + 1), b=b"")
    held = Archive(data)
    first, second = held._archive.infolist()
    second.header_offset, second.compress_size, second.CRC = first.header_offset, first.compress_size, first.CRC
    second.orig_filename = first.orig_filename
    second.file_size = first.file_size
    with pytest.raises(Unreadable, match="unpacks to more than 1 MB"):
        held.check()


def test_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ENTRIES_LIMIT", 2)
    Archive(_zip(a=b"", b=b""))
    with pytest.raises(Unreadable, match="has 3 parts; at most 2 are read"):
        Archive(_zip(a=b"", b=b"", c=b""))


def test_an_encrypted_part() -> None:
    data = bytearray(_zip(a=b"secret"))
    for place in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[place] |= 1
    with pytest.raises(Unreadable, match="is encrypted with a password"):
        Archive(bytes(data))


def test_no_archive() -> None:
    with pytest.raises(zipfile.BadZipFile):
        Archive(b"hello")
