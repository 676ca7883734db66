"""Which faults are done when, drawn from a seed: the same seed is the same plan."""

from __future__ import annotations

import random
from dataclasses import dataclass

from faults.upstream import BREAKS

KILL, FREEZE, TERMINATE, CUT = "kill", "freeze", "terminate", "cut off from Redis"
REDIS, ROLL, RELOAD, DROP, BREAK = (
    "kill Redis",
    "rolling restart",
    "reload nginx",
    "drop readers",
    "break the model off",
)
WEIGHTS = {KILL: 5, FREEZE: 4, TERMINATE: 3, CUT: 3, REDIS: 2, ROLL: 1, RELOAD: 2, DROP: 4, BREAK: 5}
PAUSE = (0.3, 3.0)  # seconds from the beginning of one fault to that of the next
LASTS = (0.5, 6.0)  # seconds that a fault goes on that can end


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: `pause` seconds after the one before, of node `node`, for `lasts` seconds, or in those ways."""

    pause: float
    fault: str
    node: int
    lasts: float
    breaks: tuple[str, ...] = ()


def plan(seed: int, seconds: float, nodes: int) -> list[Planned]:
    """Faults for so many seconds."""
    draw = random.Random(seed)
    planned: list[Planned] = []
    left = seconds
    while (left := left - (pause := draw.uniform(*PAUSE))) > 0:
        (fault,) = draw.choices(list(WEIGHTS), list(WEIGHTS.values()))
        breaks = tuple(draw.sample(BREAKS, 2))
        planned.append(Planned(pause, fault, draw.randrange(nodes), draw.uniform(*LASTS), breaks))
    return planned
