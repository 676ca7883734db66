"""A quote holds only if its passage has it character for character."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from passages_made import LEAD, TEXT, passage

from zantara_stream.generation.answerer import Quote
from zantara_stream.generation.citations import locate, verified

LETTERS = "ab é\n.\u2028😀"
TEXTS = st.text(st.sampled_from(LETTERS), min_size=1, max_size=60).filter(str.strip)
AFTER = " More of the document."


@st.composite
def slices(draw: st.DrawFn) -> tuple[str, int, int]:
    """A text and a stretch of it that is not blank."""
    text = draw(TEXTS)
    start = draw(st.integers(0, len(text) - 1))
    end = draw(st.integers(start + 1, len(text)))
    assume(text[start:end].strip())
    return text, start, end


@given(found=slices(), lead=st.text(max_size=20))
def test_any_slice_of_a_passage_verifies_and_its_span_indexes_the_document(
    found: tuple[str, int, int], lead: str
) -> None:
    text, start, end = found
    quoted = text[start:end]
    held = verified(Quote(passage(text, lead=lead), quoted, (0, 1)))
    assert held is not None
    words, first, last = held
    document = lead + text + AFTER
    assert words == quoted.strip()
    assert document[first:last] == words
    assert len(lead) <= first < last <= len(lead) + len(text)


@given(found=slices(), place=st.integers(0, 60), strange=st.sampled_from("xXÉ\u00a0_0"))
def test_any_altered_slice_does_not(found: tuple[str, int, int], place: int, strange: str) -> None:
    text, start, end = found
    quoted = text[start:end].strip()
    place = min(place, len(quoted) - 1)
    replaced = f"{quoted[:place]}{strange}{quoted[place + 1 :]}"
    added = f"{quoted[: place + 1]}{strange}{quoted[place + 1 :]}"
    for altered in (replaced, added):
        assume(altered == altered.strip())
        assert verified(Quote(passage(text), altered, (0, 1))) is None


@pytest.mark.parametrize(
    "near",
    [
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
    ],
)
def test_what_only_looks_alike_is_dropped_and_logged(near: str, caplog: pytest.LogCaptureFixture) -> None:
    assert verified(Quote(passage(), near, (0, 1))) is None
    assert "id of permits/renewal.md" in caplog.text


def test_space_around_a_quote_is_no_part_of_it() -> None:
    start = len(LEAD) + TEXT.index("Renewal")
    words = "Renewal costs Rp 3 million."
    assert verified(Quote(passage(), f"  {words} \n", (0, 1))) == (words, start, start + len(words))


def test_locate_knows_no_empty_quote() -> None:
    assert locate("", passage()) is None
    assert locate(TEXT, passage()) == (passage().start, passage().end)
