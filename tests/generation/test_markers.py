"""Markers are taken out of a text at any cut of it; what is none stays as it is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from zantara_stream.generation.markers import Marker, Markers

GIVEN = 4  # passages
Pieces = list[str | Marker]


def in_pieces(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def read(*texts: str, count: int = GIVEN, written: str = "") -> Pieces:
    """All that comes of the texts, neighbouring pieces of text as one."""
    markers = Markers(count, written)
    joined: Pieces = []
    for piece in [*(piece for text in texts for piece in markers.take(text)), *markers.finish()]:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def told(pieces: Pieces) -> str:
    """The pieces in one line, markers as their numbers in braces."""
    return "".join(piece if isinstance(piece, str) else _numbered(piece) for piece in pieces)


def _numbered(marker: Marker) -> str:
    return "{" + ",".join(str(number + 1) for number in marker.passages) + "}"


MARKED = [
    ("The fee is Rp 3 [2].", "The fee is Rp 3{2}."),
    ("The fee [1][3].", "The fee{1,3}."),
    ("The fee [1] [3].", "The fee{1,3}."),
    ("The fee [1, 3] and more", "The fee{1,3} and more"),
    ("The fee [1,3;2]", "The fee{1,3,2}"),
    ("The fee [^2].", "The fee{2}."),
    ("The fee [passage 2].", "The fee{2}."),
    ("The fee [Passages 2, 4].", "The fee{2,4}."),
    ("The fee [passage 2, passage 4].", "The fee{2,4}."),
    ("The fee 【2】.", "The fee{2}."),
    ("The fee [ 2 ].", "The fee{2}."),
    ("The fee [2][2].", "The fee{2}."),
    ("The fee. [2] It takes", "The fee.{2} It takes"),
    ("The fee.[2] It takes", "The fee.{2} It takes"),
    ("The fee [2]\n- and", "The fee{2}\n- and"),
    ("The fee [2]it", "The fee{2} it"),
    ("The fee [2] it", "The fee{2} it"),
    ("The fee [2]  it", "The fee{2}  it"),
    ("**The fee [2].**", "**The fee{2}.**"),
    ("(The fee [2])", "(The fee{2})"),
    ("| Fee | Rp 3 [2] |\n| x | y [1] |", "| Fee | Rp 3{2} |\n| x | y{1} |"),
    ("The fee.\n\n[2]\n\nIt takes", "The fee.{2}\n\nIt takes"),
    ("The fee.\n[2][1]", "The fee.{2,1}"),
    # without a space
    ("The fee is Rp 3[2] a year", "The fee is Rp 3{2} a year"),
    ("The day[2].", "The day{2}."),
    ("The day[2][3].", "The day{2,3}."),
    ("The day[2]\nNext", "The day{2}\nNext"),
    ("The day[2]", "The day{2}"),
    ("The **day**[2] is", "The **day**{2} is"),
    ("Così è perché[2] sì", "Così è perché{2} sì"),
    ("費用は三百万です[2]。次", "費用は三百万です{2}。次"),
    ("The day【2】 is", "The day{2} is"),
    # only those that were given
    ("The fee [1][9].", "The fee{1} [9]."),
    # code that is over
    ("`a` fee [2].", "`a` fee{2}."),
    ("``a`b`` fee [2].", "``a`b`` fee{2}."),
    ("a ` alone\nfee [2].", "a ` alone\nfee{2}."),
    ("```\na [1]\n```\nfee [2].", "```\na [1]\n```\nfee{2}."),
    ("~~~ py\na [1]\n~~~~\nfee [2].", "~~~ py\na [1]\n~~~~\nfee{2}."),
    ("- ```\n  a [1]\n  ```\n- fee [2].", "- ```\n  a [1]\n  ```\n- fee{2}."),
    # beside what is none
    ("The fee [1][x].", "The fee{1} [x]."),
    ("[see](u) the fee [1].", "[see](u) the fee{1}."),
]

UNMARKED = [
    "See [the fees](https://example.com/[1]) now",
    "See [2](https://example.com) now",
    "See ![2](picture.png) now",
    "See [the fees][1] now",
    "- [ ] to do\n- [x] done",
    "The value a[1] is, x2[1] too, a_b[3], and f[1][2].",
    "In items[2] and items[2].name it",
    "In obj.items[2].",
    "In 2025 [2026] it [20] was [5], [0] and [01].",
    "a [1, 9] b [1-3] c [1,] d [,1] e [] f [ ] g [passage] h [passage two] i [^a] j [1 2] k [n. 1]",
    "`a [1]` and ``b ` [1]``",
    "```\na [1]\n``\n~~~\nb [2]",
    "~~~\na [1]\n```\nb [2]",
    "> ```py\n> a [1]\n",
    "an open ` tick [1] to the line's end",
    "\\[2] and a \\[1\\]",
    "[^2]: a note\n[1]: https://example.com\n  [3] Third\n- [1] First\n1. [2] Second\n> [1] Quoted",
    "[2] begins",
    "- [2]\n1. [1]\n> [3]",
    "Open [",
    "Open [1",
    "Open [passage",
    "Open [1, ",
    "Ends in space \n ",
    "",
]


@pytest.mark.parametrize(("text", "shown"), MARKED)
def test_markers_are_taken_out(text: str, shown: str) -> None:
    assert told(read(text)) == shown
    assert told(read(*text)) == shown, "letter by letter"


@pytest.mark.parametrize("text", UNMARKED)
def test_what_is_no_marker_stays_as_it_is(text: str) -> None:
    assert told(read(text)) == text
    assert told(read(*text)) == text, "letter by letter"


PIECES = st.sampled_from(
    [
        *["[", "]", "[1]", "[2]", " [3]", "[1, 2]", "[^2]", "[passage 2]", "【2】", "[9]", "[2026]", "[x]", "(", ")"],
        *["`", "```", "~~~", "\n", "\n\n", " ", "  ", "\t", "- ", "1. ", "| ", ".", ",", ":", "!", "\\", "**", "_"],
        *["a", "fee", "perché", "3", "日本", "😀", "\u2028", "passage", "pass", "^", "1", ";"],
    ]
)
TEXTS = st.lists(PIECES, max_size=25).map("".join)


@given(text=TEXTS, cuts=st.lists(st.integers(0, 80), max_size=12), written=TEXTS)
@example(text="[1][2][3][1][2][3][1][2][3][1][2].", cuts=[3, 30], written="")
@example(text="[1,1,1,1,1,1,1,1,1,1] [1", cuts=[3, 20], written="fee")
@example(text="         \n  [2]", cuts=[3, 10], written="fee")
def test_any_cut_gives_the_same(text: str, cuts: list[int], written: str) -> None:
    whole = read(text, written=written)
    assert read(*in_pieces(text, cuts), written=written) == whole
    assert read(*text, written=written) == whole


@given(text=TEXTS, cut=st.integers(0, 80))
def test_going_on_after_what_is_passed_on_gives_the_same(text: str, cut: int) -> None:
    markers = Markers(GIVEN)
    first = markers.take(text[:cut])
    assume(not any(isinstance(piece, Marker) for piece in first))
    passed_on = told(first)
    assert told([*first, *read(text[len(passed_on) :], written=passed_on)]) == told(read(text))


@given(text=TEXTS, cuts=st.lists(st.integers(0, 80), max_size=5))
def test_where_no_passages_are_given_everything_is_text(text: str, cuts: list[int]) -> None:
    assert "".join(str(piece) for piece in read(*in_pieces(text, cuts), count=0)) == text


@given(text=TEXTS)
def test_nothing_but_markers_and_white_space_is_taken(text: str) -> None:
    """Letter for letter, the text that is left stands in the text that came, in order."""
    place = 0
    for letter in "".join(piece for piece in read(text) if isinstance(piece, str)):
        place = text.index(letter, place) + 1
    kept = {letter for letter in text if letter not in " \t\n\u2028[]【】^,;123456789passage"}
    assert kept == {letter for piece in read(text) if isinstance(piece, str) for letter in piece if letter in kept}


WORDS = st.sampled_from(["Fees", "are", "three", "million", "perché", "`x[1]`", "[see](u)", "(both)", "2026"])
STATEMENTS = st.lists(WORDS, min_size=1, max_size=5).map(lambda parts: "The " + " ".join(parts) + " so")
FORMS = st.sampled_from(["[{}]", "[^{}]", "[passage {}]", "【{}】", "[ {} ]"])
ANSWERS = st.lists(
    st.tuples(STATEMENTS, FORMS, st.integers(1, GIVEN), st.sampled_from([".", "!", ",", "\n-", ".\n\n"])), max_size=6
)


@given(answer=ANSWERS, cuts=st.lists(st.integers(0, 200), max_size=8))
def test_an_answer_without_its_markers_reads_as_if_it_had_none(
    answer: list[tuple[str, str, int, str]], cuts: list[int]
) -> None:
    text = " ".join(f"{statement} {form.format(number)}{mark}" for statement, form, number, mark in answer)
    expected = " ".join(f"{statement}{{{number}}}{mark}" for statement, _, number, mark in answer)
    assert told(read(*in_pieces(text, cuts))) == expected


@pytest.mark.parametrize(
    ("text", "passed_on"),
    [
        ("The fee", "The fee"),
        ("The fee ", "The fee"),
        ("The fee [", "The fee"),
        ("The fee [p", "The fee"),
        ("The fee [pag", "The fee [pag"),
        ("The fee [L", "The fee [L"),
        ("The fee [x", "The fee [x"),
        ("The fee [^2", "The fee"),
        ("The fee [202", "The fee"),
        ("The fee [2026", "The fee [2026"),
        ("The fee [2]", "The fee"),
        ("The fee [2].", "The fee."),
        ("The fee [2] ", "The fee"),
        ("The fee [2] i", "The fee i"),
        ("The day[2].", "The day"),
        ("The day[2]. ", "The day."),
        ("A" + " " * 20, "A" + " " * 12),
    ],
)
def test_text_is_held_back_only_while_it_may_be_a_marker(text: str, passed_on: str) -> None:
    markers = Markers(GIVEN)
    pieces = [piece for letter in text for piece in markers.take(letter)]
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == passed_on


@given(text=TEXTS)
def test_what_is_held_back_is_bounded(text: str) -> None:
    markers = Markers(0)  # nothing is taken out
    given_back = 0
    for place, letter in enumerate(text * 10, 1):
        given_back += sum(len(piece) for piece in markers.take(letter) if isinstance(piece, str))
        assert place - given_back <= 8 + 8 * 8 * 14


@pytest.mark.parametrize(
    ("written", "text", "shown"),
    [
        ("The fee is Rp 3", " [2].", "{2}."),
        ("The fee is Rp 3", "[2].", "{2}."),
        ("The fee.\n\n", "[2] A note", "[2] A note"),
        ("The value a", "[1] is", "[1] is"),
        ("See [the fees]", "[1]", "[1]"),
        ("Run `a", " [1]` now [2].", " [1]` now{2}."),
        ("```\na", " [1]\n```\nb [2]", " [1]\n```\nb{2}"),
    ],
)
def test_what_is_written_says_where_the_text_begins(written: str, text: str, shown: str) -> None:
    assert told(read(text, written=written)) == shown
    assert told(read(*text, written=written)) == shown
