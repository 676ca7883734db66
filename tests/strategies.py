"""Documents as hypothesis makes them: Markdown and plain text, well formed and not, in many scripts."""

from __future__ import annotations

from hypothesis import strategies as st

from zantara_stream.retrieval.documents import Document
from zantara_stream.retrieval.readers.details import complete
from zantara_stream.retrieval.readers.markdown import read_markdown
from zantara_stream.retrieval.readers.plain import read_plain

# Emoji with joiners, flags, combining marks, wide and right-to-left letters, spaces that are no ASCII.
_ODD = ["👩‍👩‍👧", "🇮🇩", "e\u0301", "n\u0303o", "日本語", "שלום", "ﬁ", "İ", "a\u00a0b", "x\u2028y", "50.000,00", "§7"]
_PLAIN = ["visa", "permit", "the", "Rp", "PT.", "costs", "KITAS", "perché", "pajak", "tahunan", "18", "e.g.", "(both)"]


def words() -> st.SearchStrategy[str]:
    """One word; now and then a very long one."""
    long = st.builds(lambda letter, count: letter * count, st.sampled_from("aé你😀"), st.integers(100, 900))
    return st.sampled_from(_PLAIN) | st.sampled_from(_ODD) | st.text("abcXYZ0é", min_size=1, max_size=12) | long


def sentences() -> st.SearchStrategy[str]:
    """Words and the mark that ends them."""
    return st.builds(
        lambda parts, end: " ".join(parts) + end,
        st.lists(words(), min_size=1, max_size=12),
        st.sampled_from([".", "!", "?", "…", "。", ""]),
    )


def paragraphs() -> st.SearchStrategy[str]:
    """A few sentences, on one line or on several."""
    return st.builds(
        lambda parts, gap: gap.join(parts), st.lists(sentences(), min_size=1, max_size=6), st.sampled_from([" ", "\n"])
    )


def lists() -> st.SearchStrategy[str]:
    """Bulleted and numbered items."""
    return st.builds(
        lambda items, mark: "\n".join(f"{mark} {item}" for item in items),
        st.lists(sentences(), min_size=1, max_size=8),
        st.sampled_from(["-", "*", "1."]),
    )


def tables() -> st.SearchStrategy[str]:
    """A table of two columns with its rule."""
    rows = st.lists(st.tuples(words(), words()), min_size=1, max_size=8)
    return rows.map(lambda rows: "\n".join(["| A | B |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]))


def _headings(marks: list[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda mark, text: mark.format(text), st.sampled_from(marks), words() | sentences())


def _joined(blocks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda parts, gap: gap.join(parts),
        st.lists(blocks, min_size=1, max_size=14),
        st.sampled_from(["\n\n", "\n\n\n", "\n", "\r\n\r\n"]),
    )


def markdown() -> st.SearchStrategy[str]:
    """The text of a Markdown file."""
    headings = _headings(["# {}", "## {}", "### {}", "###### {} #", "{}\n===", "{}\n---"])
    odd = st.sampled_from(["```\ncode # no heading\n```", "> # quoted", "***", "<b>html</b>", "[a](b)", "    indented"])
    return _joined(headings | paragraphs() | lists() | tables() | odd)


def plain() -> st.SearchStrategy[str]:
    """The text of a plain text file."""
    return _joined(_headings(["{}\n====", "{}\n----", "1. {}", "2.3 {}", "FEES {}", "{}"]) | paragraphs() | lists())


def documents() -> st.SearchStrategy[Document]:
    """Documents with text in them, read from Markdown or plain text."""
    tail = "\n\nLast words."
    marked = markdown().map(lambda text: complete("notes/made.md", read_markdown((text + tail).encode())))
    unmarked = plain().map(lambda text: complete("notes/made.txt", read_plain((text + tail).encode())))
    return marked | unmarked
