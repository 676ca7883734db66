"""The way to Milvus: one call at a time, each with a time limit, over a connection that is made anew after a failure.

    milvus://[USER:PASSWORD@]HOST[:PORT][/DATABASE]

With `milvus+https` it is encrypted. A password without a user is a token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit
from weakref import finalize

from grpc import RpcError
from pymilvus import MilvusClient, MilvusException

from ..errors import IndexUnavailable, VectorsUnavailable

logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)  # a failure is told of by whoever asked

PORT = 19530
TIMEOUT = 2.0  # seconds for a connection, and for an answer
MISSING = 100  # the code for a collection that there is not


class MilvusConnection:
    """One process's way to one database of Milvus; one thread at a time may ask."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self._place = f"{'https' if parts.scheme.endswith('https') else 'http'}://{host}:{parts.port or PORT}"
        self._database = parts.path.strip("/")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        self._token = f"{user}:{password}" if user else password
        self._client: MilvusClient | None = None
        self._end: Callable[[], object] = lambda: None
        self.name = f"{host}:{parts.port or PORT}" + (f"/{self._database}" if self._database else "")

    def call(self, method: str, *arguments: Any, timeout: float = TIMEOUT, **options: Any) -> Any:
        """What a method of the client gives.

        Raises `VectorsUnavailable` where Milvus cannot be asked now, `IndexUnavailable` where it lacks the collection.
        """
        try:
            if self._client is None:
                self._client = MilvusClient(
                    self._place, token=self._token, db_name=self._database, timeout=TIMEOUT, dedicated=True
                )
                self._end = finalize(self, self._client.close)  # with the last build that asks it, at the latest
            return getattr(self._client, method)(*arguments, timeout=timeout, **options)
        except (MilvusException, RpcError) as error:  # the client lets some of the latter through
            told = " ".join(str(getattr(error, "message", error)).split())[:200]
            if getattr(error, "code", 0) == MISSING:
                raise IndexUnavailable(f"Milvus at {self.name} lacks what it was asked for ({told}).") from error
            self.close()
            raise VectorsUnavailable(f"Milvus at {self.name} cannot be asked just now ({told}).") from error

    def close(self) -> None:
        """Let go of the connection; the next call makes another."""
        self._end()
        self._client = None
