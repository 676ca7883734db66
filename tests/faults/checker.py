"""Decides whether readers got what the journal has. Knows only the bytes and the file, nothing of the server.

A reader is the list of what each of its connections received, as bytes. Only whole blocks count, as for a
browser.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def blocks(received: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    """The whole blocks of one connection: event, id, data."""
    return [(event, name, data) for event, name, data, _ in _blocks(received)]


def _blocks(received: bytes) -> Iterator[tuple[str, str, dict[str, Any], bytes]]:
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
    log = [block for received in reader for block in _blocks(received) if block[0] == "message" and block[1]]
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


def overpaid(asked: Iterable[str], begun: Mapping[str, int], continued: Mapping[str, int], most: int) -> list[str]:
    """What is wrong with the requests to the model: each question is begun once, and continued `most` times at most."""
    questions = set(asked)
    found = [f"{question!r} was asked by nobody" for question in sorted({*begun, *continued} - questions)]
    for question in sorted(questions):
        begins, goes_on = begun.get(question, 0), continued.get(question, 0)
        if begins != 1 or goes_on > most:
            found.append(f"{question!r} was begun {begins} times and continued {goes_on} times")
    return found


def text(reader: Iterable[bytes]) -> str:
    """The text that a reader got."""
    return "".join(
        data.get("text", "") for received in reader for event, _, data in blocks(received) if event == "message"
    )
