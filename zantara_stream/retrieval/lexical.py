"""The words' side of the search: BM25 over stemmed words, in several languages at once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import bm25s
import numpy as np
import Stemmer
from bm25s.stopwords import STOPWORDS_EN_PLUS
from numpy.typing import NDArray
from stopwordsiso import has_lang, stopwords

Term = frozenset[str]  # one word of a query, in the forms it may have in the index

_WORD = re.compile(r"[^\W_]+")
_ALGORITHMS = {
    "da": "danish", "de": "german", "en": "english", "es": "spanish", "fi": "finnish", "fr": "french",
    "hu": "hungarian", "id": "indonesian", "it": "italian", "nl": "dutch", "no": "norwegian",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish", "tr": "turkish",
}  # fmt: skip


def words(text: str) -> list[str]:
    """The words of a text, folded; punctuation and marks separate them."""
    return _WORD.findall(text.casefold())


@lru_cache(maxsize=64)
def _stemmer(language: str) -> Stemmer.Stemmer | None:
    return Stemmer.Stemmer(_ALGORITHMS[language]) if language in _ALGORITHMS else None


def stems(text: str, language: str) -> list[str]:
    """The stemmed words of a text in one language; unstemmed where there is no stemmer for it."""
    stemmer = _stemmer(language)
    return stemmer.stemWords(words(text)) if stemmer else words(text)


@lru_cache(maxsize=64)
def _stopwords(language: str) -> frozenset[str]:
    if language == "en":
        return frozenset(STOPWORDS_EN_PLUS)  # the other list counts "fine", "pt" and "open" among its 1,298
    return frozenset(stopwords(language)) if has_lang(language) else frozenset()


class LexicalIndex:
    """BM25 (Lucene's formula, k1 1.5, b 0.75); `save` and `load` are inverses."""

    def __init__(self, engine: bm25s.BM25, languages: Sequence[str]) -> None:
        self._engine = engine
        self._languages = tuple(languages)
        self._stopwords = frozenset().union(*(_stopwords(language) for language in languages))
        self._frequency = np.diff(engine.scores["indptr"])
        self.size = int(engine.scores["num_docs"])

    @classmethod
    def build(cls, texts: Sequence[str], languages: Sequence[str]) -> LexicalIndex:
        """Index the texts, each stemmed in its own language."""
        engine = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
        tokens = [stems(text, language) for text, language in zip(texts, languages, strict=True)]
        engine.index(tokens, show_progress=False)
        return cls(engine, sorted(set(languages)))

    @classmethod
    def load(cls, folder: Path, languages: Sequence[str]) -> LexicalIndex:
        """Read what `save` wrote for texts of those languages."""
        return cls(bm25s.BM25.load(str(folder), mmap=True), languages)

    def save(self, folder: Path) -> None:
        """Write the index into a folder."""
        self._engine.save(str(folder), show_progress=False)

    def terms(self, query: str) -> list[Term]:
        """The telling words of a query, each as its stems in every language of the index, without repeats."""
        content = [word for word in words(query) if word not in self._stopwords]
        return list(dict.fromkeys(self._term(word) for word in content))

    def _term(self, word: str) -> Term:
        return frozenset([word, *(stem for language in self._languages for stem in stems(word, language))])

    def scores(self, terms: Iterable[Term]) -> NDArray[np.float32]:
        """The BM25 score of every text for a query's terms."""
        known = sorted(stem for term in terms for stem in term if stem in self._engine.vocab_dict)
        if not known:
            return np.zeros(self.size, np.float32)
        scores: NDArray[np.float32] = self._engine.get_scores(known)
        return scores

    @property
    def heaviest(self) -> float:
        """The weight of a term that no text has."""
        return self.weight(frozenset())

    def weight(self, term: Term) -> float:
        """How telling a term is: its inverse document frequency, highest where no text has it."""
        ids = [self._engine.vocab_dict[stem] for stem in term if stem in self._engine.vocab_dict]
        found = max((int(self._frequency[number]) for number in ids), default=0)
        return math.log(1 + (self.size - found + 0.5) / (found + 0.5))
