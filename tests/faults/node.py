"""A server in a process of its own, as `serve` runs it, with a small index and Claude at a stand-in's address.

python tests/faults/node.py INDEX PORT        (settings from the environment; the address is printed)

FAULTS_WRITE_DEADLINE   seconds that a reader may take to accept what it is sent
FAULTS_USER_TIMEOUT     seconds that what was sent may stay unacknowledged
FAULTS_MODELS           the models, in the order in which they are asked
FAULTS_PACE             seconds from part to part of an answer that is quoted from the documents

SIGUSR2 blocks its event loop for `BLOCKED` seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from zantara_stream import app, parts, serving
from zantara_stream.config import Settings, load_settings
from zantara_stream.generation import claude, sdk
from zantara_stream.generation.answerer import Answerer, Part, Prompt
from zantara_stream.generation.chain import Chain
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.loop import fastest
from zantara_stream.retrieval.library import Library
from zantara_stream.supervisor import Supervisor
from zantara_stream.testing import HashingEmbedder
from zantara_stream.web import sse

BLOCKED = 5.0


class Paced(ExtractiveAnswerer):
    """Quotes slowly enough to be interrupted."""

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Part, None]:
        """The parts, one after the other."""
        async with aclosing(super().answer(prompt)) as parts:
            async for part in parts:
                yield part
                await asyncio.sleep(float(os.environ["FAULTS_PACE"]))


def main() -> None:
    """Serve until told to stop."""
    index, port = sys.argv[1:]
    sse.WRITE_DEADLINE = float(os.environ["FAULTS_WRITE_DEADLINE"])
    sse.USER_TIMEOUT = float(os.environ["FAULTS_USER_TIMEOUT"])
    logging.basicConfig(level=logging.WARNING)
    if claude_at := os.environ.get("ANTHROPIC_BASE_URL"):
        sdk.anthropic  # noqa: B018 (now: nodes here drain for two seconds, and not for much longer than an import takes)
        options = claude.ClaudeOptions(api_key="test", base_url=claude_at, silence=1.5)

        def answerer(*_: object, **__: object) -> Answerer:
            made = [claude.ClaudeAnswerer(model, options) for model in os.environ["FAULTS_MODELS"].split(",")]
            return made[0] if len(made) == 1 else Chain(made)

        app.make_answerer = answerer  # type: ignore[attr-defined]
    else:
        parts.ExtractiveAnswerer = Paced  # type: ignore[attr-defined]

    def library(*_: object) -> Library:
        return Library(Path(index), HashingEmbedder.load)

    app.make_library = library  # type: ignore[assignment,attr-defined]
    settings = load_settings(os.environ, None, {"index": index, "port": port})
    with asyncio.Runner(loop_factory=fastest) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, time.sleep, BLOCKED)
    await serving.serve(settings, lambda line: print(line, flush=True), Supervisor(os.environ))


if __name__ == "__main__":
    main()
