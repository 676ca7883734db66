"""Decides from a history, and from what Redis holds, whether anything was lost, doubled, or paid twice.

python -m chaos.check HISTORY        (Redis's own files are in the folder `redis` beside it)

It knows nothing of the server, and nothing of what the run kept in its memory.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import checker, redis_journal
from faults.redis_journal import Content
from faults.upstream import text_of
from redis_server import redis_server

from .history import CONNECTION, FAULT, MODEL, READER, RUN, as_bytes, read

SHOWN = 20  # violations that are printed
TRIES = 4  # requests that break off one after the other until an answer may end in an error


@dataclass(slots=True)
class Seen:
    """The history, sorted."""

    received: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))  # by reader
    questions: dict[str, str] = field(default_factory=dict)  # by reader
    unfinished: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)  # to the model, by question
    continued: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    run: dict[str, Any] = field(default_factory=dict)

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a line in."""
        match line["what"]:
            case what if what == RUN:
                self.run = dict(line)
            case what if what == CONNECTION:
                self.questions[line["reader"]] = line["question"]
                self.received[line["reader"]].append(as_bytes(line["received"]))
            case what if what == READER:
                self.questions[line["reader"]] = line["question"]
                if not line["finished"]:
                    self.unfinished.append(f"{line['reader']} did not get its answer: {line['why']}")
            case what if what == MODEL:
                self.requests[line["question"]] += 1
                self.continued[line["question"]] += line["written"] > 0
                self.broken[line["question"]] += line["broken"] != ""
            case what if what == FAULT:
                self.faults[line["fault"]] += 1


def violations(history: Iterable[Mapping[str, Any]], content: Content) -> list[str]:
    """All that should not have been."""
    seen = Seen()
    for line in history:
        seen.take(line)
    return [*seen.unfinished, *_read(seen, content), *content.problems(), *_named_twice(content), *_paid(seen, content)]


def _read(seen: Seen, content: Content) -> Iterator[str]:
    """What is wrong with what readers got: each all of one answer, which is the journal's, and the model's text."""
    if not seen.questions:
        yield "nobody read anything"
    wires = content.wires()
    for reader, question in seen.questions.items():
        received = seen.received[reader]
        yield from (f"{reader} ({question}): {problem}" for problem in checker.problems(received, wires))
        got, wanted = checker.text(received), text_of(question)
        ends = [data for piece in received for _, name, data in checker.blocks(piece) if "done" in data and name]
        if ends and "error" in ends[-1]:
            if not ends[-1].get("retryable") or not wanted.startswith(got) or seen.broken[question] < TRIES:
                yield f"{reader} ({question}): ends with {ends[-1]}"
        elif got != wanted:
            yield f"{reader} ({question}): another text"
        answers = {content.answers[name].question for name in _answers(received) if name in content.answers}
        if answers != {question}:
            yield f"{reader} ({question}): got answers to {sorted(answers)}"


def _answers(received: Iterable[bytes]) -> set[str]:
    names = {name for piece in received for event, name, _ in checker.blocks(piece) if event == "message" and name}
    return {name.rpartition(".")[0] for name in names}


def _named_twice(content: Content) -> Iterator[str]:
    names = Counter((logged.owner, logged.continuity) for logged in content.answers.values() if logged.continuity)
    yield from (f"{count} answers are named {name}" for name, count in names.items() if count > 1)


def _paid(seen: Seen, content: Content) -> Iterator[str]:
    """What was asked of the model too often: once an answer, and once a takeover or a break."""
    answers, takeovers = Counter[str](), Counter[str]()
    for logged in content.answers.values():
        answers[logged.question] += 1
        takeovers[logged.question] += logged.takeovers
    asked = set(seen.questions.values())
    yield from (f"{question!r} was asked by nobody" for question in sorted({*seen.requests, *answers} - asked))
    for question in sorted(asked):
        mended = takeovers[question] + seen.broken[question]
        requests, continued = seen.requests[question], seen.continued[question]
        if not requests or requests > answers[question] + mended or continued > mended:
            yield (
                f"{question!r}: {requests} requests to the model, {continued} of them for a rest, for "
                f"{answers[question]} answers, {takeovers[question]} takeovers and {seen.broken[question]} breaks"
            )


def summary(history: Iterable[Mapping[str, Any]], content: Content) -> str:
    """How much was done."""
    seen = Seen()
    for line in history:
        seen.take(line)
    connections = sum(map(len, seen.received.values()))
    takeovers = sum(logged.takeovers for logged in content.answers.values())
    done = ", ".join(f"{fault} {count}" for fault, count in sorted(seen.faults.items()))
    return (
        f"seed {seen.run.get('seed')}: {len(content.answers)} answers, {len(seen.questions)} readers, {connections} "
        f"connections, {seen.requests.total()} requests to the model, {takeovers} takeovers, "
        f"{seen.broken.total()} breaks of the model\nfaults: {done}"
    )


def main(file: Path) -> int:
    """Print what was done and what was violated; 1 where anything was."""
    with redis_server(file.parent / "redis") as server:
        content = redis_journal.read(server.url)
    print(summary(read(file), content))
    found = violations(read(file), content)
    for one in found[:SHOWN]:
        print(f"VIOLATED {one[:500]}")
    print(f"{len(found)} violations" if found else "everything held")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
