"""What is measured while serving; Prometheus reads it at /metrics."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

EXPOSITION_TYPE = CONTENT_TYPE_LATEST

CITATIONS = Counter("zantara_citations_total", "Citations checked against the stored document", ["verified"])
RETRIEVAL = Histogram(
    "zantara_retrieval_seconds",
    "Time of a search by stage",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
INDEX_INFO = Gauge("zantara_index_info", "The build of the index that is served", ["build", "model"])
INDEX_BUILT = Gauge("zantara_index_built_timestamp_seconds", "When the build that is served was made")
INDEX_REFUSED = Counter("zantara_index_refused_total", "Builds that were found damaged or of another model")
BACKGROUND_TOKENS = Counter(
    "zantara_background_tokens_total", "Tokens paid for beside answers: for memory and summaries", ["purpose", "type"]
)
for _value in ("true", "false"):
    CITATIONS.labels(verified=_value)  # there from the start, so that the first one counts as a rise


def exposition() -> bytes:
    """All of it, as `EXPOSITION_TYPE` says."""
    return generate_latest()
