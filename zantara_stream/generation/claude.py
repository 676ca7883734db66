"""Answers written by Claude, or by any server that speaks the Messages API, streamed as they come.

The SDK keeps authentication, retries before the stream and status errors. The events of the stream are
decoded here, since only a few fields of them are needed; docs/decisions/0005 says more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..errors import ModelError, ModelUnavailable
from . import sdk
from .answerer import Finish, Part, Prompt
from .body import broken, pieces
from .failures import failure, is_refused_request
from .message import Message
from .patience import Patience
from .prompt import instructions, messages

if TYPE_CHECKING:
    import anthropic

logger = logging.getLogger(__name__)
logging.getLogger("anthropic").setLevel(logging.INFO)  # below that it tells whole requests, and so people's own words

DEFAULT_MODEL = "claude-haiku-4-5"
MAX_TOKENS = 4096  # of an answer
THINKING_TOKENS = 12288  # more, where the model thinks first, which counts
AS_JSON = "Reply with nothing but one JSON value that this JSON schema allows, in one line and without code fences:"
CONNECT_TIMEOUT, FIRST_TIMEOUT, SILENCE_TIMEOUT = 5.0, 60.0, 30.0  # seconds; until the first token, between any two
RETRIES = 2  # before the stream has begun, by the SDK, honouring Retry-After
CONNECTIONS = 10_000  # to the provider; the server's own limit on running answers comes first

# Those that go on with an assistant turn at the end of the request; newer ones refuse it.
_PREFILLED = re.compile(r"claude-(?:3|(?:haiku|sonnet|opus)-(?:3|4-[015](?![0-9])|4-20))")
# What a server may not understand of a request, and what it means that it is left out.
_LEFT_OUT = {
    "citations": "%s does not take search_result blocks: its answers are cited by markers",
    "schema": "%s does not take a schema for what it writes: it is asked for JSON in words",
}
# An event that is text and nothing else, if none of it is escaped: then it is what it says. Mostly one comes by itself.
_LINE = (
    rb'data: ?\{"type": ?"content_block_delta", ?"index": ?[0-9]+, ?"delta": ?\{"type": ?"text_delta", ?'
    rb'"text": ?"([^"\\\x00-\x1f]*)"\} *\} *\r?'
)
_TEXT = re.compile(_LINE)
_WHOLE = re.compile(rb"(?:event: ?content_block_delta\r?\n)?" + _LINE + rb"\n\r?\n")
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)  # no JSON, or none of the API's shape


class Paid(Protocol):
    """Is told of each request which model it was, its tokens by kind, and for whom it was ("" for nobody known)."""

    def __call__(self, model: str, usage: Mapping[str, int], owner: str) -> object: ...


@dataclass(slots=True)
class ClaudeOptions:
    """How the provider is reached; `None` leaves it to the SDK's own environment variables."""

    api_key: str | None = None
    base_url: str | None = None
    silence: float = SILENCE_TIMEOUT
    retries: int = RETRIES
    first_token: float = FIRST_TIMEOUT
    connect: float = CONNECT_TIMEOUT
    paid: Paid = lambda model, usage, owner: None


class ClaudeAnswerer:
    """Writes answers with one model; closing an answer's generator closes the request behind it."""

    def __init__(self, model: str = DEFAULT_MODEL, options: ClaudeOptions | None = None) -> None:
        options = options or ClaudeOptions()
        self.model = model
        self._options = options
        self._patience = partial(Patience, options.first_token, options.silence)
        self._paid = partial(options.paid, model)
        self._takes = {"citations": True, "schema": True, "prefill": bool(_PREFILLED.match(model))}

    @cached_property
    def _client(self) -> anthropic.AsyncAnthropic:
        return sdk.anthropic.AsyncAnthropic(
            api_key=self._options.api_key,
            base_url=self._options.base_url,
            max_retries=self._options.retries,
            # Whoever asks measures how long the model is silent; a timer of the line's own is set anew at each piece.
            timeout=sdk.httpx2.Timeout(None, connect=self._options.connect),
            http_client=sdk.anthropic.DefaultAioHttpClient(
                limits=sdk.httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=100)
            ),
        )

    def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """Text as it is written, and after each cited block its quotes. Raises `ModelError`."""
        message = Message(prompt)
        patience = self._patience()
        wanted = {"prefill": bool(prompt.written), "citations": bool(prompt.hits)}

        async def begin(stack: AsyncExitStack) -> Any:
            await stack.enter_async_context(patience)
            response, asked = await self._open(stack, wanted, partial(self._answering, prompt))
            message.begin(shown=not asked["prefill"], marked=bool(prompt.hits) and not asked["citations"])
            return response

        return _parts(message, begin, partial(self._paid, owner=prompt.person.key), patience.heard)

    async def write(
        self,
        system: str,
        turns: list[dict[str, Any]],
        *,
        most: int,
        within: float,
        schema: Mapping[str, Any] | None = None,
    ) -> tuple[str, Finish]:
        """A text that nobody waits for: whole, with how it ended and what it cost.

        It has at most `most` tokens and takes at most `within` seconds. With a `schema` (JSON Schema) it is asked for
        as JSON of that kind, which not every server enforces: what comes is to be checked. Raises `ModelError`.
        """
        message = Message(Prompt(""))

        async def begin(stack: AsyncExitStack) -> Any:
            await stack.enter_async_context(asyncio.timeout(within))
            request = partial(self._writing, system, turns, most, schema)
            response, _ = await self._open(stack, {"schema": schema is not None}, request)
            return response

        async with aclosing(_parts(message, begin, partial(self._paid, owner=""))) as parts:
            text = "".join([part async for part in parts if isinstance(part, str)])
        return text, message.finish()

    async def _open(
        self, stack: AsyncExitStack, wanted: Mapping[str, bool], request: Callable[..., Any]
    ) -> tuple[Any, dict[str, bool]]:
        """Begin the request; what the server does not understand of it is left out, and that remembered.

        With the response, what of the wanted was asked for.
        """
        await sdk.load()
        asked = {name: wished and self._takes[name] for name, wished in wanted.items()}
        given_up = []
        while True:
            try:
                response = await stack.enter_async_context(request(**asked))
            except sdk.anthropic.BadRequestError as error:
                possible = [name for name in asked if asked[name]]
                if not possible or not is_refused_request(error.body):
                    raise
                asked[possible[0]] = False
                given_up.append(possible[0])
            else:
                self._remember(given_up)
                return response, asked

    def _remember(self, given_up: list[str]) -> None:
        for name in given_up[-1:]:  # only the last was what it did not understand
            if self._takes[name] and name in _LEFT_OUT:
                logger.warning(_LEFT_OUT[name], self.model)
            self._takes[name] = False

    def _answering(self, prompt: Prompt, *, prefill: bool, citations: bool) -> Any:
        turns = messages(prompt, citations=citations, prefill=prefill)
        return self._request(instructions(prompt, citations=citations), turns, MAX_TOKENS)

    def _writing(
        self, system: str, turns: list[dict[str, Any]], most: int, form: Mapping[str, Any] | None, *, schema: bool
    ) -> Any:
        if schema:
            return self._request(system, turns, most, output_config={"format": {"type": "json_schema", "schema": form}})
        in_words = "" if form is None else f"\n\n{AS_JSON}\n{json.dumps(form)}"
        return self._request(system + in_words, turns, most)

    def _request(self, system: str, turns: list[dict[str, Any]], most: int, **more: Any) -> Any:
        return self._client.messages.with_streaming_response.create(
            model=self.model,
            system=system,
            messages=cast(Any, turns),
            stream=True,
            **_thinking(self.model, most),
            **more,
        )

    async def probe(self) -> None:
        """See that the provider answers and knows the model, at no cost. Raises `ModelError`.

        Servers other than Anthropic's need not list their models: one that answers at all is well.
        """
        try:
            await self._client.models.retrieve(self.model, timeout=self._options.first_token)
        except sdk.anthropic.NotFoundError as error:
            if self._client.base_url.host.endswith("anthropic.com"):
                raise failure(error) from error
        except (sdk.anthropic.APIError, *broken()) as error:
            raise failure(error) from error

    async def prepare(self) -> None:
        """Import the SDK."""
        await sdk.load()

    async def close(self) -> None:
        """Close the connections to the provider."""
        if "_client" in self.__dict__:
            await self._client.close()


async def _parts(
    message: Message,
    begin: Callable[[AsyncExitStack], Awaitable[Any]],
    paid: Callable[[Mapping[str, int]], object],
    heard: Callable[[], object] = lambda: None,
) -> AsyncGenerator[Part, None]:
    """What a message brings; `begin` begins the request on the stack that ends it. Raises `ModelError`."""
    begun = False
    try:
        async with AsyncExitStack() as stack:
            response = await begin(stack)
            begun = True
            events = Events()
            async for piece in pieces(response):
                for event in events.take(piece):
                    if isinstance(event, str) or event.get("type") == "content_block_delta":
                        heard()
                    for part in message.take(event):
                        yield part
        finish = message.finish()
    except (sdk.anthropic.APIError, ModelError, *broken(), *_UNREADABLE) as error:
        failed = error if isinstance(error, ModelError) else _coded(error)
        failed.begun, failed.usage = begun, message.usage
        raise failed from (None if failed is error else error)
    finally:
        if message.usage:
            paid(message.spent)
    yield finish


def _thinking(model: str, most: int) -> dict[str, Any]:
    """The 5.5 family thinks before it writes unless told not to, and only its Haiku can be told."""
    if model.startswith("claude-haiku-5-5"):
        return {"max_tokens": most, "thinking": {"type": "disabled"}}
    return {"max_tokens": most + THINKING_TOKENS - MAX_TOKENS if "-5-5" in model else most}


class Events:
    """The events of a stream, from its bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> Iterator[dict[str, Any] | str]:
        """The JSON of each event; of one that is text without escapes, which most are, only that text.

        Split by bytes: a line separator inside a text must not break its line.
        """
        if not self._rest and (text := _WHOLE.fullmatch(piece)):
            yield text[1].decode()
            return
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if text := _TEXT.fullmatch(line):
                yield text[1].decode()
            elif line.startswith(b"data:") and line.rstrip() != b"data: [DONE]":
                yield json.loads(line[5:])


def _coded(error: Exception) -> ModelError:
    if isinstance(error, _UNREADABLE):
        logger.warning("the provider's stream could not be read", exc_info=error)
        return ModelUnavailable("The language model sent something that cannot be read. Please try again.")
    return failure(error)
