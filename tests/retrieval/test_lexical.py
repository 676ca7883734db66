from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zantara_stream.retrieval.lexical import LexicalIndex, stems, words

TEXTS = [
    "The renewals of the permit cost three million rupiah.",
    "A permit is extended online.",
    "Perpanjangan izin dibayar di kantor imigrasi.",
    "I permessi si rinnovano ogni anno.",
]
LANGUAGES = ["en", "en", "id", "it"]


@pytest.fixture(scope="module")
def index() -> LexicalIndex:
    return LexicalIndex.build(TEXTS, LANGUAGES)


def _best(index: LexicalIndex, query: str) -> list[int]:
    scores = index.scores(index.terms(query))
    return [int(n) for n in np.argsort(-scores, kind="stable") if scores[n] > 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT PMA, Rp 3.000.000!", ["pt", "pma", "rp", "3", "000", "000"]),
        ("Straße CAFÉ", ["strasse", "café"]),
        ("snake_case l’imposta", ["snake", "case", "l", "imposta"]),
        ("日本語 😀", ["日本語"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Renewals renewing", "en", ["renew", "renew"]),
        ("perpanjangan", "id", ["panjang"]),
        ("permessi permesso", "it", ["permess", "permess"]),
        ("Renewals", "xx", ["renewals"]),
    ],
)
def test_stems_are_of_the_language(text: str, language: str, expected: list[str]) -> None:
    assert stems(text, language) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("renewal", [0]),
        ("permits", [1, 0]),  # the shorter text says it more densely
        ("perpanjang izin", [2]),
        ("permesso", [3]),
        ("extending a permit", [1, 0]),
        ("banana", []),
        ("", []),
    ],
)
def test_a_word_is_found_in_the_forms_of_every_language(index: LexicalIndex, query: str, expected: list[int]) -> None:
    assert _best(index, query) == expected


def test_terms_leave_out_empty_words_of_every_language_and_repeats(index: LexicalIndex) -> None:
    assert index.terms("What is the cost of the costs, yang dan, della?") == [
        frozenset({"cost"}),
        frozenset({"costs", "cost"}),
    ]
    assert index.terms("permit permit PERMIT") == [frozenset({"permit"})]
    assert index.terms("the of and") == []


def test_words_that_nothing_has_score_nothing(index: LexicalIndex) -> None:
    scores = index.scores(index.terms("banana bread"))
    assert scores.shape == (len(TEXTS),)
    assert not scores.any()


def test_a_rare_word_tells_more_than_a_common_one(index: LexicalIndex) -> None:
    [permit], [online], [unknown] = index.terms("permit"), index.terms("online"), index.terms("banana")
    assert 0 < index.weight(permit) < index.weight(online) < index.weight(unknown) == index.heaviest


def test_a_term_weighs_as_its_most_common_form() -> None:
    index = LexicalIndex.build(["visa", "visa", "visum"], ["xx"] * 3)
    assert index.weight(frozenset({"visa", "visum"})) == index.weight(frozenset({"visa"}))
    assert index.weight(frozenset({"visa"})) < index.weight(frozenset({"visum"}))


def test_each_text_has_its_language() -> None:
    with pytest.raises(ValueError, match="shorter"):
        LexicalIndex.build(["one", "two"], ["en"])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(TEXTS) | st.text("abc é9", max_size=20), st.sampled_from(["en", "id", "xx"]))),
    st.sampled_from(TEXTS) | st.text("abc é9", max_size=12),
)
def test_load_is_the_inverse_of_save(texts: list[tuple[str, str]], query: str) -> None:
    texts = [("at least one word", "en"), *texts]
    index = LexicalIndex.build([text for text, _ in texts], [language for _, language in texts])
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder) / "lexical")
        loaded = LexicalIndex.load(Path(folder) / "lexical", sorted({language for _, language in texts}))
        assert loaded.size == index.size == len(texts)
        assert loaded.terms(query) == index.terms(query)
        np.testing.assert_array_equal(loaded.scores(loaded.terms(query)), index.scores(index.terms(query)))
        assert [loaded.weight(term) for term in loaded.terms(query)] == [index.weight(t) for t in index.terms(query)]
        assert loaded.heaviest == index.heaviest
