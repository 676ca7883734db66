"""What the figures were measured on.

python -m benchmarks.machine
"""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from pathlib import Path

from benchmarks.servers import CORES

PACKAGES = ("aiohttp", "uvloop", "anthropic", "faiss-cpu", "onnxruntime", "fastapi", "sse-starlette", "uvicorn")


def main() -> None:
    """Print it."""
    model = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = int(re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0]) >> 20
    print(f"{len(CORES)} cores of {model[0] if model else platform.machine()}, {memory} GiB, shared with others")
    print(
        f"{platform.system()} {platform.release().partition('-')[0]}, {platform.python_implementation()} "
        f"{platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in PACKAGES)}"
    )


if __name__ == "__main__":
    main()
