from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import strategies as made
from hypothesis import given, settings
from hypothesis import strategies as st

from zantara_stream.retrieval.corpus import Corpus, write_corpus
from zantara_stream.retrieval.documents import Document, Section
from zantara_stream.retrieval.passages import Passage, split
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
