"""What is measured while serving; Prometheus reads it at /metrics.

Base units, and no person, question or id in a label. Those of a fixed set of labels are there from the start, so that
the first event counts as a rise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from .tally import Tally

EXPOSITION_TYPE = CONTENT_TYPE_LATEST

_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_WAITING = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_LONG = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0)


def _counter(name: str, meaning: str, label: str, values: Iterable[str]) -> Counter:
    counter = Counter(name, meaning, [label])
    for value in values:
        counter.labels(value)
    return counter


# ------------------------------------------------------------------------------------------------ answers and readers

CONNECTIONS = Gauge("zantara_connections", "Event streams that are open")
ANSWERS_RUNNING = Gauge("zantara_answers_running", "Answers that are being written here")
ANSWERS = Counter(
    "zantara_answers_total", "Answers that ended here, by stop reason or error code, and model", ["outcome", "model"]
)
REQUESTS = _counter(
    "zantara_requests_total",
    "Requests for an answer: that began one, came back to one, joined one, or were refused",
    "kind",
    ("new", "resume", "join", "refused"),
)
FIRST_CHUNK = Histogram("zantara_time_to_first_chunk_seconds", "From the question to its first text", buckets=_WAITING)
CHUNKS = Tally(
    ("zantara_chunks", "Chunks of text that were recorded"),
    ("zantara_chunk_gap_seconds", "Between two chunks of text of one answer"),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
ANSWER_DURATION = Histogram("zantara_answer_duration_seconds", "From the question to its answer's end", buckets=_LONG)
CONNECTION_DURATION = Histogram("zantara_connection_duration_seconds", "How long a stream was open", buckets=_LONG)
REPLAYED_CHUNKS = Counter("zantara_replayed_chunks_total", "Chunks of text that readers got after they had come back")
END, LEFT, STUCK, BROKEN_OFF = "end", "left", "write_deadline", "broken_off"
DISCONNECTS = _counter(
    "zantara_disconnects_total",
    "Streams that ended: with their answer, as the reader left or took nothing, or as the answer was broken off here",
    "cause",
    (END, LEFT, STUCK, BROKEN_OFF),
)
WRITE_DEADLINES = Counter(
    "zantara_write_deadline_exceeded_total", "Streams that were ended since their readers took nothing for too long"
)
GAPS = Counter("zantara_gaps_total", "Readers who came back to events that are no longer held")
TAKEOVERS = Counter("zantara_takeovers_total", "Unfinished answers that were gone on with here")
FENCED = Counter("zantara_fenced_appends_total", "Appends that were refused since another node writes the answer")
REFUSALS = Counter("zantara_refusals_total", "Requests that were refused, by error code", ["reason"])
DRAINING = Gauge("zantara_draining", "1 while the server stops")

# ------------------------------------------------------------------------------------------------------- the provider

UPSTREAM_REQUESTS = Counter(
    "zantara_upstream_requests_total", "Requests to the model's provider, `ok` or by error code", ["model", "code"]
)
UPSTREAM_RETRIES = _counter(
    "zantara_upstream_retries_total",
    "Requests that were tried again: before they began, after they broke off, by another model",
    "reason",
    ("status", "broken_off", "fallback"),
)
BREAKER_OPEN = Gauge("zantara_breaker_open", "1 while a model is not asked since it has been failing", ["model"])
TOKENS = _counter(
    "zantara_tokens_total", "Tokens paid for, by type", "type", ("input", "output", "cache_read", "cache_creation")
)
ABANDONED_TOKENS = Counter(
    "zantara_abandoned_tokens_total", "Tokens of text that was written after the last reader had left, estimated"
)
COST = Counter("zantara_cost_dollars_total", "What the tokens cost, by the price table", ["model"])
BACKGROUND_TOKENS = Counter(
    "zantara_background_tokens_total", "Tokens paid for beside answers: for memory and summaries", ["purpose", "type"]
)

# -------------------------------------------------------------------------------------------- what answers are made of

CITATIONS = _counter(
    "zantara_citations_total", "Citations checked against the stored document", "verified", ("true", "false")
)
RETRIEVAL = Histogram("zantara_retrieval_seconds", "Time of a search by stage", ["stage"], buckets=_SHORT)
INDEX_INFO = Gauge("zantara_index_info", "The build of the index that is served", ["build", "model"])
INDEX_BUILT = Gauge("zantara_index_built_timestamp_seconds", "When the build that is served was made")
INDEX_REFUSED = Counter("zantara_index_refused_total", "Builds that were found damaged or of another model")

# ------------------------------------------------------------------------------------------------------ what it runs on

JOURNAL_COMMIT = Histogram(
    "zantara_journal_commit_seconds", "From handing a batch of events to the journal until it has them", buckets=_SHORT
)
LOOP_LAG = Histogram("zantara_event_loop_lag_seconds", "How late the event loop comes to what is due", buckets=_SHORT)


def exposition() -> bytes:
    """All of it, as `EXPOSITION_TYPE` says."""
    return generate_latest()


class _Merged(Collector):
    """What several processes have told, each sample labelled with whose it is."""

    def __init__(self, told: Mapping[str, bytes]) -> None:
        self._told = told

    def collect(self) -> Iterable[Metric]:
        """One family for all, of each name."""
        families: dict[str, Metric] = {}
        for worker, text in sorted(self._told.items()):
            for family in text_string_to_metric_families(text.decode()):
                kept = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                own = {"worker": worker}
                kept.samples += [sample._replace(labels=sample.labels | own) for sample in family.samples]
        return families.values()


def merged(told: Mapping[str, bytes]) -> bytes:
    """The expositions of several processes as one, each sample with its `worker`."""
    registry = CollectorRegistry()
    registry.register(_Merged(told))
    return generate_latest(registry)


def metrics_table() -> str:
    """What is ours of it, as the Markdown table that docs/metrics.md shows."""
    rows = ["| metric | type | labels | what it is |", "|---|---|---|---|"]
    for kind, name, meaning, labels in _ours():
        total = "_total" if kind == "counter" else ""
        rows.append(f"| `{name}{total}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {meaning} |")
    return "\n".join(rows)


def _ours() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """The type, the name, the meaning and the labels of each."""
    for metric in globals().values():
        if isinstance(metric, MetricWrapperBase):
            yield str(metric._type), metric._name, metric._documentation, tuple(metric._labelnames)
        elif isinstance(metric, Tally):
            for kind, name, meaning in metric.families:
                yield kind, name, meaning, ()
