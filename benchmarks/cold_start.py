"""A cold start: importing the package, and how long `serve` takes until it answers.

    python -m benchmarks.cold_start [--rounds 5]

Each in fresh processes that take turns, on one core: milliseconds that `import zantara_stream`, and all that a server
imports (`zantara_stream.serving`), add to an interpreter that does nothing; seconds from starting
`python -m zantara_stream serve`, with the index of the sample documents, until it listens and until /ready answers 200,
and the most MiB that it had resident until then: where it makes its files first, and where it finds those that it made
before. The code and the index are in the kernel's cache. Medians.
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
from benchmarks.servers import LOAD, MEASURED, ROOT, Process, plain, sample_index, started

ROUNDS = 5
POLLED = 0.005  # seconds between two questions whether it is ready
STARTS = "its first start", "a start after that"
SERVED = {"until it listens, s": 2, "until /ready answers 200, s": 2, "most MiB resident until then": 1}  # decimals
IMPORTS = {"import zantara_stream": "zantara_stream", "import zantara_stream.serving": "zantara_stream.serving"}


def interpreter(code: str) -> float:
    """Seconds of an interpreter that does that, from its start to its end."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=plain()) as process:
        os.sched_setaffinity(process.pid, MEASURED)
    assert not process.returncode
    return time.perf_counter() - began


def serve(index: Path, folder: str) -> tuple[float, float, float]:
    """Seconds until a server listens and until it is ready, and the MiB that it had at most."""
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
        interpreter("pass")  # the first process after others takes longer
        found["bare"].append(interpreter("pass"))
        for name, module in IMPORTS.items():
            found.setdefault(name, []).append(interpreter(f"import {module}"))
        with tempfile.TemporaryDirectory() as folder:
            for start in STARTS:
                for name, figure in zip(SERVED, serve(index, folder), strict=True):
                    found.setdefault(f"{start}, {name}", []).append(figure)
    return dict(found)


def lines(rounds: int = ROUNDS) -> list[str]:
    """The table."""
    middle = {name: median(each) for name, each in measure(rounds).items()}
    bare = middle["bare"]
    return [
        f"{'an interpreter that does nothing, ms':48}{bare * 1e3:9.1f}",
        *(f"{f'{name}, ms more than that':48}{(middle[name] - bare) * 1e3:9.1f}" for name in IMPORTS),
        *(
            f"{f'{start}, {name}':48}{middle[f'{start}, {name}']:9.{places}f}"
            for start in STARTS
            for name, places in SERVED.items()
        ),
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
