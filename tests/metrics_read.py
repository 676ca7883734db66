"""How far a metric rises while something is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import REGISTRY


@dataclass
class Rise:
    """By how much it has risen, once the block is over."""

    before: float
    by: float = 0.0


def value(name: str, **labels: str) -> float:
    """A sample's value as it would be read at `/metrics`; 0 where there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


@contextmanager
def rise(name: str, **labels: str) -> Iterator[Rise]:
    """The rise of one sample within the block."""
    seen = Rise(value(name, **labels))
    yield seen
    seen.by = value(name, **labels) - seen.before
