from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_made import HIDDEN, MAX_TOKENS, sentence_model
from tokenizers import Tokenizer

from zantara_stream.errors import IndexUnavailable
from zantara_stream.retrieval.building import build
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder, load_encoder
from zantara_stream.retrieval.encoder import ABOUT, FP32, GRAPH, TOKENIZER, Description, OnnxEncoder
from zantara_stream.retrieval.reading import fingerprint, read_folder

TEXTS = ["visa", "", "NUL\0 in it", "日本語 👩‍👩‍👧", "How much is the fine?", "x" * 20_000, "word " * 2_000]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder of a small model; not to be written to."""
    folder = tmp_path_factory.mktemp("tiny")
    texts = [f"text {n} {n * n}" for n in range(40)]
    SentenceTransformerEmbedder(str(sentence_model(folder))).export(folder / "encoder", texts)
    return folder / "encoder"


@settings(deadline=None, max_examples=50)
@given(st.builds(Description, st.text(), st.text(), st.integers(1), st.integers(1), st.sampled_from([FP32]), st.text()))
def test_load_is_the_inverse_of_save(description: Description) -> None:
    with tempfile.TemporaryDirectory() as folder:
        description.save(Path(folder))
        assert Description.load(Path(folder)) == description


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"{", b"[]", b"null", b"{}", b'{"model": "m", "colour": 1}'])
def test_a_description_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / ABOUT).write_bytes(content)
    with pytest.raises(IndexUnavailable, match=rf"query encoder {tmp_path} cannot be read \(\w+\); build the index"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("name", [GRAPH, TOKENIZER])
@pytest.mark.parametrize("damage", ["gone", "empty", "garbage", "cut", "a folder"])
def test_files_that_are_damaged(name: str, damage: str, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(tiny, folder)
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage == "a folder":
        (folder / name).mkdir()
    elif damage != "gone":
        half = content[: len(content) // 2]
        (folder / name).write_bytes({"empty": b"", "garbage": b"\0\xffno graph" * 99, "cut": half}[damage])
    with pytest.raises(IndexUnavailable, match=rf"query encoder {folder} cannot be read \(\w+\); build the index"):
        load_encoder(folder)


@pytest.mark.parametrize("wrong", [{"dimensions": 31}, {"dimensions": "32"}, {"max_tokens": -1}, {"prompt": 5}])
def test_a_description_of_another_model(wrong: dict[str, object], tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(tiny, folder)
    about = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps(about | wrong))
    with pytest.raises(IndexUnavailable, match="cannot be read"):
        load_encoder(folder)


def test_the_runtime_reports_to_nobody(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    told: list[str] = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: told.append("not to report"))
    made = onnxruntime.InferenceSession

    def session(*arguments: Any, **options: Any) -> Any:
        told.append("to run")
        return made(*arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    OnnxEncoder(tiny, Description.load(tiny))
    assert told == ["not to report", "to run"]


def test_what_it_says_of_itself(tiny: Path) -> None:
    about = Description.load(tiny)
    encoder = load_encoder(tiny)
    assert isinstance(encoder, OnnxEncoder)
    assert (encoder.name, encoder.sha256, encoder.dimensions) == (about.model, about.sha256, HIDDEN)


def test_vectors_are_normalised_and_in_the_order_of_their_texts(tiny: Path) -> None:
    encoder = load_encoder(tiny)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), HIDDEN)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len(np.unique(vectors, axis=0)) == len(TEXTS)
    assert encoder.encode([]).shape == (0, HIDDEN)


def test_a_vector_does_not_depend_on_its_neighbours(tiny: Path) -> None:
    encoder = load_encoder(tiny)
    together = encoder.encode(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_array_equal(encoder.encode([text])[0], vector)
    np.testing.assert_array_equal(encoder.encode(TEXTS[::-1])[::-1], together)


def test_a_long_text_is_cut_at_the_models_limit(tiny: Path) -> None:
    encoder = load_encoder(tiny)
    fits = "word " * (MAX_TOKENS - 2)  # and the two special tokens
    one, longer, shorter = encoder.encode([fits, fits + "another word " * 100, fits[5:]])
    np.testing.assert_array_equal(one, longer)
    assert not np.array_equal(one, shorter)


def test_padding_that_a_tokenizer_brings_along_is_not_done(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(tiny, folder)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_padding(length=MAX_TOKENS)  # as some published ones do
    tokenizer.save(str(folder / TOKENIZER))
    padded, plain = load_encoder(folder), load_encoder(tiny)
    np.testing.assert_array_equal(padded.encode(["visa"]), plain.encode(["visa"]))
    assert isinstance(padded, OnnxEncoder)
    assert padded._feed("visa")["input_ids"].shape == (1, 3)


def test_the_prompt_stands_before_each_text(tiny: Path) -> None:
    plain, prompted = load_encoder(tiny), OnnxEncoder(tiny, replace(Description.load(tiny), prompt="query: "))
    np.testing.assert_array_equal(prompted.encode(["visa"]), plain.encode(["query: visa"]))


def test_near_in_meaning_is_near_in_space(packaged_encoder: Path) -> None:
    encoder = load_encoder(packaged_encoder)
    fine, near, far = encoder.encode(["The fine for overstaying", "penalty for staying too long", "banana bread"])
    assert fine @ near > 0.4 > 0.2 > fine @ far


SERVING = """
import asyncio, sys
from pathlib import Path
import zantara_stream.app
from zantara_stream.retrieval.library import Library

async def main():
    library = Library(Path(sys.argv[1]))
    await library.open()
    hits = await library.current.search("How is a permit renewed?", 3)
    library.close()
    print(len(hits), *sorted({name.split(".")[0] for name in sys.modules}))

asyncio.run(main())
"""
NOT_TO_SERVE = {"torch", "transformers", "sentence_transformers", "onnx", "onnxscript", "huggingface_hub", "sympy"}


def test_serving_needs_nothing_of_torch(tmp_path: Path, small_corpus: Path) -> None:
    embedder = SentenceTransformerEmbedder(str(sentence_model(tmp_path)))
    build(read_folder(small_corpus), embedder, tmp_path / "index", fingerprint(small_corpus))
    command = [sys.executable, "-c", SERVING, str(tmp_path / "index")]
    served = subprocess.run(command, capture_output=True, text=True, check=False)
    assert served.returncode == 0, served.stderr
    hits, *modules = served.stdout.split()
    assert hits == "3"
    assert "onnxruntime" in modules
    assert NOT_TO_SERVE & set(modules) == set()
