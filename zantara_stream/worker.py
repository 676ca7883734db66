"""One of several workers: takes what its parent passes, and is a server like any other.

    python -m zantara_stream.worker DESCRIPTORS FOLDER PLACE ARGUMENT…

DESCRIPTORS are those of its listening sockets; in FOLDER the workers find each other, by their PLACES.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from .cli import main
from .supervisor import FIRST

_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def take(descriptors: Sequence[int], folder: str, place: str) -> None:
    """Have the passed sockets where a supervisor passes them, and say so; stop if the parent is gone."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, FIRST + number)  # each is at its place or behind it: none is overwritten before it is taken
    os.environ |= {"LISTEN_FDS": str(len(descriptors)), "LISTEN_PID": str(os.getpid())}
    os.environ |= {"WORKERS_FOLDER": folder, "WORKER_PLACE": place}
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGTERM)


if __name__ == "__main__":
    passed, folder, place, *arguments = sys.argv[1:]
    take(sorted(map(int, passed.split(","))), folder, place)
    raise SystemExit(main(arguments))
