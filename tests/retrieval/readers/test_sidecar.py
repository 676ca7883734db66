from __future__ import annotations

from pathlib import Path

import pytest

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers.metadata import Metadata
from zantara_stream.retrieval.readers.sidecar import document_of, read_sidecar

ALL = Metadata("The report", "id-ID", "2026-01-31", "https://example.com/r", 2, "in force")


def _written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("a/report.pdf.meta.yaml", "a/report.pdf"),
        ("report.pdf.META.yml", "report.pdf"),
        ("report.json.meta.json", "report.json"),
        ("report.yaml", None),
        ("meta.json", None),
        ("report.pdf.meta.toml", None),
    ],
)
def test_sidecars_are_known_by_their_names(path: str, document: str | None) -> None:
    assert document_of(path) == document


def test_every_key(tmp_path: Path) -> None:
    yaml = (
        "title: The report\nlanguage: id-ID\nupdated: 2026-01-31\nurl: https://example.com/r\nlevel: 2\n"
        "status: in force\n"
    )
    json = (
        '{"title": "The report", "lang": "id-ID", "date": "2026-01-31", "source": "https://example.com/r", '
        '"access_level": "2", "status": "in force"}'
    )
    assert read_sidecar(_written(tmp_path, "a.pdf.meta.yaml", yaml)) == ALL
    assert read_sidecar(_written(tmp_path, "a.pdf.meta.yml", yaml)) == ALL
    assert read_sidecar(_written(tmp_path, "a.pdf.meta.JSON", json)) == ALL


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("level: 7", "gives the access level 7, which is not 0, 1, 2 or 3"),
        ("level:", r"has a value of level that is not text"),
        ("level: yes", "gives the access level of type bool"),
        ("levle: 3", "has the key levle, which is not one of access_level, date,"),
        ("title: [a]", "has a value of title that is not text"),
        ("language: Indonesian", "gives the language Indonesian, which is not a code such as en"),
        ("updated: yesterday", "gives the date yesterday, which is not one such as 2026-01-31"),
        ("level: [", r"is not YAML \("),
        ("- level", "has no keys and values"),
        ("# nothing", "has no keys and values"),
        (b"title: perch\xe9", "is not UTF-8 text"),
        (b"\0", "is not text"),
    ],
)
def test_a_bad_one_is_the_document_s_problem(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=rf"^has metadata in a\.pdf\.meta\.yaml that {reason}"):
        read_sidecar(_written(tmp_path, "a.pdf.meta.yaml", content))


def test_a_file_that_went_away(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_sidecar(tmp_path / "a.pdf.meta.yaml")
