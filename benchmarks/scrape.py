"""What a server under load says of itself at /metrics, and what Linux says of its process."""

from __future__ import annotations

import math
import os
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.servers import Process

Buckets = dict[float, float]  # how many were at most so large


class Scrape:
    """One reading of /metrics."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self._samples = [sample for family in families for sample in family.samples]

    def total(self, name: str) -> float:
        """The sum of a metric over its labels."""
        return sum(sample.value for sample in self._samples if sample.name == name)

    def buckets(self, name: str) -> Buckets:
        """A histogram's buckets, summed over its labels."""
        found: Buckets = {}
        for sample in self._samples:
            if sample.name == f"{name}_bucket":
                bound = float(sample.labels["le"])
                found[bound] = found.get(bound, 0) + sample.value
        return found


def scrape(server: Process) -> Scrape:
    """Read it now."""
    with urlopen(f"{server.url}/metrics") as response:
        return Scrape(response.read().decode())


def since(later: Buckets, earlier: Buckets) -> Buckets:
    """The buckets of what came between two readings."""
    return {bound: count - earlier.get(bound, 0) for bound, count in later.items()}


def quantile(buckets: Buckets, share: float) -> float:
    """The size that this share did not exceed, as Prometheus finds it: evenly spread within a bucket."""
    bounds = sorted(buckets)
    wanted, below, low = share * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted and count > below:
            return low if math.isinf(bound) else low + (bound - low) * (wanted - below) / (count - below)
        below, low = count, bound
    return math.nan


def descriptors(server: Process) -> int:
    """How many files and connections its process has open."""
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def peak(server: Process) -> float:
    """The most MiB that it has had resident."""
    status = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
