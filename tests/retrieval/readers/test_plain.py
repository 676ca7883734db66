from __future__ import annotations

import pytest
from conftest import DOCUMENTS

from zantara_stream.retrieval.readers.plain import read_plain


def _sections(text: str) -> dict[str, str]:
    draft = read_plain(text.encode())
    return {section.heading: draft.text[section.start : section.end].strip() for section in draft.sections}


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("My guide\n\nText.", "My guide"),
        ("\n\n  My guide \nmore", "My guide"),
        ("It is a sentence.\n\nText.", ""),
        ("Needed:\n- a", ""),
        ("x" * 121, ""),
        ("", ""),
    ],
)
def test_title(text: str, title: str) -> None:
    assert read_plain(text.encode()).title == title


def test_underlined_headings() -> None:
    text = "Guide\n=====\n\nIntro.\n\nFees\n----\nLow.\n\nTerms\n===\nFair."
    assert _sections(text) == {"": "Intro.", "Fees": "Low.", "Terms": "Fair."}


def test_numbered_headings_have_the_level_of_their_number() -> None:
    text = "Guide.\n\n1. Permits\n\nAll.\n\n1.1 Fees\n\nLow.\n\n1.1.2) Late fees\n\nHigh.\n\n2 Taxes\n\nTwo."
    assert _sections(text) == {
        "": "Guide.",
        "Permits": "All.",
        "Permits › Fees": "Low.",
        "Permits › Fees › Late fees": "High.",
        "Taxes": "Two.",
    }


def test_a_numbered_list_is_no_headings() -> None:
    text = "Steps to take:\n\n1. Go to the office.\n2. Pay there.\n\n3. Wait;"
    assert _sections(text) == {"": text}


def test_capitals_and_lines_standing_alone() -> None:
    text = "Guide.\n\nFEES AND FINES\n\nIntro to both.\n\nLate renewal\n\nRp 1.\n\nTerms?\n\nYes.\n\nOTHER\nClose by."
    assert _sections(text) == {
        "": "Guide.",
        "FEES AND FINES": "Intro to both.",
        "FEES AND FINES › Late renewal": "Rp 1.",
        "FEES AND FINES › Terms?": "Yes.",
        "OTHER": "Close by.",
    }


@pytest.mark.parametrize("line", ["A whole sentence stands here.", "With: a colon", "- item", "x" * 62, "2026", "Ab"])
def test_lines_that_only_look_like_headings(line: str) -> None:
    text = f"Guide.\n\n{line}\n\nText."
    assert _sections(text) == {"": text}


@pytest.mark.parametrize("text", ["Разрешение продлевается.", "許可は更新されます。", "Échéance à payer été."])
def test_scripts_without_capitals_are_not_all_headings(text: str) -> None:
    assert _sections(f"{text}\n\n{text}") == {"": f"{text}\n\n{text}"}


def test_capitals_beyond_ascii() -> None:
    assert _sections("Intro.\n\nÉTÉ À BALI\nText.\n\nВИЗЫ\nText too.") == {
        "": "Intro.",
        "ÉTÉ À BALI": "Text.",
        "ВИЗЫ": "Text too.",
    }


def test_a_sample_file() -> None:
    draft = read_plain((DOCUMENTS / "visas/perpanjangan-kitas.txt").read_bytes())
    headings = [section.heading for section in draft.sections]
    assert headings[:4] == ["", "KAPAN MENGAJUKAN", "DOKUMEN YANG DIPERLUKAN", "LANGKAH-LANGKAH › Pengajuan daring"]
    assert draft.text[draft.sections[2].start :].lstrip().startswith("Penjamin menyiapkan berkas berikut")
    assert "- Paspor asli yang masih berlaku" in draft.text[draft.sections[2].start : draft.sections[2].end]


def test_a_long_hostile_text_is_read_in_no_time() -> None:
    for piece in ("1.", "a\n\n", "A", "1" * 3000 + "\n\n", "=\n"):
        text = piece * (400_000 // len(piece))
        assert read_plain(text.encode()).text == text
