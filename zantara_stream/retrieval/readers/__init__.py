"""Files read as documents: one reader a format, chosen by name and held to the content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..documents import Document, Unreadable
from .details import NOTHING, Draft, complete
from .epub import read_epub
from .html import read_html
from .markdown import read_markdown
from .pdf import read_pdf
from .plain import read_plain
from .records import read_json, read_json_lines
from .sidecar import read_sidecar
from .table import read_csv, read_tsv
from .word import read_docx

Reader = Callable[[bytes], Draft]

READERS: dict[str, Reader] = {
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".txt": read_plain,
    ".text": read_plain,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".epub": read_epub,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
}


def reader_for(path: str) -> Reader | None:
    """The reader of a file of that name, or None where the format is not one of ours."""
    return READERS.get(PurePosixPath(path).suffix.lower())


def read_document(path: str, file: Path, sidecar: Path | None = None) -> Document:
    """Read one file and its sidecar. Raises `Unreadable` with the reason, whatever its parser said."""
    reader = reader_for(path)
    if reader is None:
        raise Unreadable(f"is not of a known format ({', '.join(READERS)})")
    metadata = read_sidecar(sidecar) if sidecar else NOTHING
    data = file.read_bytes()
    try:
        draft = reader(data)
    except (Unreadable, MemoryError):
        raise
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    except Exception as error:  # parsers raise whatever a damaged file makes them raise
        raise Unreadable(f"is damaged: {type(error).__name__}: {error}") from error
    return complete(path, draft, metadata)
