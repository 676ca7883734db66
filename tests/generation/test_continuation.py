"""Going on with an answer that broke off: the seam of its two parts, and answers that are made anew."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from passages_made import passage

from zantara_stream.errors import AnswerExpired, ModelUnavailable
from zantara_stream.generation.answerer import Finish, Part, Quote
from zantara_stream.generation.continuation import Seam, unwritten

SPACES = st.sampled_from([" ", "  ", "\n", "\n\n", "\t", " \n", "\u00a0"])
WORDS = st.sampled_from(["very", "10.000", ".000", "a", "permit", "perché", "日本語", "🇮🇩", "-", "1"])
TEXTS = st.lists(WORDS | SPACES, max_size=12).map("".join)


def in_pieces(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def joined(written: str, *pieces: str, shown: bool = True) -> str:
    """The whole answer, as its readers have it."""
    seam = Seam(written, shown=shown)
    return written + "".join(map(seam.take, pieces)) + seam.finish()


# --- After a prefill ---------------------------------------------------------------------------------------


@given(text=TEXTS, cut=st.integers(0, 60), cuts=st.lists(st.integers(0, 60), max_size=8))
@example(text="a  \n\n b", cut=4, cuts=[2, 3])
@example(text="very very good", cut=5, cuts=[])
def test_what_goes_on_from_the_stripped_text_gives_the_whole(text: str, cut: int, cuts: list[int]) -> None:
    written = text[:cut]
    rest = text[len(written.rstrip()) :]
    assert joined(written, *in_pieces(rest, cuts), shown=False) == text


@given(rest=TEXTS, cuts=st.lists(st.integers(0, 60), max_size=8), shown=st.booleans())
def test_where_nothing_is_written_everything_is_new_at_once(rest: str, cuts: list[int], shown: bool) -> None:
    seam = Seam("", shown=shown)
    pieces = in_pieces(rest, cuts)
    assert [seam.take(piece) for piece in pieces] == pieces
    assert seam.finish() == ""


def test_words_are_not_held_back_after_a_prefill() -> None:
    seam = Seam("It is very", shown=False)
    assert [seam.take("very"), seam.take(" good")] == ["very", " good"]


# --- After the text was shown ------------------------------------------------------------------------------

# No word, and no part of one, begins as another does, so that it is clear what is repeated.
NAMES = st.permutations(["Alpha", "Beta", "Gamma", "Delta", "Epsilon", "Zeta", "Rp", "Kitas"])
GAPS = st.lists(SPACES, min_size=8, max_size=8)


@given(names=NAMES, gaps=GAPS, cut=st.integers(1, 60), again=st.integers(0, 8), data=st.data())
def test_any_repetition_of_the_last_words_is_dropped(
    names: list[str], gaps: list[str], cut: int, again: int, data: st.DataObject
) -> None:
    text = "".join(name + gap for name, gap in zip(names, gaps, strict=True)).rstrip()
    written = text[:cut]
    seen = written.rstrip()
    starts = [n for n in range(len(seen)) if seen[n].isupper() and (n == 0 or seen[n - 1].isspace())]
    start = [len(seen), *starts[::-1]][min(again, len(starts))]
    cuts = data.draw(st.lists(st.integers(0, 60), max_size=8), label="cuts")
    assert joined(written, *in_pieces(text[start:], cuts)) == text


@pytest.mark.parametrize(
    ("written", "rest", "whole"),
    [
        ("It costs Rp 10.000", ".000.000 a year", "It costs Rp 10.000.000.000 a year"),
        ("It costs Rp 10.000", "10.000.000 a year", "It costs Rp 10.000.000 a year"),
        ("It costs Rp 10.000", "Rp 10.000.000 a year", "It costs Rp 10.000.000 a year"),
        ("It is very", " very good", "It is very very good"),
        ("It is very ", " very good", "It is very very good"),
        ("Before the renew", "renewal", "Before the renewal"),
        ("Before the renew", "al", "Before the renewal"),
        ("Before the renew", "the renewal", "Before the renewal"),
        ("This is a ", "average fee", "This is a average fee"),
        ("This is a ", "a fee", "This is a fee"),
        ("One two", "One two", "One two"),
        ("One two", "One two three", "One two three"),
        ("One two", "two", "One two"),
        ("One two", "One", "One twoOne"),
        ("One two\n\n", "two\n\nThree", "One two\n\nThree"),
        ("One two\n\n", "One two", "One two\n\n"),
        ("One two\n\n", "\n\nThree", "One two\n\nThree"),
        ("One two\n", "\n\nThree", "One two\n\nThree"),
        ("One two ", "three", "One two three"),
        ("One two", " three", "One two three"),
        ("no no", "no no no", "no no no"),
        (" \n", "Hello", " \nHello"),
        ("One", "", "One"),
    ],
)
def test_the_seam_of_what_was_shown(written: str, rest: str, whole: str) -> None:
    assert joined(written, rest) == whole
    assert joined(written, *rest) == whole, "letter by letter"


def test_a_repetition_in_other_white_space_is_one_too() -> None:
    assert joined("One two\n\n", "two three").split() == ["One", "two", "three"]


def test_what_may_be_a_repetition_is_held_back_until_it_is_clear() -> None:
    seam = Seam("The fee is Rp 3")
    assert [seam.take("The "), seam.take("fee "), seam.take("was "), seam.take("The ")] == [
        "",
        "",
        "The fee was ",
        "The ",
    ]


def test_what_is_held_back_is_given_at_the_end() -> None:
    seam = Seam("The fee is Rp 3")
    assert seam.take("The fee") == ""
    assert seam.finish() == "The fee"
    assert seam.finish() == ""


def test_it_says_whether_it_holds_something_back() -> None:
    seam = Seam("The fee is Rp 3")
    pieces = ["", "The", " fee", " was", " The"]
    assert [(seam.take(piece), seam.holds) for piece in pieces] == [
        ("", False),
        ("", True),
        ("", True),
        ("The fee was", False),
        (" The", False),
    ]


@pytest.mark.parametrize(
    ("written", "rest", "taken", "shown", "place"),
    [
        ("One two", "", 0, True, "One two"),
        ("One two \n", "", 0, True, "One two"),
        ("", "Three", 3, True, "Thr"),
        ("One two ", "three", 3, True, "One two thr"),
        ("One two ", " three", 4, True, "One two thr"),
        ("One two ", " three", 4, False, "One two thr"),
        ("One two\n\n", "two three", 3, True, "One two"),
        ("One two\n\n", "two three", 2, True, "One tw"),
        ("One two\n\n", "One two\n\nthree", 3, True, "One"),
        ("One two\n\n", "One two\n\nthree", 12, True, "One two\n\nthr"),
    ],
)
def test_the_place_of_what_came_in_the_answer(written: str, rest: str, taken: int, shown: bool, place: str) -> None:
    for pieces in ([rest], list(rest)):
        seam = Seam(written, shown=shown)
        whole = written + "".join(map(seam.take, pieces)) + seam.finish() + seam.finish()
        assert whole.startswith(place)
        assert seam.place(taken) == len(place)


def test_a_finish_before_anything_came_leaves_the_seam_open() -> None:
    seam = Seam("The fee")
    assert seam.finish() == ""
    assert seam.take("The fee is") == " is"


# --- Made anew ---------------------------------------------------------------------------------------------

QUOTE = Quote(passage(), "Rp 3 million", (0, 5))
PARTS: list[Part] = ["Hello ", QUOTE, "wide ", "world", Finish()]


async def made(parts: list[Part]) -> AsyncGenerator[Part, None]:
    for part in parts:
        yield part


async def rest_of(parts: list[Part], written: str) -> list[Part]:
    return [part async for part in unwritten(made(parts), written)]


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ("", PARTS),
        ("Hel", ["lo ", QUOTE, "wide ", "world", Finish()]),
        ("Hello ", [QUOTE, "wide ", "world", Finish()]),
        ("Hello wi", [QUOTE, "de ", "world", Finish()]),
        ("Hello wide world", [QUOTE, Finish()]),
    ],
)
async def test_only_what_is_not_written_is_left_of_the_text_and_all_else(written: str, rest: list[Part]) -> None:
    assert await rest_of(PARTS, written) == rest


@pytest.mark.parametrize("written", ["Hullo", "Hello wild", "hello ", "Hello wide world, and more"])
async def test_an_answer_that_begins_otherwise_by_now_is_not_gone_on_with(written: str) -> None:
    with pytest.raises(AnswerExpired, match="documents changed") as caught:
        await rest_of(PARTS, written)
    assert caught.value.retryable
    assert not isinstance(caught.value, ModelUnavailable), "trying again would not mend it"
