"""Requests made from the description of the API, fitting and not, at a running server: what comes is as described.

The same requests in every run, and few of each operation, so that all takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from server import ANSWERS_BY_ID, CHAT, QUESTION, STREAM, serving_beside

from zantara_stream.web.openapi import description

ADMIN = "an operator's token of tests"
SCHEMA = schemathesis.openapi.from_dict(description())
OPERATIONS = [(path, method) for path in SCHEMA for method in SCHEMA[path]]
TAKING = [(path, method) for path, method in OPERATIONS if SCHEMA[path][method].query or SCHEMA[path][method].body]
NAMED = [(path, method) for path, method in OPERATIONS if "{id}" in path]
ANNA = {"user_email": "anna@example.com"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
GENERATED = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def url(small_index: Path) -> Iterator[str]:
    """The address of a server in a thread of its own, which believes who says who they are."""
    with serving_beside(small_index, trust_email=True, admin_token=ADMIN) as address:
        yield address


@pytest.fixture(scope="module")
def ids(url: str) -> dict[str, str]:
    """What somebody has there: an answer and the conversation that it is in, by what their paths begin with."""
    asked: Any = {"query": QUESTION, "session_id": "visas"}
    answered = SCHEMA[CHAT]["post"].Case(body=asked, media_type="application/json", query=ANNA).call(url)
    return {ANSWERS_BY_ID: answered.json()["answer"], "/bali-zero/conversations": "visas"}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_fits_is_answered_as_described(url: str, path: str, method: str) -> None:
    # A description cannot say that a query may be left out where an event id stands for it.
    asked = {"query": QUESTION} if (path, method) == (STREAM, "get") else None
    _ask(url, SCHEMA[path][method].as_strategy(query=asked), [*CHECKS, positive_data_acceptance])


@pytest.mark.parametrize(("path", "method"), TAKING)
def test_so_is_what_does_not_fit(url: str, path: str, method: str) -> None:
    _ask(url, SCHEMA[path][method].as_strategy(GenerationMode.NEGATIVE), CHECKS)


@pytest.mark.parametrize(("path", "method"), NAMED)
def test_so_is_what_is_there(url: str, ids: dict[str, str], path: str, method: str) -> None:
    named = {"id": ids[path.partition("/{id}")[0]]}
    cases = SCHEMA[path][method].as_strategy(path_parameters=named, query=ANNA)
    assert _ask(url, cases, [*CHECKS, positive_data_acceptance]) & {200, 204}


def _ask(url: str, cases: SearchStrategy[Any], checks: list[Any]) -> set[int]:
    """Make those requests and check what comes; the statuses of that."""
    statuses = set()

    @GENERATED
    @given(cases)
    def ask(case: Any) -> None:
        headers = {"Authorization": f"Bearer {ADMIN}"}
        statuses.add(case.call_and_validate(url, headers=headers, checks=checks, timeout=30).status_code)

    ask()
    return statuses
