"""One build of an index, open for searching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import FAISS
from ..errors import IndexUnavailable
from .corpus import Corpus
from .encoder import Description, Encoder, Vectors
from .follow_up import Part, parts
from .language import sure_language
from .lexical import LexicalIndex, Term
from .manifest import CORPUS, ENCODER, LEXICAL, Manifest, check, check_model
from .search import Hit, Sought, find
from .stores import open_vectors
from .vector_index import VectorIndex

LoadEncoder = Callable[[Path], Encoder]


@dataclass(frozen=True, slots=True, eq=False)
class Build:
    """One build; one thread at a time may search it. Its files are let go of with the last reference to it."""

    manifest: Manifest
    index: VectorIndex
    lexical: LexicalIndex
    corpus: Corpus
    encoder: Encoder

    @classmethod
    def open(cls, folder: Path, load_encoder: LoadEncoder, vectors: str = FAISS) -> Build:
        """Check and open the build in `folder`; `vectors` is ZANTARA_VECTORS. Raises `IndexUnavailable`."""
        manifest = Manifest.load(folder)
        check(folder, manifest)
        described = Description.load(folder / ENCODER)  # before it is loaded: it may name a model to load in its place
        check_model(manifest, described.model, described.sha256, described.dimensions)
        encoder = load_encoder(folder / ENCODER)
        check_model(manifest, encoder.name, encoder.sha256, encoder.dimensions)
        index = open_vectors(folder, manifest, vectors)
        lexical = LexicalIndex.load(folder / LEXICAL, manifest.languages)
        if not len(index) == lexical.size == manifest.passages:
            raise IndexUnavailable(f"The parts of the index {folder} do not belong together; build it again.")
        return cls(manifest, index, lexical, Corpus(folder / CORPUS), encoder)

    def warm(self) -> None:
        """Search once, so that the first question does not wait for what is loaded at first use."""
        self.search("warm", 1)

    def language(self, query: str) -> str | None:
        """The language of a query, where it is clearly English or one of the documents'."""
        return sure_language(query, {"en", *self.manifest.languages})

    def search(self, query: str, limit: int, level: int = 0, earlier: Sequence[str] = ()) -> list[Hit]:
        """The best `limit` passages for a question after `earlier` ones, up to an access level, best first."""
        return find(self, self.seek(query, earlier), limit, level)

    def seek(self, query: str, earlier: Sequence[str] = ()) -> Sought:
        """What to search for, embedded here and now."""
        asked = parts(query, earlier)
        return self.sought(asked, self.encoder.encode([part.text for part in asked]))

    def sought(self, asked: Sequence[Part], vectors: Vectors) -> Sought:
        """What to search for: the parts of a question and a vector of each, by their weights."""
        weights = np.array([[part.weight] for part in asked], np.float32)
        vector = np.sum(weights * vectors, axis=0)
        terms: dict[Term, float] = {}
        for part in asked:
            for term in self.lexical.terms(part.text):
                terms[term] = max(part.weight, terms.get(term, 0.0))
        return Sought(vector / np.linalg.norm(vector), list(terms.items()))

    def text(self, document: str, start: int, end: int) -> str | None:
        """A stretch of a document's text as it was indexed; None for a document that is not there."""
        return self.corpus.text(document, start, end)
