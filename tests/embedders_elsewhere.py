"""Embedders that other processes load by name, for tests of what goes wrong there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.testing import HashingEmbedder


class Named(HashingEmbedder):
    """Is named as the real one is, by a setting."""

    def __init__(self, setting: str = "") -> None:
        super().__init__()


class Ending(Named):
    """Ends its process at its first text, as one that the kernel kills does; whoever comes after it embeds."""

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        try:
            Path(os.environ["ENDED"]).touch(exist_ok=False)
        except FileExistsError:
            return super().encode(texts, progress)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Slow(Named):
    """Takes its time."""

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        time.sleep(60)
        return super().encode(texts, progress)


class Broken(Named):
    """Cannot embed."""

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        raise RuntimeError("no memory left")


class Other(Named):
    """Another model."""

    def __init__(self, setting: str = "") -> None:
        super().__init__(setting)
        self.name, self.sha256 = "other", "0" * 64


class Changing(Named):
    """Is another model from its second use on."""

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        rows = super().encode(texts, progress)
        self.name, self.sha256 = "changed", "1" * 64
        return rows
