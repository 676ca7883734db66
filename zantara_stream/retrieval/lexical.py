"""The words' side of the search: BM25 over stemmed words, in several languages at once."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import bm25s
import numpy as np
import Stemmer
from bm25s.stopwords import STOPWORDS_EN_PLUS
from numpy.typing import NDArray
from stopwordsiso import has_lang, stopwords

from ..errors import IndexUnavailable

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it tells of its progress else
K1, B = 1.0, 0.4  # passages are much of a length, and short ones are no better for it; docs/decisions/0015
Term = frozenset[str]  # one word of a query, in the forms it may have in the index
Weighted = list[tuple[Term, float]]

# Vowel signs, tone marks and points are marks to Unicode, but parts of a word.
_MARK = "".join(sign for sign in map(chr, range(0x300, 0xAC00)) if unicodedata.category(sign) in ("Mn", "Mc"))
_WORD = re.compile(rf"[^\W_]+(?:[{_MARK}]+[^\W_]*)*")
_MIXED = re.compile(rf"(?:[^\W\d_]|[{_MARK}])+|\d+")
# Scripts that are written without spaces: Thai to Myanmar, Khmer, kana, Han.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_ALGORITHMS = {
    "da": "danish", "de": "german", "en": "english", "es": "spanish", "fi": "finnish", "fr": "french",
    "hu": "hungarian", "id": "indonesian", "it": "italian", "nl": "dutch", "no": "norwegian",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish", "tr": "turkish",
}  # fmt: skip


def words(text: str) -> list[str]:
    """The words of a text, folded; punctuation separates them."""
    return _WORD.findall(unicodedata.normalize("NFC", text.casefold()))


def tokens(text: str) -> list[str]:
    """The words as they are indexed: "e28a" is found by "28" too, and unspaced scripts by every two characters."""
    found: list[str] = []
    for word in words(text):
        if word.isascii() and word.isalpha():  # nearly all are
            found.append(word)
        else:
            found += _forms(word)
    return found


def _forms(word: str) -> Iterator[str]:
    if _UNSPACED.search(word):
        yield from _pairs(word)
    else:
        yield word
        parts = _MIXED.findall(word)
        yield from (part for part in parts if len(part) > 1 and part != word)


def _pairs(word: str) -> Iterator[str]:
    for run in _UNSPACED.findall(word):
        yield from (run[place : place + 2] for place in range(max(1, len(run) - 1)))
    for rest in _UNSPACED.sub(" ", word).split():
        yield from _forms(rest)


@lru_cache(maxsize=64)
def _stemmer(language: str) -> Stemmer.Stemmer | None:
    return Stemmer.Stemmer(_ALGORITHMS[language]) if language in _ALGORITHMS else None


def stems(text: str, language: str) -> list[str]:
    """The stemmed words of a text in one language; unstemmed where there is no stemmer for it."""
    stemmer = _stemmer(language)
    return stemmer.stemWords(tokens(text)) if stemmer else tokens(text)


@lru_cache(maxsize=64)
def _stopwords(language: str) -> frozenset[str]:
    if language == "en":
        return frozenset(STOPWORDS_EN_PLUS)  # the other list counts "fine", "pt" and "open" among its 1,298
    return frozenset(stopwords(language)) if has_lang(language) else frozenset()


def _check_matrix(engine: bm25s.BM25) -> None:
    """See that the scores are a sparse matrix, a column a word. Raises `ValueError`, and whatever its parts raise."""
    data, rows, starts = (engine.scores[name] for name in ("data", "indices", "indptr"))
    shapes = [(part.ndim, part.dtype.kind) for part in (data, rows, starts)]  # an archive in its place has none
    sound = (
        shapes == [(1, "f"), (1, "i"), (1, "i")]
        and len(data) == len(rows) == starts[-1]
        and starts[0] == 0
        and bool((np.diff(starts) >= 0).all())
        and (not len(rows) or 0 <= rows.min() <= rows.max() < engine.scores["num_docs"])
        and all(type(n) is int and 0 <= n < len(starts) - 1 for word, n in engine.vocab_dict.items() if word)
    )
    if not sound:
        raise ValueError("it is no matrix of words and texts")


class LexicalIndex:
    """BM25 by Lucene's formula; `save` and `load` are inverses."""

    def __init__(self, engine: bm25s.BM25, languages: Sequence[str]) -> None:
        self._engine = engine
        self._languages = tuple(languages)
        self._stopwords = frozenset().union(*(_stopwords(language) for language in languages))
        self._frequency = np.diff(engine.scores["indptr"])
        self.size = int(engine.scores["num_docs"])

    @classmethod
    def build(cls, texts: Sequence[str], languages: Sequence[str]) -> LexicalIndex:
        """Index the texts, each stemmed in its own language."""
        engine = bm25s.BM25(k1=K1, b=B, method="lucene")
        stemmed = [stems(text, language) for text, language in zip(texts, languages, strict=True)]
        engine.index(stemmed if any(stemmed) else [[""], *stemmed[1:]], show_progress=False)  # none fails without words
        return cls(engine, sorted(set(languages)))

    @classmethod
    def load(cls, folder: Path, languages: Sequence[str]) -> LexicalIndex:
        """Read what `save` wrote for texts of those languages. Raises `IndexUnavailable`."""
        try:
            engine = bm25s.BM25.load(str(folder), mmap=True)
            _check_matrix(engine)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise IndexUnavailable(
                f"The lexical index {folder} cannot be read ({type(error).__name__}); build the index again."
            ) from error
        return cls(engine, languages)

    def save(self, folder: Path) -> None:
        """Write the index into a folder."""
        self._engine.save(str(folder), show_progress=False)

    def terms(self, query: str) -> list[Term]:
        """The telling words of a query, each as its stems in every language of the index, without repeats."""
        content = [word for word in tokens(query) if word not in self._stopwords]
        return list(dict.fromkeys(self._term(word) for word in content))

    def _term(self, word: str) -> Term:
        stemmers = [_stemmer(language) for language in self._languages]
        return frozenset([word, *(stemmer.stemWord(word) for stemmer in stemmers if stemmer)])

    def scores(self, terms: Weighted) -> NDArray[np.float32]:
        """The BM25 score of every text for a query's terms, each counted by its weight."""
        scores = np.zeros(self.size, np.float32)
        for weight in sorted({weight for _, weight in terms}):
            alike = [term for term, its in terms if its == weight]
            known = sorted(stem for term in alike for stem in term if stem in self._engine.vocab_dict)
            if known:
                scores += np.float32(weight) * self._engine.get_scores(known)
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
