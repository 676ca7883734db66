"""Servers as one would write them by hand, which the relay is measured against."""

from __future__ import annotations

import socket
from typing import Any

MODEL = "claude-haiku-4-5"


def asked(question: str) -> list[dict[str, Any]]:
    """A question as a message's content."""
    return [{"type": "text", "text": question}]


def request(question: str) -> dict[str, Any]:
    """What the SDK is given."""
    return {"model": MODEL, "max_tokens": 4096, "messages": [{"role": "user", "content": asked(question)}]}


def bound() -> socket.socket:
    """A socket on a free port of the loopback."""
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


async def ready(listening: socket.socket) -> None:
    """Print the port."""
    print(listening.getsockname()[1], flush=True)
