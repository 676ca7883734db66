"""Passages put in order by a cross-encoder, which reads each together with the question: better, and far slower."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .passages import Passage

CANDIDATES = 24  # passages that are read


class Reranker:
    """A sentence-transformers `CrossEncoder`, by path or by the name of one on this machine. It needs torch.

    Loading takes seconds, and asks no hub. Raises `ConfigError` where there is no such model.
    """

    def __init__(self, setting: str) -> None:
        try:
            self._model = _load(setting)
        except Exception as error:  # the library raises whatever the files make it raise
            raise ConfigError(
                f"ZANTARA_RERANKER={setting!r} cannot be loaded ({type(error).__name__}: {error}): it takes the path "
                "of a sentence-transformers CrossEncoder with one label, or the name of one that is on this machine, "
                "and the packages of zantara-stream[build]."
            ) from error

    def order(self, query: str, passages: Sequence[Passage]) -> list[int]:
        """The places of the passages, best first by the model's word."""
        if not passages:
            return []
        # Each text once: the same one is given another score in the last digits at another place of a batch.
        texts = list(dict.fromkeys(passage.headed for passage in passages))
        scores = self._model.predict([(query, text) for text in texts], show_progress_bar=False)
        by_text = dict(zip(texts, map(float, scores), strict=True))
        return sorted(range(len(passages)), key=lambda place: -by_text[passages[place].headed])


def _load(setting: str) -> Any:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from huggingface_hub import snapshot_download
    from sentence_transformers import CrossEncoder

    # Given a name, the other library would ask the hub of it all the same.
    folder = setting if Path(setting).is_dir() else snapshot_download(setting, local_files_only=True)
    model = CrossEncoder(folder, local_files_only=True)
    if model.num_labels != 1:
        raise ValueError(f"it has {model.num_labels} labels")
    loaded = type(model.model).__name__
    if loaded.endswith("ForSequenceClassification") and loaded not in (model.config.architectures or ()):
        raise ValueError("it scores nothing: the layer that would was made up when it was loaded")
    return model
