"""What is known of a request's asker by the time that a handler sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ..allowed import is_loopback
from ..errors import Unauthenticated
from ..people.person import NOBODY, Person
from ..people.tickets import Ticket

PERSON = web.RequestKey("person", Person)
IDENTITY = web.RequestKey[Mapping[str, Any]]("identity", Mapping)  # what made the person
TICKET = web.RequestKey("ticket", Ticket)
_FORWARDED = {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"}  # what proxies add
UNGUESSABLE = 16  # characters of a session id that says who may read its conversation


def asker(request: web.Request) -> Person:
    """Who asks; `NOBODY` where that is not known."""
    person = request.get(PERSON)
    return NOBODY if person is None else person


def known_asker(request: web.Request) -> Person:
    """Who asks. Raises `Unauthenticated` where that is not known."""
    person = asker(request)
    if not person.key:
        raise Unauthenticated("This is kept for people whom the server knows: sign in, and send a token.")
    return person


def kept_session(request: web.Request, session: str) -> str:
    """The session id, if it names a conversation that is kept.

    Among those of a known person any will do. Where nobody is known, whoever has the id reads the conversation: it
    must be one that cannot be guessed, unless this very machine asks.
    """
    return session if asker(request).key or len(session) >= UNGUESSABLE or is_own(request) else ""


def is_own(request: web.Request) -> bool:
    """Whether this very machine asks, and not through a proxy on it."""
    # A Unix socket has no address, and a proxy may be at its other end.
    return not _FORWARDED & {name.lower() for name in request.headers} and is_loopback(request.remote or "")
