"""Who asks: found out before a handler is called, so that a route that forgets to ask is closed and not open.

With `ZANTARA_AUTH=jwt` everything below `/bali-zero/` needs a token, or a ticket to stream and to stop an answer.
Without it nobody is known, unless a proxy in front has verified `user_email`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from ..errors import Forbidden, Unauthenticated
from ..people.collaborators import CollaboratorsFile
from ..people.identity import Identity, Tokens, email_key
from ..people.person import Person, folded
from ..people.tickets import Tickets
from .asker import IDENTITY, PERSON, TICKET
from .parameters import read_email, read_values

TICKET_LIMIT = 200  # characters that are looked at
PEOPLE = "/bali-zero/"  # below it, whoever asks is somebody's business
# What a page without a token may do: ask, come back, stop.
_TICKETED = {
    re.compile(rf"{PEOPLE}chat-stream"): {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST},
    re.compile(rf"{PEOPLE}answers/[^/]+/events"): {hdrs.METH_GET, hdrs.METH_HEAD},
    re.compile(rf"{PEOPLE}answers/[^/]+"): {hdrs.METH_DELETE},
}
_HOW = "Send a token as Authorization: Bearer; an EventSource takes a ticket from POST /bali-zero/tickets."


class Authentication:
    """Makes a person of what a request shows; `tokens` is None where no tokens are asked for."""

    def __init__(
        self, tokens: Tokens | None, tickets: Tickets, collaborators: CollaboratorsFile, *, trust_email: bool
    ) -> None:
        self._tokens = tokens
        self._tickets = tickets
        self._collaborators = collaborators
        self._trust_email = trust_email

    @web.middleware
    async def identify(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Say who asks, to whatever follows. Raises `Unauthenticated`, `Forbidden`."""
        if request.path.startswith(PEOPLE) and request.method != hdrs.METH_OPTIONS:
            if self._tokens is not None:
                await self._verify(request, self._tokens)
            elif self._trust_email:
                await self._trust(request)
        return await handler(request)

    async def _verify(self, request: web.Request, tokens: Tokens) -> None:
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if token.strip():
            if scheme.lower() != "bearer":
                raise Unauthenticated(_HOW)
            shown: Mapping[str, Any] = _shown(await tokens.verify(token.strip()))
        elif ticket := _ticket(request):
            shown = await self._redeem(request, ticket)
        else:
            raise Unauthenticated(_HOW)
        claimed = await _claimed(request)
        if claimed and folded(claimed) != folded(shown["email"]):
            raise Forbidden("user_email is not the address of the person whose token this is.")
        self._identified(request, shown)

    async def _trust(self, request: web.Request) -> None:
        if email := await _claimed(request):
            self._identified(request, {"key": email_key(email), "email": email})
        elif ticket := _ticket(request):
            self._identified(request, await self._redeem(request, ticket))

    async def _redeem(self, request: web.Request, ticket: str) -> Mapping[str, Any]:
        """What made the person whose ticket it is."""
        found = await self._tickets.find(ticket)
        if found is None:
            raise Unauthenticated("This ticket is unknown or too old; get a new one.")
        request[TICKET] = found
        return found.identity

    def _identified(self, request: web.Request, shown: Mapping[str, Any]) -> None:
        known = self._collaborators.current.find(shown.get("subject", ""), shown.get("email", ""))
        request[PERSON] = replace(known or Person(name=shown.get("name", "")), key=shown["key"])
        request[IDENTITY] = shown

    async def use_ticket(self, request: web.Request, answer: str, question: str) -> None:
        """Use the request's ticket, if it has one, for the answer of that name to that question.

        Raises `Forbidden` where it is for another question, or was used for another answer.
        """
        ticket = request.get(TICKET)
        if ticket is None:
            return
        if not ticket.is_for(question):
            raise Forbidden("This ticket is for another question; get a new one.")
        if not await self._tickets.use(ticket, answer):
            raise Forbidden("This ticket was used for another answer; get a new one.")


async def _claimed(request: web.Request) -> str:
    """The address that the request says is its asker's. Raises `Forbidden` where it says two.

    A proxy may have verified only one of them, and nothing tells which.
    """
    values = await read_values(request)
    said = [*request.query.getall("user_email", ()), values.get("user_email")]
    claimed = {folded(email): email for email in (read_email({"user_email": value}) for value in said) if email}
    if len(claimed) > 1:
        raise Forbidden("user_email says two addresses; send one.")
    return next(iter(claimed.values()), "")


def _ticket(request: web.Request) -> str:
    """The ticket in the address of a stream or a stop; elsewhere none is taken."""
    taken = any(path.fullmatch(request.path) and request.method in methods for path, methods in _TICKETED.items())
    return request.query.get("ticket", "").strip()[:TICKET_LIMIT] if taken else ""


def _shown(identity: Identity) -> dict[str, str]:
    """What makes the person, and is kept with a ticket."""
    return {"key": identity.key, "subject": identity.subject, "email": identity.email, "name": identity.name}
