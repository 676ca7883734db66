"""Whatever bytes come in at the socket: a well-formed response that is no failure of the server, or a closed line."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import damaged, fuzzed
from server import serving_beside

MARK = b"quince"  # it stands in what is sent, and must not in any header that comes back
PATIENCE = 0.15  # seconds without a byte after which nothing more is waited for
HOST = b"Host: 127.0.0.1\r\n"
JSON = b"Content-Type: application/json\r\n"
SAMPLES = [
    b"GET /bali-zero/chat-stream?query=How+is+quince+fined HTTP/1.1\r\n" + HOST + b"Last-Event-ID: quince.1\r\n\r\n",
    b"GET /bali-zero/answers/quincequincequincequi HTTP/1.1\r\n" + HOST + b"Authorization: Bearer quince\r\n\r\n",
    b"POST /bali-zero/search HTTP/1.1\r\n" + HOST + JSON + b'Content-Length: 19\r\n\r\n{"query": "quince"}',
    b"POST /bali-zero/chat HTTP/1.1\r\n"
    + HOST
    + JSON
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b'9\r\n{"query":\r\nA\r\n "quince"}\r\n0\r\n\r\n',
    b"OPTIONS /bali-zero/chat HTTP/1.1\r\n"
    + HOST
    + b"Origin: http://quince\r\nAccess-Control-Request-Method: POST\r\n\r\n",
    b"GET /bali-zero/chat-stream?query=permit HTTP/1.1\r\n"
    + HOST
    + b"X-Continuity-Id: quince\xff\xfe\r\nX-Session-Id: quincequince\xffquince\r\n\r\n",
    b"HEAD /bali-zero/chat-stream HTTP/1.1\r\n" + HOST + b"X-Session-Id: quince\r\nCookie: quince=quince\r\n\r\n",
    b"GET /health HTTP/1.1\r\n" + HOST + b"\r\nGET /ready HTTP/1.1\r\n" + HOST + b"X-Quince: quince\r\n\r\n",
    b"DELETE /bali-zero/memory/quince HTTP/1.0\r\n" + HOST + b"Expect: 100-continue\r\nUpgrade: quince\r\n\r\n",
]
HEADERS = next(sample for sample in SAMPLES if b"\xff" in sample)


@pytest.fixture(scope="module")
def port(small_index: Path) -> Iterator[int]:
    """The port of a server in a thread of its own."""
    with serving_beside(small_index) as address:
        yield int(address.rpartition(":")[2])


def said(port: int, sent: bytes, cut: float = 1.0) -> bytes:
    """What comes back for bytes that are sent in two pieces."""
    place = int(cut * len(sent))
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        try:
            line.sendall(sent[:place])
            line.sendall(sent[place:])
            line.settimeout(PATIENCE)
            while piece := line.recv(65536):
                received += piece
        except (TimeoutError, ConnectionError):
            pass
    return received


def check(received: bytes) -> None:
    """See that it is nothing, or begins with a sound response."""
    if not received:
        return
    head, _, _ = received.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/\d\.\d (\d{3}) [^\r\n]*(?:\r\n|$)", head)
    assert status is not None, received[:300]
    assert int(status[1]) < 500, received[:1000]
    assert MARK not in head.lower(), head
    # Of what follows on the line, or within a stream.
    assert not re.search(rb'^HTTP/1\.1 5|"code": ?"internal"', received, re.MULTILINE), received[-1000:]


def test_what_is_no_request_or_nearly_one(port: int, caplog: pytest.LogCaptureFixture) -> None:
    @fuzzed()
    @given(damaged(SAMPLES), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    @example(SAMPLES[0], 0.5)
    @example(HEADERS, 1.0)
    def one(sent: bytes, cut: float) -> None:
        check(said(port, sent, cut))

    _well(port, caplog, one)


def test_any_bytes(port: int, caplog: pytest.LogCaptureFixture) -> None:
    @fuzzed()
    @given(st.binary(max_size=300))
    @example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # how TLS begins
    @example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")  # how HTTP/2 does
    @example(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2000 + b"\r\n")
    @example(b"GET /" + b"quince" * 60_000 + b" HTTP/1.1\r\n\r\n")
    def one(sent: bytes) -> None:
        check(said(port, sent))

    _well(port, caplog, one)


def _well(port: int, caplog: pytest.LogCaptureFixture, fuzz: object) -> None:
    """Do it, and see that the server is well after it and complained of nothing."""
    caplog.set_level(logging.WARNING)
    assert callable(fuzz)
    fuzz()
    health = said(port, b"GET /health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert health.startswith(b"HTTP/1.1 200 OK\r\n")
    assert [record for record in caplog.records if record.exc_info or "internal error" in record.getMessage()] == []
    began = time.monotonic()
    gauges = rb"^(zantara_connections|zantara_answers_running) 0\.0$"
    while len(re.findall(gauges, said(port, b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n"), re.MULTILINE)) < 2:
        assert time.monotonic() - began < 40, "an answer goes on with nobody there"
