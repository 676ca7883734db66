"""Decides whether readers got what the journal has. Knows only the bytes and the file, nothing of the server.

A reader is the list of what each of its connections received, as bytes. Only whole blocks count, as for a
browser.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_RETRY = re.compile(rb"\Aretry: \d+\n")  # which is of a connection, and of no log


def blocks(received: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    """The whole blocks of one connection: event, id, data."""
    return [(event, name, data) for event, name, data, _ in wire_blocks(received)]


def wire_blocks(received: bytes) -> Iterator[tuple[str, str, dict[str, Any], bytes]]:
    """The same, with the bytes of each."""
    for part in received.split(b"\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in part.decode().split("\n") if ": " in line)
        if "data" in fields:
            yield fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]), part + b"\n\n"


def journalled(file: Path) -> dict[str, bytes]:
    """The log of every closed answer in the journal's file."""
    rows = _rows(file, "SELECT answer, frames FROM answers WHERE closed IS NOT NULL")
    return {answer: bytes(frames) for answer, frames in rows}


def unfinished(file: Path) -> int:
    """How many answers in the journal have no end."""
    ((count,),) = _rows(file, "SELECT count(*) FROM answers WHERE closed IS NULL")
    return int(count)


def _rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def problems(reader: Iterable[bytes], journal: Mapping[str, bytes]) -> list[str]:
    """What is wrong with what one reader got: nothing lost, nothing twice, one end, all as in the journal."""
    log = [block for received in reader for block in wire_blocks(received) if block[0] == "message" and block[1]]
    answers = {name.rpartition(".")[0] for _, name, _, _ in log}
    if len(answers) != 1:
        return [f"events of {len(answers)} answers"]
    (answer,) = answers
    found = []
    offsets = [name.rpartition(".")[2] for _, name, _, _ in log]
    if offsets != [str(n) for n in range(1, len(log) + 1)]:
        found.append(f"offsets {offsets}")
    numbers = [data["sequenceNumber"] for _, _, data, _ in log if "text" in data]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"sequence numbers {numbers}")
    ends = [place for place, (_, _, data, _) in enumerate(log) if "done" in data]
    if ends != [len(log) - 1]:
        found.append(f"ends at {ends} of {len(log)} events")
    if b"".join(wire for *_, wire in log) != journal.get(answer):
        found.append(f"{len(log)} events, and the journal has other bytes")
    return found


def after_gap(reader: Iterable[bytes]) -> tuple[bytes, str] | None:
    """The log and the text that a reader is left with from the last event `gap` on; None where it got none.

    The event stands for all before it, and holds its text.
    """
    log = [block for received in reader for block in wire_blocks(received) if block[0] in ("message", "gap")]
    gaps = [place for place, (event, *_) in enumerate(log) if event == "gap"]
    if not gaps:
        return None
    rest = [block for block in log[gaps[-1] :] if block[1]]
    shown = "".join(data.get("text", "") for _, _, data, _ in rest)
    return b"".join(_RETRY.sub(b"", wire) for *_, wire in rest), shown


def gap_problems(reader: Iterable[bytes], journal: Mapping[str, bytes], text_wanted: str) -> list[str]:
    """What is wrong with what one reader got where a gap is allowed: never another text."""
    found = after_gap(reader)
    if found is None:
        wrong = [] if text(reader) == text_wanted else ["another text"]
        return [*problems(reader, journal), *wrong]
    wire, shown = found
    wrong = [] if shown == text_wanted else ["another text after a gap"]
    return wrong if wire in journal.values() else ["the journal has other bytes after a gap", *wrong]


def overpaid(
    asked: Iterable[str], begun: Mapping[str, int], continued: Mapping[str, int], most: int | Mapping[str, int]
) -> list[str]:
    """What is wrong with the requests to the model: each question is begun once, and continued `most` times at most."""
    questions = set(asked)
    found = [f"{question!r} was asked by nobody" for question in sorted({*begun, *continued} - questions)]
    for question in sorted(questions):
        begins, goes_on = begun.get(question, 0), continued.get(question, 0)
        allowed = most if isinstance(most, int) else most.get(question, 0)
        if begins != 1 or goes_on > allowed:
            found.append(f"{question!r} was begun {begins} times and continued {goes_on} times")
    return found


def text(reader: Iterable[bytes]) -> str:
    """The text that a reader got."""
    return "".join(
        data.get("text", "") for received in reader for event, _, data in blocks(received) if event == "message"
    )
