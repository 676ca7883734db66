"""The table of what the model's provider did."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import pytest

from zantara_stream.errors import ModelError, ModelOverloaded, ModelTimeout, ModelUnavailable
from zantara_stream.generation.failures import STATUSES, TYPES, broken_off, failure, is_refused_request

REQUEST = httpx2.Request("POST", "https://user:secret@model.example/v1/messages", headers={"x-api-key": "sk-secret"})
RAW = "raw words of the provider with sk-secret"


def status_error(status: int, body: object) -> anthropic.APIStatusError:
    return anthropic.APIStatusError(RAW, response=httpx2.Response(status, request=REQUEST), body=body)


def body(kind: object, message: object = RAW) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def assert_for_people(error: ModelError) -> None:
    words = str(error)
    assert words[0].isupper()
    assert words.endswith(".")
    assert not [secret for secret in ("secret", "raw", "model.example", "Error", "None") if secret in words]


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_its_words_and_code_wherever_it_comes_from(name: str) -> None:
    kind, words, retryable = TYPES[name]
    for error in (failure(body(name)), failure(status_error(418, body(name)))):
        assert type(error) is kind
        assert error.retryable is retryable
        assert str(error) == (words or str(kind()))
        assert_for_people(error)


@pytest.mark.parametrize(("status", "name"), STATUSES.items())
@pytest.mark.parametrize(
    "nameless", [None, "", "text", [], {}, {"error": None}, {"error": "text"}, body(None), body(5)]
)
def test_a_status_speaks_where_no_type_is_named(status: int, name: str, nameless: object) -> None:
    assert str(failure(status_error(status, nameless))) == str(failure(body(name)))


def test_the_type_says_more_than_the_status() -> None:
    assert isinstance(failure(status_error(400, body("overloaded_error"))), ModelOverloaded)


@pytest.mark.parametrize("unknown", [body("never_heard_of"), body(["odd"]), {}, {"error": []}])
def test_what_nobody_knows_is_an_internal_error_of_the_provider(unknown: dict[str, Any]) -> None:
    for error in (failure(unknown), failure(status_error(599, unknown))):
        assert type(error) is ModelUnavailable
        assert error.retryable
        assert "internal error" in str(error)


def test_an_account_without_credit_is_told_from_a_bad_request() -> None:
    poor = body("invalid_request_error", "Your credit balance is too low to access the API.")
    error = failure(status_error(400, poor))
    assert "out of credit" in str(error)
    assert not error.retryable
    assert not is_refused_request(poor)
    assert is_refused_request(body("invalid_request_error"))
    assert is_refused_request(None)
    assert not is_refused_request(body("billing_error"))


def test_a_conversation_that_is_too_long_is_told_from_a_bad_request() -> None:
    long = body("invalid_request_error", "prompt is too long: 209000 tokens > 200000 maximum")
    error = failure(status_error(400, long))
    assert "too long" in str(error)
    assert not error.retryable
    assert not is_refused_request(long)


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (anthropic.APITimeoutError(REQUEST), ModelTimeout, "too long"),
        (httpx2.ReadTimeout(RAW), ModelTimeout, "too long"),
        (httpx2.ConnectTimeout(RAW), ModelTimeout, "too long"),
        (TimeoutError(RAW), ModelTimeout, "too long"),
        (anthropic.APIConnectionError(message=RAW, request=REQUEST), ModelUnavailable, "cannot be reached"),
        (httpx2.ReadError(RAW), ModelUnavailable, "broke off"),
        (httpx2.RemoteProtocolError(RAW), ModelUnavailable, "broke off"),
        (ConnectionResetError(RAW), ModelUnavailable, "broke off"),
    ],
)
def test_what_the_transport_raises(cause: Exception, kind: type[ModelError], words: str) -> None:
    error = failure(cause)
    assert type(error) is kind
    assert error.retryable
    assert words in str(error)
    assert_for_people(error)


def test_broken_off_may_be_tried_again() -> None:
    assert (broken_off().code, broken_off().retryable) == ("model_unavailable", True)


def test_a_failure_is_told_neither_begun_nor_paid_for_until_somebody_knows() -> None:
    failures = [broken_off(), failure(body("overloaded_error")), failure(httpx2.ReadError(RAW))]
    failures[0].usage["input_tokens"] = 1
    assert [(error.begun, error.usage) for error in failures[1:]] == [(False, {})] * 2, "and no two share a count"


def test_the_log_has_the_providers_own_words_shortened(caplog: pytest.LogCaptureFixture) -> None:
    failure(status_error(529, body("overloaded_error", "x" * 1000)))
    (record,) = caplog.records
    assert record.getMessage() == (f"the language model's provider answered overloaded_error (status 529): {'x' * 300}")
