"""What tokens cost: a table of prices, and the count of what has been paid for."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..metrics import COST, TOKENS

logger = logging.getLogger(__name__)

PACKAGED = Path(__file__).parent / "prices.toml"
MILLION = 1_000_000
BYTES_PER_TOKEN = 4  # about, of text in the languages of its users
# The Messages API's counts, by what they are called here.
TYPES = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_creation": "cache_creation_input_tokens",
}
PROMPT = ("input", "cache_read", "cache_creation")  # what a prompt's length is


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens by type; `above` is that of longer prompts than `threshold` tokens."""

    dollars: Mapping[str, float]
    threshold: int = 0
    above: Mapping[str, float] | None = None

    def of(self, tokens: Mapping[str, int]) -> float:
        """What one request with so many tokens by type costs, in dollars."""
        is_long = self.above is not None and sum(tokens[kind] for kind in PROMPT) > self.threshold
        dollars = self.above if is_long and self.above is not None else self.dollars
        return sum(dollars[kind] * count for kind, count in tokens.items()) / MILLION


class Prices:
    """The prices of models. Raises `ConfigError` for a file that is none."""

    def __init__(self, file: Path | None = None) -> None:
        self._prices = _read(file or PACKAGED)
        self._unknown: set[str] = set()

    def find(self, model: str) -> Price | None:
        """The price of a model: that of the longest name that its own begins with."""
        names = [name for name in self._prices if model.startswith(name)]
        return self._prices[max(names, key=len)] if names else None

    def count(self, model: str, usage: Mapping[str, int]) -> None:
        """Count what one request of a model has used, and what that cost where its price is known."""
        tokens = {kind: usage.get(name, 0) for kind, name in TYPES.items()}
        for kind, count in tokens.items():
            TOKENS.labels(kind).inc(count)
        price = self.find(model)
        if price is not None:
            COST.labels(model).inc(price.of(tokens))
        elif model not in self._unknown:
            self._unknown.add(model)
            logger.warning("%s has no price, so what it costs is not counted; ZANTARA_PRICES can name one", model)


def _read(file: Path) -> dict[str, Price]:
    try:
        with file.open("rb") as stream:
            models = tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"ZANTARA_PRICES={str(file)!r} cannot be read ({error}).") from error
    return {model: _price(file, model, entry) for model, entry in models.items()}


def _price(file: Path, model: str, entry: Any) -> Price:
    above = entry.get("above") if isinstance(entry, dict) else None
    if not _is_price(entry) or (above is not None and not (_is_price(above) and type(above.get("tokens")) is int)):
        raise ConfigError(
            f"ZANTARA_PRICES={str(file)!r}: [{model}] needs {', '.join(TYPES)}, each in dollars per million tokens, "
            "and may have above = { tokens = …, and the same four }."
        )
    return Price(_dollars(entry), above["tokens"], _dollars(above)) if above else Price(_dollars(entry))


def _is_price(entry: Any) -> bool:
    return isinstance(entry, dict) and all(
        type(entry.get(kind)) in (int, float) and 0 <= entry[kind] < MILLION for kind in TYPES
    )


def _dollars(entry: Mapping[str, Any]) -> dict[str, float]:
    return {kind: float(entry[kind]) for kind in TYPES}
