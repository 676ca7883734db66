from __future__ import annotations

import io
import random

import pytest
from conftest import DOCUMENTS
from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers import pdf
from zantara_stream.retrieval.readers.pdf import read_pdf

Line = tuple[str, float, str]  # font, size, text
LONG = "This is the first line of a paragraph that goes on to the right margin of its page"


def _pdf(*pages: list[Line], title: str = "", secret: str | None = None) -> bytes:
    data = io.BytesIO()
    canvas = Canvas(data, invariant=1, encrypt=None if secret is None else StandardEncryption(secret, "owner"))
    canvas.setTitle(title)
    for lines in pages:
        height = 800.0
        for font, size, text in lines:
            canvas.setFont(font, size)
            canvas.drawString(72, height, text)
            height -= size * 1.4
        canvas.showPage()
    canvas.save()
    return data.getvalue()


def _scan() -> bytes:
    """Two pages that are pictures."""
    data = io.BytesIO()
    canvas = Canvas(data, invariant=1)
    for shade in (0.2, 0.6):
        canvas.setFillGray(shade)
        canvas.rect(72, 72, 400, 600, fill=1)
        canvas.drawInlineImage(Image.new("L", (40, 60), 128), 100, 100, 300, 500)
        canvas.showPage()
    canvas.save()
    return data.getvalue()


def _body(*texts: str) -> list[Line]:
    return [("Helvetica", 11, text) for text in texts]


def test_larger_and_bolder_type_is_a_heading() -> None:
    draft = read_pdf(
        _pdf(
            [
                ("Helvetica-Bold", 20, "A Guide"),
                *_body("Intro.", LONG),
                ("Helvetica-Bold", 14, "Fees"),
                *_body("Low."),
                ("Helvetica-Bold", 11, "Late"),
                *_body("High."),
                ("Helvetica-Bold", 8, "A caption"),
            ]
        )
    )
    assert draft.title == "A Guide"
    assert [(s.heading, draft.text[s.start : s.end].strip()) for s in draft.sections] == [
        ("", f"Intro.\n\n{LONG}"),
        ("Fees", "Low."),
        ("Fees › Late", "High.\n\nA caption"),
    ]


def test_the_title_of_the_metadata_goes_first() -> None:
    assert read_pdf(_pdf([("Helvetica-Bold", 20, "Heading"), *_body("Text.")], title=" Title ")).title == "Title"


def test_lines_are_put_together_to_paragraphs() -> None:
    text = read_pdf(_pdf(_body(LONG, "and ends here.", "Another one."))).text
    assert text == f"{LONG} and ends here.\n\nAnother one."


def test_list_items() -> None:
    text = read_pdf(_pdf(_body(LONG, "\u2022 one", "\u2022 two", "After.", "1. first", "2) second"))).text
    assert text == f"{LONG}\n\n- one\n- two\n\nAfter.\n\n1. first\n2) second"


def test_headings_of_several_lines() -> None:
    heading: list[Line] = [("Helvetica-Bold", 18, "A heading of"), ("Helvetica-Bold", 18, "two lines")]
    assert read_pdf(_pdf([*heading, *_body(LONG)])).text.startswith("A heading of two lines\n\n")


def test_a_paragraph_goes_on_over_the_end_of_its_page() -> None:
    draft = read_pdf(_pdf(_body(LONG), _body("and goes on here.", "A new one.")))
    assert draft.text == f"{LONG} and goes on here.\n\nA new one."
    assert draft.pages == (0, len(LONG + " and goes on here.\n\n"))  # where the first block of a page begins
    finished = read_pdf(_pdf(_body(LONG + "."), _body("New.")))
    assert finished.text == f"{LONG}.\n\nNew."


def test_pages() -> None:
    draft = read_pdf(_pdf(_body("One."), [], _body("Three."), []))
    assert draft.text == "One.\n\nThree."
    assert draft.pages == (0, 6, 6, 14)


def test_running_headers_and_page_numbers_are_gone() -> None:
    pages = [
        [
            ("Helvetica", 9, "Running head"),
            *_body(f"{name} a.", f"{name} b.", f"{name} c.", f"{LONG} {name}."),
            ("Helvetica", 9, f"Page {n}"),
        ]
        for n, name in enumerate(("Alpha", "Beta", "Gamma"), 1)
    ]
    text = read_pdf(_pdf(*pages)).text
    assert "Running" not in text
    assert "Page" not in text
    for name in ("Alpha", "Beta", "Gamma"):
        assert f"{name} a.\n\n{name} b.\n\n{name} c." in text


def test_a_single_page_has_no_running_header() -> None:
    assert read_pdf(_pdf(_body("Title.", "Page 1", LONG))).text == f"Title.\n\nPage 1\n\n{LONG}"


def test_what_repeats_inside_the_pages_stays() -> None:
    lines = _body("Running head", "One {}.", "Repeated.", "Running head", "Two {}.", "Three {}.")
    names = ("Alpha", "Beta", "Gamma")
    text = read_pdf(_pdf(*([(font, size, line.format(name)) for font, size, line in lines] for name in names))).text
    assert text.count("Repeated.") == text.count("Running head") == len(names)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello", "is not a PDF file"),
        (b"%PDF-" + random.Random(1).randbytes(5000), "cannot be opened as PDF"),
        (_pdf(_body("Text."))[:600], "cannot be opened as PDF"),
        ((DOCUMENTS / "tax/company-taxes.pdf").read_bytes()[:2000], "cannot be opened as PDF"),
        (_pdf(_body("Text."), secret="secret"), "^is encrypted with a password$"),
        (_scan(), "^has no text; it may be scanned$"),
        (_pdf([]), "^has no text; it may be scanned$"),
    ],
    ids=["no-pdf", "random", "truncated", "sample-truncated", "encrypted", "scan", "empty"],
)
def test_bad_files(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_pdf(data)


def test_a_file_that_anybody_may_open_is_read() -> None:
    assert read_pdf(_pdf(_body("Text."), secret="")).text == "Text."


def test_too_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "PAGES_LIMIT", 2)
    assert read_pdf(_pdf(_body("One."), _body("Two."))).pages
    with pytest.raises(Unreadable, match="has 3 pages; at most 2 are read"):
        read_pdf(_pdf(_body("One."), _body("Two."), _body("Three.")))


@pytest.mark.parametrize(("stamp", "date"), [("D:20260514120000Z", "2026-05-14"), ("", ""), ("yesterday", "")])
def test_dates(stamp: str, date: str) -> None:
    assert pdf._date(stamp) == date


@pytest.mark.parametrize(
    ("path", "begins"), [("tax/company-taxes.pdf", "Value added tax (PPN)"), ("visas/working-kitas.pdf", "")]
)
def test_the_sample_files(path: str, begins: str) -> None:
    draft = read_pdf((DOCUMENTS / path).read_bytes())
    assert "Zantara Stream sample\n" not in draft.text
    assert "Page " not in draft.text
    assert draft.text.count(draft.title) == 1
    assert draft.pages[0] == 0
    assert draft.text[draft.pages[1] :].startswith(begins)
    assert all(draft.text[start - 2 : start] == "\n\n" for start in draft.pages[1:])


def test_headings_and_lists_of_a_sample_file() -> None:
    draft = read_pdf((DOCUMENTS / "tax/company-taxes.pdf").read_bytes())
    headings = [section.heading for section in draft.sections]
    assert headings[:3] == ["", "Corporate income tax › Rates", "Corporate income tax › Deductions and losses"]
    assert "\n\n- 10th: regional tax of hotels and restaurants.\n- 15th: payment" in draft.text
    assert "The rates and limits are simplified or invented, and it is not" in draft.text  # over a line's end
