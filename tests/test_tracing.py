"""Answers as traces."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from server import QUESTION, serving

from zantara_stream import app, parts
from zantara_stream.config import Settings
from zantara_stream.errors import ConfigError, ModelTimeout
from zantara_stream.generation.answerer import Finish
from zantara_stream.testing import ScriptedAnswerer
from zantara_stream.tracing import Traces

USAGE = {"input_tokens": 20, "output_tokens": 5, "cache_read_input_tokens": 3}


async def traced(monkeypatch: pytest.MonkeyPatch, index: Path, answerer: ScriptedAnswerer) -> dict[str, ReadableSpan]:
    """The spans of one question, by name."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(app, "make_traces", lambda settings: Traces(SimpleSpanProcessor(exporter)))
    async with serving(index, answerer, traces=True) as server:
        await (await server.stream(user_email="quince@example.com")).rest()
    return {span.name: span for span in exporter.get_finished_spans()}


def lasted(span: ReadableSpan) -> tuple[int, int]:
    """When it began and ended, in nanoseconds."""
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


async def test_an_answer_is_a_trace_with_its_retrieval_and_what_the_model_wrote(
    monkeypatch: pytest.MonkeyPatch, small_index: Path
) -> None:
    script = ("Late renewal ", "is fined.", Finish("max_tokens", USAGE))
    spans = await traced(monkeypatch, small_index, ScriptedAnswerer(*script, model="claude-haiku-4-5"))
    assert set(spans) == {"answer", "retrieval", "chat claude-haiku-4-5"}
    whole, chat = spans["answer"], spans["chat claude-haiku-4-5"]
    assert whole.parent is None
    for inner in (spans["retrieval"], chat):
        assert inner.parent == whole.context
        assert lasted(whole)[0] <= lasted(inner)[0] <= lasted(inner)[1] <= lasted(whole)[1]
    assert lasted(spans["retrieval"])[1] == lasted(chat)[0]
    assert dict(chat.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-haiku-4-5",
        "gen_ai.response.model": "claude-haiku-4-5",
        "gen_ai.response.finish_reasons": ("max_tokens",),
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 3,
    }
    ((name, time),) = [(event.name, event.timestamp) for event in chat.events]
    assert name == "first_chunk"
    assert lasted(chat)[0] <= time <= lasted(chat)[1]
    said = "".join(span.to_json() for span in spans.values())
    assert "quince" not in said
    assert QUESTION not in said
    assert "renewal" not in said


async def test_a_failure_is_a_trace_too(monkeypatch: pytest.MonkeyPatch, small_index: Path) -> None:
    spans = await traced(monkeypatch, small_index, ScriptedAnswerer(ModelTimeout(retryable=False), model="m"))
    assert set(spans) == {"answer", "chat m"}
    for span in spans.values():
        assert not span.status.is_ok
        assert (span.attributes or {})["error.type"] == "model_timeout"


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    assert parts.make_traces(Settings()) is None


def test_what_is_missing_for_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zantara_stream.tracing", None)
    with pytest.raises(ConfigError, match=r"ZANTARA_TRACES=true needs .*tracing"):
        parts.make_traces(Settings(traces=True))


async def test_traces_go_where_the_sdk_s_variables_say(monkeypatch: pytest.MonkeyPatch, small_index: Path) -> None:
    got: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.read())
        return web.Response()

    collector = web.Application()
    collector.router.add_post("/v1/traces", take)
    runner = web.AppRunner(collector)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
        async with serving(small_index, ScriptedAnswerer("Hello", model="some-model"), traces=True) as server:
            await (await server.stream()).rest()
    finally:
        await runner.cleanup()
    (sent,) = got
    request = ExportTraceServiceRequest.FromString(sent)
    spans = [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
    assert {span.name for span in spans} == {"answer", "retrieval", "chat some-model"}
    assert len({span.trace_id for span in spans}) == 1
