from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zantara_stream.errors import CorpusError
from zantara_stream.evaluation.collection import load_collection

CORPUS: list[dict[str, Any]] = [
    {"_id": "d1", "title": "Permits", "text": "A permit is renewed at the immigration office before it ends."},
    {"_id": "d2", "title": "", "text": "La villa si affitta per venticinque anni dal notaio."},
    {"_id": 3, "text": "A third document, whose number is no text."},
]
QUERIES = [{"_id": "q1", "text": "renewal"}, {"_id": 2, "text": "villa"}, {"_id": "unjudged", "text": "what?"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n2\td2\t2\n2\t3\t1\n"


def _lines(values: list[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def _folder(root: Path, **files: str | bytes | None) -> Path:
    """A collection, with some of its files (`corpus`, `queries`, `qrels`) replaced, or left out where None."""
    names = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels.tsv"}
    contents = {"corpus": _lines(CORPUS), "queries": _lines(QUERIES), "qrels": QRELS} | files
    for name, content in contents.items():
        if content is not None:
            (root / names[name]).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def test_documents_queries_and_judgements(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    collection = load_collection(_folder(folder))
    assert collection.name == "made"
    assert [(d.path, d.title, d.text) for d in collection.documents] == [
        (str(line["_id"]), line.get("title", ""), line["text"]) for line in CORPUS
    ]
    assert [document.language for document in collection.documents] == ["en", "it", "en"]
    for document in collection.documents:
        [section] = document.sections
        assert (section.start, section.end) == (0, len(document.text))
    assert collection.queries == {"q1": "renewal", "2": "villa"}
    assert collection.judgements == {"q1": {"d1": 1}, "2": {"d2": 2, "3": 1}}


def test_a_document_without_text_is_its_title_or_nothing(tmp_path: Path) -> None:
    corpus = [*CORPUS, {"_id": "d4", "title": "Only a title", "text": " "}, {"_id": "d5", "title": None, "text": ""}]
    documents = load_collection(_folder(tmp_path, corpus=_lines(corpus))).documents
    assert [document.path for document in documents] == ["d1", "d2", "3", "d4"]
    assert (documents[3].text, documents[3].sections[0].end) == ("Only a title", len("Only a title"))


def test_lines_end_where_those_of_a_file_do(tmp_path: Path) -> None:
    text = "One\u2028two\u0085three"
    corpus = "\ufeff" + _lines([{"_id": "d1", "text": text}]).replace("\n", "\r\n") + "\n \n"
    collection = load_collection(_folder(tmp_path, corpus=corpus, qrels="q1\td1\t1\r\n\r\n"))
    assert [document.text for document in collection.documents] == [text]
    assert collection.judgements == {"q1": {"d1": 1}}


def test_judgements_in_the_form_of_trec(tmp_path: Path) -> None:
    assert load_collection(_folder(tmp_path, qrels="q1\t0\td2\t1\nq1\t0\td1\t-1\n")).judgements == {"q1": {"d2": 1}}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"corpus": None},
            r"corpus\.jsonl cannot be read .*; a collection has corpus\.jsonl, queries\.jsonl and qrels",
        ),
        ({"queries": None}, r"queries\.jsonl cannot be read"),
        ({"qrels": None}, r"qrels\.tsv cannot be read"),
        ({"corpus": b'{"_id": "\xff"}'}, r"corpus\.jsonl cannot be read \(.*utf-8"),
        (
            {"corpus": "\n" + _lines(CORPUS) + "nonsense\n"},
            r"corpus\.jsonl, line 5, is no JSON object with _id and text",
        ),
        ({"corpus": _lines([CORPUS[0], {"text": "nameless"}])}, r"corpus\.jsonl, line 2, is no JSON object"),
        ({"corpus": _lines(["_id text"])}, r"corpus\.jsonl, line 1, is no JSON object"),
        ({"corpus": _lines([["_id", "text"]])}, r"corpus\.jsonl, line 1, is no JSON object"),
        ({"corpus": _lines([None])}, r"corpus\.jsonl, line 1, is no JSON object"),
        ({"corpus": _lines([*CORPUS, CORPUS[0]])}, r"corpus\.jsonl, line 4, has the _id 'd1' again"),
        ({"queries": _lines([QUERIES[0], {"_id": "q2"}])}, r"queries\.jsonl, line 2, is no JSON object"),
        ({"queries": _lines([QUERIES[0]] * 2)}, r"queries\.jsonl, line 2, has the _id 'q1' again"),
        ({"qrels": QRELS + "q1 d2 1\n"}, r"qrels\.tsv, line 6, is no query, document and grade with tabs between"),
        ({"qrels": QRELS + "q1\t1\n"}, r"qrels\.tsv, line 6, is no query"),
        ({"qrels": QRELS + "q1\td2\tgood\n"}, r"qrels\.tsv, line 6, is no query"),
        ({"qrels": ""}, r"no query of queries\.jsonl has a relevant document in qrels\.tsv"),
        ({"qrels": "q1\td1\t0\nother\td1\t1\n"}, r"no query of queries\.jsonl has a relevant document"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(files: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=message) as raised:
        load_collection(_folder(tmp_path, **files))
    assert str(raised.value).startswith(str(tmp_path))
