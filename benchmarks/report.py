"""Writes what was measured into docs/performance.md: runs the command of each of its blocks anew.

    python -m benchmarks.report [NAME ...]        (only those, such as `relay`; else all, some forty minutes)

A block begins with `$ python -m benchmarks.NAME …`; what the command prints takes the place of the rest of it. Nothing
else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

from benchmarks.servers import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
_BLOCK = re.compile(r"```text\n\$ python -m benchmarks\.(?P<name>\w+)(?P<options>[^\n]*)\n.*?```", re.DOTALL)


def measured(block: re.Match[str]) -> str:
    """The block with what its command prints now; a bound that is broken is printed, and no failure of the command."""
    name, options = block["name"], block["options"]
    print(f"{name}{options}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *options.split()]
    printed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()
    if not printed:
        raise SystemExit(f"benchmarks.{name} printed nothing")
    print(printed, flush=True)
    return f"```text\n$ python -m benchmarks.{name}{options}\n{printed}\n```"


def main() -> None:
    """Measure, and write each block as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for block in _BLOCK.finditer(DOCUMENT.read_text(encoding="utf-8")):
        if not options.names or block["name"] in options.names:
            new = measured(block)
            text = DOCUMENT.read_text(encoding="utf-8")
            DOCUMENT.write_text(text.replace(block[0], new), encoding="utf-8")


if __name__ == "__main__":
    main()
