"""What a marker stands behind, and the sentence of its passage that supports it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from passages_made import BLOCKS, TEXT, hit, passage

from zantara_stream.generation.answerer import Part, Prompt, Quote
from zantara_stream.generation.citations import verified
from zantara_stream.generation.markers import Marker
from zantara_stream.generation.message import MarkedText
from zantara_stream.generation.statements import Statements, Support, figures
from zantara_stream.metrics import CITATIONS

LETTERS = passage(
    "The sponsor writes a letter, signed on 3 May 2025.\n\n"
    "- Late letters cost Rp 1.000.000 each.\n- Lost ones: 250,5 euro.",
    document="letters.md",
    lead="",
)
PASSAGES = [passage(), LETTERS]


def parts_of(*texts: str, written: str = "", shown: bool = False) -> list[Part]:
    """The parts that a marked text becomes, neighbouring pieces of text as one."""
    hits = tuple(hit(found) for found in PASSAGES)
    marked = MarkedText(Prompt("?", hits=hits, written=written), shown=shown)
    joined: list[Part] = []
    for part in [*(part for text in texts for part in marked.take(text)), *marked.finish()]:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def cited(parts: list[Part], written: str = "") -> tuple[str, list[tuple[str, str]]]:
    """The answer, and of each quote what it supports and its words."""
    text = written + "".join(part for part in parts if isinstance(part, str))
    quotes = [part for part in parts if isinstance(part, Quote)]
    for quote in quotes:
        assert quote.place is not None
        start, end = quote.place
        assert quote.passage.text[start:end] == quote.text, "and it stands where it says"
    return text, [(text[quote.supports[0] : quote.supports[1]], quote.text) for quote in quotes]


FEE, DAYS, OFFICE = "Renewal costs Rp 3 million.", "It takes five days.", "A permit is renewed at the office."
LETTER, LATE = "The sponsor writes a letter, signed on 3 May 2025.", "Late letters cost Rp 1.000.000 each."

SUPPORTED = [
    ("It is Rp 3 million for renewal [1].", [("It is Rp 3 million for renewal", FEE)]),
    ("Fine. It takes five days [1]. Bye.", [("It takes five days", DAYS)]),
    ("Fine. It takes five days. [1] Bye.", [("It takes five days.", DAYS)]),
    ("Renewal costs 3 million [1], and takes five days [1].", [
        ("Renewal costs 3 million", FEE),
        ("and takes five days", DAYS),
    ]),
    ("Letters, late ones, cost 1,000,000 [2].", [("Letters, late ones, cost 1,000,000", LATE)]),
    ("The office writes letters [1][2].", [
        ("The office writes letters", OFFICE),
        ("The office writes letters", LETTER),
    ]),
    ("The office writes letters [1]. [2] Bye.", [
        ("The office writes letters", OFFICE),
        ("The office writes letters", LETTER),
    ]),
    ("- The office\n- What it costs [1]\n- Bye", [("What it costs", FEE)]),
    ("1. Fee: Rp 3 million [1]\n2. Days: five [1]", [("Fee: Rp 3 million", FEE), ("Days: five", DAYS)]),
    ("| Fee | Rp 3 million [1] |\n| Days | five [1] |", [("| Fee | Rp 3 million", FEE), ("| Days | five", DAYS)]),
    ("## The office [1]\n\nBye", [("The office", OFFICE)]),
    ("The **five days** [1] pass.", [("The **five days**", DAYS)]),
    ("In **five days.** [1]", [("In **five days.**", DAYS)]),
    ("It ends in five\ndays [1]. Bye.", [("It ends in five\ndays", DAYS)]),
    ("The office.\n[1]\n\nBye.", [("The office.", OFFICE)]),
    ("Es kostet 250.5 EUR [2].", [("Es kostet 250.5 EUR", "Lost ones: 250,5 euro.")]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SUPPORTED)
def test_a_marker_quotes_the_sentence_that_supports_what_it_stands_behind(
    text: str, expected: list[tuple[str, str]]
) -> None:
    whole, found = cited(parts_of(text))
    assert found == expected
    assert "[" not in whole
    document = {LETTERS.document: LETTERS.text, PASSAGES[0].document: "# Renewing a permit\n\n" + TEXT}
    for quote in parts_of(text):
        if isinstance(quote, Quote):
            assert verified(quote, lambda path, start, end: document[path][start:end]) is not None


UNSUPPORTED = [
    "Elephants swim 7 miles [1].",
    "It is 4,000 [1].",
    "That is it, and so on [1].",  # nothing telling in it
    "[1]",
    "Elephants are here.\n\n[1]",
]


@pytest.mark.parametrize("text", UNSUPPORTED)
def test_a_marker_whose_passage_has_nothing_for_it_is_dropped_and_counted(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    dropped = CITATIONS.labels(verified="false")
    before = dropped._value.get()
    whole, found = cited(parts_of(text))
    assert found == []
    assert "[1]" not in whole
    assert dropped._value.get() == before + 1
    assert "dropped a citation" in caplog.text
    assert "lephants" not in caplog.text


def test_of_two_passages_the_one_that_supports_it_is_quoted() -> None:
    dropped = CITATIONS.labels(verified="false")
    before = dropped._value.get()
    assert cited(parts_of("The sponsor signed [1][2].")) == (
        "The sponsor signed.",
        [("The sponsor signed", LETTER)],
    )
    assert dropped._value.get() == before + 1


ANSWER = (
    "Renewal costs Rp 3 million [1]. A letter is needed [2][1], in five days [1].\n\n"
    "- Late: 1.000.000 [2]\n- a[1] 🙂 letter [2]"
)


@given(cuts=st.lists(st.integers(0, len(ANSWER)), max_size=12))
def test_any_cut_gives_the_same_parts(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(ANSWER)]
    pieces = [ANSWER[start:end] for start, end in pairwise(places)]
    assert parts_of(*pieces) == parts_of(ANSWER) == parts_of(*ANSWER)


@pytest.mark.parametrize(
    ("written", "rest", "shown", "expected"),
    [
        ("Renewal costs Rp 3 million", " [1]. Bye", False, ("Renewal costs Rp 3 million", FEE)),
        ("Renewal costs", " Rp 3 million [1]. Bye", False, ("Renewal costs Rp 3 million", FEE)),
        ("Renewal costs Rp 3 million", "Rp 3 million [1]. Bye", True, ("Renewal costs Rp 3 million", FEE)),
        ("Renewal costs Rp 3 million", "costs Rp 3 million [1]. Bye", True, ("Renewal costs Rp 3 million", FEE)),
        ("Renewal costs Rp 3 million. It\n", "Rp 3 million [1]. It", True, ("Renewal costs Rp 3 million", FEE)),
        ("Renewal costs Rp 3 million. So\n\n", "Rp 3 million [1]. So", True, ("Renewal costs Rp 3 million", FEE)),
        ("It is due. ", "It is due of cost [1] so", True, ("It is due of cost", FEE)),
        ("It is due. ", "It costs [1] so", True, ("It costs", FEE)),
    ],
)
def test_what_goes_on_counts_from_the_beginning_of_the_answer(
    written: str, rest: str, shown: bool, expected: tuple[str, str]
) -> None:
    for pieces in ((rest,), tuple(rest)):
        text, found = cited(parts_of(*pieces, written=written, shown=shown), written)
        assert found == [expected]
        assert text.startswith(written)
        assert text.count("Rp 3 million") <= 1


def test_a_statement_behind_much_text_is_found() -> None:
    before = "Nothing much. " * 5000
    text, found = cited(parts_of(before + "Renewal costs Rp 3 million [1]."))
    assert found == [("Renewal costs Rp 3 million", FEE)]
    assert len(text) == len(before) + len(FEE)


def test_a_marker_before_every_text_supports_nothing() -> None:
    assert list(Statements(PASSAGES, "en").quotes(Marker((0, 1)), 0)) == []


# --- The best sentence -------------------------------------------------------------------------------------


def best(statement: str, text: str = TEXT, language: str = "en") -> str | None:
    found = passage(text, language=language)
    span = Support([found, LETTERS]).best(found, statement)
    return found.text[span[0] : span[1]] if span else None


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("Permits are renewed there", OFFICE),
        ("3", FEE),
        ("renewing: 3 million", FEE),
        ("The number of days", DAYS),
        ("33 and 30", None),
        ("at the of it", None),
        ("", None),
    ],
)
def test_words_in_any_form_and_equal_figures_support(statement: str, sentence: str | None) -> None:
    assert best(statement) == sentence


def test_telling_words_weigh_more_than_common_ones() -> None:
    text = "The permit fee is low. The permit visit fee is set by the consul. The permit fee is paid."
    assert best("A fee for the permit, says the consul", text) == "The permit visit fee is set by the consul."


def test_a_figure_decides_between_alike_sentences() -> None:
    text = "A visa of 30 days costs Rp 500.000. A visa of 60 days costs Rp 2.000.000."
    assert best("The visa costs Rp 2,000,000", text) == "A visa of 60 days costs Rp 2.000.000."
    assert best("The visa for 30 days costs", text) == "A visa of 30 days costs Rp 500.000."


def test_other_languages_have_their_own_words() -> None:
    text = "Perpanjangan izin dilakukan di kantor. Biaya perpanjangan adalah tiga juta rupiah."
    assert best("Biayanya tiga juta", text, "id") == "Biaya perpanjangan adalah tiga juta rupiah."
    assert best("di dan yang untuk", text, "id") is None


@pytest.mark.parametrize("text", ["___", "", " \n", "!?"])
def test_a_passage_without_words_supports_nothing(text: str) -> None:
    assert Support([passage(text)]).best(passage(text), "The fee of 3") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rp 1.000.000 and 1,000,000", {"1000000"}),
        ("3.5 or 3,5", {"3.5"}),
        ("2025, 12.", {"2025", "12"}),
        ("1.234,50", {"1234.50"}),
        ("x2 and 28/2025", {"2", "28", "2025"}),
        ("none", set()),
    ],
)
def test_figures_are_equal_however_they_are_set(text: str, expected: set[str]) -> None:
    assert figures(text) == expected


def test_the_blocks_of_the_tests_are_sentences() -> None:
    assert [block.strip() for block in BLOCKS] == [OFFICE, FEE, DAYS]
