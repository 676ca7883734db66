"""A line to a server of this machine, in a process of its own: frozen, it passes nothing on, and closes nothing.

python tests/faults/relay.py PORT        (the port of its own is printed)
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress

READ = 65536  # bytes at once


class Relay:
    """A line to `port`, whose other end is `self.port`."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._there = port

    async def start(self) -> None:
        """Lay it."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", __file__, str(self._there), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())

    def cut(self) -> None:
        """Neither end hears anything any more; who connects anew waits."""
        self._process.send_signal(signal.SIGSTOP)

    def mend(self) -> None:
        """What was sent meanwhile arrives, and all that follows."""
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Take it away."""
        self._process.kill()
        await self._process.wait()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(READ):
            writer.write(piece)
            await writer.drain()


async def _main(port: int) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            writer.transport.abort()  # which is how a server that is gone looks from here
            return
        pumps = {asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))}
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in pumps:
            task.cancel()
        for one in (writer, back):
            one.transport.abort()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
