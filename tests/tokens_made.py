"""Tokens as providers sign them, and as forgers do; key pairs, which are made once; and JWKS documents."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SECRET = "a secret of tests, of more than 32 bytes"
LIFETIME = 86_400.0  # seconds; longer than all tests take, for some make their tokens when they are collected


@cache
def rsa_key(name: str = "first", bits: int = 2048) -> rsa.RSAPrivateKey:
    """A pair of RSA keys; the same for the same name."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str = "first", curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    """A pair of EC keys; the same for the same name."""
    return ec.generate_private_key(curve())


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """The public key of a pair, as text."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def payload(subject: object = "anna", lifetime: float = LIFETIME, **claims: Any) -> bytes:
    """The claims as JSON; one that is None is left out."""
    now = int(time.time())
    said = {"sub": subject, "iat": now, "exp": now + lifetime} | claims
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


def signed(header: Mapping[str, Any], body: bytes, secret: bytes) -> str:
    """A token with that header exactly, signed as for HS256, whatever the header says."""
    parts = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in (json.dumps(header).encode(), body))
    signature = hmac.new(secret, parts, hashlib.sha256).digest()
    return (parts + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()


def token(
    subject: object = "anna",
    *,
    secret: str = SECRET,
    headers: Mapping[str, Any] | None = None,
    lifetime: float = LIFETIME,
    **claims: Any,
) -> str:
    """A token of HS256; `lifetime` in seconds, and a claim that is None is left out."""
    header = {"alg": "HS256", "typ": "JWT"} | dict(headers or {})
    return signed(header, payload(subject, lifetime, **claims), secret.encode())


def rs256(
    subject: object = "anna",
    *,
    key: rsa.RSAPrivateKey | None = None,
    headers: Mapping[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A token of RS256, of the first RSA key unless another is given; without `kid` unless the headers have one."""
    return PyJWS().encode(payload(subject, **claims), key or rsa_key(), "RS256", dict(headers or {}))


def es256(
    subject: object = "anna",
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    headers: Mapping[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A token of ES256, of the first EC key unless another is given; without `kid` unless the headers have one."""
    return PyJWS().encode(payload(subject, **claims), key or ec_key(), "ES256", dict(headers or {}))


def jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str = "", **members: Any) -> dict[str, Any]:
    """The public key of a pair as an entry of a JWKS."""
    if isinstance(key, rsa.RSAPrivateKey):
        entry = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        entry = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return entry | ({"kid": kid} if kid else {}) | members


def jwks(*entries: object) -> dict[str, Any]:
    """The document that holds those keys; the first pairs' as "rsa" and "ec" unless others are given."""
    return {"keys": list(entries) or [jwk(rsa_key(), "rsa"), jwk(ec_key(), "ec")]}
