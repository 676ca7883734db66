"""Readers of many streams at once, and how late what they read was."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import quote, urlsplit

from benchmarks.paced_upstream import STAMP

PATH = "/bali-zero/chat-stream"
PING = b"event: ping\n"


@dataclass(slots=True)
class Readings:
    """What all readers together saw: seconds, by the monotonic clock."""

    asked: dict[int, float] = field(default_factory=dict)  # when, by the reader's number
    first: dict[int, float] = field(default_factory=dict)  # seconds from asking to the first chunk
    late: list[tuple[float, float]] = field(default_factory=list)  # when a chunk came, how long after it was sent
    disordered: int = 0  # chunks that were not the next one
    pings: int = 0  # heartbeats
    ended: int = 0  # connections
    wrong: list[str] = field(default_factory=list)  # what they got that was no stream

    def during(self, began: float, ended: float) -> list[float]:
        """How late chunks were in that time."""
        return [late for moment, late in self.late if began <= moment < ended]


class Reader(asyncio.Protocol):
    """One question's stream."""

    def __init__(self, number: int, request: bytes, readings: Readings) -> None:
        self._number = number
        self._request = request
        self._readings = readings
        self._next = 0  # chunk
        self._rest = b""
        self._began = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._readings.asked[self._number] = time.monotonic()
        cast(asyncio.Transport, transport).write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it."""
        self._readings.ended += 1

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        now = time.monotonic()
        if not self._began:
            self._began = True
            if not data.startswith(b"HTTP/1.1 200"):
                self._readings.wrong.append(data.decode(errors="replace"))
        whole, end, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        lines = whole + end
        self._readings.pings += lines.count(PING)
        for sent, number in STAMP.findall(lines):
            late, place = now - float(sent), int(number)
            self._readings.late.append((now, late))
            self._readings.disordered += place != self._next
            if not place:
                self._readings.first[self._number] = now - self._readings.asked[self._number]
            self._next = place + 1


async def open_streams(
    url: str, questions: list[str], per_second: float, readings: Readings, continuity: str = ""
) -> list[asyncio.Transport]:
    """Ask these questions, so many a second; the connections, which stay open.

    Those who ask the same question under the same `continuity` id read one answer.
    """
    loop, address = asyncio.get_running_loop(), urlsplit(url)
    assert address.hostname
    assert address.port
    made: list[asyncio.Transport] = []
    begun = loop.time()
    more = f"&continuity_id={quote(continuity)}" if continuity else ""
    for number, question in enumerate(questions):
        await asyncio.sleep(begun + number / per_second - loop.time())
        request = f"GET {PATH}?query={quote(question)}{more} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
        reader = Reader(number, request, readings)
        ends = address.hostname, address.port
        transport, _ = await loop.create_connection(lambda made=reader: made, *ends)  # type: ignore[misc]
        made.append(transport)
    return made
