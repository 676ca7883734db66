from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from zantara_stream.retrieval.builder import build
from zantara_stream.retrieval.embedding import Vectors
from zantara_stream.retrieval.lexical import LexicalIndex
from zantara_stream.retrieval.library import Build
from zantara_stream.retrieval.reading import fingerprint, read_folder
from zantara_stream.retrieval.search import BAR, BY_COVERAGE, BY_EVIDENCE, BY_SIMILARITY, DENSE_SHARE, DEPTH, Hit, match
from zantara_stream.testing import HashingEmbedder


class TopicEmbedder(HashingEmbedder):
    """Knows a few topics by a word in the text and nothing else; what has no topic points nowhere near."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        super().__init__(dimensions=8, name="topics")
        self._topics = topics

    def encode(self, texts: Sequence[str], progress: object = None) -> Vectors:
        """One unit vector a text."""
        return np.stack([np.eye(8, dtype=np.float32)[self._topic(text)] for text in texts])

    def _topic(self, text: str) -> int:
        return next((number for word, number in self._topics.items() if word in text), 7)


def _open(tmp_path: Path, embedder: HashingEmbedder, texts: Mapping[str, str]) -> Build:
    root = tmp_path / "documents"
    root.mkdir()
    for name, text in texts.items():
        (root / name).write_text(f"---\nlanguage: en\n---\n{text}")
    build(read_folder(root), embedder, tmp_path / "index", fingerprint(root))
    return Build.open(tmp_path / "index", lambda: embedder)


def _found(hits: list[Hit]) -> list[str]:
    return [hit.passage.document for hit in hits]


@pytest.fixture
def two_sides(tmp_path: Path) -> Build:
    """Two texts on the topic of a query of which only one shares its words, and many on another topic."""
    others = {f"other{n:02}.md": f"# Other {n}\n\nSomething about gardens, number {n}." for n in range(60)}
    return _open(
        tmp_path,
        TopicEmbedder({"dwelling": 0, "abode": 0, "gardens": 1}),
        others | {"meaning.md": "# A\n\nAn abode by the sea.", "words.md": "# B\n\nForm DGT-7 belongs to the treaty."},
    )


def test_meaning_is_found_without_common_words(two_sides: Build) -> None:
    [hit] = two_sides.search("dwelling", 1)
    assert hit.passage.document == "meaning.md"
    assert hit.similarity == pytest.approx(1)
    assert hit.score == pytest.approx(DENSE_SHARE)


def test_words_are_found_where_the_embedder_is_blind(two_sides: Build) -> None:
    hits = two_sides.search("gardens or the treaty form DGT 7", 100)  # embedded as gardens, 60 of which are nearer
    assert DEPTH < 60
    hit = next(hit for hit in hits if hit.passage.document == "words.md")
    assert hit.similarity == 0
    assert hit.score == pytest.approx(1 - DENSE_SHARE)


def test_both_sides_together_go_first(tmp_path: Path) -> None:
    served = _open(
        tmp_path,
        TopicEmbedder({"permit": 0, "licence": 0}),
        {
            "both.md": "# X\n\nThe permit renewal.",
            "dense.md": "# Y\n\nThe licence only.",
            "wordy.md": "# Z\n\nA renewal of something.",
        },
    )
    assert _found(served.search("renewal of a permit", 3)) == ["both.md", "dense.md", "wordy.md"]


@pytest.fixture(scope="module")
def small(small_index: Path) -> Build:
    return Build.open(small_index, HashingEmbedder)


QUERIES = [
    "renewal fees",
    "passport",
    "capital of the company",
    "denda pajak",
    "notaio certificato",
    "zebra",
    "",
    "the",
]


@pytest.mark.parametrize("query", QUERIES)
def test_hits_are_best_first_and_always_the_same(small: Build, query: str) -> None:
    hits = small.search(query, 50)
    assert len(hits) == len({hit.passage.id for hit in hits}) > 0
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0 <= hit.similarity <= 1 for hit in hits)
    assert small.search(query, 50) == hits
    for limit in (0, 1, 3):
        assert small.search(query, limit) == hits[:limit]


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("renewal fees of a permit", "permits/renewal.md"),
        ("founders pay the capital of the company", "companies/capital.txt"),
        ("keterlambatan melapor pajak", "pajak.html"),
        ("affittare una villa per venticinque anni", "villa.md"),
    ],
)
def test_the_document_asked_for_is_found_and_relevant(small: Build, query: str, document: str) -> None:
    best = small.search(query, 1)[0]
    assert (best.passage.document, best.relevant) == (document, True)


@pytest.mark.parametrize("query", ["zebra crossing rules", "who won the cup", "", "the and of"])
def test_the_nearest_there_is_need_not_be_relevant(small: Build, query: str) -> None:
    assert not any(hit.relevant for hit in small.search(query, 8))


@pytest.mark.parametrize("query", QUERIES)
def test_relevance_is_similarity_coverage_and_evidence_over_the_bar(small: Build, query: str) -> None:
    terms = small.lexical.terms(query)
    for hit in small.search(query, 50):
        text = f"{hit.passage.context}\n{hit.passage.text}"
        met = match(terms, text, hit.passage.language, small.lexical)
        bearing = BY_SIMILARITY * hit.similarity + BY_COVERAGE * met.coverage + BY_EVIDENCE * met.evidence
        assert hit.relevant == (bearing >= BAR)


def test_equal_scores_keep_the_order_of_the_corpus(tmp_path: Path) -> None:
    served = _open(tmp_path, TopicEmbedder({}), {f"{n}.md": f"# {n}\n\nQuite the same." for n in range(9)})
    assert _found(served.search("unknown", 9)) == [f"{n}.md" for n in range(9)]


def test_match() -> None:
    lexical = LexicalIndex.build(["permit fees", "permit office", "permit renewal"], ["en"] * 3)
    terms = lexical.terms("permits at the zoo")
    [permit, zoo] = [lexical.weight(term) for term in terms]
    assert zoo == lexical.heaviest
    met = match(terms, "A permit.", "en", lexical)
    assert met.coverage == pytest.approx(permit / (permit + zoo))
    assert met.evidence == pytest.approx(permit / zoo)
    everything = match(terms, "The permit of a zoo.", "en", lexical)
    assert everything.coverage == pytest.approx(1)
    assert everything.evidence == pytest.approx(1 + permit / zoo)
    nothing = match(terms, "Gardens.", "en", lexical)
    assert (nothing.coverage, nothing.evidence) == (0, 0)


def test_match_of_a_query_without_telling_words() -> None:
    met = match([], "A permit.", "en", LexicalIndex.build(["permit"], ["en"]))
    assert (met.coverage, met.evidence) == (0, 0)
