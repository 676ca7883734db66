"""Errors over HTTP: one shape, the contract's statuses, and nothing of ours in the open."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from server import ANSWERS_BY_ID, CHAT, EVENT_STREAM, QUESTION, SEARCH, STREAM, Reader, Server, serving, starting

from zantara_stream.answers.database import Database
from zantara_stream.errors import NotNow, RequestError
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer
from zantara_stream.web.failures import ENDINGS, ended_response, error_response, failures

KEYS = {"error", "done", "code", "retryable"}


def every_error(root: type[RequestError] = RequestError) -> list[type[RequestError]]:
    """A class and all below it."""
    return [root, *(error for child in root.__subclasses__() for error in every_error(child))]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
async def test_every_error_becomes_its_status_and_the_contract_s_object(error: type[RequestError]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    response = await failures(make_mocked_request("GET", "/"), handler)
    assert isinstance(response, web.Response)
    assert response.status == error.status
    assert response.text == error_response(error()).text
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    if issubclass(error, NotNow):
        assert response.headers["Retry-After"] == str(error.retry_after)
    else:
        assert "Retry-After" not in response.headers


def test_an_answer_that_ended_in_an_error_has_the_status_of_its_code() -> None:
    for code, error in ENDINGS.items():
        response = ended_response({"error": "x", "code": code}, answer="A")
        assert response.status == error.status
        assert ("Retry-After" in response.headers) == issubclass(error, NotNow)
    assert ended_response({"error": "x", "code": "unheard_of"}).status == 500


async def test_an_unknown_path_is_404(small_index: Path) -> None:
    async with serving(small_index) as server, await server.get("/nowhere", EVENT_STREAM) as response:
        body = await response.json()
        assert response.status == 404
        assert set(body) == KEYS
        assert (body["code"], body["done"], body["retryable"]) == ("invalid_request", True, False)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", STREAM, {"GET", "HEAD", "POST"}),
        ("PUT", CHAT, {"POST"}),
        ("GET", CHAT, {"POST"}),
        ("GET", SEARCH, {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
    ],
)
async def test_another_method_is_405_and_says_which_are_taken(
    small_index: Path, method: str, path: str, allowed: set[str]
) -> None:
    async with serving(small_index) as server, server.session.request(method, server.url + path) as response:
        body = await response.json()
        assert response.status == 405
        assert set(body) == KEYS
        assert set(response.headers["Allow"].split(", ")) >= allowed
        assert method in body["error"]


class FailingEmbedder(HashingEmbedder):
    """An embedder that breaks once it is armed."""

    armed = False

    def encode(self, texts: Any, progress: Any = None) -> Any:
        """One row a text."""
        if self.armed:
            raise ZeroDivisionError("a secret")
        return super().encode(texts, progress)


async def test_a_defect_is_500_with_a_reference_and_its_traceback_is_logged(
    small_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embedder = FailingEmbedder()
    async with serving(small_index, None, embedder) as server:
        embedder.armed = True
        async with await server.post(f"{SEARCH}?secret=parameter", {"query": "a secret question"}) as response:
            body = await response.json()
    assert response.status == 500
    assert set(body) == KEYS
    assert (body["code"], body["retryable"]) == ("internal", False)
    assert "secret" not in str(body)
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    (reference,) = re.findall(r"reference ([0-9a-f]{8})\.", body["error"])
    assert reference in record.getMessage()
    assert SEARCH in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert "parameter" not in caplog.text
    assert "question" not in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (web.HTTPNotFound(), 404, "invalid_request"),
        (web.HTTPForbidden(), 403, "forbidden"),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, "too_large"),
        (web.HTTPUnsupportedMediaType(), 415, "invalid_request"),
        (web.HTTPServiceUnavailable(), 500, "internal"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_the_server_s_own_refusals_have_the_same_shape(error: web.HTTPException, status: int, code: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    response = await failures(make_mocked_request("GET", "/"), handler)
    assert isinstance(response, web.Response)
    assert response.status == status
    assert response.text is not None
    assert f'"code":"{code}"' in response.text


@pytest.mark.parametrize("error", [web.HTTPFound("/"), ConnectionResetError(), asyncio.CancelledError()])
async def test_redirects_and_readers_who_left_are_no_errors(error: BaseException) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    with pytest.raises(type(error)):
        await failures(make_mocked_request("GET", "/"), handler)


# ---------------------------------------------------------------------------------------- refused for now


def _draining(server: Server) -> None:
    server.answers.draining = True


def _without_journal(server: Server) -> None:
    vars(server.answers.journal)["problem"] = "the disk is full"


def _nothing(server: Server) -> None:
    """The index is missing as it is."""


# The first is about streams only.
REFUSALS: list[tuple[str, int, Callable[[Server], None], dict[str, Any]]] = [
    ("overloaded", 5, _nothing, {"max_connections": 0}),
    ("overloaded", 5, _nothing, {"max_answers": 0}),
    ("draining", 5, _draining, {}),
    ("index_unavailable", 10, _nothing, {"missing": True}),
    ("journal_unavailable", 5, _without_journal, {}),
]


@pytest.mark.parametrize(("code", "seconds", "prepare", "settings"), REFUSALS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_event_source_is_told_when_to_come_back(
    small_index: Path,
    tmp_path: Path,
    method: str,
    code: str,
    seconds: int,
    prepare: Callable[[Server], None],
    settings: dict[str, Any],
) -> None:
    # It gives up for ever on any status but 200.
    answerer, settings = ScriptedAnswerer("Hello"), dict(settings)
    index = tmp_path if settings.pop("missing", False) else small_index
    async with starting(index, answerer, **settings) as server:
        await server.library.opened.wait()
        prepare(server)
        waits = set()
        for _ in range(5):
            if method == "GET":
                reader = await server.stream(EVENT_STREAM)
            else:
                reader = Reader(await server.post(STREAM, {"query": QUESTION}, EVENT_STREAM))
            assert (reader.response.status, reader.response.content_type) == (200, "text/event-stream")
            assert reader.response.headers["Cache-Control"] == "no-cache, no-store, no-transform"
            (event,) = await reader.rest()
            assert (event.event, event.id) == ("unavailable", "")
            assert event.json == {"code": code, "retryable": True, "retryAfter": seconds}
            assert event.retry is not None
            assert seconds * 1000 <= event.retry <= seconds * 1500
            assert reader.bytes.startswith(b"retry: ")
            waits.add(event.retry)
        assert len(waits) > 1, "each its own time, so that they do not return at once"
    assert answerer.prompts == []


@pytest.mark.parametrize(
    ("path", "code", "seconds", "prepare", "settings"),
    [(STREAM, *refusal) for refusal in REFUSALS] + [(CHAT, *refusal) for refusal in REFUSALS[1:]],
)
async def test_other_clients_get_503_and_retry_after(
    small_index: Path,
    tmp_path: Path,
    path: str,
    code: str,
    seconds: int,
    prepare: Callable[[Server], None],
    settings: dict[str, Any],
) -> None:
    answerer, settings = ScriptedAnswerer("Hello"), dict(settings)
    index = tmp_path if settings.pop("missing", False) else small_index
    async with starting(index, answerer, **settings) as server:
        await server.library.opened.wait()
        prepare(server)
        async with await server.post(path, {"query": QUESTION}) as response:
            body = await response.json()
            assert response.status == 503
            assert response.headers["Retry-After"] == str(seconds)
            assert set(body) == KEYS
            assert (body["code"], body["retryable"]) == (code, True)
    assert answerer.prompts == []


@pytest.mark.parametrize("named", ["continuity_id", "last_event_id", "id"])
async def test_too_many_readers_of_one_answer_are_refused_for_now(small_index: Path, named: str) -> None:
    answerer = ScriptedAnswerer("a", gate := asyncio.Event())
    async with serving(small_index, answerer, max_readers=1) as server:
        reader = await server.stream(continuity_id="c")
        start = await reader.next()
        path = f"{ANSWERS_BY_ID}/{start.json['answer']}/events" if named == "id" else STREAM
        asked = {"continuity_id": "c", "query": QUESTION} if named == "continuity_id" else {"last_event_id": start.id}
        async with await server.get(path, None, **asked) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "5")
            assert set(await response.json()) == KEYS
            assert (await response.json())["code"] == "rate_limited"
        refused = Reader(await server.get(path, EVENT_STREAM, **asked))
        (event,) = await refused.rest()
        assert (refused.response.status, event.event) == (200, "unavailable")
        assert event.json == {"code": "rate_limited", "retryable": True, "retryAfter": 5}
        gate.set()
        assert await reader.text() == "a"
        assert await Reader(await server.get(path, EVENT_STREAM, **asked)).text() == "a"
    assert len(answerer.prompts) == 1


async def test_an_answer_that_was_refused_by_a_full_disk_is_answered_once_it_is_mended(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    answerer = ScriptedAnswerer("a", gate := asyncio.Event(), "b")
    journal = f"sqlite:///{tmp_path}/answers.db"
    async with serving(small_index, answerer, journal=journal, lease=0.2) as server:
        reader = await server.stream(continuity_id="c")
        await reader.next()
        last = await reader.next()
        with monkeypatch.context() as broken:
            for work in ("create", "commit", "probe", "renew", "claim"):
                broken.setattr(Database, work, full)
            gate.set()
            (end,) = await reader.rest()
            assert (end.json["code"], end.json["retryable"], end.id) == ("journal_unavailable", True, last.id)
            async with await server.post(STREAM, {"query": QUESTION}) as response:
                assert (response.status, (await response.json())["code"]) == (503, "journal_unavailable")
            async with await server.get("/ready") as response:
                assert (response.status, (await response.json())["code"]) == (503, "journal_unavailable")
            (event,) = await (await server.stream(EVENT_STREAM)).rest()
            assert (event.event, event.json["code"]) == ("unavailable", "journal_unavailable")
        back = await server.resume(last.id)  # which shows how it is taken up again
        assert await back.text() == "ab"
        async with await server.get("/ready") as response:
            assert response.status == 200
    assert [prompt.written for prompt in answerer.prompts] == ["", "a"]


async def test_what_waiting_does_not_mend_keeps_its_status_for_an_event_source(small_index: Path) -> None:
    async with serving(small_index) as server:
        for headers, parameters, status in (
            ({}, {}, 400),
            ({"Origin": "http://evil.example"}, {"query": QUESTION}, 403),
            ({}, {"query": "x" * 100_000}, 413),
            ({"Host": "evil.example"}, {"query": QUESTION}, 421),
        ):
            async with await server.get(STREAM, {**EVENT_STREAM, **headers}, **parameters) as response:
                assert response.status == status
                assert set(await response.json()) == KEYS


# --------------------------------------------------------------------------------------- malformed requests


@pytest.mark.parametrize(
    "request_line",
    [b"GET /bali-zero/chat-stream?query=" + b"secret" * 50_000 + b" HTTP/1.1", b"GET /secret HTTP/9.9", b"secret"],
    ids=["long", "version", "nonsense"],
)
async def test_a_malformed_request_is_refused_and_its_address_not_logged(
    small_index: Path, request_line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(small_index) as server:
        caplog.clear()
        response = await server.raw(request_line + b"\r\nHost: localhost\r\n\r\n")
        assert response.split(b" ")[1] == b"400"
    assert "secret" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)
