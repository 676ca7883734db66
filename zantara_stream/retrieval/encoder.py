"""The query encoder: the graph that a build leaves beside its index, run by onnxruntime.

Serving needs no torch for it: it starts in a moment and takes a small part of the memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import IndexUnavailable

Vectors = NDArray[np.float32]

GRAPH, TOKENIZER, ABOUT = "model.onnx", "tokenizer.json", "encoder.json"
INT8, FP32 = "int8", "fp32"
TORCH = "torch"  # in place of a precision: the model could not be exported, and serves as it is
OUTPUT = "embedding"


class Encoder(Protocol):
    """A model that turns texts into vectors of length 1."""

    name: str
    sha256: str  # of the model's weights
    dimensions: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One normalised row a text."""
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """What an encoder's folder says of it."""

    model: str
    sha256: str  # of the weights that it was made from
    dimensions: int
    max_tokens: int
    precision: str  # int8, fp32, or torch
    prompt: str = ""  # put before each query

    def save(self, folder: Path) -> None:
        """Write it into the encoder's folder."""
        (folder / ABOUT).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises `IndexUnavailable`."""
        try:
            return cls(**json.loads((folder / ABOUT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise unreadable(folder, error) from error


class OnnxEncoder:
    """The `Encoder` of a graph; one thread works for a call, so that the others stay with the streams.

    Raises `IndexUnavailable` where its files are damaged or do not belong together.
    """

    def __init__(self, folder: Path, description: Description) -> None:
        self.name, self.sha256 = description.model, description.sha256
        self.dimensions = description.dimensions
        self._prompt = description.prompt
        try:
            self._tokenizer = _tokenizer(folder / TOKENIZER, description.max_tokens)
            self._session = _session(folder / GRAPH)
            self._inputs = [entry.name for entry in self._session.get_inputs()]
            self.encode([""])  # whether it runs, and gives as many dimensions as it should, and warm
        except Exception as error:  # both libraries raise many kinds, some of them nameless
            raise unreadable(folder, error) from error

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One normalised row a text.

        Each runs by itself: padding costs more than a batch saves on one thread, and int8 activations are
        scaled by what they are run with, so that a vector would depend on its neighbours.
        """
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            (vector,) = self._session.run([OUTPUT], self._feed(self._prompt + text))[0]
            if vector.shape != (self.dimensions,):  # one number would be taken for all of them
                raise ValueError(f"The encoder gives {vector.shape} in place of {self.dimensions} dimensions.")
            vectors[row] = vector
        return vectors

    def _feed(self, text: str) -> dict[str, NDArray[np.int64]]:
        encoding = self._tokenizer.encode(text)
        columns = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        return {name: np.array([columns[name]], np.int64) for name in self._inputs}


def unreadable(folder: Path, error: Exception) -> IndexUnavailable:
    """What is said of an encoder's folder that `error` was met in."""
    return IndexUnavailable(
        f"The query encoder {folder} cannot be read ({type(error).__name__}); build the index again."
    )


def _tokenizer(file: Path, max_tokens: int) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def runtime() -> Any:
    """onnxruntime, told to report to nobody: its Linux builds send what they run to their maker otherwise."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _session(file: Path) -> Any:
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # which would keep the largest text's memory for ever
    options.log_severity_level = 3  # what is wrong is raised
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
