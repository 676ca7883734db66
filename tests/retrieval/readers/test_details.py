from __future__ import annotations

import pytest

from zantara_stream.retrieval.documents import Section, Unreadable
from zantara_stream.retrieval.readers.details import Draft, complete, decode


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
