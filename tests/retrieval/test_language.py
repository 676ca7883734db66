from __future__ import annotations

import pytest

from zantara_stream.retrieval.language import language_of, sure_language

OURS = ("en", "id", "it")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The permit is renewed at the immigration office before it ends.", "en"),
        ("Perpanjangan izin tinggal diajukan di kantor imigrasi sebelum izin berakhir.", "id"),
        ("Il permesso di soggiorno si rinnova prima della scadenza.", "it"),
        ("Разрешение продлевается в иммиграционной службе.", "ru"),
    ],
)
def test_the_language_of_a_text(text: str, language: str) -> None:
    assert language_of(text) == language


def test_a_text_without_words_has_some_language() -> None:
    assert len(language_of("")) == 2


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Berapa biaya perpanjangan KITAS untuk satu tahun?", "id"),
        ("Quanto costa il permesso di soggiorno per investitori?", "it"),
        ("How much does it cost to renew the permit?", "en"),
    ],
)
def test_a_question_is_told_among_ours(text: str, language: str) -> None:
    assert sure_language(text, OURS) == language


def test_only_languages_asked_for_are_answered() -> None:
    assert sure_language("Quanto costa il permesso di soggiorno per investitori?", ("en", "id")) in ("en", "id", None)


@pytest.mark.parametrize("text", ["KITAS", "PT PMA 2026", ""])
def test_little_text_is_not_sure(text: str) -> None:
    assert sure_language(text, OURS) is None


def test_the_order_of_the_languages_does_not_matter() -> None:
    text = "Berapa biaya perpanjangan KITAS untuk satu tahun?"
    assert sure_language(text, OURS) == sure_language(text, reversed(OURS)) == sure_language(text, iter(OURS))
