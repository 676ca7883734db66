"""Counts without locks are read by Prometheus as its own are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest

from zantara_stream.tally import Tally

BOUNDS = (0.005, 0.1, 1.0, 30.0)


@contextmanager
def tally() -> Iterator[Tally]:
    """One of its own, which leaves nothing behind."""
    made = Tally(("eggs", "Eggs that were laid"), ("egg_grams", "What they weigh"), BOUNDS)
    REGISTRY.unregister(made)
    yield made


def told(made: Tally) -> str:
    """What Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(made)
    return generate_latest(registry).decode()


@given(st.lists(st.none() | st.floats(0, 100), max_size=20))
def test_it_tells_what_a_histogram_and_a_counter_would(sizes: list[float | None]) -> None:
    registry = CollectorRegistry()
    theirs = Histogram("egg_grams", "What they weigh", buckets=BOUNDS, registry=registry)
    with tally() as ours:
        for size in sizes:
            ours.came(size)
            if size is not None:
                theirs.observe(size)
        lines = told(ours).splitlines()
    wanted = [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
    assert [line for line in lines if "egg_grams" in line] == wanted
    assert f"eggs_total {len(sizes)}.0" in lines


def test_it_is_registered_from_the_start() -> None:
    made = Tally(("nests", "Nests"), ("nest_grams", "Their weight"), (1.0,))
    try:
        assert REGISTRY.get_sample_value("nests_total") == 0
        made.came(2.0)
        assert REGISTRY.get_sample_value("nests_total") == 1
        assert REGISTRY.get_sample_value("nest_grams_bucket", {"le": "+Inf"}) == 1
    finally:
        REGISTRY.unregister(made)
