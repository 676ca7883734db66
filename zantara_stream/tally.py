"""Counts of what happens thousands of times a second: made by the event loop's thread alone, so that no lock is taken.

`prometheus_client` takes a lock for each number that it changes; a chunk of text changes four.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import REGISTRY, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import INF


class Tally(Collector):
    """How often something came, and how its sizes are distributed: a counter and a histogram that Prometheus reads.

    `counter` and `histogram` are each a name and what it means; a histogram's `bounds` rise.
    """

    def __init__(self, counter: tuple[str, str], histogram: tuple[str, str], bounds: Sequence[float]) -> None:
        self.families = (("counter", *counter), ("histogram", *histogram))
        self._count = 0
        self._bounds = (*bounds, INF)
        self._places = [0] * len(self._bounds)
        self._sum = 0.0
        REGISTRY.register(self)

    def came(self, size: float | None) -> None:
        """One more, of that size if it has one."""
        self._count += 1
        if size is not None:
            self._places[bisect_left(self._bounds, size)] += 1
            self._sum += size

    def collect(self) -> Iterable[Metric]:
        """What Prometheus is told."""
        (_, name, meaning), (_, sizes, of_sizes) = self.families
        yield CounterMetricFamily(name, meaning, value=self._count)
        buckets, so_far = [], 0
        for bound, here in zip(self._bounds, self._places, strict=True):
            so_far += here
            buckets.append((str(bound) if bound < INF else "+Inf", so_far))
        yield HistogramMetricFamily(sizes, of_sizes, buckets=buckets, sum_value=self._sum)
