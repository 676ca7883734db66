"""All that is done to several nodes, in the order in which it is done."""

from __future__ import annotations

from .several import SeveralScenario
from .several_nodes import NODE_FAULTS
from .several_redis import REDIS_FAULTS
from .several_restarts import RESTARTS_OF_SEVERAL

SEVERAL: dict[SeveralScenario, tuple[int, int]] = NODE_FAULTS | REDIS_FAULTS | RESTARTS_OF_SEVERAL
