from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import pytest

from zantara_stream.retrieval import language as module
from zantara_stream.retrieval.documents import Document, Section
from zantara_stream.retrieval.language import ENOUGH, language_of, settle_languages, sure_language

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


TEXTS = {
    "en": "The permit is renewed at the immigration office before it ends, and the fee is paid there.",
    "id": "Perpanjangan izin tinggal diajukan di kantor imigrasi sebelum izin berakhir.",
    "it": "Il permesso di soggiorno si rinnova prima della scadenza presso la questura.",
    "de": "Die Genehmigung wird vor Ablauf beim Amt verlängert und dort bezahlt.",
}
MALAY = "Nama rasmi negara ini ialah Republik Arab."  # what Indonesian of a few words is taken for


def _document(text: str, language: str = "", path: str = "a.txt") -> Document:
    found = language or language_of(text)
    return Document(path, "T", text, (Section("", 0, len(text)),), found, language_declared=bool(language))


def _folder(**counts: int) -> list[Document]:
    return [_document(TEXTS[code]) for code, count in counts.items() for _ in range(count)]


def _languages(documents: list[Document]) -> list[str]:
    return [document.language for document in documents]


@pytest.mark.parametrize(
    "counts", [{"id": 40}, {"id": 20, "en": 20}, {"en": 10, "id": 10, "it": 10, "de": 10}], ids=str
)
def test_a_rare_language_gives_way_to_its_common_neighbour(counts: dict[str, int]) -> None:
    assert language_of(MALAY) == "ms"
    settled = settle_languages([*_folder(**counts), _document(MALAY)])
    assert _languages(settled) == [*_languages(_folder(**counts)), "id"]


def test_nothing_else_of_a_document_changes() -> None:
    documents = [*_folder(id=40), _document(MALAY, path="b.txt")]
    settled = settle_languages(documents)
    assert settled[:-1] == documents[:-1]
    assert settled[-1] == replace(documents[-1], language="id")


def test_a_rare_language_stays_where_no_common_one_is_likely() -> None:
    documents = _folder(en=60, it=1, de=1, id=1)
    assert settle_languages(documents) == documents
    assert settle_languages([*_folder(en=60), _document(MALAY)])[-1].language == "ms"


def test_a_declared_language_stays() -> None:
    assert settle_languages([*_folder(id=40), _document(MALAY, "ms")])[-1].language == "ms"
    assert settle_languages([*_folder(id=40), _document(TEXTS["id"], "jv")])[-1].language == "jv"


def test_a_language_that_is_not_rare_stays() -> None:
    malay = [_document(MALAY)] * 3
    assert settle_languages([*_folder(id=40), *malay])[-3:] == malay


def test_declared_languages_are_common_too() -> None:
    folder = [*_folder(en=ENOUGH), *[_document(TEXTS["id"], "id")] * 10, _document(MALAY)]
    assert settle_languages(folder)[-1].language == "id"


def test_few_documents_show_no_common_language() -> None:
    few = [*_folder(id=ENOUGH - 2), *[_document(TEXTS["id"], "id")] * 30, _document(MALAY)]
    assert settle_languages(few) == few
    assert settle_languages([*few, _document(TEXTS["id"])])[-2].language == "id"
    assert settle_languages([]) == []


def test_only_rare_ones_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = [*_folder(id=1000, en=1000), _document(MALAY), _document(MALAY, "ms")]
    ranked: list[str] = []

    class Noting:
        def rank(self, text: str) -> list[tuple[str, float]]:
            ranked.append(text)
            return [("ms", 0.6), ("id", 0.4)]

    monkeypatch.setattr(module, "_identifier", lambda among: Noting())
    settle_languages(folder)
    assert ranked == [MALAY]


def test_every_choice_of_languages_shares_one_model_in_memory() -> None:
    two, three = (module._identifier(frozenset(codes)) for codes in ({"en", "id"}, {"en", "id", "it"}))
    assert two.tk_nextmove is three.tk_nextmove is module.load().tk_nextmove
    assert (two.labels, three.labels) == (["en", "id"], ["en", "id", "it"])
    assert len(module.load().labels) > 50, "which is not narrowed itself"


def test_two_who_need_the_model_at_once_unpack_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[float] = []

    class Slow:
        @staticmethod
        def from_model_file(*_: object, **__: object) -> float:
            time.sleep(0.05)
            unpacked.append(time.monotonic())
            return unpacked[-1]

    monkeypatch.setattr(module, "LanguageIdentifier", Slow)
    monkeypatch.setattr(module, "_loaded", cache(module._loaded.__wrapped__))
    with ThreadPoolExecutor(4) as threads:
        assert {future.result() for future in [threads.submit(module.load) for _ in range(4)]} == {*unpacked}
    assert len(unpacked) == 1
