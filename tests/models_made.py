"""Models of a few thousand weights, saved to disk, for tests of whatever loads one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import BertConfig, BertForSequenceClassification, BertModel, DistilBertConfig, DistilBertModel

from zantara_stream.retrieval.embedding import model_folder

HIDDEN, MAX_TOKENS = 32, 24
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def sentence_model(
    folder: Path,
    *,
    kind: str = "bert",
    pooling: str = "mean",
    dense: int = 0,
    prompts: Mapping[str, str] | None = None,
    include_prompt: bool = True,
) -> Path:
    """The folder of a sentence-transformers model of `HIDDEN` dimensions, or of `dense` where that is not 0."""
    torch.manual_seed(1729)
    base = _saved(folder / "base", BertModel(_bert()) if kind == "bert" else DistilBertModel(_distilled()))
    words = Transformer(str(base), max_seq_length=MAX_TOKENS)
    modules: list[Any] = [words, Pooling(HIDDEN, pooling, include_prompt=include_prompt)]
    if dense:
        modules.append(Dense(HIDDEN, dense))
    SentenceTransformer(modules=[*modules, Normalize()], prompts=dict(prompts or {})).save(str(folder / "model"))
    return folder / "model"


def cross_encoder(folder: Path, labels: int = 1) -> Path:
    """The folder of a classifier of pairs of texts."""
    torch.manual_seed(1729)
    return _saved(folder, BertForSequenceClassification(_bert(num_labels=labels)))


def _saved(folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    for name in _TOKENIZER:
        if (model_folder("") / name).exists():
            shutil.copyfile(model_folder("") / name, folder / name)
    return folder


def _bert(**more: Any) -> BertConfig:
    return BertConfig(  # with weights so large that texts lie well apart
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.3,
        **more,
    )


def _distilled() -> DistilBertConfig:
    return DistilBertConfig(dim=HIDDEN, n_layers=2, n_heads=2, hidden_dim=64, initializer_range=0.3)
