"""A stand-in of the Messages API for load: many streams at a steady pace, each chunk with the moment it was sent.

    python -m benchmarks.paced_upstream [PORT]        (the port is printed)

A question that says `chunks=N` gets so many chunks, and one that says `chunks=N rate=R` gets R of them a second; the
second chunk of `rate=0.001` never comes.

It speaks HTTP itself, so that it takes little of the machine that it shares with what is measured. The first chunk
follows at once, so that whatever a reader waits longer is the server's.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import cast

from benchmarks.loop import run

RATE = 40  # chunks a second and stream
MODEL = "claude-haiku-4-5"
STAMP = re.compile(rb"@([0-9]+\.[0-9]+)@ ([0-9]+)")  # of a chunk: the monotonic clock, and its number from 0
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_CHUNKS = re.compile(rb"chunks=([0-9]+)(?: rate=([0-9.]+))?")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _event(kind: str, **more: object) -> bytes:
    data = f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
_USAGE = {"input_tokens": 10, "output_tokens": 1}
_BEGINNING = _event("message_start", message={**_MESSAGE, "usage": _USAGE}) + _event(
    "content_block_start", index=0, content_block={"type": "text", "text": ""}
)
_END = (
    _event("content_block_stop", index=0)
    + _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 60})
    + _event("message_stop")
    + b"0\r\n\r\n"
)
_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"%b"}}\n\n'
)
_MODEL = json.dumps({"id": MODEL, "type": "model", "display_name": "", "created_at": "2026-01-01T00:00:00Z"}).encode()


class Upstream(asyncio.Protocol):
    """One connection of a client; a question that does not say how many chunks it wants gets `default`."""

    default = 400

    def __init__(self) -> None:
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Write no more."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer each request when it is whole."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or (length and len(body) < int(length[1])):
            return
        self._received = b""
        if head.startswith(b"POST"):
            asked = _CHUNKS.search(body)
            self._pause = 1 / float(asked[2]) if asked and asked[2] else 1 / RATE
            self._begin(int(asked[1]) if asked else self.default)
        else:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_MODEL), _MODEL))

    def _begin(self, chunks: int) -> None:
        self._transport.write(_HEAD + _BEGINNING)
        self._left, self._number = chunks, 0
        self._due = asyncio.get_running_loop().time()
        self._write()

    def _write(self) -> None:
        text = f"@{time.monotonic():.6f}@ {self._number} words of the answer "
        event = _DELTA % text.encode()
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        self._number += 1
        if self._number == self._left:
            self._transport.write(_END)
            self._timer = None
            return
        self._due += self._pause
        self._timer = asyncio.get_running_loop().call_at(self._due, self._write)


async def serve(port: int) -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
