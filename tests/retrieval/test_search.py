from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from passages_made import passage

from zantara_stream.retrieval.corpus import Corpus, write_corpus
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.index import FaissIndex
from zantara_stream.retrieval.lexical import LexicalIndex
from zantara_stream.retrieval.manifest import current_build
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.passages import Passage
from zantara_stream.retrieval.search import (
    BAR,
    BY_COVERAGE,
    BY_EVIDENCE,
    BY_SIMILARITY,
    CROWD,
    CROWDED,
    DENSE_SHARE,
    DEPTH,
    Hit,
    Sought,
    _highest,
    choose,
    find,
    match,
    rank,
)
from zantara_stream.testing import HashingEmbedder

CLOSE = 1e-5  # what two ways of computing one score may differ by


class TopicEmbedder(HashingEmbedder):
    """Knows a few topics by a word in the text and nothing else; what has no topic points nowhere near."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        super().__init__(dimensions=8, name="topics")
        self._topics = topics

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """One unit vector a text."""
        return np.stack([np.eye(8, dtype=np.float32)[self._topic(text)] for text in texts])

    def _topic(self, text: str) -> int:
        return next((number for word, number in self._topics.items() if word in text), 7)


@dataclass(frozen=True)
class Made:
    """What is searched, made of passages, with all that a slow search of it needs."""

    passages: list[Passage]
    vectors: Vectors
    index: FaissIndex
    lexical: LexicalIndex
    corpus: Corpus
    embedder: HashingEmbedder

    def sought(self, query: str) -> Sought:
        return Sought(self.embedder.encode([query])[0], [(term, 1.0) for term in self.lexical.terms(query)])

    def search(self, query: str, limit: int, level: int = 0) -> list[Hit]:
        return find(self, self.sought(query), limit, level)


def _made(folder: Path, passages: Sequence[Passage], embedder: HashingEmbedder) -> Made:
    texts = [f"{made.context}\n{made.text}" for made in passages]
    vectors = embedder.encode(texts)
    write_corpus(folder / "corpus.db", [], passages)
    lexical = LexicalIndex.build(texts, [made.language for made in passages])
    corpus = Corpus(folder / "corpus.db")
    return Made(list(passages), vectors, FaissIndex.build(vectors), lexical, corpus, embedder)


@contextmanager
def _opened(passages: Sequence[Passage], embedder: HashingEmbedder | None = None) -> Iterator[Made]:
    with tempfile.TemporaryDirectory() as folder:
        made = _made(Path(folder), passages, embedder or HashingEmbedder(16))
        yield made
        made.corpus.close()


def _texts(texts: Mapping[str, str]) -> list[Passage]:
    """A passage for each document; its title is the document's name."""
    return [passage(text, document=name, title=name, section="") for name, text in texts.items()]


def _documents(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.document for hit in hits]


@pytest.fixture
def two_sides(tmp_path: Path) -> Made:
    """Two texts on the topic of a query of which only one shares its words, and many on another topic."""
    others = {f"other{n:03}": f"Something about gardens, number {n}." for n in range(DEPTH + 20)}
    return _made(
        tmp_path,
        _texts(others | {"meaning": "An abode by the sea.", "words": "Form DGT-7 belongs to the treaty."}),
        TopicEmbedder({"dwelling": 0, "abode": 0, "gardens": 1}),
    )


def test_meaning_is_found_without_common_words(two_sides: Made) -> None:
    [hit] = two_sides.search("dwelling", 1)
    assert hit.passage.document == "meaning"
    assert hit.similarity == pytest.approx(1)
    assert hit.score == pytest.approx(DENSE_SHARE)


def test_words_are_found_where_the_embedder_is_blind(two_sides: Made) -> None:
    hits = two_sides.search("gardens or the treaty form DGT 7", 200)  # embedded as gardens, of which enough are nearer
    hit = next(hit for hit in hits if hit.passage.document == "words")
    assert hit.similarity == 0
    assert hit.score == pytest.approx(1 - DENSE_SHARE)


def test_both_sides_together_go_first(tmp_path: Path) -> None:
    texts = {"both": "The permit renewal.", "dense": "The licence only.", "wordy": "A renewal of something."}
    made = _made(tmp_path, _texts(texts), TopicEmbedder({"permit": 0, "licence": 0}))
    assert _documents(made.search("renewal of a permit", 3)) == ["both", "dense", "wordy"]


# Ranking, held against all passages scored one by one.


def _slowly(made: Made, sought: Sought, level: int) -> NDArray[np.float32]:
    """The fused score of every passage; -inf for one that may not be seen."""
    open_to = np.array([one.level <= level for one in made.passages])
    bm25 = np.where(open_to, made.lexical.scores(sought.terms), 0)
    worded = bm25 / bm25.max() if bm25.max() > 0 else bm25
    scores = DENSE_SHARE * (made.vectors @ sought.vector) + (1 - DENSE_SHARE) * worded
    return np.where(open_to, scores, -np.inf).astype(np.float32)


WORDS = ["permit", "visa", "fee", "bali", "renewal", "28", "e28a", "the", "tax", "izin", "notaio"]


def _passages(most: int = 24) -> st.SearchStrategy[list[Passage]]:
    text = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
    one = st.builds(
        lambda text, document, level: passage(text, document=document, title=document, section="", level=level),
        text,
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 3),
    )
    return st.lists(one, min_size=1, max_size=most)


QUERIES = st.lists(st.sampled_from([*WORDS, "zebra"]), max_size=4).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(_passages(), QUERIES, st.integers(0, 3))
def test_a_ranking_is_of_all_that_may_be_seen_by_both_sides(passages: list[Passage], query: str, level: int) -> None:
    with _opened(passages) as made:
        sought = made.sought(query)
        ranking = rank(made, sought, level)
        expected = _slowly(made, sought, level)
        assert sorted(ranking.numbers) == list(np.flatnonzero(np.isfinite(expected)))
        np.testing.assert_allclose(ranking.scores, expected[ranking.numbers], atol=CLOSE)
        np.testing.assert_allclose(ranking.cosines, made.vectors[ranking.numbers] @ sought.vector, atol=CLOSE)
        keys = list(zip((-ranking.scores).tolist(), ranking.numbers.tolist(), strict=True))
        assert keys == sorted(keys)  # equal ones in the order of the corpus


@settings(deadline=None, max_examples=60)
@given(_passages(), QUERIES, st.integers(0, 3), st.integers(1, 6))
def test_candidates_are_the_best_of_each_side(passages: list[Passage], query: str, level: int, depth: int) -> None:
    with _opened(passages) as made:
        sought = made.sought(query)
        numbers = set(rank(made, sought, level, depth).numbers.tolist())
        seen = [number for number, one in enumerate(passages) if one.level <= level]
        assert numbers <= set(seen)
        cosines, bm25 = made.vectors @ sought.vector, made.lexical.scores(sought.terms)
        for side, least in ((cosines, -np.inf), (bm25, 0)):
            best = sorted((side[number] for number in seen if side[number] > least), reverse=True)[:depth]
            bar = best[-1] if best else np.inf
            assert {number for number in seen if side[number] > bar + CLOSE} <= numbers
            assert sum(side[number] >= bar - CLOSE for number in numbers) >= len(best)
        scores = dict(zip(seen, _slowly(made, sought, level)[seen], strict=True))
        ranking = rank(made, sought, level, depth)
        for number, score in zip(ranking.numbers.tolist(), ranking.scores.tolist(), strict=True):
            assert score == pytest.approx(scores[number], abs=CLOSE)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]), max_size=40), st.integers(1, 12))
def test_the_highest_are_never_cut_for_their_equals(values: list[float], count: int) -> None:
    scores = np.array(values, np.float32)
    found = _highest(scores, count)
    assert len(found) == len(set(found.tolist())) <= 2 * count
    assert all(scores[number] > 0 for number in found)
    ordered = sorted((value for value in values if value > 0), reverse=True)
    assert len(found) >= min(count, len(ordered))
    if len(ordered) > count:
        assert {n for n, value in enumerate(values) if value > ordered[count - 1]} <= set(found.tolist())
        assert all(scores[number] >= ordered[count - 1] for number in found)
    else:
        assert len(found) == len(ordered)


def test_the_best_word_is_found_behind_any_number_of_equals(tmp_path: Path) -> None:
    others = {f"{n:03}": "A permit of one kind." for n in range(2 * DEPTH + 50)}
    texts = _texts(others | {"last": "The permit, permit, permit."})
    made = _made(tmp_path, texts, TopicEmbedder({"The permit": 1}))  # from which the query lies far
    ranking = rank(made, made.sought("permit"))
    scores = dict(zip(ranking.numbers.tolist(), ranking.scores.tolist(), strict=True))
    assert scores[len(others)] == pytest.approx(1 - DENSE_SHARE)


def test_a_hidden_passage_neither_shows_nor_weighs(tmp_path: Path) -> None:
    texts = {"open": "A permit for the market.", "other": "The market of fish.", "hidden": "permit permit permit"}
    passages = [replace(one, level=2 if one.document == "hidden" else 0) for one in _texts(texts)]
    made = _made(tmp_path, passages, TopicEmbedder({}))
    seen = made.search("permit", 3)
    assert _documents(seen) == ["open", "other"]
    assert seen[0].score - seen[1].score == pytest.approx(1 - DENSE_SHARE)  # the best word there is to be seen
    assert _documents(made.search("permit", 3, level=1)) == ["open", "other"]
    everything = made.search("permit", 3, level=2)
    assert _documents(everything) == ["hidden", "open", "other"]
    assert everything[1].score < seen[0].score


def test_nothing_may_be_seen(tmp_path: Path) -> None:
    hidden = [replace(one, level=3) for one in _texts({"a": "A permit.", "b": "A visa."})]
    made = _made(tmp_path, hidden, HashingEmbedder(16))
    assert made.search("permit", 5, level=2) == []
    assert len(rank(made, made.sought("permit"), 0).numbers) == 0


@pytest.mark.parametrize("query", ["", "the of and", "zebra"])
def test_without_a_word_that_tells_the_cosine_decides(query: str, tmp_path: Path) -> None:
    made = _made(tmp_path, _texts({"a": "A permit.", "b": "A visa.", "c": "Fees."}), HashingEmbedder(16))
    ranking = rank(made, made.sought(query))
    np.testing.assert_allclose(ranking.scores, DENSE_SHARE * ranking.cosines, atol=CLOSE)
    assert len(ranking.numbers) == 3


class Opposite(HashingEmbedder):
    """Takes every text for the contrary of "good"."""

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """One unit vector a text."""
        return np.array([[1 if text == "good" else -1, 0] for text in texts], np.float32)


def test_a_similarity_is_never_below_0(tmp_path: Path) -> None:
    [hit] = _made(tmp_path, _texts({"a": "A permit."}), Opposite()).search("good", 1)
    assert hit.similarity == 0
    assert hit.score == pytest.approx(-DENSE_SHARE)
    assert not hit.relevant


# Choosing among the ranked.


def _from(*documents: str) -> list[Passage]:
    """Passages of these documents, all of other words."""
    return [passage(f"alpha{n} beta{n} gamma{n}", document=name, title="", section="")
            for n, name in enumerate(documents)]  # fmt: skip


def _told(*texts: str) -> list[Passage]:
    return [passage(text, document=f"d{n}", title="", section="") for n, text in enumerate(texts)]


LONG = (
    "The holder of a permit reports to the nearest office within thirty days of every arrival and brings along "
    "both passport and photograph, unless an exemption was granted"
)


def test_a_repeat_is_left_out_and_the_next_takes_its_place() -> None:
    passages = _told(f"{LONG}.", f"{LONG.upper()}!", "Something else", f"{LONG} ...")
    assert choose(passages, [0.9, 0.8, 0.7, 0.6], 2) == [0, 2]
    assert choose(passages, [0.9, 0.8, 0.7, 0.6], 9) == [0, 2]


@pytest.mark.parametrize(
    ("one", "other", "chosen"),
    [
        (f"{LONG}: 28 days", f"{LONG}: 30 days", [0, 1]),  # another figure is another thing said
        (f"{LONG}: E28A", f"{LONG}: E28B", [0, 1]),
        (f"{LONG}: 28 days", f"{LONG}: 28 days", [0]),
        (f"{LONG}", f"{LONG}, today", [0]),
        (f"{LONG}, today", f"{LONG}, tomorrow perhaps", [0, 1]),
        (f"{LONG}", f"{LONG}, for 5 people", [0, 1]),
        ("A permit for work", "A permit for study", [0, 1]),
        ("", "—", [0]),
    ],
)
def test_repeats_are_of_nearly_the_same_words_and_the_same_figures(one: str, other: str, chosen: list[int]) -> None:
    assert choose(_told(one, other), [0.9, 0.8], 5) == chosen


def test_the_same_text_under_other_headings_is_none_of_its_repeats() -> None:
    one, other = _told("It costs money.", "It costs money.")
    passages = [replace(one, section="Visa on arrival"), replace(other, section="Limited stay permit")]
    assert choose(passages, [0.9, 0.8], 5) == [0, 1]


def test_a_crowd_gives_way_to_what_is_almost_as_good() -> None:
    passages = _from(*["crowd"] * (CROWD + 1), "other")
    scores = [1.0] * (CROWD + 1)
    assert choose(passages, [*scores, 1 - 0.9 * CROWDED], CROWD + 1) == [*range(CROWD), CROWD + 1]
    assert choose(passages, [*scores, 1 - 1.1 * CROWDED], CROWD + 1) == list(range(CROWD + 1))
    assert choose(passages, [*scores, 1 - 0.9 * CROWDED], CROWD) == list(range(CROWD))  # there is no crowd yet
    # It is taken before the last of the crowd, and stands behind it all the same.
    assert choose(passages, [*scores, 1 - 0.9 * CROWDED], CROWD + 2) == list(range(CROWD + 2))


def test_each_more_of_a_crowd_costs_more() -> None:
    passages = _from(*["crowd"] * (CROWD + 3), "other")
    scores = [1.0] * (CROWD + 3) + [1 - 2.5 * CROWDED]
    assert choose(passages, scores, CROWD + 2) == list(range(CROWD + 2))
    assert choose(passages, scores, CROWD + 3) == [*range(CROWD + 2), CROWD + 3]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("aab"), st.integers(0, 12)), max_size=16), st.integers(0, 10), st.integers(1, 40)
)
def test_what_is_passed_over_was_hardly_better(made: list[tuple[str, int]], limit: int, step: int) -> None:
    passages = [
        passage(f"word{word} text{word}", document=name, title=name, section="", lead="x" * n)
        for n, (name, word) in enumerate(made)
    ]
    scores = [1 - CROWDED * n * step / 40 for n in range(len(made))]
    chosen = choose(passages, scores, limit)
    assert chosen == sorted(set(chosen))
    distinct = {(name, word) for name, word in made}  # equal texts of one document are repeats
    assert len(chosen) == min(limit, len(distinct))
    assert len({made[place] for place in chosen}) == len(chosen)
    taken = Counter(made[place][0] for place in chosen)
    for place in set(range(len(made))) - set(chosen):
        if made[place] not in {made[other] for other in chosen}:
            cost = CROWDED * max(0, taken[made[place][0]] - CROWD + 1)
            assert all(scores[place] - scores[other] <= cost + 1e-9 for other in chosen)


# The whole.


@settings(deadline=None, max_examples=60)
@given(_passages(), QUERIES, st.integers(0, 3), st.integers(0, 12))
def test_hits_are_best_first_seen_and_always_the_same(
    passages: list[Passage], query: str, level: int, limit: int
) -> None:
    with _opened(passages) as made:
        hits = made.search(query, limit, level)
        assert len(hits) <= limit
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert all(hit.passage.level <= level for hit in hits)
        assert all(0 <= hit.similarity <= 1 for hit in hits)
        assert made.search(query, limit, level) == hits
        if limit and any(one.level <= level for one in passages):
            assert hits[0].score == pytest.approx(float(_slowly(made, made.sought(query), level).max()), abs=CLOSE)


def test_equal_scores_keep_the_order_of_the_corpus(tmp_path: Path) -> None:
    made = _made(tmp_path, _texts({f"{n}": f"Quite the same {n}." for n in range(9)}), TopicEmbedder({}))
    assert _documents(made.search("unknown", 9)) == [f"{n}" for n in range(9)]


@pytest.fixture(scope="module")
def small(small_index: Path) -> Build:
    return Build.open(current_build(small_index), HashingEmbedder.load)


SMALL_QUERIES = ["renewal fees", "passport", "capital of the company", "denda pajak", "notaio", "zebra", "", "the"]


@pytest.mark.parametrize("query", SMALL_QUERIES)
def test_fewer_are_the_first_of_more(small: Build, query: str) -> None:
    hits = small.search(query, 50)
    assert len(hits) == len({hit.passage.id for hit in hits}) == small.manifest.passages
    for limit in range(4):
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


@pytest.mark.parametrize("query", SMALL_QUERIES)
def test_relevance_is_similarity_coverage_and_evidence_over_the_bar(small: Build, query: str) -> None:
    terms = small.seek(query).terms
    for hit in small.search(query, 50):
        text = f"{hit.passage.context}\n{hit.passage.text}"
        met = match(terms, text, hit.passage.language, small.lexical)
        bearing = BY_SIMILARITY * hit.similarity + BY_COVERAGE * met.coverage + BY_EVIDENCE * met.evidence
        assert hit.relevant == (bearing >= BAR)


def test_match() -> None:
    lexical = LexicalIndex.build(["permit fees", "permit office", "permit renewal"], ["en"] * 3)
    terms = lexical.terms("permits at the zoo")
    weighted = [(term, 1.0) for term in terms]
    [permit, zoo] = [lexical.weight(term) for term in terms]
    assert zoo == lexical.heaviest
    met = match(weighted, "A permit.", "en", lexical)
    assert met.coverage == pytest.approx(permit / (permit + zoo))
    assert met.evidence == pytest.approx(permit / zoo)
    everything = match(weighted, "The permit of a zoo.", "en", lexical)
    assert everything.coverage == pytest.approx(1)
    assert everything.evidence == pytest.approx(1 + permit / zoo)
    nothing = match(weighted, "Gardens.", "en", lexical)
    assert (nothing.coverage, nothing.evidence) == (0, 0)


def test_terms_match_by_their_weights() -> None:
    lexical = LexicalIndex.build(["permit fees", "permit office", "permit renewal"], ["en"] * 3)
    [permit, zoo] = lexical.terms("permit zoo")
    met = match([(permit, 0.5), (zoo, 1.0)], "A permit.", "en", lexical)
    half = 0.5 * lexical.weight(permit)
    assert met.coverage == pytest.approx(half / (half + lexical.heaviest))
    assert met.evidence == pytest.approx(half / lexical.heaviest)


def test_match_of_a_query_without_telling_words() -> None:
    met = match([], "A permit.", "en", LexicalIndex.build(["permit"], ["en"]))
    assert (met.coverage, met.evidence) == (0, 0)
