"""The errors' codes and statuses as the contract's §6 gives them, and their tree."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from zantara_stream import errors
from zantara_stream.errors import ModelError, NotNow, RequestError, ZantaraError

# code, status, retryable
CONTRACT: dict[str, tuple[str, int, bool]] = {
    "RequestError": ("internal", 500, False),
    "InvalidRequest": ("invalid_request", 400, False),
    "Unauthenticated": ("unauthenticated", 401, False),
    "Forbidden": ("forbidden", 403, False),
    "NotFound": ("invalid_request", 404, False),
    "MethodNotAllowed": ("invalid_request", 405, False),
    "ContinuityConflict": ("continuity_conflict", 409, False),
    "TooLarge": ("too_large", 413, False),
    "Misdirected": ("forbidden", 421, False),
    "Internal": ("internal", 500, False),
    "AnswerExpired": ("answer_expired", 404, True),
    "AnswerNotFound": ("answer_not_found", 404, False),
    "NotNow": ("overloaded", 503, True),
    "Overloaded": ("overloaded", 503, True),
    "Draining": ("draining", 503, True),
    "HandedOver": ("draining", 503, True),
    "Crowded": ("rate_limited", 429, True),
    "RateLimited": ("rate_limited", 429, True),
    "JournalUnavailable": ("journal_unavailable", 503, True),
    "StoreUnavailable": ("store_unavailable", 503, True),
    "IdentityUnavailable": ("identity_unavailable", 503, True),
    "IndexUnavailable": ("index_unavailable", 503, True),
    "VectorsUnavailable": ("index_unavailable", 503, True),
    "ModelError": ("model_unavailable", 502, False),
    "ModelOverloaded": ("model_overloaded", 503, True),
    "ModelTimeout": ("model_timeout", 504, True),
    "ModelUnavailable": ("model_unavailable", 502, True),
    "ModelRefused": ("model_refused", 502, False),
}


def tree(root: type[ZantaraError]) -> Iterator[type[ZantaraError]]:
    """A class and all below it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


OURS = [error for error in tree(ZantaraError) if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", [*tree(RequestError)], ids=lambda error: error.__name__)
def test_codes_and_statuses(error: type[RequestError]) -> None:
    assert (error.code, error.status, error.retryable) == CONTRACT[error.__name__]


def test_nothing_is_missing_here() -> None:
    assert {error.__name__ for error in tree(RequestError)} == set(CONTRACT)


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_the_docstring_is_the_default_message(error: type[ZantaraError]) -> None:
    message = str(error())
    assert message == " ".join((error.__doc__ or "").split())
    assert message.endswith(".")
    assert "\n" not in message
    assert str(error("Another.")) == "Another."


def test_the_tree_that_is_drawn_names_every_class_in_its_place() -> None:
    drawn = (errors.__doc__ or "").partition("\n\n    ZantaraError")[2]
    named = re.findall(r"[A-Z][A-Za-z]+", re.sub(r"  (goes|is|stops|the|refused|what)\b.*", "", drawn))
    assert sorted([*named, "ZantaraError"]) == sorted(error.__name__ for error in OURS)


def test_the_statuses_that_are_drawn_are_those_of_the_classes() -> None:
    drawn = re.findall(r"([A-Z][A-Za-z]+) +(\d{3})\b", errors.__doc__ or "")
    assert len(drawn) >= 12
    for name, status in drawn:
        assert getattr(errors, name).status == int(status), name


@pytest.mark.parametrize("error", [*tree(NotNow)], ids=lambda error: error.__name__)
def test_what_is_refused_for_now_says_when_to_come_back(error: type[NotNow]) -> None:
    assert error.retryable
    assert error.retry_after > 0


def test_a_model_s_failure_is_not_known_to_have_begun_or_to_have_cost_anything() -> None:
    error = ModelError()
    assert (error.begun, error.usage) == (False, {})
    assert error.usage is not ModelError().usage


def test_a_model_s_failure_may_be_known_to_be_final_or_passing() -> None:
    assert errors.ModelUnavailable(retryable=False).retryable is False
    assert ModelError(retryable=True).retryable is True
    assert errors.ModelUnavailable().retryable is True
