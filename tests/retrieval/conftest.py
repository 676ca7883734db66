"""What tests of retrieval share: the packaged model's query encoder, exported once."""

from __future__ import annotations

from pathlib import Path

import pytest

from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder

DOCUMENTS = Path(__file__).resolve().parent.parent.parent / "documents"


@pytest.fixture(scope="session")
def passages_of_documents() -> list[str]:
    """Stretches of the sample documents' text."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(DOCUMENTS.rglob("*.md"))]
    return [text[start : start + 600] for text in texts for start in range(0, len(text), 600)][:120]


@pytest.fixture(scope="session")
def packaged_encoder(
    real_embedder: SentenceTransformerEmbedder,
    passages_of_documents: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of the packaged model's query encoder; not to be written to."""
    folder = tmp_path_factory.mktemp("packaged") / "encoder"
    real_embedder.export(folder, passages_of_documents)
    return folder
