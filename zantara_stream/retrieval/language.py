"""Telling the language of a text, by py3langid's packaged model."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SURE = 0.9  # probability


@lru_cache(maxsize=8)
def _identifier(among: frozenset[str]) -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
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
