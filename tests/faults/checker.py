"""Decides whether readers got what the journal has. Knows only the bytes and the file, nothing of the server.

A reader is the list of what each of its connections received, as bytes. Only whole blocks count, as for a
browser.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def blocks(received: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    """The whole blocks of one connection: event, id, data."""
    found = []
    for part in received.split(b"\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in part.decode().split("\n") if ": " in line)
        if "data" in fields:
            found.append((fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"])))
    return found


def journalled(file: Path) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    """The events of every closed answer in the journal's file."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT answer, frames FROM answers WHERE closed IS NOT NULL").fetchall()
    db.close()
    return {answer: blocks(bytes(frames)) for answer, frames in rows}


def unfinished(file: Path) -> int:
    """How many answers in the journal have no end."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        (count,) = db.execute("SELECT count(*) FROM answers WHERE closed IS NULL").fetchone()
    db.close()
    return int(count)


def problems(reader: Iterable[bytes], journal: dict[str, list[tuple[str, str, dict[str, Any]]]]) -> list[str]:
    """What is wrong with what one reader got: nothing lost, nothing twice, one end, all as in the journal."""
    events = [block for received in reader for block in blocks(received)]
    log = [block for block in events if block[0] == "message" and block[1]]
    answers = {name.rpartition(".")[0] for _, name, _ in log}
    if len(answers) != 1:
        return [f"events of {len(answers)} answers"]
    (answer,) = answers
    found = []
    numbers = [data["sequenceNumber"] for _, _, data in log if "text" in data]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"sequence numbers {numbers}")
    ends = [place for place, (_, _, data) in enumerate(log) if "done" in data]
    if ends != [len(log) - 1]:
        found.append(f"ends at {ends} of {len(log)} events")
    if log != journal.get(answer):
        found.append(f"{len(log)} events, and the journal has others")
    return found


def text(reader: Iterable[bytes]) -> str:
    """The text that a reader got."""
    return "".join(
        data.get("text", "") for received in reader for event, _, data in blocks(received) if event == "message"
    )
