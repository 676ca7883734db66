from __future__ import annotations

from pathlib import Path

import pytest
import strategies as made
from conftest import DOCUMENTS
from hypothesis import given, settings

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers import read_document
from zantara_stream.retrieval.readers.markdown import read_markdown
from zantara_stream.retrieval.splitting import split
from zantara_stream.testing import HashingEmbedder


def _sections(text: str) -> list[tuple[str, str]]:
    draft = read_markdown(text.encode())
    return [(section.heading, draft.text[section.start : section.end].strip()) for section in draft.sections]


def test_headings_cut_the_text() -> None:
    text = (
        "# Guide\n\nIntro.\n\n## Fees *and* `fines`\n\nLow.\n\n#### Late #\nHigh.\n\n"
        "Terms\n-----\nFair.\n\n# More\nEnd."
    )
    assert _sections(text) == [
        ("", "Intro."),
        ("Fees and fines", "Low."),
        ("Fees and fines › Late", "High."),
        ("Terms", "Fair."),
        ("More", "End."),
    ]


def test_only_the_documents_own_headings_count() -> None:
    text = "Intro.\n\n```\n# code\n```\n\n> # quoted\n\n- # in a list\n\n    # indented\n\n#nothing"
    assert _sections(text) == [("", text)]


def test_front_matter() -> None:
    text = (
        "---\ntitle: The title\nlang: id\nlastmod: 2026-02-03\nsource: https://example.com/a\nother: [1]\n---\n"
        "# A heading\n\nText.\n"
    )
    draft = read_markdown(text.encode())
    assert (draft.title, draft.language, draft.updated) == ("The title", "id", "2026-02-03")
    assert (draft.url, draft.markdown, draft.level, draft.status) == ("https://example.com/a", True, None, "")
    assert [(section.heading, draft.text[section.start :]) for section in draft.sections] == [
        ("A heading", "\nText.\n")
    ]


@pytest.mark.parametrize("key", ["level", "access_level", "Access-Level"])
def test_level_and_status(key: str) -> None:
    draft = read_markdown(f"---\n{key}: 2\nstatus: Tidak Berlaku\n---\nText.".encode())
    assert (draft.level, draft.status) == (2, "Tidak Berlaku")


@pytest.mark.parametrize("level", ["4", "", "secret", "true", "[1]", "1.0"])
def test_a_level_that_cannot_be_read_is_not_public(level: str) -> None:
    with pytest.raises(Unreadable, match="has front matter that gives the access level"):
        read_markdown(f"---\nlevel: {level}\n---\nText.".encode())


@pytest.mark.parametrize(
    "text",
    [
        "\n---\nlevel: 3\n---\nText.",
        "---\ntitle: T\nlevel: 3\n\n# Heading\n\nText.",
        "+++\ntitle = 'T'\nlevel = 3\n+++\nText.",
        "---\naccess_level: 3\n....\nText.",
    ],
)
def test_a_level_in_front_matter_that_is_none_is_not_passed_over(text: str) -> None:
    with pytest.raises(Unreadable, match="gives an access level in front matter that does not"):
        read_markdown(text.encode())


def test_a_rule_at_the_top_is_no_front_matter() -> None:
    assert _sections("---\n\nText of a level: deep.") == [("", "---\n\nText of a level: deep.")]


def test_the_first_name_of_a_field_goes_before_the_others() -> None:
    draft = read_markdown(b"---\ndate: 2020-01-01\nupdated: 2026-01-01\nlang: it\nlanguage: en\n---\nText.")
    assert (draft.updated, draft.language) == ("2026-01-01", "en")


@pytest.mark.parametrize("matter", ["- a\n- b", "just text", "", "# comment"])
def test_front_matter_without_fields(matter: str) -> None:
    draft = read_markdown(f"---\n{matter}\n---\nText.".encode())
    assert (draft.title, [draft.text[s.start : s.end] for s in draft.sections]) == ("", ["Text."])


@pytest.mark.parametrize(
    "matter",
    [
        "title: [open",
        "a: b: c",
        "\tx: 1",
        "updated: 2026-99-99",
        "a: &a 1\nb: *a",
        "a: 1\na: 2",
        "a: !!python/object:os.system {}",
        "*b",
    ],
)
def test_broken_front_matter_is_named_on_one_line(matter: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_markdown(f"---\n{matter}\n---\nText.".encode())
    assert str(caught.value).startswith("has front matter that is not YAML (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["# Only\n\n## headings\n", "---\ntitle: only matter\n---\n", "\n \n", ""])
def test_nothing_but_headings_and_matter(text: str) -> None:
    assert _sections(text) == []


def test_the_title_is_the_first_heading_of_the_first_level() -> None:
    assert read_markdown(b"## Sub\n\nText.\n\n# Main\n\nText.").title == "Main"
    assert read_markdown(b"## Sub\n\nText.").title == ""


def test_spans_count_in_the_file_as_python_opens_it(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_bytes("# T😀\r\n\r\nCafé e\u0301.\x0bTab.\u2028Line.\r\rNext.\r\n## S\r\nEnd.".encode())
    document = read_document("a.md", file)
    with file.open(encoding="utf-8") as stream:
        text = stream.read()
    assert document.text == text
    assert [text[s.start : s.end] for s in document.sections] == [
        "\nCafé e\u0301.\x0bTab.\u2028Line.\n\nNext.\n",
        "End.",
    ]


@settings(deadline=None)
@given(made.markdown())
def test_sections_hold_what_is_no_heading(text: str) -> None:
    draft = read_markdown(text.encode())
    end = 0
    for section in draft.sections:
        assert end <= section.start < section.end <= len(draft.text)
        assert draft.text[section.start : section.end].strip()
        end = section.end


@pytest.mark.parametrize("path", sorted(DOCUMENTS.rglob("*.md")), ids=lambda path: path.name)
def test_passages_of_the_sample_files_are_their_files_characters(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        text = file.read()
    embedder = HashingEmbedder()
    for passage in split(read_document(path.name, path), embedder.count_tokens, embedder.max_tokens):
        assert text[passage.start : passage.end] == passage.text
        assert not passage.text.startswith("#")
        assert "title:" not in passage.text
        assert "language: " not in passage.text


@pytest.mark.parametrize("text", [">" * 20_000 + " deep", "- " * 5_000 + "deep", "[" * 20_000, "*" * 20_000 + "a"])
def test_deep_nesting_is_read(text: str) -> None:
    assert read_markdown(text.encode()).text == text
