"""How well the sample questions are answered from the sample documents, without a language model.

    python benchmarks/sample_questions.py [INDEX]        (default: indexes/default, as `make run` builds it)

Prints for each set of tests/questions: how often the passage with the answer is among the first k found,
how often anything is judged relevant, and how often the expected sentence is quoted first or at all.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from zantara_stream.generation.answerer import Prompt
from zantara_stream.generation.extractive import chosen_of
from zantara_stream.generation.small_talk import recognise
from zantara_stream.pipeline import Question, retrieve
from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.served import Served

QUESTIONS = Path(__file__).parent.parent / "tests" / "questions"
DEPTHS = (1, 3, 5, 8)


def load(name: str) -> list[dict[str, Any]]:
    lines = (QUESTIONS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def plain(text: str) -> str:
    return " ".join(text.split())


async def rank(served: Served, question: dict[str, Any]) -> int:
    hits = await served.search(question["question"], max(DEPTHS))
    places = [n for n, hit in enumerate(hits, 1) if plain(question["answer"]) in plain(hit.passage.text)]
    return places[0] if places else max(DEPTHS) + 1


async def quoted(prompt: Prompt, served: Served) -> list[str]:
    return [plain(sentence.text) for sentence in await chosen_of(prompt, served)] if prompt.hits else []


async def answerable(served: Served, name: str) -> None:
    questions = load(name)
    ranks = [await rank(served, question) for question in questions]
    prompts = [await retrieve(Question(question["question"]), served) for question in questions]
    quotes = [await quoted(prompt, served) for prompt in prompts]
    expected = [plain(question["answer"]) for question in questions]
    found = "  ".join(f"@{depth} {share([place <= depth for place in ranks])}" for depth in DEPTHS)
    first = share([q[:1] == [e] for q, e in zip(quotes, expected, strict=True)])
    any_of = share([e in q for q, e in zip(quotes, expected, strict=True)])
    print(f"{name:10} {len(questions):3} questions   passage found {found}")
    print(f"{'':10} judged relevant {share([bool(p.hits) for p in prompts])}   quoted first {first}, at all {any_of}")


async def unanswerable(served: Served, kind: str) -> None:
    questions = [question for question in load("unanswerable") if question["kind"] == kind]
    refused = [not (await retrieve(Question(question["question"]), served)).hits for question in questions]
    print(f"{kind:10} {len(questions):3} questions   told that nothing was found {share(refused)}")


def share(outcomes: list[bool]) -> str:
    return f"{sum(outcomes) / len(outcomes):.2f}"


async def report(index: Path) -> None:
    library = Library(index)
    await library.open()
    for name in ("plain", "sample", "held_out"):
        await answerable(library.current, name)
    for kind in ("off_topic", "near_miss"):
        await unanswerable(library.current, kind)
    library.close()


def main() -> None:
    asyncio.run(report(Path(sys.argv[1] if len(sys.argv) > 1 else "indexes/default")))
    talk = load("small_talk")
    recognised = share([recognise(message["question"]) is not None for message in talk])
    print(f"small talk {len(talk):3} messages    recognised {recognised}")


if __name__ == "__main__":
    main()
