"""Following a log on a connection: heartbeats, readers that are stuck, readers that have gone."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import ClientSession, web
from aiohttp_sse import EventSourceResponse
from producing import settled
from server import QUESTION, STREAM, Reader, never, serving

from zantara_stream.answers.answer import Answer, Lifetimes
from zantara_stream.answers.events import Done, Event, Stamp, Text, encode
from zantara_stream.answers.journal import Opening
from zantara_stream.answers.log import SLICE, EventLog
from zantara_stream.errors import AnswerExpired, Crowded, HandedOver, JournalUnavailable, Overloaded, RequestError
from zantara_stream.serving import make_runner
from zantara_stream.testing import ScriptedAnswerer, read_events
from zantara_stream.web import sse
from zantara_stream.web.sse import PING, Connection, Connections, stream_response


class Written:
    """A response that keeps what is written; `write` takes until `free` is set."""

    def __init__(self, chunked: bool) -> None:
        self.pieces: list[bytes] = []
        self.headers = {"Transfer-Encoding": "chunked"} if chunked else {}
        self.free = asyncio.Event()
        self.free.set()
        self.line = Line(self.pieces)

    @property
    def aborted(self) -> bool:
        """Whether its connection was."""
        return self.line.aborted

    async def write(self, data: bytes) -> None:
        """Write as the task of a connection does."""
        await self.free.wait()
        self.pieces.append(data)


class Line:
    """What lies below it: `waiting` bytes have not been taken by the reader."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.waiting = 0
        self.closing = self.aborted = False

    def write(self, data: bytes) -> None:
        """Write at once."""
        self._pieces.append(data)

    def get_write_buffer_size(self) -> int:
        """The bytes that wait."""
        return self.waiting

    def is_closing(self) -> bool:
        """Whether its reader has gone."""
        return self.closing

    def abort(self) -> None:
        """Break off."""
        self.aborted = True


def append(log: EventLog, event: Event) -> None:
    """Let the log have the event, as from the journal."""
    log.extend([encode(event, Stamp(log.answer, log.tail + 1, log.tail + 1, 0.0, 0.0, None))])


def connected(log: EventLog, cursor: Any, *, chunked: bool = False) -> tuple[Connection, Written]:
    """A connection of a reader of the log, and what is written to it."""
    written = Written(chunked)
    return Connection(cursor, cast(Any, written), cast(Any, written.line)), written


async def test_a_reader_that_is_behind_gets_all_it_missed_in_one_write() -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        connection, written = connected(log, cursor)
        append(log, Text("a"))
        append(log, Text("b"))
        written.free.clear()
        running = asyncio.create_task(connection.run(b"first"))
        await settled()
        for letter in "cdef":
            append(log, Text(letter))
            await settled()
        append(log, Done("end_turn"))
        written.free.set()
        await running
        assert written.pieces == [b"first" + b"".join(log.frames()[:2]), b"".join(log.frames()[2:])]


@pytest.mark.parametrize(("chunked", "framed"), [(False, b"%b"), (True, b"%x\r\n%b\r\n")])
async def test_what_is_new_is_written_in_the_turn_in_which_it_is_told(chunked: bool, framed: bytes) -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        connection, written = connected(log, cursor, chunked=chunked)
        running = asyncio.create_task(connection.run(b"first"))
        await settled()
        append(log, Text("a"))
        append(log, Text("b"))
        await asyncio.sleep(0)  # the logs' own callback, and no task's
        both = b"".join(log.frames())
        assert written.pieces == [b"first", framed % ((len(both), both) if chunked else both)]
        append(log, Done("end_turn"))
        await running
        assert cursor.exhausted


async def test_a_reader_that_takes_nothing_is_left_to_its_task_which_waits_for_it() -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        connection, written = connected(log, cursor)
        running = asyncio.create_task(connection.run(b"first"))
        await settled()
        written.free.clear()
        written.line.waiting = SLICE
        append(log, Text("a"))
        await settled()
        assert written.pieces == [b"first"]
        append(log, Text("b"))
        append(log, Done("end_turn"))
        await settled()
        written.free.set()
        await running
        assert b"".join(written.pieces) == b"first" + log.since(0)


async def test_more_than_a_slice_is_written_slice_by_slice() -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        connection, written = connected(log, cursor)
        running = asyncio.create_task(connection.run(b"first"))
        await settled()
        for _ in range(5):
            append(log, Text("x" * (SLICE // 2)))
        append(log, Done("end_turn"))
        await running
        assert b"".join(written.pieces) == b"first" + log.since(0)
        assert max(map(len, written.pieces)) <= SLICE


async def test_nothing_is_written_to_a_reader_that_has_gone() -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        connection, written = connected(log, cursor)
        running = asyncio.create_task(connection.run(b"first"))
        await settled()
        written.line.closing = True
        append(log, Text("a"))
        await settled()
        assert written.pieces == [b"first"]
        running.cancel()
        await asyncio.wait([running])


async def test_a_heartbeat_comes_after_silence_and_only_then() -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        connection, written = connected(log, cursor)
        running = asyncio.create_task(connection.run(b"first"))
        await settled()
        connection.sweep(time.monotonic() + 9, 10)
        await settled()
        assert written.pieces == [b"first"]
        connection.sweep(time.monotonic() + 10, 10)
        await settled()
        assert written.pieces == [b"first", PING]
        append(log, Text("a"))
        await settled()
        connection.sweep(time.monotonic() + 9, 10)
        append(log, Done("end_turn"))
        await running
        assert written.pieces.count(PING) == 1
        assert not written.aborted


async def test_events_that_come_with_a_heartbeat_are_sent_in_its_place() -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        connection, written = connected(log, cursor)
        running = asyncio.create_task(connection.run(b"first"))
        await settled()
        connection.sweep(time.monotonic() + 10, 10)
        append(log, Text("a"))
        append(log, Done("end_turn"))
        await running
        assert written.pieces == [b"first", log.since(0)]


async def test_a_connection_that_takes_nothing_is_aborted_after_the_deadline() -> None:
    log = EventLog("A")
    with log.follow() as cursor:
        connection, written = connected(log, cursor)
        written.free.clear()
        running = asyncio.create_task(connection.run(b"first"))
        await settled()
        aborted = []
        for seconds in (-1, 1):
            connection.sweep(time.monotonic() + sse.WRITE_DEADLINE + seconds, 1)
            aborted.append(written.aborted)
        assert aborted == [False, True]
        running.cancel()
        await asyncio.wait([running])


@pytest.mark.parametrize("heartbeat", [0.05, 0.5, 1, 15, 60])
def test_no_silence_is_longer_than_the_heartbeat(heartbeat: float) -> None:
    connections = Connections(heartbeat, 1)
    assert connections._silence + connections._period <= heartbeat
    assert 0 < connections._period <= 1


def test_a_stream_s_response_is_never_compressed_and_takes_any_method() -> None:
    response = stream_response("A")
    assert response.headers["X-Answer-Id"] == "A"
    assert "X-Answer-Id" not in stream_response().headers
    with pytest.raises(NotImplementedError):
        response.enable_compression()


async def test_a_reader_that_reads_nothing_is_dropped_and_nobody_else_waits_for_it(
    small_index: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = ["x" * 1_000_000] * 20  # far more than the kernel takes
    answerer = ScriptedAnswerer(*chunks, never())
    async with serving(small_index, answerer, grace=0, heartbeat=0.05, max_log=10**9) as server:
        host, _, port = server.authority.partition(":")
        with socket.socket() as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.setblocking(False)
            await asyncio.get_running_loop().sock_connect(stuck, (host, int(port)))
            request = f"GET {STREAM}?query=permit&continuity_id=c HTTP/1.1\r\nHost: {server.authority}\r\n\r\n"
            await asyncio.get_running_loop().sock_sendall(stuck, request.encode())
            reader = await server.stream(query="permit", continuity_id="c")
            for _ in chunks:
                await reader.until("message")
            reader.leave()
            assert not answerer.closed_early.is_set()
            monkeypatch.setattr(sse, "WRITE_DEADLINE", 0.0)
            await answerer.closed_early.wait()  # so no lease is left: the stuck one was dropped
    assert len(answerer.prompts) == 1


def followed() -> Answer:
    """An answer that another node writes."""
    return Answer(Opening("A" * 22, started=time.time() - 100), "m", Lifetimes(), lambda answer: None)


@asynccontextmanager
async def following(
    answer: Answer, connections: Connections | None = None
) -> AsyncIterator[tuple[Reader, asyncio.Transport]]:
    """A reader of the answer, which has got its first event, and the server's end of its connection."""
    serving_it = Connections(15, 10) if connections is None else connections
    transports: list[asyncio.Transport] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        transports.append(request.transport)
        return await serving_it.serve(request, answer, 0, "start")

    app = web.Application()
    app.router.add_get("/", handler)
    runner = make_runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as session:
            reader = Reader(await session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/"))
            await reader.next()
            yield reader, transports[0]
    finally:
        await runner.cleanup()


async def test_a_reader_who_leaves_with_the_last_event_is_no_error(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    answer, connections = followed(), Connections(15, 10)
    write_eof, left = EventSourceResponse.write_eof, asyncio.Event()

    async with following(answer, connections) as (_, transport):

        async def leave(response: EventSourceResponse, data: bytes = b"") -> None:
            transport.abort()  # a page that has got its last event closes before the stream's end is written
            left.set()
            await write_eof(response, data)

        monkeypatch.setattr(EventSourceResponse, "write_eof", leave)
        append(answer.log, Text("a"))
        append(answer.log, Done("end_turn"))
        await left.wait()
        await settled()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_writing_to_a_reader_who_has_just_gone_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer, connections = followed(), Connections(15, 10)
    async with following(answer, connections) as (_, transport):
        assert len(connections) == 1
        # The write comes after the transport has begun to close, and before the handler hears of it.
        append(answer.log, Text("a"))
        asyncio.get_running_loop().call_soon(transport.close)
        await settled()
        assert len(connections) == 0
    assert answer.log.readers == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
async def test_the_kernel_notices_a_peer_that_vanished_and_keeps_little_for_one_that_is_slow() -> None:
    answer = followed()
    async with following(answer) as (reader, transport):
        connected = transport.get_extra_info("socket")
        options = {
            name: connected.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_NOTSENT_LOWAT")
        }
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        append(answer.log, Done("end_turn"))
        await reader.rest()
    assert options == {
        "TCP_USER_TIMEOUT": sse.USER_TIMEOUT * 1000,
        "TCP_KEEPIDLE": sse.KEEPALIVE[0],
        "TCP_KEEPINTVL": sse.KEEPALIVE[1],
        "TCP_NOTSENT_LOWAT": sse.UNSENT,
    }


def test_a_peer_that_vanished_is_given_up_within_thirty_seconds() -> None:
    assert sse.KEEPALIVE[0] + sse.USER_TIMEOUT + sse.KEEPALIVE[1] <= 30
    assert sse.WRITE_DEADLINE <= 20


@pytest.mark.parametrize(
    ("why", "code"), [(JournalUnavailable(), "journal_unavailable"), (AnswerExpired(), "answer_expired")]
)
async def test_readers_of_a_log_that_is_broken_off_get_an_error_that_is_no_part_of_it(
    why: RequestError, code: str
) -> None:
    answer = followed()
    async with following(answer) as (reader, _):
        append(answer.log, Text("a"))
        last = await reader.next()
        answer.break_off(why)
        (end,) = await reader.rest()
    assert (end.event, end.id) == ("message", last.id), "coming back, one goes on after the last event"
    assert b"id: " not in reader.bytes.split(b"\n\n")[-2]
    assert set(end.json) == {"error", "done", "code", "retryable", "sequenceNumber", "timestamp", "streamDuration"}
    assert (end.json["code"], end.json["retryable"], end.json["error"]) == (code, True, str(why))
    assert end.json["sequenceNumber"] == 1, "as every end, it repeats the last one"
    assert 100 <= end.json["streamDuration"] < 1000, "seconds since the answer began"
    assert end.retry == sse.RETRY[1]


async def test_readers_of_a_log_that_is_handed_over_are_told_when_to_come_back_and_no_end() -> None:
    answer, retries = followed(), set()
    append(answer.log, Text("a"))
    answer.break_off(HandedOver())
    for _ in range(10):
        async with following(answer) as (reader, _):
            text, told = await reader.rest()
        assert (text.json["text"], told.event, told.id) == ("a", "draining", text.id)
        assert told.retry is not None
        assert told.json == {"code": "draining", "retryable": True, "retryAfter": told.retry / 1000}
        assert sse.RETURN[0] <= told.retry <= sse.RETURN[1]
        retries.add(told.retry)
    assert len(retries) > 5, "not all at once"


async def test_no_more_readers_of_one_answer_than_may() -> None:
    answer, connections = followed(), Connections(15, 10, most_readers=1)
    async with following(answer, connections) as (reader, _):
        with pytest.raises(Crowded):
            await connections.serve(cast(Any, None), answer, 0, "start")
        append(answer.log, Done("end_turn"))
        await reader.rest()
    async with following(answer, connections) as (reader, _):
        assert "done" in (await reader.rest())[-1].json, "its place is free again"


def test_no_more_than_the_limit_is_admitted() -> None:
    with pytest.raises(Overloaded):
        Connections(15, 0).admit()
    Connections(15, 1).admit()


async def test_a_connection_is_counted_while_it_is_open(small_index: Any) -> None:
    async with serving(small_index, ScriptedAnswerer("a"), max_connections=1) as server:
        for _ in range(5):  # each takes the one place, and gives it back
            assert await (await server.stream()).text() == "a"


async def test_bytes_are_written_as_they_stand_in_the_log(small_index: Any) -> None:
    async with serving(small_index, ScriptedAnswerer("a", "b")) as server:
        reader = await server.stream(query=QUESTION)
        start = await reader.next()
        await reader.rest()
        answer, _ = await server.answers.find(start.id)
        assert reader.bytes.partition(b"\n\n")[2] == answer.log.since(0)
        assert read_events(reader.bytes)[0] == start
