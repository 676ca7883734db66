"""Answers as OpenTelemetry traces, with the names for generative AI; the extra `tracing` has what this needs.

An observer of logs that have closed: the log says when everything happened, so nothing is measured twice and nothing
is done while an answer is written. Where traces go is said by the SDK's own variables, `OTEL_EXPORTER_OTLP_ENDPOINT`
and the like. What was asked, what was answered and by whom is in no span.
https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from . import __version__
from .answers.answer import Answer
from .answers.events import unframe
from .config import EXTRACTIVE

_USAGE = {
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cache_read_input_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "cache_creation_input_tokens",
}


class Traces:
    """Makes one trace of each answer that ended: the whole, its retrieval, and what the model wrote."""

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        about = Resource.create({SERVICE_NAME: "zantara-stream", SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=about)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("zantara_stream", __version__)

    def trace(self, answer: Answer) -> None:
        """Make the trace of an answer whose log has closed."""
        end = unframe(answer.log.frames()[-1])
        began, total = answer.opening.started, end["streamDuration"]
        timings = end.get("timings", {})
        searched = began + timings.get("retrieval", 0.0)
        whole = self._span("answer", began, attributes={"zantara.answer": answer.id})
        if "retrieval" in timings:
            self._span("retrieval", began, whole).end(_nanoseconds(searched))
        model = end.get("model", answer.model)
        writing = self._span(f"chat {model}", searched, whole, _written(end, model), SpanKind.CLIENT)
        first = max(searched, began + timings.get("firstChunk", 0.0))  # each is rounded
        ended = max(first, began + total)
        if "firstChunk" in timings:
            writing.add_event("first_chunk", timestamp=_nanoseconds(first))
        for span in (writing, whole):
            if "error" in end:
                span.set_attribute("error.type", end["code"])
                span.set_status(Status(StatusCode.ERROR))
            span.end(_nanoseconds(ended))

    def _span(
        self,
        name: str,
        began: float,
        inside: Span | None = None,
        attributes: Mapping[str, Any] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        context = None if inside is None else set_span_in_context(inside)
        return self._tracer.start_span(name, context, kind, attributes, start_time=_nanoseconds(began))

    def close(self) -> None:
        """Send what is waiting; takes up to some seconds where nobody listens."""
        self._provider.shutdown()


def _written(end: Mapping[str, Any], model: str) -> dict[str, Any]:
    usage = end.get("usage", {})
    reason = {"gen_ai.response.finish_reasons": [end["stopReason"]]} if "stopReason" in end else {}
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "zantara" if model == EXTRACTIVE else "anthropic",
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        **reason,
        **{name: usage[counted] for name, counted in _USAGE.items() if counted in usage},
    }


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
