"""Who somebody verifiably is: what a signed token says (https://www.rfc-editor.org/rfc/rfc8725), or a trusted proxy."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt import PyJWK
from jwt.exceptions import InvalidSubjectError

from ..errors import Unauthenticated
from .keys import Keys
from .person import folded

LONGEST = 8192  # characters of a token
LEEWAY = 30  # seconds by which the clocks of a signer and of this server may differ
SUBJECT, ISSUER, EMAIL, NAME = 255, 255, 254, 200  # characters at most
_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})  # categories: controls, halves of pairs, separators of lines

_NOBODY = "The token does not say properly whose it is."
_SAID: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired; sign in again."),
    (jwt.ImmatureSignatureError, "The token is not valid yet; a clock is wrong, of this server or of who made it."),
    (jwt.InvalidAudienceError, "The token is meant for somebody else than this server."),
    (jwt.InvalidIssuerError, "The token was made by somebody whom this server does not trust."),
    (
        jwt.MissingRequiredClaimError,
        "The token lacks a claim that it must have: exp, sub, or a configured iss or aud.",
    ),
    (InvalidSubjectError, _NOBODY),
)
_MALFORMED = "This is not a valid token."


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says of who sends it; a text that it lacks, or that is of no use, is ""."""

    subject: str
    email: str = ""  # in small letters
    name: str = ""
    issuer: str = ""

    @property
    def key(self) -> str:
        """What is theirs is kept under it: 32 hex digits that say nothing of them, one for each issuer and subject."""
        return _key("subject", self.issuer, self.subject)


def email_key(email: str) -> str:
    """As `Identity.key`, of an address that a proxy verified, in any case; never that of a token. "" for a blank."""
    address = folded(email)
    return _key("email", address) if address else ""


def _key(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class Tokens:
    """Checks signed tokens. Without an `issuer` any is taken; without an `audience`, only tokens that have none."""

    def __init__(self, keys: Keys, issuer: str = "", audience: str = "") -> None:
        self._keys = keys
        self._issuer = issuer or None
        self._audience = audience or None

    async def verify(self, token: str) -> Identity:
        """Who sends this token. Raises `Unauthenticated`, `IdentityUnavailable`, in words that hold nothing of it."""
        for key in await self._keys.candidates(self._header(token)):
            claims = self._claims(token, key)
            if claims is not None:
                return _identity(claims)
        raise Unauthenticated("The token is not signed with a key that this server knows; sign in again.")

    def _header(self, token: str) -> Mapping[str, Any]:
        if len(token) > LONGEST:
            raise Unauthenticated(f"The token is longer than {LONGEST} characters.")
        try:
            header = jwt.get_unverified_header(token.encode("ascii"))
        except (jwt.PyJWTError, UnicodeEncodeError):
            raise Unauthenticated(_MALFORMED) from None
        if header.get("alg") not in self._keys.algorithms:
            taken = " or ".join(self._keys.algorithms)
            raise Unauthenticated(f"The token is not signed in a way that this server takes, which is {taken}.")
        return header

    def _claims(self, token: str, key: PyJWK) -> Mapping[str, Any] | None:
        """What it says, or None if it is not signed with this key."""
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=self._keys.algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY,
                options={"require": ["exp", "sub"]},
            )
            if self._audience is None and "aud" in claims:  # PyJWT lets an empty one pass
                raise jwt.InvalidAudienceError
        except jwt.InvalidSignatureError:
            return None
        except jwt.PyJWTError as error:
            raise Unauthenticated(_said(error)) from None
        return claims


def _said(error: jwt.PyJWTError) -> str:
    return next((words for kind, words in _SAID if isinstance(error, kind)), _MALFORMED)


def _identity(claims: Mapping[str, Any]) -> Identity:
    subject, issuer = claims["sub"], claims.get("iss", "")
    if not _is_line(subject, SUBJECT) or not subject.strip():
        raise Unauthenticated(_NOBODY)
    if not _is_line(issuer, ISSUER):
        raise Unauthenticated("The token does not say properly who made it.")
    return Identity(subject, _email(claims), _text(claims.get("name"), NAME), issuer)


def _email(claims: Mapping[str, Any]) -> str:
    verified = str(claims.get("email_verified", True)).lower()  # some providers write it as a text
    return folded(_text(claims.get("email"), EMAIL)) if verified == "true" else ""


def _text(claim: object, most: int) -> str:
    return claim.strip() if isinstance(claim, str) and _is_line(claim, most) else ""


def _is_line(claim: object, most: int) -> bool:
    return (
        isinstance(claim, str)
        and len(claim) <= most
        and not any(unicodedata.category(character) in _BREAKING for character in claim)
    )
