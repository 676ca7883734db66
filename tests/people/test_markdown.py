"""A conversation as Markdown: all of it, in order, and nothing that a question could break."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.people.conversations import Conversation, Turn
from zantara_stream.people.markdown import as_markdown

BEGAN = 1_780_000_000.0  # 2026-05-28 20:26:40 UTC


def turn(question: str, text: str = "", state: str = "complete", **details: Any) -> Turn:
    return Turn("A" * 22, "anna", "s", question, BEGAN, False, state, BEGAN + 1, text, details)


def exported(*turns: Turn, title: str = "Permits") -> str:
    return as_markdown(Conversation("s", title, BEGAN, BEGAN + 3600, len(turns), "", turns))


def test_a_conversation_is_written_out() -> None:
    source = {"source": "Fees", "section": "Renewal", "page": 3, "updated": "2026-01-31", "url": "https://example.com"}
    assert exported(turn("What is due?", "Rp 3 million.\n\n- a year", sources=[source, {"source": "Law"}])) == (
        "# Permits\n\n2026-05-28 20:26 to 2026-05-28 21:26 (UTC)\n\n"
        "## 2026-05-28 20:26\n\n"
        "> What is due?\n\n"
        "Rp 3 million.\n\n- a year\n\n"
        "Sources:\n\n"
        "1. Fees, Renewal, page 3, 2026-01-31, https://example.com\n"
        "2. Law\n"
    )


def test_turns_follow_each_other() -> None:
    text = exported(turn("One?", "First."), turn("Two?", "Second."))
    assert [text.index(words) for words in ("One?", "First.", "Two?", "Second.")] == sorted(
        text.index(words) for words in ("One?", "First.", "Two?", "Second.")
    )
    assert "Sources" not in text


def test_an_answer_without_its_end_says_so() -> None:
    for state, words in {
        "running": "still being written",
        "stopped": "stopped here",
        "failed": "broke off here",
        "lost": "was not kept",
    }.items():
        assert words in exported(turn("What?", "Half", state))
    assert "*(" not in exported(turn("What?", "Whole."))


def test_a_title_of_several_lines_is_one_heading() -> None:
    assert exported(title="One\n# Two").startswith("# One # Two\n\n")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_question_stays_a_quotation_whatever_is_in_it(question: str) -> None:
    lines = exported(turn(question, "ANSWER")).splitlines()
    asked = lines[lines.index("## 2026-05-28 20:26") + 2 : lines.index("ANSWER")]
    assert all(line.startswith(">") or not line for line in asked)
