from __future__ import annotations

from itertools import pairwise

import pytest
import strategies as made
from hypothesis import given, settings
from hypothesis import strategies as st

from zantara_stream.retrieval.sentences import partition, sentences

TEXTS = st.text(max_size=300) | made.markdown() | made.plain()
LANGUAGES = st.sampled_from(["en", "id", "it", "ja", "xx"])


def _cut(text: str, language: str = "en") -> list[str]:
    return [text[start:end] for start, end in sentences(text, language)]


@settings(deadline=None)
@given(TEXTS, LANGUAGES)
def test_spans_are_in_order_disjoint_and_say_something(text: str, language: str) -> None:
    spans = sentences(text, language)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    for start, end in spans:
        assert 0 <= start < end <= len(text)
        assert text[start:end] == text[start:end].rstrip()
        assert any(character.isalnum() or character == "_" for character in text[start:end])


@settings(deadline=None)
@given(TEXTS, LANGUAGES)
def test_no_letter_is_lost(text: str, language: str) -> None:
    inside = {place for start, end in sentences(text, language) for place in range(start, end)}
    assert [c for place, c in enumerate(text) if c.isalpha() and place not in inside] == []


@settings(deadline=None)
@given(TEXTS, LANGUAGES)
def test_partition_is_the_whole_text_cut_at_its_sentences(text: str, language: str) -> None:
    pieces = partition(text, language)
    assert "".join(text[start:end] for start, end in pieces) == (text if text.strip() else "")
    assert all(before[1] == after[0] for before, after in pairwise(pieces))
    starts = [start for start, _ in sentences(text, language)]
    assert [start for start, _ in pieces[1:]] == starts[1:]


def test_prose() -> None:
    assert _cut("It costs Rp 3.000.000. Pay it on time!  Is it late?") == [
        "It costs Rp 3.000.000.",
        "Pay it on time!",
        "Is it late?",
    ]


def test_a_line_break_in_a_paragraph_does_not_end_a_sentence() -> None:
    assert _cut("The permit\nis valid. It ends.") == ["The permit\nis valid.", "It ends."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Needed:\n- a passport\n- a letter", ["Needed:", "a passport", "a letter"]),
        ("1. First.\n2. Second.\n10) Tenth.", ["First.", "Second.", "Tenth."]),
        ("* star\n+ plus\n• dot", ["star", "plus", "dot"]),
        ("> Quoted here.\n> And here.", ["Quoted here.", "And here."]),
        ("Above.\n# Fees", ["Above.", "Fees"]),
        ("One\n\nTwo", ["One", "Two"]),
    ],
)
def test_items_quotations_and_headings_without_their_marks(text: str, expected: list[str]) -> None:
    assert _cut(text) == expected


def test_each_table_row_is_one_sentence_and_its_rule_is_none() -> None:
    table = "| What | Fee. Due |\n| :--- | ---: |\n| Visa. | Rp 1. |\nAfter."
    assert _cut(table) == ["| What | Fee. Due |", "| Visa. | Rp 1. |", "After."]


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("Biayanya Rp. 500.000 per tahun. Bayar di bank.", "id", 2),
        ("PT. Contoh Sejahtera didirikan di Bali. Alamatnya di Jl. Raya Ubud No. 5.", "id", 2),
        ("La società paga ca. 300 euro. Il dott. Rossi firma.", "it", 2),
        ("The fee is approx. five dollars. See art. 3 of the law.", "en", 2),
    ],
)
def test_abbreviations_do_not_end_a_sentence(text: str, language: str, count: int) -> None:
    assert len(_cut(text, language)) == count


def test_emphasis_ends_with_its_sentence() -> None:
    assert _cut("**It is so.** Then __it ends.__ *** Now **all.**") == [
        "**It is so.**",
        "Then __it ends.__",
        "*** Now **all.**",
    ]
    assert _cut("It is **bold.**") == ["It is **bold.**"]


def test_what_has_no_words_belongs_to_the_sentence_before() -> None:
    assert _cut("How nice! 😀") == ["How nice! 😀"]


def test_spans_count_characters_not_bytes() -> None:
    assert _cut("😀 Café e\u0301 👩‍👩‍👧 opens. 🇮🇩 Second.") == ["😀 Café e\u0301 👩‍👩‍👧 opens.", "🇮🇩 Second."]


@pytest.mark.parametrize("text", ["", " \n\t\n", "!!! … ---", "|---|---|", "- \n- "])
def test_nothing_said(text: str) -> None:
    assert sentences(text, "en") == []


@pytest.mark.parametrize(("text", "expected"), [("", []), (" \n", []), ("!!!", [(0, 3)]), ("  Hi. \n", [(0, 7)])])
def test_partition_of_little(text: str, expected: list[tuple[int, int]]) -> None:
    assert partition(text, "en") == expected
