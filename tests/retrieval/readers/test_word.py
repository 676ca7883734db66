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
from docx.oxml import parse_xml

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers import archive
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
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 2 * 2**20)
    bomb = _zip(a=bytes(2**20), b=bytes(2**20 + 1))
    assert len(bomb) < 10_000
    with pytest.raises(Unreadable, match="unpacks to more than 2 MB"):
        read_docx(bomb)


def test_what_is_encrypted_or_older_is_no_archive() -> None:
    with pytest.raises(Unreadable, match="is encrypted with a password, or of a format before Word 2007"):
        read_docx(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500))


def _put(document: Document, xml: str) -> None:
    """Put a piece of the document's own markup before its end."""
    document.element.body.insert(-1, parse_xml(f'<w:sdt xmlns:w="{W}">{xml}</w:sdt>'))


W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def test_content_controls_around_paragraphs_tables_and_words() -> None:
    def write(document: Document) -> None:
        document.add_paragraph("Before.")
        _put(
            document,
            "<w:sdtContent><w:p><w:pPr><w:pStyle w:val='Heading1'/></w:pPr><w:r><w:t>Fees</w:t></w:r></w:p>"
            "<w:sdt><w:sdtContent><w:p><w:r><w:t xml:space='preserve'>Renewal costs </w:t></w:r>"
            "<w:sdt><w:sdtContent><w:r><w:t>Rp 3 million</w:t></w:r></w:sdtContent></w:sdt>"
            "<w:ins><w:r><w:t xml:space='preserve'> a year</w:t></w:r></w:ins>"
            "<w:del><w:r><w:delText> a month</w:delText></w:r></w:del>"
            "<w:hyperlink><w:r><w:t>.</w:t></w:r></w:hyperlink></w:p></w:sdtContent></w:sdt>"
            "<w:tbl><w:tr><w:tc><w:sdt><w:sdtContent><w:p><w:r><w:t>Visa</w:t></w:r></w:p></w:sdtContent></w:sdt>"
            "</w:tc></w:tr><w:sdt><w:sdtContent><w:tr><w:sdt><w:sdtContent><w:tc><w:p><w:r><w:t>B1</w:t></w:r></w:p>"
            "</w:tc></w:sdtContent></w:sdt></w:tr></w:sdtContent></w:sdt></w:tbl></w:sdtContent>",
        )
        document.add_paragraph("After.")

    draft = read_docx(_made(write))
    assert draft.text == "Before.\n\nFees\n\nRenewal costs Rp 3 million a year.\n\nVisa\nB1\n\nAfter."
    assert draft.title == "Fees"


def test_a_content_control_that_waits_for_text_has_none() -> None:
    def write(document: Document) -> None:
        document.add_paragraph("Text.")
        _put(
            document,
            "<w:sdtPr><w:showingPlcHdr/></w:sdtPr>"
            "<w:sdtContent><w:p><w:r><w:t>Click here.</w:t></w:r></w:p></w:sdtContent>",
        )

    assert read_docx(_made(write)).text == "Text."


def test_a_cell_merged_downwards_is_said_in_every_row_and_a_table_in_a_cell_is_read() -> None:
    def write(document: Document) -> None:
        table = document.add_table(rows=3, cols=3)
        table.cell(0, 1).merge(table.cell(2, 1)).text = "2 years"
        for row, text in enumerate(("B1", "C1", "D1")):
            table.cell(row, 0).text = text
        table.cell(1, 2).text = "with"
        inner = table.cell(1, 2).add_table(1, 2)
        inner.cell(0, 0).text, inner.cell(0, 1).text = "one", "two"

    rows = [row.split(" | ") for row in read_docx(_made(write)).text.splitlines()]
    assert [row[1] for row in rows] == ["2 years"] * 3
    assert " ".join(rows[1][2].split()) == "with one two"


def test_lists_and_tables_of_the_sample_files() -> None:
    bank = read_docx((DOCUMENTS / "companies/bank-account-and-capital.docx").read_bytes()).text
    assert (
        "\n\n- Deed of establishment with the ministerial decree.\n- Company tax number and NIB.\n- Passports" in bank
    )
    property_ = read_docx((DOCUMENTS / "property/property-and-building-permits.docx").read_bytes())
    section = next(s for s in property_.sections if s.heading == "Titles at a glance")
    rows = property_.text[section.start : section.end].strip().splitlines()
    assert len([row for row in rows if row.count(" | ") == rows[0].count(" | ") > 0]) >= 3
