from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models_made import HIDDEN, MAX_TOKENS, sentence_model
from sentence_transformers import SentenceTransformer

from zantara_stream.retrieval import export as exporting
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder, load_encoder
from zantara_stream.retrieval.encoder import ABOUT, FP32, GRAPH, INT8, TOKENIZER, TORCH, Description, Vectors
from zantara_stream.retrieval.export import NEIGHBOURS, SAME, export, same_neighbours

TEXTS = [
    "",
    "visa",
    "  Two words\t",
    "NUL\0 in it",
    "Perpanjangan izin tinggal, 日本語, ภาษี, 👩‍👩‍👧",
    "How much is the fine for overstaying? " * 40,
    "x" * 50_000,
]
KINDS: dict[str, dict[str, Any]] = {
    "mean": {},
    "cls": {"pooling": "cls"},
    "dense": {"dense": 16},
    "prompt": {"prompts": {"query": "Represent the question: ", "document": "Document: "}},
    "another architecture": {"kind": "distilbert"},
}


def _sample(count: int = 60) -> list[str]:
    return [f"Text {n} of {' '.join(str(n * m % 17) for m in range(n % 30))}" for n in range(count)]


def _exported(model: Path, folder: Path, texts: list[str]) -> Description:
    SentenceTransformerEmbedder(str(model)).export(folder, texts)
    return Description.load(folder)


def _files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_gives_the_models_vectors_of_queries(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "SAME", 1.01)  # what int8 can never find, so that fp32 stays
    model = sentence_model(tmp_path, **KINDS[kind])
    about = _exported(model, tmp_path / "encoder", _sample())
    assert (about.precision, about.max_tokens, about.dimensions) == (FP32, MAX_TOKENS, KINDS[kind].get("dense", HIDDEN))
    assert about.prompt == KINDS[kind].get("prompts", {}).get("query", "")
    assert _files(tmp_path / "encoder") == {GRAPH, TOKENIZER, ABOUT}
    expected: Vectors = SentenceTransformer(str(model), device="cpu").encode_query(TEXTS)
    vectors = load_encoder(tmp_path / "encoder").encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_int8_takes_its_place_where_it_finds_the_same_neighbours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    model = sentence_model(tmp_path)
    about = _exported(model, tmp_path / "encoder", _sample())
    assert about.precision == INT8
    assert _files(tmp_path / "encoder") == {GRAPH, TOKENIZER, ABOUT}
    expected: Vectors = SentenceTransformer(str(model), device="cpu").encode_query(_sample())
    vectors = load_encoder(tmp_path / "encoder").encode(_sample())
    assert not np.allclose(vectors, expected, atol=1e-4)  # so it is int8
    assert same_neighbours(vectors, expected) >= SAME
    assert [record for record in caplog.records if record.name == "root"] == []  # of the quantiser's talk


def test_fp32_stays_where_int8_loses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(exporting, "same_neighbours", lambda vectors, expected: 0.849)
    about = _exported(sentence_model(tmp_path), tmp_path / "encoder", _sample())
    assert about.precision == FP32
    assert "stays in fp32; in int8: of a text's neighbours it finds 0.85, not 0.85" in caplog.text
    assert _files(tmp_path / "encoder") == {GRAPH, TOKENIZER, ABOUT}


def test_fp32_stays_where_quantising_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(whole: Path, smaller: Path) -> None:
        smaller.write_bytes(b"half a graph")
        raise RuntimeError("an unknown operator")

    monkeypatch.setattr(exporting, "_quantise", fail)
    about = _exported(sentence_model(tmp_path), tmp_path / "encoder", _sample())
    assert about.precision == FP32
    assert _files(tmp_path / "encoder") == {GRAPH, TOKENIZER, ABOUT}
    assert load_encoder(tmp_path / "encoder").encode(["visa"]).shape == (1, HIDDEN)


def _served_by_torch(model: Path, folder: Path) -> None:
    about = Description.load(folder)
    assert about.precision == TORCH
    assert _files(folder) == {ABOUT}
    encoder = load_encoder(folder)
    assert (encoder.name, encoder.sha256, encoder.dimensions) == (str(model), about.sha256, HIDDEN)
    expected: Vectors = SentenceTransformer(str(model), device="cpu").encode_query(TEXTS)
    vectors = encoder.encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.min(np.sum(vectors * expected, axis=1)) > 0.98  # bfloat16 on some processors


def test_a_model_whose_graph_gives_other_vectors_is_served_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Its pooling leaves out the prompt, whose length the graph does not know.
    model = sentence_model(tmp_path, prompts={"query": "one two three: "}, include_prompt=False)
    _exported(model, tmp_path / "encoder", _sample())
    assert "cannot be exported: the server needs torch to serve it" in caplog.text
    assert "the graph gives other vectors than the model" in caplog.text
    _served_by_torch(model, tmp_path / "encoder")


def test_a_model_that_cannot_be_traced_is_served_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(model: object, file: Path) -> None:
        file.with_name("weights.bin").write_bytes(b"half of them")
        raise RuntimeError("an operator that ONNX lacks")

    monkeypatch.setattr(exporting, "_trace", fail)
    model = sentence_model(tmp_path)
    _exported(model, tmp_path / "encoder", _sample())
    assert "an operator that ONNX lacks" in caplog.text
    _served_by_torch(model, tmp_path / "encoder")


def test_weights_beside_a_large_graph_go_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantise = exporting._quantise

    def beside(whole: Path, smaller: Path) -> None:
        whole.with_name("embeddings.weight").write_bytes(b"two gigabytes")
        quantise(whole, smaller)

    monkeypatch.setattr(exporting, "_quantise", beside)
    assert _exported(sentence_model(tmp_path), tmp_path / "encoder", _sample()).precision == INT8
    assert _files(tmp_path / "encoder") == {GRAPH, TOKENIZER, ABOUT}


@pytest.mark.parametrize("texts", [[], ["alone"]])
def test_few_texts_or_none_suffice(texts: list[str], tmp_path: Path) -> None:
    assert _exported(sentence_model(tmp_path), tmp_path / "encoder", texts).precision in (INT8, FP32)
    assert load_encoder(tmp_path / "encoder").encode(["visa"]).shape == (1, HIDDEN)


def test_the_sample_is_of_all_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "SAMPLE", 4)
    tried: list[str] = []

    class Model:
        def encode_query(self, texts: list[str], **options: Any) -> Vectors:
            tried.extend(texts)
            return np.ones((len(texts), 1), np.float32)

    export(Model(), Description("m", "0", 1, 8, TORCH), tmp_path / "encoder", [str(n) for n in range(10)])
    assert tried == ["0", "2", "4", "6"]


def test_the_packaged_model_in_int8(
    packaged_encoder: Path, real_embedder: SentenceTransformerEmbedder, passages_of_documents: list[str]
) -> None:
    about = Description.load(packaged_encoder)
    assert (about.model, about.sha256) == (real_embedder.name, real_embedder.sha256)
    assert (about.dimensions, about.max_tokens, about.precision, about.prompt) == (384, 256, INT8, "")
    assert (packaged_encoder / GRAPH).stat().st_size < 30e6
    vectors = load_encoder(packaged_encoder).encode(passages_of_documents)
    expected = real_embedder.encode(passages_of_documents)
    assert np.min(np.sum(vectors * expected, axis=1)) > 0.97
    assert same_neighbours(vectors, expected) >= SAME


def _on_a_circle(*degrees: float) -> Vectors:
    angles = np.radians(degrees)
    return np.array([np.cos(angles), np.sin(angles)], np.float32).T


def test_same_neighbours_are_counted_without_the_text_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _on_a_circle(0, 10, 30, 70)
    assert same_neighbours(expected, expected) == 1
    monkeypatch.setattr(exporting, "NEIGHBOURS", 1)  # which are 1, 0, 1, 2
    # The first now lies nearest to the last, the others where they lay.
    assert same_neighbours(_on_a_circle(80, 10, 30, 70), expected) == 0.75
    assert same_neighbours(_on_a_circle(0), _on_a_circle(0)) >= 0
    assert NEIGHBOURS == 10


def test_neighbours_of_few_texts_are_all_the_others() -> None:
    one, other = _on_a_circle(0, 90, 180), _on_a_circle(180, 0, 90)
    assert same_neighbours(one, other) == 1
