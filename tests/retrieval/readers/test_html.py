from __future__ import annotations

import pytest
from conftest import DOCUMENTS

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers.details import Draft
from zantara_stream.retrieval.readers.html import read_html


def _text(body: str) -> str:
    return read_html(f"<html><body>{body}</body></html>".encode()).text


def test_facts() -> None:
    draft = read_html(
        b'<html lang="id-ID"><head><title> A \n page </title><meta name="date" content="2026-02-03">'
        b'<link rel="canonical" href=" https://example.com/a "></head><body><p>Text.</p></body></html>'
    )
    assert (draft.title, draft.language, draft.updated) == ("A page", "id-ID", "2026-02-03")
    assert (draft.url, draft.text, draft.markdown) == ("https://example.com/a", "Text.", False)


def test_the_first_heading_is_the_title_and_a_time_the_date() -> None:
    draft = read_html(b'<title>Site</title><h1>Page</h1><time datetime="2026-02-03">3 Feb</time>')
    assert (draft.title, draft.updated) == ("Page", "2026-02-03")


def test_a_page_that_says_nothing_of_itself() -> None:
    assert read_html(b"<p>Text.") == Draft("Text.", read_html(b"Text.").sections)
    assert read_html(b"<html lang><meta name=date><link rel=canonical><p>Text.").language == ""


def test_level_and_status() -> None:
    draft = read_html(b'<meta name="Zantara:Level" content=" 2 "><meta name="zantara:status" content="draft"><p>Text.')
    assert (draft.level, draft.status) == (2, "draft")
    assert (read_html(b"<p>Text.").level, read_html(b"<p>Text.").status) == (None, "")


@pytest.mark.parametrize("metas", ["<meta name=zantara:level content=4>", "<meta name=zantara:level>"])
def test_a_level_that_cannot_be_read(metas: str) -> None:
    with pytest.raises(Unreadable, match="has a head that gives the access level"):
        read_html(f"{metas}<p>Text.".encode())
    with pytest.raises(Unreadable, match=r"has a head that gives several access levels"):
        read_html(f"<meta name=zantara:level content=0>{metas}<p>Text.".encode())


def test_headings_cut_the_text() -> None:
    draft = read_html(b"<h1>T</h1><p>Intro.</p><h2>Fees <em>and</em> fines</h2>Low.<h3>Late</h3>High.<h2></h2>Still.")
    assert [(s.heading, draft.text[s.start : s.end].strip()) for s in draft.sections] == [
        ("", "Intro."),
        ("Fees and fines", "Low."),
        ("Fees and fines › Late", "High.\n\nStill."),
    ]


@pytest.mark.parametrize(
    "element", ["script", "style", "noscript", "template", "nav", "footer", "aside", "form", "svg", "button"]
)
def test_what_is_not_the_text_of_the_page_is_left_out(element: str) -> None:
    assert _text(f"<p>One.</p><{element}>gone</{element}><p>Two.</p>") == "One.\n\nTwo."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("a<b>b</b>c <i> d</i>\n e", "abc d e"),
        ("one<br>two", "one\n\ntwo"),
        ("<div>a<div>b</div>c</div>d", "a\n\nb\n\nc\n\nd"),
        ("5&nbsp;% &amp; m&sup2; &lt;b&gt;", "5 % & m² <b>"),
        ("<!-- gone --><p>x</p><!-- gone -->", "x"),
        ("<ul><li>a</li><li>b <b>c</b></li></ul><p>d</p><ol><li>e</li></ol>", "- a\n- b c\n\nd\n\n- e"),
        ("<ul><li>a<ul><li>b</li></ul></li><li></li></ul>", "a\n\n- b"),
        ("<ul><li><p>a</p><p>b</p></li></ul>", "a\n\nb"),
        ("<dl><dt>Term</dt><dd>Meaning</dd></dl>", "- Term\n- Meaning"),
        ("<table><tr><th>A<th>B</tr><tr><td>1</td><td>2</td></tr></table>", "A | B\n1 | 2"),
        ("<table><thead><tr><th>A</th></tr></thead><tbody><tr><td><p>1</p></td></tr></tbody></table>", "A\n1"),
        ("<table><tr><td><p>Fee</p><p>Rp 1</p></td><td>a<br>b<b>c</b></td></tr></table>", "Fee Rp 1 | a b c"),
        ("<table><caption>Fees</caption><tr><td>1</td></tr></table>", "Fees\n\n1"),
        ("<h2>One<br>Two</h2><p>x</p>", "One Two\n\nx"),
        ("", ""),
    ],
)
def test_blocks(body: str, text: str) -> None:
    assert _text(body) == text


def test_a_table_for_the_looks_is_not_a_row_of_data() -> None:
    body = "<table><tr><td>Menu</td><td><h2>Fees</h2><p>Low.</p><table><tr><td>1<td>2</table></td></tr></table>"
    draft = read_html(body.encode())
    assert draft.text == "Menu\n\nFees\n\nLow.\n\n1 | 2"
    assert [section.heading for section in draft.sections] == ["", ""]  # "Fees" is the title here
    assert draft.title == "Fees"


def test_frames_have_no_text() -> None:
    assert read_html(b"<html><frameset><frame src=a></frameset></html>").sections == ()


@pytest.mark.parametrize(
    "opening", ["<div>", "<ul><li>", "<table><tr><td>", "<b>", "<li><b>", "<blockquote><p>", "<dl><dd>"]
)
def test_20000_levels_are_read(opening: str) -> None:
    text = read_html((opening * 20_000 + "Deep text.").encode()).text
    assert text.removeprefix("- ") == "Deep text."


@pytest.mark.parametrize("opening", ["<b>", "<table><tr><td>", "<h1>"])
def test_100000_levels_of_what_parses_quickly_are_read(opening: str) -> None:
    assert read_html((opening * 100_000 + "Deep text.").encode()).text == "Deep text."


@pytest.mark.parametrize(
    "path", ["companies/choosing-a-company-form.html", "visas/visit-visas.html", "property/sewa-tanah.html"]
)
def test_the_sample_files_without_their_furniture(path: str) -> None:
    draft = read_html((DOCUMENTS / path).read_bytes())
    for gone in ("Home", "Beranda", "Imprint", "Privacy", "©", "desk@example.com", "<", "function"):
        assert gone not in draft.text
    assert draft.title == draft.text.split("\n", 1)[0]


def test_tables_and_lists_of_a_sample_file() -> None:
    text = read_html((DOCUMENTS / "visas/visit-visas.html").read_bytes()).text
    assert "\nVisa | First stay | Extensions | Government fee\nVisa exemption (ASEAN passports) | 30 days |" in text
    assert "\n\n- Attend meetings, negotiations and the signing of contracts.\n- Inspect goods" in text
