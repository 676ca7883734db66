from __future__ import annotations

import json
from typing import Any

import pytest

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers.details import complete
from zantara_stream.retrieval.readers.records import read_json, read_json_lines


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_an_object_with_a_text_is_a_document_with_metadata() -> None:
    draft = read_json(
        _json({"title": "Renewal", "text": "First \n line.\n\nSecond.", "lang": "en", "updated": "2026-01-31",
               "source": "https://example.com", "access_level": 2, "status": "draft", "office": "Denpasar"})
    )  # fmt: skip
    assert (draft.title, draft.language, draft.updated) == ("Renewal", "en", "2026-01-31")
    assert (draft.url, draft.level, draft.status) == ("https://example.com", 2, "draft")
    assert draft.text.startswith("Renewal\n\nFirst line.\n\nSecond.\n\nlang: en\n")
    assert draft.text.endswith("\noffice: Denpasar")
    assert [section.heading for section in draft.sections] == [""]


def test_an_object_without_a_text_is_lines_whose_words_are_its_own() -> None:
    value = {
        "name": "KITAS",
        "level": 7,
        "status": "expired",
        "fees": [{"year": 1, "rp": "3 million"}, 4],
        "a": {"b": {}},
    }
    value |= {"tags": ["visa", "stay"], "open": True, "shut": False, "none": None, "_id": "x", "empty": " "}
    draft = read_json(_json(value))
    assert draft.text == (
        "KITAS\n\nlevel: 7\nstatus: expired\nfees[0].year: 1\nfees[0].rp: 3 million\nfees[1]: 4\n"
        "tags: visa, stay\nopen: true\nshut: false"
    )
    assert (draft.title, draft.level, draft.status) == ("KITAS", None, "")


def test_numbers_are_kept_as_they_are_written() -> None:
    assert read_json(b'{"a": 1.10, "b": 1E5, "c": 123456789012345678901234567890}').text == (
        "a: 1.10\nb: 1E5\nc: 123456789012345678901234567890"
    )
    assert read_json(b'{"a": ' + b"9" * 10_000 + b"}").text == "a: " + "9" * 10_000


@pytest.mark.parametrize("title", ["title", "name", "heading"])
@pytest.mark.parametrize("text", ["text", "content", "body", "abstract", "description", "summary"])
def test_names_of_the_title_and_the_text(title: str, text: str) -> None:
    draft = read_json(_json([{text: "Low.", "other": "x", title: "Fees"}]))
    assert draft.text == "Fees\n\nLow.\n\nother: x"
    assert [section.heading for section in draft.sections] == ["Fees"]


def test_only_the_first_title_and_text_are_taken_and_the_others_are_lines() -> None:
    draft = read_json(
        _json([{"title": " ", "name": "N", "heading": "H", "text": {"a": 1}, "content": "C.", "body": "B."}])
    )
    assert draft.text == "N\n\nC.\n\nheading: H\ntext.a: 1\nbody: B."


def test_records_stand_apart() -> None:
    values = [{"title": "One", "text": "First."}, {"text": "Second."}, "Third.", 4, ["a", "b"], [], None]
    expected = [("One", "First."), ("", "Second."), ("", "Third."), ("", "4"), ("", "a, b")]
    for draft in (read_json(_json(values)), read_json_lines(b"\n\r\n".join(_json(value) for value in values))):
        assert [(s.heading, draft.text[s.start : s.end].strip()) for s in draft.sections] == expected


def test_the_highest_access_level_of_any_record_counts() -> None:
    values = [{"text": "a", "level": 1}, {"text": "b", "Access-Level": "3"}, {"text": "c"}, {"name": "d", "level": 9}]
    assert read_json(_json(values)).level == 3
    assert read_json_lines(_json({"text": "a"})).level is None


@pytest.mark.parametrize("value", [{"text": "a", "level": 4}, {"text": "a", "level": None}])
def test_an_access_level_that_cannot_be_read_refuses_the_file(value: dict[str, object]) -> None:
    for read, data in ((read_json, value), (read_json, [value]), (read_json_lines, value)):
        with pytest.raises(Unreadable, match="has a record that gives the access level"):
            read(_json(data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 1_000_000, "^is nested too deeply$"),
        (b'{"a":' * 1_000_000, "^is nested too deeply$"),
        (b"[" * 200 + b"1" + b"]" * 200, "^is nested more than 100 levels deep$"),
        (b'{"a": 1', r"^is not JSON \(Expecting"),
        (b'"text"', "^holds neither an object nor a list$"),
        (b"NaN", "^holds neither an object nor a list$"),
        (b'{"a": "\0"}', "zero bytes"),
        (b'{"a": "\xe9"}', "^is not UTF-8 text"),
        (b"", r"^is not JSON \("),
    ],
)
def test_bad_files(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_json(data)


def test_a_bad_line_is_named() -> None:
    with pytest.raises(Unreadable, match=r"^is not JSON in line 3 \("):
        read_json_lines(b'{"a": 1}\n\n{"a"}\n')
    with pytest.raises(Unreadable, match=r"^is nested too deeply in line 1$"):
        read_json_lines(b"[" * 100_000)


def test_long_names_cannot_be_made_to_grow_without_end() -> None:
    value: Any = [{"a": number} for number in range(10_000)]
    for _ in range(60):
        value = {"a" * 1000: value}
    with pytest.raises(Unreadable, match="has more than 50,000,000 characters of text"):
        read_json(_json(value))


def test_half_characters_and_zeros_that_are_spelled_can_be_stored() -> None:
    document = complete("a.json", read_json(rb'{"title": "T\ud800", "text": "half \udc00 and zero \u0000."}'))
    assert (document.title, document.text) == ("T\ufffd", "T\ufffd\n\nhalf \ufffd and zero \ufffd.")
