"""The query encoder made from the embedding model: traced, quantised where nothing is lost by it, and tried.

docs/decisions/0014 says why it is done this way.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .encoder import FP32, GRAPH, INT8, OUTPUT, TOKENIZER, TORCH, Description, OnnxEncoder, Vectors, runtime

logger = logging.getLogger(__name__)

SAMPLE = 200  # texts that the encoder is tried on
FAITHFUL = 0.999  # the least cosine between the model's vector of a text and the fp32 graph's
NEIGHBOURS, SAME = 10, 0.85  # int8 must find this share of the ten texts that the model finds nearest, on average
_EXAMPLES = ["a short text", "a text of some more words, so that its length is seen to differ"]


class _Whole(torch.nn.Module):
    """A sentence-transformers model from its tokens to vectors of length 1."""

    def __init__(self, model: Any, inputs: Sequence[str]) -> None:
        super().__init__()
        self._model = model
        self._inputs = inputs

    def forward(self, *columns: torch.Tensor) -> torch.Tensor:
        features = dict(zip(self._inputs, columns, strict=True))
        return torch.nn.functional.normalize(self._model(features)["sentence_embedding"], dim=1)


def export(model: Any, description: Description, folder: Path, texts: Sequence[str]) -> Description:
    """Write the encoder of a sentence-transformers model (float32, on the CPU) into `folder`, which is for it alone.

    It is held against the model on a sample of `texts`. The precision of what is returned says what was
    written: int8 where it finds the same neighbours, else fp32, else "torch" for the model itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sample = list(texts[:: max(1, len(texts) // SAMPLE)][:SAMPLE]) or _EXAMPLES
    expected: Vectors = model.encode_query(sample, normalize_embeddings=True, show_progress_bar=False)
    exported = _traced(model, description, folder, sample, expected)
    if exported.precision == FP32:
        exported = _quantised(exported, folder, sample, expected)
    exported.save(folder)
    return exported


def _traced(
    model: Any, description: Description, folder: Path, sample: Sequence[str], expected: Vectors
) -> Description:
    """The graph in fp32 where it can be had, and where it gives the model's vectors."""
    exported = replace(description, precision=FP32)
    try:
        model.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
        _trace(model, folder / GRAPH)
        cosine = _worst(OnnxEncoder(folder, exported).encode(sample), expected)
        if not cosine >= FAITHFUL:
            raise ValueError(f"the graph gives other vectors than the model, by a cosine of {cosine:.3f}")
    except Exception:  # tracing meets every kind of model, and fails in as many ways
        logger.warning("%s cannot be exported: the server needs torch to serve it", description.model, exc_info=True)
        _keep(folder)
        return replace(description, precision=TORCH)
    return exported


def _trace(model: Any, file: Path) -> None:
    features = {name: value for name, value in model.preprocess(_EXAMPLES).items() if torch.is_tensor(value)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every shape that it takes for a constant
        torch.onnx.export(
            _Whole(model, list(features)).eval(),
            tuple(features.values()),
            str(file),
            input_names=list(features),
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in features},
            opset_version=17,
            dynamo=False,
        )


def _worst(vectors: Vectors, expected: Vectors) -> float:
    """The least cosine between two rows that should be one."""
    return float(np.min(np.sum(vectors * expected, axis=1)))


def _quantised(exported: Description, folder: Path, sample: Sequence[str], expected: Vectors) -> Description:
    """The graph in int8 in its place, where that can be had and finds the same neighbours in the sample."""
    whole = (folder / GRAPH).rename(folder / "whole.onnx")
    smaller = replace(exported, precision=INT8)
    try:
        _quantise(whole, folder / GRAPH)
        share = same_neighbours(OnnxEncoder(folder, smaller).encode(sample), expected)
        if not share >= SAME:
            raise ValueError(f"of a text's neighbours it finds {share:.2f}, not {SAME}")
    except Exception as error:  # quantising meets every kind of graph, too
        logger.info("the query encoder of %s stays in fp32; in int8: %s", exported.model, error)
        whole.replace(folder / GRAPH)
        return exported
    _keep(folder, GRAPH, TOKENIZER)
    return smaller


def _keep(folder: Path, *names: str) -> None:
    """Remove what else was written: a graph of more than 2 GB has its weights in files beside it."""
    for file in folder.iterdir():
        if file.name not in names:
            file.unlink()


def _quantise(whole: Path, smaller: Path) -> None:
    runtime()
    from onnxruntime.quantization import quantize_dynamic

    logging.getLogger().addFilter(_no_advice)
    try:  # in seven bits of the eight, which lose no more, and cannot overflow where a processor lacks VNNI
        quantize_dynamic(whole, smaller, per_channel=True, reduce_range=True)
    finally:
        logging.getLogger().removeFilter(_no_advice)


def _no_advice(record: logging.LogRecord) -> bool:
    """Leave out what the quantiser tells the root logger of each tensor."""
    return "onnxruntime" not in record.pathname


def same_neighbours(vectors: Vectors, expected: Vectors) -> float:
    """The share of each text's nearest among `expected` that its other vector finds too, its own row aside."""
    nearest = [_nearest(rows, expected) for rows in (expected, vectors)]
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(*nearest, strict=True)]))


def _nearest(rows: Vectors, among: Vectors) -> list[list[int]]:
    cosines = rows @ among.T
    np.fill_diagonal(cosines, -np.inf)
    count = min(NEIGHBOURS, max(1, len(among) - 1))
    return [list(row) for row in np.argsort(-cosines, axis=1, kind="stable")[:, :count]]
