"""What a request asks, read from its query string, JSON body and headers, and checked.

Every reader here raises `InvalidRequest` or `TooLarge` naming the parameter and what is wrong with it;
nothing has been retrieved or paid for by then.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from ..errors import InvalidRequest, TooLarge
from ..generation.answerer import Turn
from ..pipeline import Question
from .asker import asker, kept_session

QUERY_LIMIT = 8000  # characters
HISTORY_TURNS = 400
HISTORY_LIMIT = 400_000  # characters
EMPTY = b"{}"
VALUES = web.RequestKey("values", dict[str, Any])  # read once, by whoever asks first
BODY_TIME = 30.0  # seconds for a body to come
BODY_LIMIT = 2 * 1024 * 1024  # bytes
LINE_LIMIT = 64 * 1024  # bytes of the request target
LATEST = 1e11  # unix seconds; beyond it they are milliseconds
ID_LIMIT = 200  # characters of a session or continuity id
RESULTS_LIMIT = 50
COMMENT_LIMIT = 4000  # characters

NOBODY = frozenset({"", "undefined", "null", "none"})
ROLES = {"user": "user", "assistant": "assistant", "u": "user", "a": "assistant"}
TWINS = {
    "session_id": "X-Session-Id",
    "continuity_id": "X-Continuity-Id",
    "last_event_id": "Last-Event-ID",
    "reconnection": "X-Reconnection",
    "last_chunk_timestamp": "X-Last-Chunk-Timestamp",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for an answer: a question, or the place in an answer to go on from.

    `after` is when the last chunk came (unix seconds) that somebody got who is reconnecting and knows no event id.
    """

    question: Question | None = None
    continuity: str = ""
    event_id: str = ""
    after: float | None = None


async def read_ask(request: web.Request) -> Ask:
    """The question of a chat request; none is needed where an event id names the answer."""
    values = await read_values(request)
    event_id = _named(request, values, "last_event_id")
    if event_id:
        return Ask(event_id=event_id)
    session = kept_session(request, _named(request, values, "session_id"))
    _named(request, values, "reconnection")  # says no more than the timestamp or the continuity id beside it
    continuity = _named(request, values, "continuity_id")
    asked = read_question(values)
    question = replace(asked, person=asker(request), session=session)
    return Ask(question, continuity, after=_moment(_named(request, values, "last_chunk_timestamp")))


async def read_event_id(request: web.Request) -> str:
    """The place to go on from in a log that the address names; "" for its start."""
    return _named(request, await read_values(request), "last_event_id")


def _moment(value: str) -> float | None:
    if value.lower() in NOBODY:
        return None
    try:
        moment = float(value)
    except ValueError:
        moment = math.nan
    if not 0 <= moment < LATEST:
        raise InvalidRequest("last_chunk_timestamp must be a time in unix seconds.")
    return moment


def read_question(values: Mapping[str, Any]) -> Question:
    """The question with its history, and whether memory may be used for it."""
    query = read_query(values)
    history = read_history(values.get("conversation_history"))
    if history and history[-1] == Turn("user", query):
        history = history[:-1]
    read_email(values)
    return Question(query, history, remembers=_switch(values, "memory", True))


def read_email(values: Mapping[str, Any]) -> str:
    """The e-mail address that somebody says is theirs; "" for nobody."""
    email = _string(values, "user_email").strip()
    return "" if email.lower() in NOBODY else email


def read_rating(values: Mapping[str, Any]) -> tuple[str, int, str]:
    """The id of an answer, its rating, and a comment."""
    if (rating := _whole(values.get("rating"))) is None or not 1 <= rating <= 5:
        raise InvalidRequest("rating must be a whole number from 1 to 5.")
    comment = _string(values, "comment").strip()
    if len(comment) > COMMENT_LIMIT:
        raise TooLarge(f"comment has {len(comment):,} characters; at most {COMMENT_LIMIT:,} are allowed.")
    if not (answer := _string(values, "answer").strip()):
        raise InvalidRequest("answer is missing; it is the id of the answer that is rated.")
    return answer, rating, comment


def _switch(values: Mapping[str, Any], name: str, default: bool) -> bool:
    value = values.get(name, default)
    said = value.strip().lower() if isinstance(value, str) else value
    if said in ("", None):
        return default
    if not isinstance(said, bool) and said not in ("true", "false"):
        raise InvalidRequest(f"{name} must be true or false.")
    return said in (True, "true")


async def read_values(request: web.Request) -> dict[str, Any]:
    """The parameters of a request: its query string, or its JSON body."""
    values = request.get(VALUES)
    if values is None:
        values = request[VALUES] = await _values(request)
    return values


async def _values(request: web.Request) -> dict[str, Any]:
    check_line(request)
    if request.method != "POST":
        return dict(request.query)
    try:
        async with asyncio.timeout(BODY_TIME):
            sent = await request.read()
        body = json.loads(sent or EMPTY)
    except TimeoutError:
        raise InvalidRequest(f"The body did not come within {BODY_TIME:g} seconds.") from None
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(f"The body is larger than {BODY_LIMIT:,} bytes.") from None
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON in UTF-8.") from None
    if not isinstance(body, dict):
        raise InvalidRequest(f"The body must be a JSON object, not {_kind(body)}.")
    return {**request.query, **body}


def check_line(request: web.Request) -> None:
    """Refuse a request target that is too long, while its Origin is still known."""
    if len(request.raw_path) > LINE_LIMIT:
        raise TooLarge(
            f"The address is longer than {LINE_LIMIT:,} bytes; send long histories as the JSON body of a POST."
        )


def read_query(values: Mapping[str, Any]) -> str:
    """The question's text."""
    query = _string(values, "query").strip()
    if not query:
        raise InvalidRequest("query is missing or blank; it is the question to answer.")
    if len(query) > QUERY_LIMIT:
        raise InvalidRequest(f"query has {len(query):,} characters; at most {QUERY_LIMIT:,} are allowed.")
    return query


def read_limit(values: Mapping[str, Any]) -> int:
    """How many search results are wanted."""
    limit = _whole(values.get("limit", 10))
    if limit is None or not 1 <= limit <= RESULTS_LIMIT:
        raise InvalidRequest(f"limit must be a whole number from 1 to {RESULTS_LIMIT}.")
    return limit


def _whole(value: Any) -> int | None:
    """A whole number, as JSON has it: 4.0 is one, and true is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)


def read_history(raw: Any) -> tuple[Turn, ...]:
    """Earlier turns from JSON text or a JSON list, in the long or the compressed form."""
    if isinstance(raw, str):
        raw = _history_json(raw)
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise InvalidRequest(f"conversation_history must be a JSON list of turns, not {_kind(raw)}.")
    if len(raw) > HISTORY_TURNS:
        raise TooLarge(f"conversation_history has {len(raw)} turns; at most {HISTORY_TURNS} are allowed.")
    turns = tuple(_turn(number, item) for number, item in enumerate(raw))
    if sum(len(turn.content) for turn in turns) > HISTORY_LIMIT:
        raise TooLarge(f"conversation_history is longer than {HISTORY_LIMIT:,} characters.")
    return turns


def _history_json(raw: str) -> Any:
    if raw.strip().lower() in NOBODY:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidRequest("conversation_history is not valid JSON.") from None


def _turn(number: int, item: Any) -> Turn:
    where = f"conversation_history item {number}"
    if not isinstance(item, dict):
        raise InvalidRequest(f"{where} must be an object with role and content, not {_kind(item)}.")
    role, content = item.get("role", item.get("r")), item.get("content", item.get("c"))
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidRequest(f"{where}: role must be user or assistant (or u, a).")
    if not isinstance(content, str):
        raise InvalidRequest(f"{where}: content must be text, not {_kind(content)}.")
    return Turn(ROLES[role], _unicode(content).strip())


def _named(request: web.Request, values: Mapping[str, Any], name: str) -> str:
    value = _unicode(request.headers.get(TWINS[name], "")) or _string(values, name)
    # An event id is judged by the log, which answers a hostile one like an unknown answer.
    if name != "last_event_id" and len(value) > ID_LIMIT:
        raise InvalidRequest(f"{name} is longer than {ID_LIMIT} characters.")
    return value.strip()


def _string(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, not {_kind(value)}.")
    return _unicode(value)


def _unicode(text: str) -> str:
    # JSON can carry halves of surrogate pairs, and headers bytes that are no text, which no encoder downstream accepts.
    return text.encode(errors="replace").decode()


def _kind(value: Any) -> str:
    kinds = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "text"}
    return kinds.get(type(value), "a list" if isinstance(value, list) else "an object")
