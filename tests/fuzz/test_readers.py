"""Whatever a file holds, it is read, or it is said why not."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import docx
import pytest
from conftest import DOCUMENTS
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged, fuzzed
from reportlab.pdfgen.canvas import Canvas

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers import READERS, read_document
from zantara_stream.retrieval.splitting import split

MOST = 4_000_000  # characters that a few kilobytes may become


def _pdf() -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.setTitle("Fees")
    canvas.drawString(72, 720, "Renewal costs Rp 3 million.")
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def _docx() -> bytes:
    out, document = io.BytesIO(), docx.Document()
    document.add_heading("Fees", 1)
    document.add_paragraph("Renewal costs Rp 3 million.")
    document.save(out)
    return out.getvalue()


def _epub() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr(
            "META-INF/container.xml",
            '<container><rootfiles><rootfile full-path="b.opf" media-type="application/oebps-package+xml"/></rootfiles>'
            "</container>",
        )
        book.writestr(
            "b.opf",
            '<package><metadata/><manifest><item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="c"/></spine></package>',
        )
        book.writestr("c.xhtml", "<html><body><h1>Fees</h1><p>Renewal costs Rp 3 million.</p></body></html>")
    return out.getvalue()


TEXT = (DOCUMENTS / "tax" / "npwp-dan-spt.md").read_bytes()[:3000]
SAMPLES: dict[str, bytes] = {
    ".md": b"---\nlanguage: en\nupdated: 2026-01-31\nlevel: 2\n---\n# Fees\n\n| A | B |\n|---|---|\n| 1 | 2 |\n\n"
    + TEXT,
    ".txt": b"Fees\n\nUpdated: 2026-02-28\n\n1. PROOF\n\nThe bank confirms the deposit.\n",
    ".html": b"<html lang=it><head><title>Fees</title><meta name=date content=2026-01-01></head><body><h1>A</h1>"
    b"<table><tr><th>B<td>C</table><p>Renewal costs &euro; 3 million.</body></html>",
    ".pdf": _pdf(),
    ".docx": _docx(),
    ".epub": _epub(),
    ".csv": b'title,fee,updated\nRenewal,3,2026-01-01\n"A, B",4,\n',
    ".tsv": b"title\tfee\nRenewal\t3\n",
    ".json": b'[{"title": "Renewal", "text": "It costs Rp 3 million.", "level": 1}, {"text": "Other."}]',
    ".jsonl": b'{"title": "Renewal", "text": "It costs Rp 3 million."}\n{"text": "Other."}\n',
}


def _checked(suffix: str, data: bytes) -> bool:
    """Read it, and see that what was read is sound; whether it could be read."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"made{suffix}"
        file.write_bytes(data)
        try:
            document = read_document(file.name, file)
        except Unreadable:
            return False
    document.text.encode()  # what no database could store was taken out
    assert len(document.text) < MOST
    assert 0 <= document.level <= 3
    assert all(0 <= page <= len(document.text) for page in document.pages)
    end = 0
    for section in document.sections:
        assert end <= section.start <= section.end <= len(document.text)
        end = section.end
    for passage in split(document, lambda text: len(text.split()), 60):
        assert passage.text == document.text[passage.start : passage.end]
    return True


def test_each_format_has_a_sample_that_is_read() -> None:
    kinds = {READERS[suffix] for suffix in SAMPLES}
    assert kinds == set(READERS.values())
    assert [suffix for suffix, data in SAMPLES.items() if not _checked(suffix, data)] == []


@pytest.mark.parametrize("suffix", SAMPLES)
def test_damaged_files_are_read_or_refused(suffix: str) -> None:
    @fuzzed()
    @given(damaged([SAMPLES[suffix]]))
    def check(data: bytes) -> None:
        _checked(suffix, data)

    check()


@pytest.mark.parametrize("suffix", SAMPLES)
def test_any_bytes_are_read_or_refused(suffix: str) -> None:
    @fuzzed()
    @given(st.binary(max_size=400) | st.sampled_from([*SAMPLES.values()]) | st.text(max_size=200).map(str.encode))
    def check(data: bytes) -> None:
        _checked(suffix, data)

    check()
