"""Answers written by Claude, or by any server that speaks the Messages API, streamed as they come.

The SDK keeps authentication, retries before the stream and status errors. The events of the stream are
decoded here, since only a few fields of them are needed; docs/decisions/0005 says more.
https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import anthropic
import httpx2

from ..errors import ModelError, ModelRefused, ModelUnavailable
from ..retrieval.passages import Passage
from .answerer import Finish, Part, Prompt, Quote
from .continuation import Seam
from .failures import broken_off, failure, is_refused_request
from .prompt import SYSTEM, blocks, messages

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "claude-haiku-4-5"
MAX_TOKENS = 4096  # of an answer
THINKING_TOKENS = 12288  # more, where the model thinks first, which counts
CONNECT_TIMEOUT, SILENCE_TIMEOUT = 10.0, 60.0  # seconds; silence is counted between any two pieces of the stream
RETRIES = 2  # before the stream has begun, by the SDK, honouring Retry-After
CONNECTIONS = 10_000  # to the provider; the server's own limit on running answers comes first

# Those that go on with an assistant turn at the end of the request; newer ones refuse it.
_PREFILLED = re.compile(r"claude-(?:3|(?:haiku|sonnet|opus)-(?:3|4-[015](?![0-9])|4-20))")

STOP_REASONS = {
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
}
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)  # no JSON, or none of the API's shape
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


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
        message = _Message([hit.passage for hit in prompt.hits], len(prompt.written))
        begun = False
        try:
            async with AsyncExitStack() as stack:
                response, prefilled = await self._open(stack, prompt)
                message.seam, begun = Seam(prompt.written, shown=not prefilled), True
                async for event in _events(response.iter_bytes()):
                    for part in message.take(event):
                        yield part
            finish = message.finish()
        except (anthropic.APIError, httpx2.HTTPError, OSError, ModelError, *_UNREADABLE) as error:
            failed = error if isinstance(error, ModelError) else _coded(error)
            failed.begun, failed.usage = begun, message.usage
            raise failed from (None if failed is error else error)
        yield finish

    async def _open(self, stack: AsyncExitStack, prompt: Prompt) -> tuple[Any, bool]:
        """Begin the request; what the server does not understand of it is left out, and that remembered.

        With the response, whether the model goes on with the text itself.
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
                return response, asked["prefill"]

    def _remember(self, given_up: list[str]) -> None:
        # Only the last was what it did not understand.
        if given_up[-1:] == ["citations"]:
            logger.warning("%s does not take search_result blocks: its answers will carry no citations", self.model)
            self._citations = False
        elif given_up:
            self._prefill = False

    def _request(self, prompt: Prompt, *, citations: bool, prefill: bool) -> Any:
        return self._client.messages.with_streaming_response.create(
            model=self.model,
            system=SYSTEM,
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


@dataclass(slots=True)
class _Message:
    """One message as its events tell it."""

    passages: list[Passage]
    length: int  # of the text so far, in characters
    seam: Seam = field(default_factory=lambda: Seam(""))
    block_start: int = 0
    cited: list[Mapping[str, Any]] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    stop_reason: str = ""
    ended: bool = False

    def take(self, event: Mapping[str, Any]) -> Iterator[Part]:
        """The parts that an event brings. Raises `ModelError` for an error event."""
        match event.get("type"):
            case "content_block_delta":
                yield from self._delta(event["delta"])
            case "content_block_start":
                self.block_start = self.length
                yield from self._new(self.seam.take(event["content_block"].get("text") or ""))
            case "content_block_stop":
                yield from self._quotes()
            case "message_start":
                self._count(event["message"].get("usage") or {})
            case "message_delta":
                self.stop_reason = event["delta"].get("stop_reason") or self.stop_reason
                self._count(event.get("usage") or {})
            case "message_stop":
                self.ended = True
                yield from self._new(self.seam.finish())
            case "error":
                raise failure(event)

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Part]:
        if delta["type"] == "text_delta":
            yield from self._new(self.seam.take(delta["text"]))
        elif delta["type"] == "citations_delta":
            self.cited.append(delta["citation"])

    def _new(self, text: str) -> Iterator[Part]:
        if text:
            self.length += len(text)
            yield text

    def _quotes(self) -> Iterator[Part]:
        cited, self.cited = self.cited, []
        if self.length == self.block_start:  # it repeated what is written, with its citations
            return
        for citation in cited:
            quote = _quote(citation, self.passages, (self.block_start, self.length))
            if quote is not None:
                yield quote

    def _count(self, usage: Mapping[str, Any]) -> None:
        self.usage |= {name: usage[name] for name in _COUNTS if isinstance(usage.get(name), int)}

    def finish(self) -> Finish:
        """The end of the message. Raises `ModelError` where the stream ended without it."""
        if not self.ended:
            raise broken_off()
        if self.stop_reason == "refusal" and not self.length:
            raise ModelRefused
        return Finish(STOP_REASONS.get(self.stop_reason, "end_turn"), self.usage)


def _quote(citation: Mapping[str, Any], passages: list[Passage], supports: tuple[int, int]) -> Quote | None:
    """A citation as the words of its passage; None for one that names no passage that was given."""
    place = citation.get("search_result_index")
    if not isinstance(place, int) or not 0 <= place < len(passages):
        logger.warning("dropped a citation of a passage that was not given")
        return None
    passage = passages[place]
    first, last = citation.get("start_block_index"), citation.get("end_block_index")
    return Quote(passage, citation.get("cited_text") or "".join(blocks(passage)[first:last]), supports)


def _coded(error: Exception) -> ModelError:
    if isinstance(error, _UNREADABLE):
        logger.warning("the provider's stream could not be read", exc_info=error)
        return ModelUnavailable("The language model sent something that cannot be read. Please try again.")
    return failure(error)
