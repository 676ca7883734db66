"""What is kept of whoever asks, their conversations and memory, to read, to take along, to delete; and tickets."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ..answers.events import to_json
from ..errors import InvalidRequest, NotFound
from ..people.conversations import Conversation, Conversations, Turn
from ..people.facts import Fact
from ..people.markdown import as_markdown
from ..people.memory import Memory
from ..people.tickets import LIFETIME, Tickets
from .asker import IDENTITY, asker, kept_session, known_asker
from .parameters import read_query, read_values

PRIVATE = {"Cache-Control": "no-store"}


class Account:
    """The handlers of `/bali-zero/tickets`, `/conversations` and `/memory`: each shows what is the asker's own."""

    def __init__(self, conversations: Conversations, memory: Memory, tickets: Tickets, remembers: str) -> None:
        self._conversations = conversations
        self._memory = memory
        self._tickets = tickets
        self._remembers = remembers

    async def issue_ticket(self, request: web.Request) -> web.Response:
        """What an `EventSource` shows in the place of a token; with a `query`, for that question alone."""
        known_asker(request)
        values = await read_values(request)
        query = read_query(values) if values.get("query") is not None else ""
        ticket = await self._tickets.issue(request[IDENTITY], query)
        return web.json_response({"ticket": ticket, "expiresIn": LIFETIME}, status=201, headers=PRIVATE)

    async def conversations(self, request: web.Request) -> web.Response:
        """All of them, the last used first."""
        listed = await self._conversations.listed(known_asker(request).key)
        return _json({"conversations": [_cover(conversation) for conversation in listed]})

    async def conversation(self, request: web.Request) -> web.Response:
        """One with its turns, as JSON or Markdown."""
        kind = request.query.get("format", "json")
        if kind not in ("json", "markdown"):
            raise InvalidRequest("format must be json or markdown.")
        session = _session(request)
        found = await self._conversations.read(asker(request).key, session)
        if found is None:
            raise _no_conversation()
        if kind == "markdown":
            named = {"Content-Disposition": 'attachment; filename="conversation.md"'}
            return web.Response(text=as_markdown(found), content_type="text/markdown", headers={**PRIVATE, **named})
        return _json({**_cover(found), "summary": found.summary, "turns": [_turn(turn) for turn in found.turns]})

    async def delete_conversation(self, request: web.Request) -> web.Response:
        """Forget one."""
        if not await self._conversations.delete(asker(request).key, _session(request)):
            raise _no_conversation()
        return web.Response(status=204)

    async def memory(self, request: web.Request) -> web.Response:
        """What is remembered."""
        kept = await self._memory.recall(known_asker(request).key)
        facts = [_fact(fact) for fact in kept.facts]
        return _json({"memory": self._remembers, "summary": kept.summary, "facts": facts})

    async def forget_all(self, request: web.Request) -> web.Response:
        """Forget everything."""
        return _json({"deleted": await self._memory.forget(known_asker(request).key)})

    async def forget(self, request: web.Request) -> web.Response:
        """Forget one fact."""
        if not await self._memory.forget(known_asker(request).key, request.match_info["fact"]):
            raise NotFound("There is no fact of that id.")
        return web.Response(status=204)


def _no_conversation() -> NotFound:
    return NotFound("There is no conversation of that id.")


def _session(request: web.Request) -> str:
    session = kept_session(request, request.match_info["id"])
    if not session:
        raise _no_conversation()
    return session


def _json(body: dict[str, Any]) -> web.Response:
    return web.json_response(body, headers=PRIVATE, dumps=to_json)


def _cover(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.session,
        "title": conversation.title,
        "count": conversation.count,
        "created": conversation.created,
        "updated": conversation.updated,
    }


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "answer": turn.answer,
        "query": turn.question,
        "text": turn.text,
        "state": turn.state,
        "asked": turn.asked,
        "ended": turn.ended,
        **turn.details,
    }


def _fact(fact: Fact) -> dict[str, Any]:
    before = {"formerly": fact.formerly, "formerlyLearned": fact.formerly_learned} if fact.formerly else {}
    return {"id": fact.id, "text": fact.text, "learned": fact.learned, "confirmed": fact.confirmed, **before}
