"""Every failure that a person meets, as one tree.

A class docstring is the default message; `code` is the contract's word for it, `status` a hint for
whoever speaks HTTP, `retryable` whether the same request may succeed later.

    ZantaraError
    ├── ConfigError            a setting is unknown or bad; stops the start
    ├── CorpusError            the documents cannot be built into an index
    └── RequestError           goes to the client, with a code of the contract's §6
        ├── InvalidRequest         400   Unauthenticated      401   Forbidden          403
        ├── NotFound               404   AnswerNotFound       404   MethodNotAllowed   405
        ├── ContinuityConflict     409   TooLarge             413   Misdirected        421
        ├── Internal               500
        ├── AnswerExpired          in-stream
        ├── NotNow                 refused for now: waiting mends it
        │   ├── Overloaded  503    Draining  503 (HandedOver)    IndexUnavailable    503 (VectorsUnavailable)
        │   ├── Crowded     429  JournalUnavailable  503         StoreUnavailable    503
        │   └── RateLimited 429  IdentityUnavailable 503
        └── ModelError             what the model's provider did
            ├── ModelOverloaded 503   ModelTimeout 504   ModelUnavailable 502   ModelRefused 502
"""


class ZantaraError(Exception):
    """Something went wrong."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class ConfigError(ZantaraError):
    """A setting is wrong."""


class CorpusError(ZantaraError):
    """The documents cannot be built into an index."""


class RequestError(ZantaraError):
    """The request failed."""

    code = "internal"
    status = 500
    retryable = False


class InvalidRequest(RequestError):
    """The request is not valid."""

    code, status = "invalid_request", 400


class Unauthenticated(RequestError):
    """This needs a token that was not given, or is another."""

    code, status = "unauthenticated", 401


class Forbidden(RequestError):
    """This is not allowed from here."""

    code, status = "forbidden", 403


class NotFound(RequestError):
    """There is nothing at this address."""

    code, status = "invalid_request", 404


class MethodNotAllowed(RequestError):
    """This address does not take that method."""

    code, status = "invalid_request", 405


class ContinuityConflict(RequestError):
    """This continuity_id already names the answer to another question; use a new one."""

    code, status = "continuity_conflict", 409


class TooLarge(RequestError):
    """The request is too large."""

    code, status = "too_large", 413


class Misdirected(RequestError):
    """This server does not answer to that host name; name it in ZANTARA_ALLOWED_HOSTS if it should."""

    code, status = "forbidden", 421


class Internal(RequestError):
    """Something broke in the server."""


class AnswerExpired(RequestError):
    """This answer is no longer here. Please ask again."""

    code, status, retryable = "answer_expired", 404, True


class AnswerNotFound(RequestError):
    """There is no answer of that id here."""

    code, status = "answer_not_found", 404


class NotNow(RequestError):
    """The server cannot answer just now. Please try again shortly."""

    code, status, retryable = "overloaded", 503, True
    retry_after = 5  # seconds

    def __init__(self, message: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(message)
        if retry_after is not None:
            self.retry_after = retry_after


class Overloaded(NotNow):
    """The server is answering as many questions as it can. Please try again shortly."""


class Draining(NotNow):
    """The server is restarting. Please try again shortly."""

    code = "draining"


class HandedOver(Draining):
    """The server is restarting, and the answer goes on in a moment."""


class IndexUnavailable(NotNow):
    """The document index is not available, and nothing is answered without it."""

    code = "index_unavailable"
    retry_after = 10  # seconds


class VectorsUnavailable(IndexUnavailable):
    """The vectors of the document index cannot be reached just now."""


class Crowded(NotNow):
    """Too many connections read this answer already. Please try again shortly."""

    code, status = "rate_limited", 429


class RateLimited(NotNow):
    """You ask more than may be. Please wait."""

    code, status = "rate_limited", 429


class JournalUnavailable(NotNow):
    """The server cannot record answers just now. Please try again shortly."""

    code = "journal_unavailable"


class StoreUnavailable(NotNow):
    """The server cannot reach what it keeps of people just now. Please try again shortly."""

    code = "store_unavailable"


class IdentityUnavailable(NotNow):
    """The server cannot check who you are just now. Please try again shortly."""

    code = "identity_unavailable"


class ModelError(RequestError):
    """The language model failed."""

    code, status = "model_unavailable", 502

    def __init__(self, message: str = "", *, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.begun = False  # whether the request had been accepted: then going on from what was written may mend it
        self.usage: dict[str, int] = {}  # tokens known to be paid for it
        if retryable is not None:
            self.retryable = retryable


class ModelOverloaded(ModelError):
    """The language model is busy. Please try again in a moment."""

    code, status, retryable = "model_overloaded", 503, True


class ModelTimeout(ModelError):
    """The language model took too long. Please try again."""

    code, status, retryable = "model_timeout", 504, True


class ModelUnavailable(ModelError):
    """The language model cannot be reached. Please try again in a moment."""

    retryable = True


class ModelRefused(ModelError):
    """The language model declined to answer this question."""

    code = "model_refused"
