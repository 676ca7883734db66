from __future__ import annotations

import gc
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import strategies as made
from hypothesis import given, settings
from hypothesis import strategies as st

from zantara_stream.retrieval.corpus import Corpus, write_corpus
from zantara_stream.retrieval.documents import Document, Section
from zantara_stream.retrieval.passages import Passage
from zantara_stream.retrieval.splitting import split
from zantara_stream.testing import HashingEmbedder

DOCUMENT = Document("a/b.pdf", "Title", "One.\n\nTwo.", (Section("S", 0, 4), Section("", 6, 10)), "it", "2026-01-02",
                    "https://example.com/?a=1", (0, 6))  # fmt: skip


def _split(document: Document) -> list[Passage]:
    return split(document, HashingEmbedder().count_tokens, 32)


def _written(folder: Path, *documents: Document) -> tuple[Corpus, list[Passage]]:
    passages = [passage for document in documents for passage in _split(document)]
    write_corpus(folder / "corpus.db", documents, passages)
    return Corpus(folder / "corpus.db"), passages


@settings(deadline=None, max_examples=40)
@given(st.lists(made.documents(), min_size=1, max_size=3), st.randoms())
def test_what_is_written_is_read(documents: list[Document], random: Random) -> None:
    documents = [replace(document, path=f"{number}/{document.path}") for number, document in enumerate(documents)]
    with tempfile.TemporaryDirectory() as folder:
        corpus, passages = _written(Path(folder), *documents)
        numbers = list(range(len(passages)))
        random.shuffle(numbers)
        assert corpus.passages(numbers) == [passages[number] for number in numbers]
        assert [corpus.text(document.path) for document in documents] == [document.text for document in documents]
        for passage in passages:
            text = corpus.text(passage.document)
            assert text is not None
            assert text[passage.start : passage.end] == passage.text
        corpus.close()


def test_every_field_comes_back(tmp_path: Path) -> None:
    corpus, passages = _written(tmp_path, DOCUMENT)
    assert corpus.passages([1, 0]) == [passages[1], passages[0]]
    assert [(p.section, p.page, p.url, p.updated) for p in corpus.passages([0, 1])] == [
        ("S", 1, "https://example.com/?a=1", "2026-01-02"),
        ("", 2, "https://example.com/?a=1", "2026-01-02"),
    ]
    assert corpus.passages([]) == []


def test_a_document_that_is_not_there(tmp_path: Path) -> None:
    assert _written(tmp_path, DOCUMENT)[0].text("a/c.pdf") is None


def test_a_passage_that_is_not_there(tmp_path: Path) -> None:
    corpus, _ = _written(tmp_path, DOCUMENT)
    with pytest.raises(KeyError):
        corpus.passages([0, 99])


def test_the_file_is_never_written_nor_made_by_reading(tmp_path: Path) -> None:
    corpus, _ = _written(tmp_path, DOCUMENT)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        corpus._database.execute("DELETE FROM passages")
    with pytest.raises(sqlite3.OperationalError):
        Corpus(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()


def test_a_folder_with_a_name_that_an_address_would_cut(tmp_path: Path) -> None:
    folder = tmp_path / "what? 100% #1"
    folder.mkdir()
    assert _written(folder, DOCUMENT)[0].text("a/b.pdf") == "One.\n\nTwo."


def test_closed_is_closed(tmp_path: Path) -> None:
    corpus, _ = _written(tmp_path, DOCUMENT)
    corpus.close()
    with pytest.raises(sqlite3.ProgrammingError):
        corpus.text("a/b.pdf")


def _leveled(folder: Path, *levels: int) -> Corpus:
    """A corpus of one passage a document, of these levels."""
    [made, _] = _split(DOCUMENT)
    write_corpus(folder / "corpus.db", [], [replace(made, document=f"{n}", level=n) for n in levels])
    return Corpus(folder / "corpus.db")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (-1, [False] * 5),
        (0, [True, False, False, False, True]),
        (1, [True, True, False, False, True]),
        (2, [True, True, True, False, True]),
        (3, None),
        (4, None),
    ],
)
def test_what_a_level_may_see(level: int, expected: list[bool] | None, tmp_path: Path) -> None:
    corpus = _leveled(tmp_path, 0, 1, 2, 3, 0)
    for _ in range(2):  # the second time from memory
        allowed = corpus.allowed(level)
        assert (None if allowed is None else allowed.passages.tolist()) == expected
    if allowed is not None:
        assert allowed.level == level
        assert allowed.passages.dtype == np.bool_


def test_a_corpus_for_everybody_hides_nothing(tmp_path: Path) -> None:
    corpus = _leveled(tmp_path, 0, 0)
    assert [corpus.allowed(level) for level in range(4)] == [None] * 4


TEXT = "Visa 👩‍👩‍👧 🇮🇩\n\n工作签证, e\u0301 ภาษี.\r\nEnd\u2028."


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("letters")
    write_corpus(folder / "corpus.db", [replace(DOCUMENT, text=TEXT), replace(DOCUMENT, path="empty", text="")], [])
    return Corpus(folder / "corpus.db")


@given(st.integers(0, len(TEXT) + 3), st.integers(0, len(TEXT) + 3))
def test_a_stretch_is_counted_in_characters_as_python_does(letters: Corpus, start: int, end: int) -> None:
    assert letters.text("a/b.pdf", start, end) == TEXT[start:end]


def test_stretches_of_nothing(letters: Corpus) -> None:
    assert letters.text("a/b.pdf") == TEXT
    assert letters.text("a/b.pdf", 0, len(TEXT)) == TEXT
    assert letters.text("empty", 0, 5) == letters.text("empty") == ""
    assert letters.text("nowhere", 0, 5) is None


def test_everything_that_is_stored_of_a_document(tmp_path: Path) -> None:
    secret = replace(DOCUMENT, path="b", level=2, url="", text=TEXT)
    write_corpus(tmp_path / "corpus.db", [DOCUMENT, secret], [])
    corpus = Corpus(tmp_path / "corpus.db")
    assert corpus.document("a/b.pdf") == {
        "path": "a/b.pdf",
        "title": "Title",
        "language": "it",
        "updated": "2026-01-02",
        "url": "https://example.com/?a=1",
        "level": 0,
        "text": "One.\n\nTwo.",
    }
    assert (corpus.document("b") or {})["level"] == 2
    assert (corpus.document("b") or {})["text"] == TEXT
    assert corpus.document("c") is None
    assert corpus.paths() == ["a/b.pdf", "b"]


def test_every_passage_in_the_order_of_its_number(tmp_path: Path) -> None:
    corpus, passages = _written(tmp_path, replace(DOCUMENT, path="z"), DOCUMENT)
    assert list(corpus.all_passages()) == passages
    assert [one.document for one in passages] == ["z", "z", "a/b.pdf", "a/b.pdf"]


def test_its_file_is_closed_with_the_last_reference(tmp_path: Path) -> None:
    corpus, _ = _written(tmp_path, DOCUMENT)
    corpus.document(DOCUMENT.path)
    database = corpus._database
    gc.disable()  # which would only hide that a connection holds itself
    try:
        del corpus
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            database.execute("SELECT 1")
    finally:
        gc.enable()
