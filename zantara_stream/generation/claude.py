"""Answers written by Claude, or by any server that speaks the Messages API, streamed as they come.

The SDK keeps authentication, retries before the stream and status errors. The events of the stream are
decoded here, since only a few fields of them are needed; docs/decisions/0005 says more.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, cast

import anthropic
import httpx2

from ..errors import ModelError, ModelUnavailable
from .answerer import Part, Prompt
from .failures import failure, is_refused_request
from .message import Message
from .prompt import instructions, messages

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "claude-haiku-4-5"
MAX_TOKENS = 4096  # of an answer
THINKING_TOKENS = 12288  # more, where the model thinks first, which counts
CONNECT_TIMEOUT, SILENCE_TIMEOUT = 10.0, 60.0  # seconds; silence is counted between any two pieces of the stream
RETRIES = 2  # before the stream has begun, by the SDK, honouring Retry-After
CONNECTIONS = 10_000  # to the provider; the server's own limit on running answers comes first

# Those that go on with an assistant turn at the end of the request; newer ones refuse it.
_PREFILLED = re.compile(r"claude-(?:3|(?:haiku|sonnet|opus)-(?:3|4-[015](?![0-9])|4-20))")
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)  # no JSON, or none of the API's shape


@dataclass(slots=True)
class ClaudeOptions:
    """How the provider is reached; `None` leaves it to the SDK's own environment variables."""

    api_key: str | None = None
    base_url: str | None = None
    silence: float = SILENCE_TIMEOUT
    retries: int = RETRIES


class ClaudeAnswerer:
    """Writes answers with one model; closing an answer's generator closes the request behind it."""

    def __init__(self, model: str = DEFAULT_MODEL, options: ClaudeOptions | None = None) -> None:
        options = options or ClaudeOptions()
        self.model = model
        self._citations = True
        self._prefill = bool(_PREFILLED.match(model))
        self._client = anthropic.AsyncAnthropic(
            api_key=options.api_key,
            base_url=options.base_url,
            max_retries=options.retries,
            timeout=httpx2.Timeout(options.silence, connect=CONNECT_TIMEOUT),
            http_client=anthropic.DefaultAioHttpClient(
                limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=100)
            ),
        )

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """Text as it is written, and after each cited block its quotes. Raises `ModelError`."""
        message = Message(prompt)
        begun = False
        try:
            async with AsyncExitStack() as stack:
                response, asked = await self._open(stack, prompt)
                message.begin(shown=not asked["prefill"], marked=bool(prompt.hits) and not asked["citations"])
                begun = True
                async for event in _events(response.iter_bytes()):
                    for part in message.take(event):
                        yield part
            finish = message.finish()
        except (anthropic.APIError, httpx2.HTTPError, OSError, ModelError, *_UNREADABLE) as error:
            failed = error if isinstance(error, ModelError) else _coded(error)
            failed.begun, failed.usage = begun, message.usage
            raise failed from (None if failed is error else error)
        yield finish

    async def _open(self, stack: AsyncExitStack, prompt: Prompt) -> tuple[Any, dict[str, bool]]:
        """Begin the request; what the server does not understand of it is left out, and that remembered.

        With the response, what was asked for: citations, and that the model goes on with the text itself.
        """
        asked = {"citations": self._citations and bool(prompt.hits), "prefill": self._prefill and bool(prompt.written)}
        given_up = []
        while True:
            try:
                response = await stack.enter_async_context(self._request(prompt, **asked))
            except anthropic.BadRequestError as error:
                possible = [name for name in ("prefill", "citations") if asked[name]]
                if not possible or not is_refused_request(error.body):
                    raise
                asked[possible[0]] = False
                given_up.append(possible[0])
            else:
                self._remember(given_up)
                return response, asked

    def _remember(self, given_up: list[str]) -> None:
        # Only the last was what it did not understand.
        if given_up[-1:] == ["citations"]:
            logger.warning("%s does not take search_result blocks: its answers are cited by markers", self.model)
            self._citations = False
        elif given_up:
            self._prefill = False

    def _request(self, prompt: Prompt, *, citations: bool, prefill: bool) -> Any:
        return self._client.messages.with_streaming_response.create(
            model=self.model,
            system=instructions(prompt, citations=citations),
            messages=cast(Any, messages(prompt, citations=citations, prefill=prefill)),
            stream=True,
            **_thinking(self.model),
        )

    async def probe(self) -> None:
        """See that the provider answers and knows the model, at no cost. Raises `ModelError`.

        Servers other than Anthropic's need not list their models: one that answers at all is well.
        """
        try:
            await self._client.models.retrieve(self.model)
        except anthropic.NotFoundError as error:
            if self._client.base_url.host.endswith("anthropic.com"):
                raise failure(error) from error
        except (anthropic.APIError, httpx2.HTTPError, OSError) as error:
            raise failure(error) from error

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._client.close()


def _thinking(model: str) -> dict[str, Any]:
    """The 5.5 family thinks before it writes unless told not to, and only its Haiku can be told."""
    if model.startswith("claude-haiku-5-5"):
        return {"max_tokens": MAX_TOKENS, "thinking": {"type": "disabled"}}
    return {"max_tokens": THINKING_TOKENS if "-5-5" in model else MAX_TOKENS}


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON of each event. Split by bytes: a line separator inside a text must not break its line."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and line.rstrip() != b"data: [DONE]":
                yield json.loads(line[5:])


def _coded(error: Exception) -> ModelError:
    if isinstance(error, _UNREADABLE):
        logger.warning("the provider's stream could not be read", exc_info=error)
        return ModelUnavailable("The language model sent something that cannot be read. Please try again.")
    return failure(error)
