"""Documents parsed in a process of their own, so that a parser that dies or never ends takes one file with it.

The process is a new interpreter that imports the readers and nothing else: `multiprocessing` would import the
parent's main module too, and with it torch and faiss. It gets no settings and no keys, and answers in JSON.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import CorpusError
from .documents import Document, Unreadable
from .readers.transfer import decoded
from .readers.worker import OUT_OF_MEMORY

READER = "zantara_stream.retrieval.readers:read_document"
START_LIMIT = 120.0  # seconds
ANSWER_LIMIT = 512 * 1024 * 1024  # bytes
PATIENCE = 5.0  # seconds
_CHUNK = 1024 * 1024
_ENVIRONMENT = ("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONUTF8", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may take."""

    seconds: float = 60.0
    # Bytes above what the process has after its imports. 20 MB of nested HTML or 100 MB of XML, the largest that
    # are read, need several hundred; less than this and good files fail, more and a small machine swaps.
    memory: int = 1024 * 1024 * 1024


class IsolatedReader:
    """Reads documents in one process, begun at the first file and anew after a file that ended it."""

    def __init__(self, limits: Limits = Limits(), reader: str = READER) -> None:
        self.limits = limits
        self._reader = reader
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            _end(self._process)

    def read(self, path: str, file: Path, sidecar: Path | None = None) -> Document:
        """Read one file and its sidecar. Raises `Unreadable`, or `CorpusError` where no process can be started."""
        process = self._running()
        try:
            answer = self._asked(process, {"path": path, "file": str(file), "sidecar": str(sidecar or "")})
            return decoded(answer, path)
        except ValueError:
            _end(process)
            raise Unreadable("made its reader answer nonsense") from None

    def _asked(self, process: subprocess.Popen[bytes], request: dict[str, str]) -> bytes:
        try:
            _send(process, request)
            line = _line(process, self.limits.seconds)
        except TimeoutError:
            _end(process)
            raise Unreadable(self._too_long) from None
        except BaseException:  # an answer that was not waited for must not be taken for the next file's
            _end(process)
            raise
        if not line:
            raise Unreadable(self._cause(_end(process, PATIENCE)))
        return line

    @property
    def _too_long(self) -> str:
        return f"took more than {self.limits.seconds:g} s to read"

    def _cause(self, code: int) -> str:
        if code == OUT_OF_MEMORY:
            return f"needs more memory than {self.limits.memory // 2**20} MB"
        if code == -signal.SIGXCPU:
            return self._too_long
        return f"made its reader crash ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = _started([str(self.limits.seconds), str(self.limits.memory), self._reader])
        return self._process


def _started(arguments: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "zantara_stream.retrieval.readers.worker", *arguments],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
        start_new_session=True,  # Ctrl-C is for the parent, which then ends this one
    )
    try:
        if _line(process, START_LIMIT):
            return process
    except TimeoutError:
        pass
    except BaseException:
        _end(process)
        raise
    code = _end(process, PATIENCE)
    raise CorpusError(f"The process that reads documents could not be started (exit code {code}).")


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path),
        "OPENBLAS_NUM_THREADS": "1",  # numpy would reserve address space for a thread a core
        "OMP_NUM_THREADS": "1",
    }


def _send(process: subprocess.Popen[bytes], request: dict[str, str]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it is dead: what is read from it says so
        process.stdin.write(json.dumps(request).encode() + b"\n")


def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """The next line that a process writes; empty where it ended. Raises `TimeoutError`, `ValueError` for too much."""
    assert process.stdout is not None
    deadline, chunks, size = time.monotonic() + seconds, [b""], 0
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    while not chunks[-1].endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        chunk = os.read(process.stdout.fileno(), _CHUNK)
        chunks.append(chunk)
        size += len(chunk)
        if not chunk:
            return b""
        if size > ANSWER_LIMIT:
            raise ValueError(f"an answer of more than {ANSWER_LIMIT} bytes")
    return b"".join(chunks)


def _end(process: subprocess.Popen[bytes], patience: float = 0) -> int:
    """End a process, after `patience` seconds to do so by itself; its exit code."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    return process.wait()
