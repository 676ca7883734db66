"""What tests share: the sample documents' index made with the real model, and a small one made without."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from zantara_stream.retrieval import builder
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder
from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.reading import fingerprint, read_folder
from zantara_stream.testing import HashingEmbedder

DOCUMENTS = Path(__file__).resolve().parent.parent / "documents"

SMALL_CORPUS = {
    "permits/renewal.md": (
        "---\nlanguage: en\nupdated: 2026-01-31\nurl: https://example.com/renewal\n---\n"
        "# Renewing a permit\n\n"
        "A permit is renewed at the immigration office before it ends.\n\n"
        "## Fees\n\n"
        "Renewal costs Rp 3 million for one year. Late renewal is fined Rp 1 million a day.\n\n"
        "## Documents\n\n- The passport, valid for 18 months.\n- A letter of the sponsor.\n"
    ),
    "companies/capital.txt": (
        "Capital of a company\n\nUpdated: 2026-02-28\n\n"
        "The founders pay Rp 10 billion into the account of the company.\n\n"
        "1. PROOF\n\nThe bank confirms the deposit with a letter.\n"
    ),
    "pajak.html": (
        '<html lang="id"><head><title>Pajak</title></head><body><nav>Beranda</nav><h1>Pajak penghasilan</h1>'
        "<p>Laporan pajak tahunan disampaikan paling lambat tanggal 31 Maret.</p>"
        "<h2>Denda</h2><p>Keterlambatan melapor dikenai denda seratus ribu rupiah.</p></body></html>"
    ),
    "villa.md": "# Case in Bali\n\nLa villa si affitta per venticinque anni, e il notaio controlla il certificato.\n",
}


WHOLE = ("faults", "chaos", "browser", "web/test_secrets", "deploy")  # whole servers, from outside
SLOW = (*WHOLE, "retrieval/test_b", "retrieval")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left with one at the end."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((n for n, beginning in enumerate(SLOW) if path.startswith(beginning)), len(SLOW))

    items.sort(key=place)
    for item in items:
        # To measure them takes two thirds as long again: hundreds of examples go through the same lines, and so does
        # what a browser, a proxy or a fault has done by servers.
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False) or place(item) < len(WHOLE):
            item.add_marker(pytest.mark.no_cover)


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """What `make` makes at a path: once for all processes of this run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / f"{name}.made").exists():
            make(folder / name)
            (folder / f"{name}.made").touch()
    return folder / name


@pytest.fixture(scope="session")
def passages_of_documents() -> list[str]:
    """Stretches of the sample documents' text."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(DOCUMENTS.rglob("*.md"))]
    return [text[start : start + 600] for text in texts for start in range(0, len(text), 600)][:120]


@pytest.fixture(scope="session")
def real_embedder() -> SentenceTransformerEmbedder:
    """The packaged model, loaded once."""
    return SentenceTransformerEmbedder()


@pytest.fixture(scope="session")
def sample_index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index folder of the sample documents, built by the command with the real model; not to be written to."""

    def build(out: Path) -> None:
        real_embedder = request.getfixturevalue("real_embedder")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(builder, "SentenceTransformerEmbedder", lambda setting: real_embedder)
            assert builder.main([str(DOCUMENTS), "--out", str(out)]) == builder.WELL

    return made_once(tmp_path_factory, "sample", build)


@pytest.fixture(scope="session")
def packaged_encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the packaged model's query encoder; not to be written to."""

    def export(folder: Path) -> None:
        request.getfixturevalue("real_embedder").export(folder, request.getfixturevalue("passages_of_documents"))

    return made_once(tmp_path_factory, "encoder", export)


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four short documents; not to be written to."""
    root = tmp_path_factory.mktemp("small") / "documents"
    for path, text in SMALL_CORPUS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def small_index(small_corpus: Path) -> Path:
    """The index folder of the small corpus, built with `HashingEmbedder()`; not to be written to."""
    out = small_corpus.parent / "index"
    builder.build(read_folder(small_corpus), HashingEmbedder(), out, fingerprint(small_corpus))
    return out


@pytest.fixture
async def library(small_index: Path) -> AsyncIterator[Library]:
    """The small index, open."""
    opened = Library(small_index, HashingEmbedder.load)
    await opened.open()
    yield opened
    opened.close()
