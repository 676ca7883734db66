"""The parts of the process; what it does as one is in `test_isolation.py`."""

from __future__ import annotations

import io
import json
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers import read_document, worker
from zantara_stream.retrieval.readers.transfer import decoded
from zantara_stream.retrieval.readers.worker import limit_memory, limit_time, serve

Limit = tuple[int, int]
UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[int, Limit]:
    """The limits that are set, which are none of this process."""
    held = {kind: (UNLIMITED, UNLIMITED) for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE)}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: held[kind])
    monkeypatch.setattr(resource, "setrlimit", held.__setitem__)
    return held


def _request(file: Path, sidecar: str = "") -> bytes:
    return json.dumps({"path": file.name, "file": str(file), "sidecar": sidecar}).encode() + b"\n"


def test_requests_are_answered_one_a_line_after_an_empty_one(tmp_path: Path, limits: dict[int, Limit]) -> None:
    (tmp_path / "a.md").write_text("# A\n\nText.")
    (tmp_path / "a.md.meta.yaml").write_text("level: 2")
    requests = [
        _request(tmp_path / "a.md"),
        _request(tmp_path / "a.md", str(tmp_path / "a.md.meta.yaml")),
        _request(tmp_path / "a.png"),
        _request(tmp_path / "gone.md"),
    ]
    answers = io.BytesIO()
    serve(requests, answers, read_document, 5)
    ready, first, second, *problems = answers.getvalue().splitlines()
    assert ready == b""
    assert decoded(first, "a.md") == read_document("a.md", tmp_path / "a.md")
    assert decoded(second, "a.md").level == 2
    for line, reason in zip(problems, ("is not of a known format", "cannot be opened \\(No such file"), strict=True):
        with pytest.raises(Unreadable, match=reason):
            decoded(line, "")


def test_memory_is_limited_above_what_is_taken(limits: dict[int, Limit]) -> None:
    limit_memory(2**30)
    soft, hard = limits[resource.RLIMIT_AS]
    assert soft == hard > 2**30  # the parser cannot raise it again
    assert limits[resource.RLIMIT_CORE] == (0, 0)
    limits[resource.RLIMIT_AS] = (2**20, 2**21)
    limit_memory(2**30)
    assert limits[resource.RLIMIT_AS] == (2**21, 2**21)


def test_time_is_limited_above_what_was_used_and_again_for_the_next_file(
    limits: dict[int, Limit], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [3.2, 9.9]
    monkeypatch.setattr(worker, "time", SimpleNamespace(process_time=lambda: used.pop(0)))
    limit_time(1.5)
    assert limits[resource.RLIMIT_CPU] == (5, UNLIMITED)
    limits[resource.RLIMIT_CPU] = (5, 7)
    limit_time(1.5)
    assert limits[resource.RLIMIT_CPU] == (7, 7)
