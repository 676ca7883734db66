from __future__ import annotations

from dataclasses import replace

import pytest

from zantara_stream.retrieval.documents import Section, Unreadable
from zantara_stream.retrieval.readers.details import Draft, complete, decode
from zantara_stream.retrieval.readers.metadata import Metadata


def _draft(
    text: str = "The permit is renewed at the office.", title: str = "", language: str = "", updated: str = ""
) -> Draft:
    return Draft(text, (Section("", 0, len(text)),), title, language, updated)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        ("\ufeffwith mark".encode(), "with mark"),
        (b"a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("é 😀".encode(), "é 😀"),
        (b"", ""),
    ],
)
def test_decode(data: bytes, text: str) -> None:
    assert decode(data) == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"ab\0cd", "is not text (it holds zero bytes)"),
        (b"caf\xe9.", "is not UTF-8 text (byte 3 of 5)"),
        ("text".encode("utf-16"), "is not text (it holds zero bytes)"),
        (b"\xed\xa0\x80", "is not UTF-8 text (byte 0 of 3)"),
    ],
)
def test_what_is_no_text(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(data)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("title", "path", "expected"),
    [
        ("  My \n title ", "a.md", "My title"),
        ("", "visas/long-stay_second home.txt", "Long stay second home"),
        ("", "x/README.md", "Readme"),
    ],
)
def test_title(title: str, path: str, expected: str) -> None:
    assert complete(path, _draft(title=title)).title == expected


@pytest.mark.parametrize(
    ("declared", "expected"),
    [("it", "it"), ("ID-id", "id"), (" en_GB", "en"), ("", "en"), ("1x", "en"), ("?", "en")],
)
def test_language_is_declared_or_told_from_the_text(declared: str, expected: str) -> None:
    assert complete("a.md", _draft(language=declared)).language == expected


@pytest.mark.parametrize(
    ("text", "declared", "expected"),
    [
        ("Updated: 2026-03-04", "2020-01-01", "2026-03-04"),
        ("Text.\n**Last updated:** 2026-03-04", "", "2026-03-04"),
        ("Text.\nDiperbarui: 2026-03-04.", "", "2026-03-04"),
        ("Text.\n> Aggiornato : 2026-03-04", "", "2026-03-04"),
        ("Not updated: 2026-03-04", "", ""),
        ("Updated: March", "2020-01-01T10:00:00Z", "2020-01-01"),
        ("Text.", "yesterday", ""),
        ("x" * 1500 + "\nUpdated: 2026-03-04", "", ""),
    ],
)
def test_date_in_the_text_goes_before_metadata(text: str, declared: str, expected: str) -> None:
    assert complete("a.md", _draft(text, updated=declared)).updated == expected


@pytest.mark.parametrize("text", ["", " \n ", "--- *** !!!", "___"])
def test_a_document_without_a_word_is_none(text: str) -> None:
    with pytest.raises(Unreadable, match="has no text in it"):
        complete("a.md", _draft(text, title="Title"))


def test_words_outside_the_sections_are_no_text() -> None:
    with pytest.raises(Unreadable, match="has no text in it"):
        complete("a.md", Draft("Heading\n\n***", (Section("Heading", 9, 12),)))
    with pytest.raises(Unreadable, match="has no text in it"):
        complete("a.md", Draft("Heading", ()))


def test_the_rest_is_passed_on() -> None:
    draft = Draft("One.", (Section("", 0, 4),), "T", "en", "2026-01-01", "https://example.com", (0,), True)
    document = complete("a.pdf", draft)
    assert (document.text, document.sections, document.url) == ("One.", draft.sections, "https://example.com")
    assert (document.pages, document.markdown, document.path) == ((0,), True, "a.pdf")


def test_a_level_and_a_status() -> None:
    document = complete("a.md", _draft())
    assert (document.level, document.status) == (0, "")
    draft = replace(_draft(), level=2, status="draft")
    assert (complete("a.md", draft).level, complete("a.md", draft).status) == (2, "draft")


def test_the_sidecar_goes_before_all() -> None:
    draft = replace(
        _draft("Updated: 2026-03-04", "T", "it", "2020-01-01"), url="https://a.example", level=3, status="draft"
    )
    sidecar = Metadata("S", "id-ID", "2026-01-31", "https://b.example", 0, "in force")
    document = complete("a.md", draft, sidecar)
    assert (document.title, document.language, document.updated) == ("S", "id", "2026-01-31")
    assert (document.url, document.level, document.status) == ("https://b.example", 0, "in force")
    assert complete("a.md", draft, Metadata()) == complete("a.md", draft)
    assert complete("a.md", draft).level == 3


@pytest.mark.parametrize(("declared", "remembered"), [("it", True), ("", False), ("?", False)])
def test_whether_the_language_was_declared(declared: str, remembered: bool) -> None:
    assert complete("a.md", _draft(language=declared)).language_declared is remembered
    assert complete("a.md", _draft(language=declared), Metadata(language="en")).language_declared is True


def test_half_characters_and_zeros_are_replaced_where_they_stand() -> None:
    draft = Draft("H\ud800\n\na\0b", (Section("H\ud800", 4, 7),), "T\udfff", url="x\ud800", status="s\0")
    document = complete("a.json", draft)
    assert (document.text, document.sections) == ("H\ufffd\n\na\ufffdb", (Section("H\ufffd", 4, 7),))
    assert (document.title, document.url, document.status) == ("T\ufffd", "", "s\ufffd")


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JavaScript://x/%0aalert(1)", "data:text/html,x", "/path", "https://", "https://a b", "x"],
)
def test_an_address_that_is_not_of_the_web_is_left_out(url: str) -> None:
    draft = _draft("One.", "T", "en", "2020-01-01")
    assert complete("a.md", replace(draft, url=url)).url == ""
    assert complete("a.md", draft, Metadata(url=url)).url == complete("a.md", draft).url
    assert complete("a.md", draft, Metadata(url="HTTPS://b.example/x?y#z")).url == "HTTPS://b.example/x?y#z"
