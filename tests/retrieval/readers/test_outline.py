from __future__ import annotations

import pytest

from zantara_stream.retrieval.documents import Section, Unreadable
from zantara_stream.retrieval.readers import outline as module
from zantara_stream.retrieval.readers.outline import HeadingPath, Outline, sections_between


@pytest.mark.parametrize(
    ("headings", "shown"),
    [
        ([], ""),
        ([(1, "A"), (2, "B"), (3, "C")], "A › B › C"),
        ([(1, "A"), (2, "B"), (2, "C")], "A › C"),
        ([(1, "A"), (3, "B"), (2, "C")], "A › C"),
        ([(2, "A"), (1, "B")], "B"),
        ([(1, "Title"), (2, "B")], "B"),
        ([(1, "A"), (1, ""), (2, "B")], "B"),
    ],
)
def test_heading_path(headings: list[tuple[int, str]], shown: str) -> None:
    path = HeadingPath()
    for level, text in headings:
        path.enter(level, text)
    assert path.shown("Title") == shown


def test_outline_puts_blocks_a_blank_line_apart() -> None:
    outline = Outline()
    outline.page()
    outline.heading(1, " The \n title ")
    outline.block("One.")
    outline.block("- a")
    outline.block("- b", tight=True)
    outline.page()
    outline.heading(2, "Sub")
    outline.block("")
    outline.heading(2, "  ")
    outline.block("Two.")
    assert outline.text == "The title\n\nOne.\n\n- a\n- b\n\nSub\n\nTwo."
    assert outline.first_heading == "The title"
    assert outline.pages == [0, outline.text.index("Sub")]
    first, second = outline.sections("The title")
    assert (first.heading, outline.text[first.start : first.end].strip()) == ("", "One.\n\n- a\n- b")
    assert (second.heading, outline.text[second.start : second.end].strip()) == ("Sub", "Two.")


def test_an_outline_of_nothing() -> None:
    outline = Outline()
    assert (outline.text, outline.first_heading, outline.sections("")) == ("", "", ())


def test_sections_begin_where_they_are_told_to_and_blank_ones_are_left_out() -> None:
    text = "matter\nintro\nA\n\nB\nbody"
    headings = [(13, 15, "A", 1), (16, 18, "B", 2)]
    assert sections_between(text, headings, "", 7) == (Section("", 7, 13), Section("A › B", 18, 22))


def test_a_part_is_under_no_heading_before_it_and_its_name_is_not_in_the_text() -> None:
    outline = Outline()
    outline.part("Ignored")
    outline.heading(1, "One")
    outline.block("First.")
    outline.part()
    outline.block("Second.")
    outline.part("Three")
    outline.block("Third.")
    outline.heading(2, "Sub")
    outline.block("Fourth.")
    assert outline.text == "One\n\nFirst.\n\nSecond.\n\nThird.\n\nSub\n\nFourth."
    assert outline.first_heading == "One"
    assert [(held.heading, outline.text[held.start : held.end].strip()) for held in outline.sections("")] == [
        ("One", "First."),
        ("", "Second."),
        ("Three", "Third."),
        ("Three › Sub", "Fourth."),
    ]


def test_a_text_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEXT_LIMIT", 1000)
    outline = Outline()
    outline.block("x" * 998)
    with pytest.raises(Unreadable, match="has more than 1,000 characters of text"):
        outline.block("y")
