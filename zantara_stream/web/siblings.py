"""The other workers of the same server: what they have measured is told together, whichever of them is asked.

Each has a socket in a folder that is theirs alone, and tells there what it has measured itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web

from ..metrics import EXPOSITION_TYPE, exposition, merged

PATIENCE = 2.0  # seconds for the others to tell; one that does not is left out

logger = logging.getLogger(__name__)


class Siblings:
    """All workers, by their sockets in `folder`; this one is at `place`."""

    def __init__(self, folder: Path, place: str) -> None:
        self._folder = folder
        self._place = place

    async def listen(self, app: web.Application) -> AsyncIterator[None]:
        """Tell the others, as long as the application runs."""
        own = web.Application()
        own.add_routes([web.get("/metrics", _own)])
        runner = web.AppRunner(own, access_log=None)
        await runner.setup()
        path = self._folder / f"{self._place}.sock"
        path.unlink(missing_ok=True)  # of the process before this one
        await web.UnixSite(runner, str(path)).start()
        yield
        await runner.cleanup()

    async def exposition(self) -> bytes:
        """What all have measured, each sample with the `worker` that it is of."""
        others = [path for path in sorted(self._folder.glob("*.sock")) if path.stem != self._place]
        told = await asyncio.gather(*(self._ask(path) for path in others))
        found = {path.stem: text for path, text in zip(others, told, strict=True) if text is not None}
        return merged(found | {self._place: exposition()})

    async def _ask(self, path: Path) -> bytes | None:
        timeout = ClientTimeout(total=PATIENCE)
        try:
            async with (
                ClientSession(connector=UnixConnector(str(path)), timeout=timeout) as session,
                session.get("http://worker/metrics") as response,
            ):
                return await response.read()
        except (ClientError, OSError, TimeoutError) as error:
            logger.warning("worker %s does not tell what it measures: %s", path.stem, type(error).__name__)
            return None


async def _own(request: web.Request) -> web.Response:
    return as_exposition(exposition())


def as_exposition(told: bytes) -> web.Response:
    """The response that Prometheus reads."""
    return web.Response(body=told, headers={"Content-Type": EXPOSITION_TYPE})
