"""What starts a server and hears of it, as systemd does."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from .process import Node


@dataclass(slots=True)
class Supervisor:
    """Holds the listening socket, and hears what the processes behind it say of themselves."""

    listening: socket.socket
    told: socket.socket
    heard: list[tuple[float, str]] = field(default_factory=list)  # when, by the monotonic clock

    def hear(self) -> None:
        """Note what was said."""
        self.heard.append((time.monotonic(), self.told.recv(1000).decode()))

    def times(self, said: str) -> list[float]:
        """When that was said."""
        return [when for when, state in self.heard if state == said]

    @property
    def silence(self) -> float:
        """The longest time between two signs of life, in seconds."""
        return max(later - earlier for earlier, later in pairwise(self.times("WATCHDOG=1")))

    async def restart(self, node: Node) -> int:
        """`systemctl restart`: stop it, and once it has ended start the next; the exit code of the one before."""
        node.signal(signal.SIGTERM)
        code = await node.stopped()
        await node.start()
        return code


@asynccontextmanager
async def supervisor() -> AsyncIterator[Supervisor]:
    """One with a socket on a free port of the loopback."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    with listening, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind("")  # a name of the kernel's choosing
        told.setblocking(False)
        held = Supervisor(listening, told)
        loop = asyncio.get_running_loop()
        loop.add_reader(told, held.hear)
        try:
            yield held
        finally:
            loop.remove_reader(told)
