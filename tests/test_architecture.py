"""The house's two rules as tables: arrows point one way, and each third-party package has one importer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "zantara_stream"

_RECORD = ("afterwards", "recording")

# What each room may import of ours.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "allowed": set(),
    "settings_file": {"errors"},
    "config": {"errors", "allowed", "settings_file", ""},
    "exposure": {"errors", "allowed", "config", ""},
    "sqlite_file": set(),
    "redis_connection": set(),
    "cancelling": set(),
    "loop": set(),
    "tally": set(),
    "metrics": {"tally"},
    "answers": {"errors", "metrics", "sqlite_file", "redis_connection", "cancelling"},
    "retrieval": {"errors", "config", "metrics", ""},
    "people": {"errors", "allowed", "config", "metrics", "sqlite_file"},
    "generation": {"errors", "config", "metrics", "people", "retrieval"},
    "pipeline": {"answers", "people", "retrieval", "generation"},
    "afterwards": {"errors", "cancelling", "config", "metrics", "answers", "people", "generation"},
    "logs": {"config", "answers"},
    "measuring": {"errors", "config", "metrics", "answers", "generation"},
    "tracing": {"config", "answers", ""},
    "recording": {"errors", "cancelling", "config", "afterwards", "answers", "people", "generation", "pipeline"},
    "web": {
        "errors",
        "allowed",
        "metrics",
        "redis_connection",
        "answers",
        "people",
        "retrieval",
        "generation",
        "pipeline",
        "",
    },
    "parts": {
        "errors",
        "redis_connection",
        "web",
        "config",
        "answers",
        "people",
        "retrieval",
        "generation",
        "pipeline",
        "afterwards",
        "recording",
        "measuring",
        "tracing",
    },
    "app": {
        "cancelling",
        "errors",
        "config",
        "measuring",
        "answers",
        "retrieval",
        "generation",
        "pipeline",
        "recording",
        "parts",
        "web",
    },
    "supervisor": {"errors", "config"},
    "listening": {"errors", "config"},
    "serving": {"config", "exposure", "listening", "retrieval", "app", "supervisor", "web"},
    "workers": {"errors", "cancelling", "config", "exposure", "listening", "supervisor"},
    "worker": {"supervisor", "cli"},
    "terminal": {
        "errors",
        "config",
        "exposure",
        "answers",
        "people",
        "retrieval",
        "generation",
        "pipeline",
        "web",
        "parts",
    },
    "evaluation": {"errors", "config", "retrieval"},
    "backup": {"errors", "config", "sqlite_file", "answers", ""},
    "restore": {"config", "answers", "backup"},
    "cli": {
        "logs",
        "loop",
        "workers",
        "supervisor",
        "backup",
        "restore",
        "errors",
        "config",
        "retrieval",
        "evaluation",
        "serving",
        "terminal",
    },
    "testing": {"retrieval", "generation"},
    "__main__": {"cli"},
    "__init__": set(),
}

# Where each third-party package may be imported; the rooms that speak HTTP share aiohttp.
IMPORTERS: dict[str, set[str]] = {
    "aiohttp": {"web", "app", "serving", "generation/body"},
    "alembic": {"people/migrating", "people/migrations"},
    "aiohttp_cors": {"web/cors"},
    "aiohttp_sse": {"web/sse"},
    "anthropic": {"generation/sdk", "generation/claude"},
    "httpx2": {"generation/sdk"},
    "bm25s": {"retrieval/lexical"},
    "dask": {"retrieval/sharding"},
    "distributed": {"retrieval/sharding"},
    "docx": {"retrieval/readers/word"},
    "dotenv": {"settings_file"},
    "faiss": {"retrieval/index", "retrieval/recall"},
    "huggingface_hub": {"retrieval/embedding", "retrieval/reranker"},
    "jwt": {"people/identity", "people/keys"},
    "markdown_it": {"retrieval/readers/markdown"},
    "mdit_py_plugins": {"retrieval/readers/markdown"},
    "numpy": {"retrieval", "evaluation", "testing"},
    "onnxruntime": {"retrieval/encoder", "retrieval/export"},
    "opentelemetry": {"tracing"},
    "prometheus_client": {"metrics", "tally"},
    "grpc": {"retrieval/milvus_connection"},
    "pymilvus": {"retrieval/milvus", "retrieval/milvus_connection"},
    "py3langid": {"retrieval/language"},
    "redis": {"redis_connection"},
    "pypdfium2": {"retrieval/readers/pdf"},
    "selectolax": {"retrieval/readers/html"},
    "semantic_text_splitter": {"retrieval/splitting"},
    "sentence_transformers": {"retrieval/embedding", "retrieval/reranker"},
    "sentencex": {"retrieval/sentences"},
    "sqlalchemy": {"people"},
    "Stemmer": {"retrieval/lexical"},
    "stopwordsiso": {"retrieval/lexical"},
    "tokenizers": {"retrieval/encoder"},
    "torch": {"retrieval/embedding", "retrieval/export"},
    "tqdm": {"retrieval/builder", "evaluation"},
    "transformers": {"retrieval/embedding"},
    "uvloop": {"loop"},
    "yaml": {"retrieval/readers/metadata"},
}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imports(module: Path) -> Iterator[tuple[str, bool]]:
    """Every name that a module imports, with whether it is ours (then from the package's root)."""
    package = ["zantara_stream", *module.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or "", False
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1][1:]
            yield ".".join([*base, *(node.module or "").split(".")]).strip("."), True


def room(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("module", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_arrows_point_one_way(module: Path) -> None:
    own = module.relative_to(ROOT).parts[0].removesuffix(".py")
    reached = {room(name) for name, ours in imports(module) if ours} - {own}
    assert reached <= ARROWS[own], f"{own} must not import {sorted(reached - ARROWS[own])}"


@pytest.mark.parametrize("module", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_package_has_its_importer(module: Path) -> None:
    place = module.relative_to(ROOT).as_posix().removesuffix(".py")
    for name, ours in imports(module):
        allowed = IMPORTERS.get(room(name))
        if not ours and allowed is not None:
            assert any(place == home or place.startswith(f"{home}/") for home in allowed), f"{place} imports {name}"


def test_every_dependency_stands_in_the_table() -> None:
    third_party = {
        room(name)
        for module in modules()
        for name, ours in imports(module)
        if not ours and room(name) not in STANDARD_LIBRARY
    }
    assert third_party == set(IMPORTERS)


STANDARD_LIBRARY = set(__import__("sys").stdlib_module_names)
