"""The process that parses documents: limited by the kernel, asked and answering in lines of JSON.

    python -m zantara_stream.retrieval.readers.worker SECONDS BYTES MODULE:FUNCTION

Read one request `{"path", "file", "sidecar"}` a line from standard input; write one line for each: the document,
or `{"problem": reason}`. The first line, written when all is imported, is empty.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import BinaryIO

from ..documents import Document, Unreadable
from ..language import language_of
from .transfer import encoded, encoded_problem

OUT_OF_MEMORY = 77  # exit code

ReadDocument = Callable[[str, Path, Path | None], Document]


def main(arguments: Sequence[str]) -> None:
    """Read documents until the requests end."""
    seconds, memory, reader = float(arguments[0]), int(arguments[1]), resolve_name(arguments[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a parser prints must not stand among the answers
    language_of("Load the model before memory is measured.")
    limit_memory(memory)
    try:
        serve(sys.stdin.buffer, answers, reader, seconds)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # at once: whatever else is done needs memory
    except BrokenPipeError:  # whoever asked is gone
        os._exit(0)


def serve(requests: Iterable[bytes], answers: BinaryIO, reader: ReadDocument, seconds: float) -> None:
    """Answer each request; a file may take that many seconds of the processor."""
    answers.write(b"\n")
    answers.flush()
    for request in requests:
        limit_time(seconds)
        answers.write(_answer(json.loads(request), reader))
        answers.flush()


def _answer(request: dict[str, str], reader: ReadDocument) -> bytes:
    sidecar = Path(request["sidecar"]) if request["sidecar"] else None
    try:
        return encoded(reader(request["path"], Path(request["file"]), sidecar))
    except Unreadable as problem:
        reason = str(problem)
    except OSError as error:
        reason = f"cannot be opened ({error.strerror})"
    return encoded_problem(reason)


def limit_memory(more: int) -> None:
    """Allow `more` bytes of address space than are taken now, and no core files."""
    _lower(resource.RLIMIT_CORE, 0)
    statm = Path("/proc/self/statm")
    if statm.exists():  # elsewhere the kernel neither counts nor limits it
        _lower(resource.RLIMIT_AS, int(statm.read_text().split()[0]) * resource.getpagesize() + more)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def limit_time(more: float) -> None:
    """Allow `more` seconds of the processor than were used, after which the kernel ends the process."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    value = math.ceil(time.process_time() + more)
    resource.setrlimit(resource.RLIMIT_CPU, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    main(sys.argv[1:])
