"""A collection of documents, queries and judgements, to measure retrieval by.

It is a folder in the manner of BEIR (https://github.com/beir-cellar/beir): `corpus.jsonl` (`_id`, `title`,
`text`), `queries.jsonl` (`_id`, `text`) and `qrels.tsv` (query, document, grade).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import CorpusError
from ..retrieval.documents import Document, Section
from ..retrieval.language import SAMPLE, language_of, settle_languages

FILES = "corpus.jsonl, queries.jsonl and qrels.tsv"


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents, queries by their ids, and what is relevant to each query."""

    name: str
    documents: list[Document]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]


def load_collection(folder: Path) -> Collection:
    """Read a collection. Raises `CorpusError` naming the file, and the line, that is missing or not of its form."""
    documents = _documents(folder / "corpus.jsonl")
    queries = {query: text for query, text, _ in _texts(folder / "queries.jsonl")}
    judgements = _judgements(folder / "qrels.tsv")
    asked = {query: text for query, text in queries.items() if query in judgements}
    if not asked:
        raise CorpusError(f"{folder}: no query of queries.jsonl has a relevant document in qrels.tsv.")
    return Collection(folder.resolve().name, settle_languages(documents), asked, judgements)


def _documents(file: Path) -> list[Document]:
    """Each that has text; one that has a title only is its title."""
    read = (_document(name, title, text if text.strip() else title) for name, text, title in _texts(file))
    return [document for document in read if document.text.strip()]


def _document(name: str, title: str, text: str) -> Document:
    sections = (Section("", 0, len(text)),)
    return Document(name, title, text, sections, language_of(f"{title}\n{text}"[:SAMPLE]))


def _texts(file: Path) -> Iterator[tuple[str, str, str]]:
    """The id, text and title of each line; no id twice."""
    seen: set[str] = set()
    for number, line in _lines(file):
        try:
            values = json.loads(line)
            name, text, title = str(values["_id"]), str(values["text"]), str(values.get("title") or "")
        except (ValueError, TypeError, KeyError):
            raise CorpusError(f"{file}, line {number}, is no JSON object with _id and text.") from None
        if name in seen:
            raise CorpusError(f"{file}, line {number}, has the _id {name!r} again.")
        seen.add(name)
        yield name, text, title


def _judgements(file: Path) -> dict[str, dict[str, int]]:
    """The grade of each document that is relevant to a query; TREC's form, of four columns, is read too."""
    judged: dict[str, dict[str, int]] = {}
    for number, line in _lines(file):
        query, *others = line.split("\t")
        try:
            document, grade = others[-2], int(others[-1])
        except (ValueError, IndexError):
            if number == 1:
                continue  # its heading
            raise CorpusError(f"{file}, line {number}, is no query, document and grade with tabs between.") from None
        if grade > 0:
            judged.setdefault(query, {})[document] = grade
    return judged


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers, cut where lines of a file are: texts hold other breaks."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{file} cannot be read ({error}); a collection has {FILES}.") from error
