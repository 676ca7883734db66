from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import datetime

import docx
import pytest
from conftest import DOCUMENTS
from docx.document import Document
from docx.enum.style import WD_STYLE_TYPE

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers import word
from zantara_stream.retrieval.readers.word import read_docx


def _made(write: Callable[[Document], object]) -> bytes:
    document = docx.Document()
    write(document)
    data = io.BytesIO()
    document.save(data)
    return data.getvalue()


def _zip(**parts: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


def _guide(document: Document) -> None:
    document.core_properties.language = "id"
    document.core_properties.modified = datetime(2026, 2, 3, 4, 5)
    document.add_heading("Guide", 0)
    document.add_paragraph("Intro \n text.")
    document.add_heading("Needed", 1)
    document.add_paragraph("a passport", style="List Bullet")
    document.add_paragraph("", style="List Bullet")
    document.add_paragraph("a letter", style="List Number")
    document.add_heading("Fees", 2)
    table = document.add_table(2, 2)
    for cell, text in zip(table._cells, ("What", "Fee", "Visa\nB1", "Rp 1"), strict=True):
        cell.text = text
    document.add_paragraph("")
    document.add_paragraph("After.")


def test_headings_lists_and_tables_in_their_order() -> None:
    draft = read_docx(_made(_guide))
    assert draft.text == (
        "Guide\n\nIntro text.\n\nNeeded\n\n- a passport\n- a letter\n\nFees\n\nWhat | Fee\nVisa B1 | Rp 1\n\nAfter."
    )
    assert (draft.title, draft.language, draft.updated) == ("Guide", "id", "2026-02-03")
    assert [section.heading for section in draft.sections] == ["", "Needed", "Needed › Fees"]


def test_the_title_of_the_properties_goes_first() -> None:
    def write(document: Document) -> None:
        document.core_properties.title = "From the properties"
        document.add_heading("From the text", 0)

    assert read_docx(_made(write)).title == "From the properties"


def test_headings_of_a_translated_program() -> None:
    def write(document: Document) -> None:
        document.core_properties.title = "Judul"
        document.styles.add_style("Judul 2", WD_STYLE_TYPE.PARAGRAPH)
        document.add_heading("Satu", 1)
        document.add_paragraph("Dua", style="Judul 2")
        document.add_paragraph("Teks.")

    assert [section.heading for section in read_docx(_made(write)).sections] == ["Satu › Dua"]


def test_a_merged_cell_is_read_once() -> None:
    def write(document: Document) -> None:
        table = document.add_table(rows=2, cols=3)
        table.cell(0, 0).merge(table.cell(0, 2)).text = "Fees"
        for place, text in enumerate(("KITAS", "2 years", "2 years")):
            table.cell(1, place).text = text

    assert read_docx(_made(write)).text == "Fees\nKITAS | 2 years | 2 years"


def test_an_empty_document_has_no_sections() -> None:
    assert read_docx(_made(lambda document: None)).sections == ()


def test_what_is_no_zip_archive() -> None:
    with pytest.raises(zipfile.BadZipFile):
        read_docx(b"hello")


def test_an_archive_of_other_things() -> None:
    with pytest.raises(KeyError):
        read_docx(_zip(hello=b"hello"))


def test_an_archive_that_unpacks_to_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word, "UNPACKED_LIMIT", 2 * 2**20)
    bomb = _zip(a=bytes(2**20), b=bytes(2**20 + 1))
    assert len(bomb) < 10_000
    with pytest.raises(Unreadable, match="unpacks to more than 2 MB"):
        read_docx(bomb)


def test_an_archive_that_lies_about_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word, "UNPACKED_LIMIT", 2**20)
    bomb = bytearray(_zip(a=bytes(2**22)))
    for place in (bomb.index(b"PK\x03\x04") + 22, bomb.index(b"PK\x01\x02") + 24):
        bomb[place : place + 4] = (2**20 - 1).to_bytes(4, "little")  # the size that it claims
    with pytest.raises((Unreadable, zipfile.BadZipFile)):
        read_docx(bytes(bomb))


def test_an_archive_of_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word, "ENTRIES_LIMIT", 2)
    with pytest.raises(Unreadable, match="has 3 parts; at most 2 are read"):
        read_docx(_zip(a=b"", b=b"", c=b""))


def test_lists_and_tables_of_the_sample_files() -> None:
    bank = read_docx((DOCUMENTS / "companies/bank-account-and-capital.docx").read_bytes()).text
    assert (
        "\n\n- Deed of establishment with the ministerial decree.\n- Company tax number and NIB.\n- Passports" in bank
    )
    property_ = read_docx((DOCUMENTS / "property/property-and-building-permits.docx").read_bytes())
    section = next(s for s in property_.sections if s.heading == "Titles at a glance")
    rows = property_.text[section.start : section.end].strip().splitlines()
    assert len([row for row in rows if row.count(" | ") == rows[0].count(" | ") > 0]) >= 3
