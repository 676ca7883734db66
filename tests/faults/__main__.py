"""The long run: `make faults`. Prints a table and writes docs/reliability.md."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from zantara_stream.retrieval import builder
from zantara_stream.retrieval.reading import fingerprint, read_folder
from zantara_stream.testing import HashingEmbedder

from .house import Outcome, Scenario
from .scenarios import ALL, NEEDS

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = """\
# Renewing a permit

A permit is renewed at the immigration office before it ends. Renewal costs Rp 3 million for one year.

## Documents

The passport of the holder is valid for 18 months at renewal.
"""
HEAD = """\
# What was done to it

Written by `make faults`, which does each fault to real server processes on loopback sockets: a small index, the real
SDK against a stand-in of the Messages API, the SQLite journal. Row numbers are those of the project's fault matrix. An
independent checker compares every byte that every reader got with the journal's file: text chunks numbered 1 to n,
none lost, none twice, in order; one terminal event; the same events as the journal; the text that the model was to
write; and, of each question, one request to the model that begins the answer and one for each takeover or mended break.

| row | fault | answers | readers | model requests | held | |
|---|---|---|---|---|---|---|
"""


def line(outcome: Outcome) -> str:
    """One row of the table."""
    held = f"**no** ({outcome.failures[0]})" if outcome.failures else "yes"
    cells = (outcome.row, outcome.fault, outcome.answers, outcome.readers, outcome.requests, held, outcome.notes)
    return "| " + " | ".join(map(str, cells)) + " |"


async def run(folder: Path) -> list[str]:
    """Every scenario in its long version."""
    documents = folder / "documents"
    documents.mkdir()
    (documents / "permits.md").write_text(DOCUMENT)
    index = folder / "index"
    builder.build(read_folder(documents), HashingEmbedder(), index, fingerprint(documents))
    lines = []
    for scenario, (_, size) in ALL.items():
        print(f"{scenario.__name__} …", end=" ", flush=True, file=sys.stderr)
        outcome = await _done(scenario, folder / scenario.__name__, index, size)
        print(outcome.failures[:3] or "held", file=sys.stderr)
        lines.append(line(outcome))
    return lines


async def _done(scenario: Scenario, folder: Path, index: Path, size: int) -> Outcome:
    there, what = NEEDS.get(scenario, (lambda: True, ""))
    if not there():
        return Outcome("–", scenario.__name__, 0, 0, problems=[f"not done: needs {what}"])
    try:
        return await scenario(folder, index, size)
    except (AssertionError, TimeoutError) as error:
        return Outcome("–", scenario.__name__, size, size, problems=[f"{type(error).__name__} {error}"])


def main() -> int:
    """Run, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        lines = asyncio.run(run(Path(folder)))
    table = HEAD + "\n".join(lines) + "\n"
    print(table)
    (ROOT / "docs" / "reliability.md").write_text(table, encoding="utf-8")
    return int("**no**" in table)


if __name__ == "__main__":
    sys.exit(main())
