"""How well follow-up questions are searched: literally, with their whole conversation, and as the server does.

    python benchmarks/follow_ups.py [INDEX]        (default: the sample documents, built into a temporary folder)

Prints for the dialogues of tests/questions/follow_ups.jsonl, by kind and language, how often the passage with the
answer is among the first k found. The numbers of `parts` were chosen on every other dialogue ("chosen on"); the
others ("held out") are printed apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zantara_stream.retrieval.building import build
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder, load_encoder
from zantara_stream.retrieval.manifest import current_build
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.reading import fingerprint, read_folder
from zantara_stream.retrieval.search import Hit

ROOT = Path(__file__).parent.parent
DOCUMENTS, DIALOGUES = ROOT / "documents", ROOT / "tests" / "questions" / "follow_ups.jsonl"
DEPTHS = (1, 3, 5, 8)
FOLLOW_UPS = ("elliptical", "anaphoric", "two_back")  # the other kinds stand alone

Dialogue = dict[str, Any]
Search = Callable[[Build, str, list[str]], list[Hit]]


def literally(searched: Build, question: str, earlier: list[str]) -> list[Hit]:
    return searched.search(question, max(DEPTHS))


def concatenated(searched: Build, question: str, earlier: list[str]) -> list[Hit]:
    return searched.search("\n".join([*earlier, question]), max(DEPTHS))


def by_parts(searched: Build, question: str, earlier: list[str]) -> list[Hit]:
    return searched.search(question, max(DEPTHS), earlier=earlier)


WAYS: dict[str, Search] = {"literally": literally, "concatenated": concatenated, "by parts": by_parts}


def load() -> list[Dialogue]:
    return [json.loads(line) for line in DIALOGUES.read_text(encoding="utf-8").splitlines()]


def plain(text: str) -> str:
    return " ".join(text.split())


def answers(hit: Hit, dialogue: Dialogue) -> bool:
    return hit.passage.document == dialogue["document"] and plain(dialogue["answer"]) in plain(hit.passage.text)


def place(hits: Sequence[Hit], dialogue: Dialogue) -> int:
    places = [number for number, hit in enumerate(hits, 1) if answers(hit, dialogue)]
    return places[0] if places else max(DEPTHS) + 1


def row(searched: Build, search: Search, dialogues: Sequence[Dialogue]) -> str:
    places, relevant = list[int](), 0
    for dialogue in dialogues:
        earlier = [turn["content"] for turn in dialogue["history"] if turn["role"] == "user"]
        hits = search(searched, dialogue["question"], earlier)
        places.append(place(hits, dialogue))
        relevant += any(hit.relevant and answers(hit, dialogue) for hit in hits)
    found = "  ".join(f"@{depth} {sum(p <= depth for p in places) / len(places):.2f}" for depth in DEPTHS)
    return f"{found}   judged relevant {relevant / len(places):.2f}"


def table(searched: Build, title: str, dialogues: Sequence[Dialogue]) -> None:
    for name, search in WAYS.items():
        print(f"{title:22} {len(dialogues):3}  {name:12}  {row(searched, search, dialogues)}")
        title = ""


def report(searched: Build, dialogues: list[Dialogue]) -> None:
    for kind in dict.fromkeys(dialogue["kind"] for dialogue in dialogues):
        table(searched, kind, [dialogue for dialogue in dialogues if dialogue["kind"] == kind])
    for language in dict.fromkeys(dialogue["language"] for dialogue in dialogues):
        of_it = [dialogue for dialogue in dialogues if dialogue["language"] == language]
        table(searched, f"{language}, follow-ups", [dialogue for dialogue in of_it if dialogue["kind"] in FOLLOW_UPS])
        table(searched, f"{language}, alone", [dialogue for dialogue in of_it if dialogue["kind"] not in FOLLOW_UPS])


def halves(searched: Build, dialogues: list[Dialogue]) -> None:
    for title, half in (("chosen on", dialogues[::2]), ("held out", dialogues[1::2])):
        table(searched, f"{title}, follow-ups", [dialogue for dialogue in half if dialogue["kind"] in FOLLOW_UPS])
        table(searched, f"{title}, alone", [dialogue for dialogue in half if dialogue["kind"] not in FOLLOW_UPS])


def opened(index: Path) -> Build:
    return Build.open(current_build(index), load_encoder)


def main() -> None:
    with TemporaryDirectory() as folder:
        index = Path(sys.argv[1] if len(sys.argv) > 1 else folder)
        if len(sys.argv) == 1:
            build(read_folder(DOCUMENTS), SentenceTransformerEmbedder(), index, fingerprint(DOCUMENTS))
        searched = opened(index)
        report(searched, load())
        halves(searched, load())


if __name__ == "__main__":
    main()
