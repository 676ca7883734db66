"""An index of one short document, for runs outside of pytest."""

from __future__ import annotations

from pathlib import Path

from zantara_stream.retrieval import builder
from zantara_stream.retrieval.reading import fingerprint, read_folder
from zantara_stream.testing import HashingEmbedder

DOCUMENT = """\
# Renewing a permit

A permit is renewed at the immigration office before it ends. Renewal costs Rp 3 million for one year.

## Documents

The passport of the holder is valid for 18 months at renewal.
"""


def small_index(folder: Path) -> Path:
    """The folder of the index, made in that folder."""
    documents, index = folder / "documents", folder / "index"
    documents.mkdir()
    (documents / "permits.md").write_text(DOCUMENT, encoding="utf-8")
    builder.build(read_folder(documents), HashingEmbedder(), index, fingerprint(documents))
    return index
