"""What the model's provider did, in plain words and with a code.

An error reaches us as a status before the stream, as an event inside it, or as a broken connection; the
first two name a `type`, which says more than the status does.
https://docs.anthropic.com/en/api/errors
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..errors import ModelError, ModelOverloaded, ModelTimeout, ModelUnavailable
from . import sdk

logger = logging.getLogger(__name__)

_KEY = "The language model's provider refused this server's key; its operator must check ANTHROPIC_API_KEY."
_BILLING = "The account at the language model's provider is out of credit; the operator must top it up."
_NAME = "The language model's provider does not know the configured model; the operator must check ZANTARA_MODEL."
_REQUEST = "The language model's provider did not accept the request."
_TOO_LONG = "The conversation is too long for the language model; start a new one."
_BUSY = "The language model's provider limits how fast this server may ask. Please try again in a moment."
_BROKEN = "The language model's provider had an internal error. Please try again."
_CUT = "The connection to the language model broke off before the answer was complete."

# By error type: the kind of failure, its words, whether trying again may help.
TYPES: dict[str, tuple[type[ModelError], str, bool]] = {
    "overloaded_error": (ModelOverloaded, "", True),
    "rate_limit_error": (ModelOverloaded, _BUSY, True),
    "timeout_error": (ModelTimeout, "", True),
    "api_error": (ModelUnavailable, _BROKEN, True),
    "authentication_error": (ModelUnavailable, _KEY, False),
    "permission_error": (ModelUnavailable, _KEY, False),
    "billing_error": (ModelUnavailable, _BILLING, False),
    "not_found_error": (ModelUnavailable, _NAME, False),
    "request_too_large": (ModelUnavailable, _TOO_LONG, False),
    "invalid_request_error": (ModelUnavailable, _REQUEST, False),
}
# What comes as an invalid_request_error and only its message tells.
IN_WORDS = {"credit balance": "billing_error", "prompt is too long": "request_too_large"}
# For servers that name no type.
STATUSES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def failure(cause: Exception | Mapping[str, Any]) -> ModelError:
    """The coded error for an exception of the SDK or its transport, or for an error event."""
    if isinstance(cause, Mapping):
        return _typed(cause, 200)
    if isinstance(cause, sdk.anthropic.APIStatusError):
        return _typed(cause.body, cause.status_code)
    logger.warning("the language model cannot be reached: %s", type(cause).__name__, exc_info=cause)
    if isinstance(cause, sdk.anthropic.APITimeoutError | sdk.httpx2.TimeoutException | TimeoutError):
        return ModelTimeout()
    return ModelUnavailable() if isinstance(cause, sdk.anthropic.APIConnectionError) else broken_off()


def broken_off() -> ModelError:
    """The stream ended before the message did."""
    return ModelUnavailable(_CUT)


def is_refused_request(body: object) -> bool:
    """Whether a 400 is about what was sent, and not about the account that sent it."""
    return _named(body, 400) == "invalid_request_error"


def _typed(body: object, status: int) -> ModelError:
    name = _named(body, status)
    logger.warning("the language model's provider answered %s (status %d): %s", name, status, _message(body))
    kind, words, retryable = TYPES.get(name, TYPES["api_error"])
    return kind(words, retryable=retryable)


def _named(body: object, status: int) -> str:
    for words, kind in IN_WORDS.items():
        if words in _message(body):
            return kind
    name = _error(body).get("type")
    known = isinstance(name, str) and name in TYPES
    return str(name) if known else STATUSES.get(status, "api_error")


def _message(body: object) -> str:
    return str(_error(body).get("message", ""))[:300]


def _error(body: object) -> Mapping[str, Any]:
    error = body.get("error") if isinstance(body, Mapping) else None
    return error if isinstance(error, Mapping) else {}
