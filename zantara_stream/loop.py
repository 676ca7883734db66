"""The event loop that a server runs on."""

from __future__ import annotations

import asyncio


def fastest() -> asyncio.AbstractEventLoop:
    """A new loop: libuv's, where uvloop is installed, else asyncio's own."""
    try:
        from uvloop import new_event_loop
    except ImportError:  # where it cannot be installed, such as on Windows
        return asyncio.new_event_loop()
    return new_event_loop()
