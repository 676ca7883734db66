"""Prometheus's own checker of rules, configurations and expositions, and the names that expressions use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from prometheus_client import REGISTRY

from zantara_stream import metrics

NAME = re.compile(r"\b(?:zantara|process|python)_\w+")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def promtool(*arguments: str, stdin: bytes = b"") -> str:
    """What it says; fails with that unless it is content. Without promtool the test is skipped."""
    if not shutil.which("promtool"):
        assert not os.environ.get("CI"), "promtool is missing in CI; make test-services installs it"
        pytest.skip("needs promtool: make test-services")
    done = subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, timeout=120)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def sample_names() -> set[str]:
    """The names of all samples that a server can expose."""
    assert metrics.exposition()
    families = list(REGISTRY.collect())
    return {f"{one.name}{suffix}" for one in families for suffix in SUFFIXES.get(one.type, ("",))}


def unknown(expressions: list[str]) -> set[str]:
    """The names in expressions that no server exposes."""
    return {name for text in expressions for name in NAME.findall(text)} - sample_names()
