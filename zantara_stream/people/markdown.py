"""A conversation as a Markdown document, to keep or to hand on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .conversations import Conversation, Turn

_ENDINGS = {
    "running": "(still being written)",
    "stopped": "(stopped here)",
    "failed": "(broke off here)",
    "lost": "(the answer was not kept)",
}


def as_markdown(conversation: Conversation) -> str:
    """The whole conversation: each question as a quotation, the answer as it was written, and its sources."""
    head = f"# {_line(conversation.title)}\n\n{_when(conversation.created)} to {_when(conversation.updated)} (UTC)\n"
    return "\n".join([head, *(part for turn in conversation.turns for part in _turn(turn))])


def _turn(turn: Turn) -> list[str]:
    asked = [f"## {_when(turn.asked)}\n", *(f"> {line}" for line in turn.question.splitlines()), ""]
    ending = _ENDINGS.get(turn.state)
    answered = [f"{turn.text}\n"] if turn.text else []
    told = [f"*{ending}*\n"] if ending else []
    sources = turn.details.get("sources", ())
    named = ["Sources:\n", *(_source(number, entry) for number, entry in enumerate(sources, 1)), ""] if sources else []
    return [*asked, *answered, *told, *named]


def _source(number: int, entry: dict[str, Any]) -> str:
    page = f"page {entry['page']}" if entry.get("page") else ""
    where = [entry["source"], entry.get("section"), page, entry.get("updated"), entry.get("url")]
    return f"{number}. {_line(', '.join(part for part in where if part))}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
