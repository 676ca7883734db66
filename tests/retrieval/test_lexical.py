from __future__ import annotations

import tempfile
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from zantara_stream.retrieval.lexical import K1, B, LexicalIndex, Term, stems, tokens, words

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


def _weighted(index: LexicalIndex, query: str, weight: float = 1.0) -> list[tuple[Term, float]]:
    return [(term, weight) for term in index.terms(query)]


def _best(index: LexicalIndex, query: str) -> list[int]:
    scores = index.scores(_weighted(index, query))
    return [int(n) for n in np.argsort(-scores, kind="stable") if scores[n] > 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT PMA, Rp 3.000.000!", ["pt", "pma", "rp", "3", "000", "000"]),
        ("Straße CAFÉ", ["strasse", "café"]),
        ("snake_case l’imposta", ["snake", "case", "l", "imposta"]),
        ("日本語 😀", ["日本語"]),
        ("cafe\u0301 o\u0323\u0302", ["café", "ộ"]),  # composed, where there is such a letter
        ("भारतीय वीज़ा शुल्क।", ["भारतीय", "वीज़ा", "शुल्क"]),
        ("ที่ภาษี, မြန်မာ កម្ពុជា", ["ที่ภาษี", "မြန်မာ", "កម្ពុជា"]),
        ("שָׁלוֹם مَرْحَبًا", ["שָׁלוֹם", "مَرْحَبًا"]),
        ("İstanbul", ["i\u0307stanbul"]),
        ("\u0301 a\u0301\u0301b", ["á\u0301b"]),  # a mark by itself is no word
        ("a\0b", ["a", "b"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Permit fees", ["permit", "fees"]),
        ("E28A", ["e28a", "28"]),
        ("Visa E28A: 183days", ["visa", "e28a", "28", "183days", "183", "days"]),
        ("28 2026", ["28", "2026"]),
        ("м2 е28а", ["м2", "е28а", "28"]),
        ("x1y2", ["x1y2"]),  # single letters and figures tell nothing
        ("工作签证", ["工作", "作签", "签证"]),
        ("税", ["税"]),
        ("ビザの費用", ["ビザ", "ザの", "の費", "費用"]),
        ("ภาษี", ["ภา", "าษ", "ษี"]),
        ("한국어 비자", ["한국어", "비자"]),  # which has spaces
        ("E28A签证费用KITAS的", ["签证", "证费", "费用", "的", "e28a", "28", "kitas"]),
        ("भारतीय शुल्क", ["भारतीय", "शुल्क"]),
        ("i̇stanbul", ["i\u0307stanbul"]),
        ("cafe\u0301", ["café"]),
        ("", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@given(st.text("aé8 7Ö签证ษีशु़\u0301-İ", max_size=20))
def test_tokens_are_made_of_the_words_and_folding_again_changes_nothing(text: str) -> None:
    assert tokens(" ".join(words(text))) == tokens(text)
    for token in tokens(text):
        assert token
        assert any(token in word for word in words(text))
    spaced = [word for word in words(text) if not any(letter in word for letter in "签证ษี")]
    assert set(spaced) <= set(tokens(text))


@pytest.mark.parametrize(
    ("query", "found"),
    [("28", [0]), ("e28a", [0]), ("E28A visas", [0, 1]), ("签证", [2]), ("申请签证", [2]), ("शुल्क", [3]), ("ภาษี", [4])],
)
def test_parts_of_words_are_found_and_unspaced_scripts(query: str, found: list[int]) -> None:
    texts = ["The E28A visa", "Another visa", "办理工作签证的费用", "वीज़ा शुल्क कितना है", "อัตราภาษีเงินได้"]
    assert _best(LexicalIndex.build(texts, ["en", "en", "zh", "hi", "th"]), query) == found


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
    scores = index.scores(_weighted(index, "banana bread"))
    assert scores.shape == (len(TEXTS),)
    assert not scores.any()


def _each(index: LexicalIndex, term: Term, weight: float) -> NDArray[np.float32]:
    return weight * index.scores([(term, 1.0)])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["permit", "renewal", "izin", "online", "banana"]), st.sampled_from([0.25, 0.5, 1.0])
        ),
        max_size=6,
    )
)
def test_a_score_is_the_sum_of_its_terms_by_their_weights(index: LexicalIndex, asked: list[tuple[str, float]]) -> None:
    weighted = [(term, weight) for word, weight in asked for term in index.terms(word)]
    expected = sum((_each(index, term, weight) for term, weight in weighted), np.zeros(len(TEXTS), np.float32))
    scores = index.scores(weighted)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_a_term_given_twice_counts_twice(index: LexicalIndex) -> None:
    [permit] = index.terms("permit")
    np.testing.assert_allclose(index.scores([(permit, 1.0), (permit, 1.0)]), 2 * index.scores([(permit, 1.0)]))


def test_scores_are_those_of_lucenes_formula() -> None:
    index = LexicalIndex.build(["visa visa fee", "visa", "fee office town hall"], ["xx"] * 3)
    [visa] = index.terms("visa")
    lengths, counts, mean = [3, 1, 4], [2, 1, 0], 8 / 3
    weight = log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = [
        weight * count / (count + K1 * (1 - B + B * length / mean))
        for count, length in zip(counts, lengths, strict=True)
    ]
    np.testing.assert_allclose(index.scores([(visa, 1.0)]), expected, rtol=1e-5)
    assert index.weight(visa) == pytest.approx(weight)


@pytest.mark.parametrize("texts", [["—"], ["", "…"], ["!", "?", "."]])
def test_texts_without_a_word(texts: list[str]) -> None:
    index = LexicalIndex.build(texts, ["en"] * len(texts))
    assert index.size == len(texts)
    assert not index.scores(_weighted(index, "permit —")).any()
    assert index.weight(frozenset({"permit"})) == index.heaviest


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
        np.testing.assert_array_equal(loaded.scores(_weighted(loaded, query)), index.scores(_weighted(index, query)))
        assert [loaded.weight(term) for term in loaded.terms(query)] == [index.weight(t) for t in index.terms(query)]
        assert loaded.heaviest == index.heaviest
