"""Telling the language of a text, by py3langid's packaged model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import cache, lru_cache
from threading import Lock

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from .documents import Document

SURE = 0.9  # probability
SAMPLE = 4000  # characters that tell the language of a document
ENOUGH = 20  # documents whose language was told from their text: fewer show no common language
RARE = 0.05  # of the documents: the share below which a language may be a mistake
# How many times less likely a common language may be: near languages and foreign names make it 1 to 1,000,
# another language makes it 4,000 and more from the first sentence on.
ODDS = 1000


_LOADING = Lock()  # one at a time: a cache would let two begin


def load() -> LanguageIdentifier:
    """The model, unpacked once for all uses of it: that takes a good half of a second, and 70 MB."""
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@lru_cache(maxsize=8)
def _identifier(among: frozenset[str]) -> LanguageIdentifier:
    identifier = copy(load())
    if among:
        identifier.set_languages(sorted(among & set(identifier.labels)))
    return identifier


def language_of(text: str) -> str:
    """The most likely language of a longer text, as ISO 639-1."""
    return str(_identifier(frozenset()).classify(text)[0])


def sure_language(text: str, among: Iterable[str]) -> str | None:
    """The language of a short text where one of a few is clearly the likeliest; else None."""
    code, probability = _identifier(frozenset(among)).classify(text)
    return str(code) if probability >= SURE else None


def settle_languages(documents: Sequence[Document]) -> list[Document]:
    """Detect again what few documents were detected to be, among the languages that are common in the folder.

    A short text is easily taken for a neighbour of its language (Malay for Indonesian). Declared languages stay,
    and so does a language that is rare where none of the common ones is likely at all.
    """
    common = _common(documents)
    return [_settled(document, common) if common else document for document in documents]


def _common(documents: Sequence[Document]) -> frozenset[str]:
    if sum(not document.language_declared for document in documents) < ENOUGH:
        return frozenset()
    counts = Counter(document.language for document in documents)
    return frozenset(language for language, count in counts.items() if count >= RARE * len(documents))


def _settled(document: Document, common: frozenset[str]) -> Document:
    if document.language_declared or document.language in common:
        return document
    odds = dict(_identifier(frozenset()).rank(document.text[:SAMPLE]))
    likeliest = max(sorted(common), key=lambda language: odds.get(language, 0.0))
    if odds.get(likeliest, 0.0) * ODDS < odds.get(document.language, 0.0):
        return document
    return replace(document, language=likeliest)
