"""Faults at random for minutes: `make chaos`. Prints a summary; ends with 1 where anything was violated."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from faults.small_index import small_index

from .run import GRACE, Size, run


def main() -> int:
    """Run it, and let the checker decide in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of what is drawn (a new one)")
    parser.add_argument("--minutes", type=float, default=3.0, help="of faults (3)")
    parser.add_argument("--readers", type=int, default=200, help="at a time (200)")
    parser.add_argument("--lease", type=float, default=2.0, help="seconds that a silent node keeps its answers (2)")
    parser.add_argument(
        "--grace", type=float, default=GRACE, help=f"seconds that an answer without readers goes on ({GRACE:g})"
    )
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{asked.seed}-"))
    print(
        f"seed {asked.seed}, {asked.minutes:g} minutes, {asked.readers} readers: {folder}", file=sys.stderr, flush=True
    )
    size = Size(asked.seed, asked.minutes * 60, asked.readers, asked.lease, asked.grace)
    history = asyncio.run(run(folder, small_index(folder), size))
    code = subprocess.run([sys.executable, "-m", "chaos.check", history]).returncode
    if code:
        print(f"seed {asked.seed}: what happened is in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
