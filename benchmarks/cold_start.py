"""A cold start: importing the package, and how long `serve` takes until it answers.

    python -m benchmarks.cold_start [--rounds 5]

Each in fresh processes that take turns, on one core: milliseconds that `import zantara_stream`, and all that a server
imports (`zantara_stream.serving`), add to an interpreter that does nothing; seconds from starting
`python -m zantara_stream serve`, with the index of the sample documents, until it listens and until /ready answers 200,
and the most MiB that it had resident until then. The files are in the kernel's cache, as after a restart. Medians.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks.scrape import peak
from benchmarks.servers import LOAD, MEASURED, ROOT, Process, sample_index, started

ROUNDS = 5
POLLED = 0.005  # seconds between two questions whether it is ready
IMPORTS = {"import zantara_stream": "zantara_stream", "import zantara_stream.serving": "zantara_stream.serving"}


def interpreter(code: str) -> float:
    """Seconds of an interpreter that does that, from its start to its end."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
        os.sched_setaffinity(process.pid, MEASURED)
    assert not process.returncode
    return time.perf_counter() - began


def serve(index: Path) -> tuple[float, float, float]:
    """Seconds until a fresh server listens and until it is ready, and the MiB that it had at most."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "ZANTARA_PORT": "0",
            "ZANTARA_INDEX": str(index),
            "ZANTARA_JOURNAL": f"sqlite:///{folder}/answers.db",
            "ZANTARA_DATABASE_URL": f"sqlite:///{folder}/people.db",
            "ANTHROPIC_API_KEY": "test",
            "ZANTARA_LOG_LEVEL": "warning",
        }
        began = time.perf_counter()
        with started(["-m", "zantara_stream", "serve"], MEASURED, **environment) as process:
            listening = time.perf_counter() - began
            until_ready(process)
            return listening, time.perf_counter() - began, peak(process)


def until_ready(process: Process) -> None:
    """Ask it until it is."""
    address = urlsplit(process.url)
    connection = HTTPConnection(address.hostname or "", address.port)
    while True:
        connection.request("GET", "/ready")
        response = connection.getresponse()
        response.read()
        if response.status == 200:
            connection.close()
            return
        time.sleep(POLLED)


def measure(rounds: int) -> dict[str, Sequence[float]]:
    """What each round found, by name."""
    index = sample_index()
    found: dict[str, list[float]] = {"bare": []}
    interpreter(f"import {', '.join(IMPORTS.values())}")  # writes the bytecode, if it is not there
    for _ in range(rounds):
        found["bare"].append(interpreter("pass"))
        for name, module in IMPORTS.items():
            found.setdefault(name, []).append(interpreter(f"import {module}"))
        for name, figure in zip(("listening", "ready", "peak"), serve(index), strict=True):
            found.setdefault(name, []).append(figure)
    return dict(found)


def lines(rounds: int = ROUNDS) -> list[str]:
    """The table."""
    middle = {name: median(each) for name, each in measure(rounds).items()}
    bare = middle["bare"]
    return [
        f"{'an interpreter that does nothing, ms':48}{bare * 1e3:9.1f}",
        *(f"{f'{name}, ms more than that':48}{(middle[name] - bare) * 1e3:9.1f}" for name in IMPORTS),
        f"{'serve until it listens, s':48}{middle['listening']:9.2f}",
        f"{'serve until /ready answers 200, s':48}{middle['ready']:9.2f}",
        f"{'most MiB resident until then':48}{middle['peak']:9.1f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    os.sched_setaffinity(0, LOAD)
    print("\n".join(lines(options.rounds)))


if __name__ == "__main__":
    main()
