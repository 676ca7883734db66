"""Bytes that were good and have been damaged, for fuzzing; `FUZZ_EXAMPLES` says how many are tried.

FUZZ_EXAMPLES=10000 python -m pytest tests/fuzz --timeout 0
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
HEAD = 0.3  # of the changes are made in the first bytes, where a file says what it is
NUMBERS = [b"\xff" * 8, b"\0" * 8, (2**62).to_bytes(8, "little"), (10**9).to_bytes(8, "little"), b"\x01" + b"\0" * 7]


def fuzzed(examples: int = EXAMPLES) -> settings:
    """So many examples, the same in every run unless another number of them is asked for."""
    return settings(
        max_examples=examples,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def damaged(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the samples, changed once or a few times."""
    # By a seed: drawn one by one, places would nearly always be the first and the last.
    return st.builds(_damaged, st.sampled_from(list(samples)), st.integers(0, 2**32 - 1))


def _damaged(sample: bytes, seed: int) -> bytes:
    draw = random.Random(seed)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        place = draw.randrange(min(len(sample), 64) if draw.random() < HEAD else len(sample)) if sample else 0
        sample = sample[:place] + _changed(sample[place:], draw)
    return sample


def _changed(rest: bytes, draw: random.Random) -> bytes:
    """What follows a place, changed at its beginning."""
    match draw.randrange(6):
        case 0:
            return b""
        case 1:
            return rest[draw.randint(1, 64) :]
        case 2:
            return bytes([rest[0] ^ (1 << draw.randrange(8))]) + rest[1:] if rest else rest
        case 3:
            return draw.choice(NUMBERS) + rest[8:]
        case 4:
            return draw.randbytes(draw.randint(1, 8)) + rest
        case _:
            return rest[: draw.randint(1, 40)] * draw.randint(2, 50) + rest
