"""A quote holds only if the stored document has it character for character, where it is said to stand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from passages_made import BLOCKS, DOCUMENT, LEAD, TEXT, passage

from zantara_stream.generation.answerer import Quote
from zantara_stream.generation.citations import Stored, occurrences, verified
from zantara_stream.metrics import CITATIONS
from zantara_stream.retrieval.passages import Passage

LETTERS = "ab é\n.\u2028😀"
TEXTS = st.text(st.sampled_from(LETTERS), min_size=1, max_size=60).filter(str.strip)
AFTER = " More of the document."


def storing(text: str, document: str = DOCUMENT) -> Stored:
    """A store of one document."""
    return lambda path, start, end: text[start:end] if path == document else None


WHOLE = storing(LEAD + TEXT + AFTER)


def counted() -> tuple[float, float]:
    """How many citations held so far, and how many did not."""
    held, dropped = (CITATIONS.labels(verified=value)._value.get() for value in ("true", "false"))
    return held, dropped


@st.composite
def slices(draw: st.DrawFn) -> tuple[str, int, int]:
    """A text and a stretch of it that is not blank."""
    text = draw(TEXTS)
    start = draw(st.integers(0, len(text) - 1))
    end = draw(st.integers(start + 1, len(text)))
    assume(text[start:end].strip())
    return text, start, end


@given(found=slices(), lead=st.text(max_size=20), placed=st.booleans())
def test_any_slice_of_a_passage_verifies_and_its_span_indexes_the_document(
    found: tuple[str, int, int], lead: str, placed: bool
) -> None:
    text, start, end = found
    quoted = text[start:end]
    document = lead + text + AFTER
    place = (start, end) if placed else None
    held = verified(Quote(passage(text, lead=lead), quoted, (0, 1), place), storing(document))
    assert held is not None
    words, first, last = held
    assert words == quoted.strip()
    assert document[first:last] == words
    assert len(lead) <= first < last <= len(lead) + len(text)
    if placed:
        assert len(lead) + start <= first < last <= len(lead) + end


@given(found=slices(), place=st.integers(0, 60), strange=st.sampled_from("xXÉ\u00a0_0"), placed=st.booleans())
def test_any_altered_slice_does_not(found: tuple[str, int, int], place: int, strange: str, placed: bool) -> None:
    text, start, end = found
    quoted = text[start:end].strip()
    place = min(place, len(quoted) - 1)
    replaced = f"{quoted[:place]}{strange}{quoted[place + 1 :]}"
    added = f"{quoted[: place + 1]}{strange}{quoted[place + 1 :]}"
    for altered in (replaced, added):
        assume(altered == altered.strip() and altered.split() != quoted.split())
        quote = Quote(passage(text), altered, (0, 1), (start, end) if placed else None)
        assert verified(quote, storing(LEAD + text + AFTER)) is None


@given(found=slices(), changed=st.integers(0, 60), placed=st.booleans())
def test_a_document_that_is_stored_otherwise_has_no_such_quote(
    found: tuple[str, int, int], changed: int, placed: bool
) -> None:
    text, start, end = found
    words = text[start:end].strip()
    assume(len(list(occurrences(words, passage(text)))) == 1)
    first = len(LEAD) + text.index(words)
    changed = first + min(changed, len(words) - 1)
    document = LEAD + text
    quote = Quote(passage(text), text[start:end], (0, 1), (start, end) if placed else None)
    for other in (f"{document[:changed]}X{document[changed + 1 :]}", document[:changed], "X" + document):
        assert verified(quote, storing(other)) is None


def test_a_document_that_is_not_stored_has_none() -> None:
    assert verified(Quote(passage(), BLOCKS[0], (0, 1)), storing(LEAD + TEXT, "another.md")) is None


NEAR = [
    "renewal costs Rp 3 million.",  # the case
    "Renewal costs Rp 3 million!",
    "Renewal costs Rp 4 million.",
    "Renewal costs Rp\u00a03 million.",
    "Renewal  costs Rp 3 million.",
    "Renewal costs Rp 3 million. … It takes five days.",
    "# Renewing a permit",  # in the document, and not in the passage
    TEXT + " ...",
    "",
    " \n",
]


@pytest.mark.parametrize("near", NEAR)
def test_what_only_looks_alike_is_dropped_counted_and_logged_without_its_words(
    near: str, caplog: pytest.LogCaptureFixture
) -> None:
    held, dropped = counted()
    assert verified(Quote(passage(), near, (0, 1)), WHOLE) is None
    assert counted() == (held, dropped + 1)
    assert "id of permits/renewal.md" in caplog.text
    assert not near.strip() or near.strip() not in caplog.text


def test_what_holds_is_counted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    held, dropped = counted()
    assert verified(Quote(passage(), BLOCKS[1], (0, 1)), WHOLE) is not None
    assert counted() == (held + 1, dropped)
    assert not caplog.text


def test_space_around_a_quote_is_no_part_of_it() -> None:
    start = len(LEAD) + TEXT.index("Renewal")
    words = "Renewal costs Rp 3 million."
    assert verified(Quote(passage(), f"  {words} \n", (0, 1)), WHOLE) == (words, start, start + len(words))


# --- Where the answerer says that it stands ----------------------------------------------------------------

TWICE = "It is free. Ask the office. It is free."
FREE = "It is free."


def placed(found: Passage, words: str, place: tuple[int, int]) -> tuple[str, int, int] | None:
    return verified(Quote(found, words, (0, 1), place), storing(LEAD + found.text + AFTER))


def test_a_repeated_sentence_has_the_span_of_its_place() -> None:
    found, second = passage(TWICE), TWICE.rindex(FREE)
    assert placed(found, FREE, (0, 12)) == (FREE, len(LEAD), len(LEAD) + len(FREE))
    assert placed(found, FREE, (second, len(TWICE))) == (FREE, len(LEAD) + second, len(LEAD) + len(TWICE))


def test_without_a_place_it_is_the_first_that_is_stored_so() -> None:
    found, second = passage(TWICE), len(LEAD) + TWICE.rindex(FREE)
    quote = Quote(found, FREE, (0, 1))
    document = LEAD + TWICE
    assert verified(quote, storing(document)) == (FREE, len(LEAD), len(LEAD) + len(FREE))
    changed = document.replace(FREE, "It is FREE.", 1)
    assert verified(quote, storing(changed)) == (FREE, second, second + len(FREE))


def test_other_line_ends_and_spaces_are_shown_as_the_document_has_them() -> None:
    found = passage("The fee is\nRp 3  million.\n\nIt takes\u00a0five days.")
    assert placed(found, "The fee is Rp 3 million.\r\n", (0, 27)) == (
        "The fee is\nRp 3  million.",
        len(LEAD),
        len(LEAD) + 25,
    )
    words = "It takes\u00a0five days."
    assert placed(found, "It takes five days.", (27, 46)) == (words, len(LEAD) + 27, len(LEAD) + 46)


@pytest.mark.parametrize("words", [BLOCKS[1], "A permit is renewed", "A permit is renewed at the office. Renewal", ""])
def test_words_that_are_not_those_of_their_place_are_dropped(words: str) -> None:
    assert words in TEXT
    assert placed(passage(), words, (0, len(BLOCKS[0]))) is None


@pytest.mark.parametrize("place", [(0, 0), (3, 3), (500, 600)])
def test_an_empty_place_holds_nothing(place: tuple[int, int]) -> None:
    assert placed(passage(), "", place) is None
    assert placed(passage(), " ", place) is None


def test_a_passage_that_is_said_to_stand_elsewhere_does_not_hold() -> None:
    moved = replace(passage(), start=passage().start + 1)
    assert verified(Quote(moved, BLOCKS[1], (0, 1)), WHOLE) is None


def test_occurrences_overlap_and_know_no_empty_words() -> None:
    assert list(occurrences("", passage())) == []
    assert list(occurrences(TEXT, passage())) == [(0, len(TEXT))]
    assert list(occurrences("aa", passage("aaa"))) == [(0, 2), (1, 3)]
