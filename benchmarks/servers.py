"""Server processes that are measured: ours as `serve` runs it, and those that it is measured against."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
_SCHEDULED = 2  # of the clocks that Linux keeps of a process: what the scheduler gave it, to the nanosecond
CORES = sorted(os.sched_getaffinity(0))
# Settings of ours, and one that has each start compile all of our code again.
OTHERS = "ZANTARA_", "ANTHROPIC_", "PYTHONDONTWRITEBYTECODE"
LOAD, MEASURED = {CORES[0]}, {CORES[-1]}  # cores: what makes the load, and what is measured


@dataclass(slots=True)
class Process:
    """A process that serves at `url`, with its workers if it has some."""

    pid: int
    url: str

    @property
    def pids(self) -> list[int]:
        """The process and its workers."""
        workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, workers)]

    @property
    def cpu(self) -> float:
        """The CPU seconds that it took so far."""
        return sum(time.clock_gettime(~pid << 3 | _SCHEDULED) for pid in self.pids)

    @property
    def memory(self) -> int:
        """The KiB that it has resident."""
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids]
        return sum(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) for status in statuses)


def plain() -> dict[str, str]:
    """This process's environment as a fresh server is to have it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}


@contextmanager
def started(command: Sequence[str], cores: set[int], **environment: str) -> Iterator[Process]:
    """A process on these cores that prints its port or its address when it serves."""
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=plain() | environment, stdout=subprocess.PIPE, text=True
    ) as process:
        os.sched_setaffinity(process.pid, cores)
        try:
            assert process.stdout is not None
            found = re.search(r"(\d+)(?: |$)", process.stdout.readline())
            assert found is not None, f"{command} does not serve"
            yield Process(process.pid, f"http://127.0.0.1:{found[1]}")
        finally:
            process.kill()  # workers end with it


@contextmanager
def upstream() -> Iterator[Process]:
    """The model's stand-in."""
    with started(["-m", "benchmarks.paced_upstream"], LOAD) as process:
        yield process


@contextmanager
def ours(model: str, cores: set[int] = MEASURED, workers: int = 1, **settings: str) -> Iterator[Process]:
    """Our server with the model at that address, its default settings but for limits on one address, and an index."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "ZANTARA_PORT": "0",
            "ZANTARA_INDEX": str(sample_index()),
            "ZANTARA_JOURNAL": f"sqlite:///{folder}/answers.db",
            "ZANTARA_DATABASE_URL": f"sqlite:///{folder}/people.db",
            "ZANTARA_RATE_LIMIT": "off",
            "ZANTARA_MAX_STREAMS": "100000",
            "ANTHROPIC_API_KEY": "test",
            "ANTHROPIC_BASE_URL": model,
            **{f"ZANTARA_{name.upper()}": value for name, value in settings.items()},
        }
        command = ["-m", "zantara_stream", "serve", "--workers", str(workers)]
        with started(command, cores, **environment) as process:
            _until_ready(process)
            urlopen(f"{process.url}/bali-zero/chat-stream?query=chunks%3D1").read()  # imports what asks the model
            yield process


def _until_ready(process: Process) -> None:
    while True:
        try:
            with urlopen(f"{process.url}/ready") as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.05)


def sample_index() -> Path:
    """The index of the sample documents, built if it is not there."""
    folder = ROOT / "indexes" / "default"
    done = subprocess.run(
        [sys.executable, "scripts/build_index.py", "documents", "--out", str(folder)], cwd=ROOT, capture_output=True
    )
    assert done.returncode in (0, 3), done.stderr.decode()
    return folder


CONTENDERS: dict[str, tuple[str, ...]] = {
    "FastAPI + sse-starlette": ("fastapi_sse",),
    "aiohttp-sse": ("aiohttp_sse",),
    "byte pump": ("pump",),
    "byte pump, uvloop": ("pump", "uvloop"),
}


@contextmanager
def contender(name: str, model: str, cores: set[int] = MEASURED) -> Iterator[Process]:
    """Another server with the model at that address."""
    module, *more = CONTENDERS[name]
    with started(["-m", f"benchmarks.contenders.{module}", model, *more], cores) as process:
        yield process
