"""The long run: `make faults`. Prints a table and writes docs/reliability.md.

python -m faults [NAME …]        (with names, only those are done, and nothing is written)
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path

from .house import Outcome
from .scenarios import ALL, NEEDS
from .several import SeveralScenario, missing, several
from .several_all import SEVERAL
from .small_index import small_index

LEASE = 5.0  # seconds: the default
ROOT = Path(__file__).parent.parent.parent
HEAD = """\
# What was done to it

Written by `make faults`, which does each fault to real server processes on loopback sockets: a small index, the real
SDK against a stand-in of the Messages API, the SQLite journal. Row numbers are those of the project's fault matrix. An
independent checker compares every byte that every reader got with the journal's file: text chunks numbered 1 to n,
none lost, none twice, in order; one terminal event; the same events as the journal; the text that the model was to
write; and, of each question, one request to the model that begins the answer and one for each takeover or mended break.

Rows 19 to 25 are done to three nodes behind nginx with the shipped files of `deploy/nginx`, a lease of 5 s, people in
PostgreSQL and the journal in Redis, which the checker reads by itself: events numbered 1 to n over all epochs, as many
continuations as there were takeovers at most, and no lease left. What random faults do to the same house for minutes is
seen by `make chaos`.

| row | fault | answers | readers | model requests | held | |
|---|---|---|---|---|---|---|
"""


def line(outcome: Outcome) -> str:
    """One row of the table."""
    held = f"**no** ({outcome.failures[0]})" if outcome.failures else "yes"
    cells = (outcome.row, outcome.fault, outcome.answers, outcome.readers, outcome.requests, held, outcome.notes)
    return "| " + " | ".join(map(str, cells)) + " |"


async def run(folder: Path, names: Collection[str]) -> list[str]:
    """Every scenario in its long version, or those of these names."""
    index = small_index(folder)
    lines = []
    for scenario, (_, size) in ALL.items():
        if not names or scenario.__name__ in names:
            there, what = NEEDS.get(scenario, (lambda: True, ""))
            doing = partial(scenario, folder / scenario.__name__, index, size)
            lines.append(line(await _done(scenario.__name__, size, doing, "" if there() else what)))
    wanted = {scenario: size for scenario, (_, size) in SEVERAL.items() if not names or scenario.__name__ in names}
    return lines + (await _several(folder / "several", index, wanted) if wanted else [])


async def _several(folder: Path, index: Path, wanted: dict[SeveralScenario, int]) -> list[str]:
    """Those of several nodes, in one house."""
    if what := missing():
        return [line(_not_done(scenario.__name__, what)) for scenario in wanted]
    lines = []
    async with several(folder, index, LEASE) as house:
        for scenario, size in wanted.items():
            lines.append(line(await _done(scenario.__name__, size, partial(scenario, house, size))))
    return lines


async def _done(name: str, size: int, doing: Callable[[], Awaitable[Outcome]], lacking: str = "") -> Outcome:
    if lacking:
        return _not_done(name, lacking)
    print(f"{name} …", end=" ", flush=True, file=sys.stderr)
    try:
        outcome = await doing()
    except (AssertionError, TimeoutError, ExceptionGroup) as error:
        outcome = Outcome("–", name, size, size, problems=[f"{type(error).__name__} {error}"])
    print(outcome.failures[:3] or "held", file=sys.stderr)
    return outcome


def _not_done(name: str, what: str) -> Outcome:
    return Outcome("–", name, 0, 0, problems=[f"not done: needs {what}"])


def main(names: Collection[str]) -> int:
    """Run, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        lines = asyncio.run(run(Path(folder), names))
    table = HEAD + "\n".join(lines) + "\n"
    print(table)
    if not names:
        (ROOT / "docs" / "reliability.md").write_text(table, encoding="utf-8")
    return int("**no**" in table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
