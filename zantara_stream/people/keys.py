"""The keys that tokens are checked with: a secret, or public keys as a JWKS, a file or an address.

A JWKS (https://www.rfc-editor.org/rfc/rfc7517#section-5) is read again while the server runs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from jwt import PyJWK, PyJWTError

from ..allowed import SECRET_BYTES
from ..config import LOOPBACK
from ..errors import ConfigError, IdentityUnavailable

logger = logging.getLogger(__name__)

RSA_BITS, CURVE = 2048, "P-256"  # at least: https://www.rfc-editor.org/rfc/rfc7518#section-3
PUBLIC = {"RSA": "RS256", "EC": "ES256"}  # the one algorithm of each type of key
FRESH, PAUSE = 3600.0, 30.0  # seconds between two fetches; where a token names an unknown key
LOOKED, LOOKED_SOONER = 5.0, 1.0  # the same between two looks at a file
RETRIED = 5.0  # seconds until the next attempt where there are no keys at all
PATIENCE = 5.0  # seconds that a request waits for keys, and that a fetch may take
LARGEST = 1_000_000  # bytes of a JWKS


class Keys(Protocol):
    """What tokens may be signed with."""

    algorithms: tuple[str, ...]  # names of https://www.rfc-editor.org/rfc/rfc7518#section-3.1; no other is accepted

    async def load(self) -> None:
        """Get ready, once, at the start. Raises `ConfigError` where that needs an operator."""

    async def candidates(self, header: Mapping[str, Any]) -> tuple[PyJWK, ...]:
        """The keys that a token may be signed with, by `alg` and `kid` of its (unverified) header; maybe none.

        Raises `IdentityUnavailable` where the keys cannot be read just now.
        """


class Secret:
    """A secret that is shared with whoever signs; for HS256. Raises `ConfigError` where it is none."""

    algorithms: tuple[str, ...] = ("HS256",)

    def __init__(self, secret: str) -> None:
        encoded = secret.encode()
        if len(encoded) < SECRET_BYTES:
            raise ConfigError(f"ZANTARA_JWT_SECRET is too short: it takes at least {SECRET_BYTES} bytes.")
        try:
            self._key = PyJWK({"kty": "oct", "k": urlsafe_b64encode(encoded).decode()}, "HS256")
            self._key.Algorithm.prepare_key(self._key.key)  # whoever has a public key could sign with it
        except PyJWTError:
            raise ConfigError("ZANTARA_JWT_SECRET is a key of a key pair; set ZANTARA_JWT_JWKS instead.") from None

    async def load(self) -> None:
        """Nothing is to be read."""

    async def candidates(self, header: Mapping[str, Any]) -> tuple[PyJWK, ...]:
        """The secret, whatever the header says."""
        return (self._key,)


class Jwks(ABC):
    """Public keys that may change, read `every` so many seconds; `sooner` if a token names another, or that failed."""

    algorithms: tuple[str, ...] = tuple(PUBLIC.values())

    def __init__(self, place: str, level: int, every: float, sooner: float) -> None:
        self._place, self._level = place, level  # for the log
        self._every, self._sooner = every, sooner
        self._known: tuple[PyJWK, ...] = ()
        self._read_at = -math.inf  # when the last reading ended, well or not
        self._failing = False
        self._reading: asyncio.Task[None] | None = None

    @abstractmethod
    def _read(self) -> tuple[PyJWK, ...]:
        """The keys as they are published now; in a thread. Raises `OSError`, `ValueError`."""

    async def candidates(self, header: Mapping[str, Any]) -> tuple[PyJWK, ...]:
        """See `Keys`."""
        kid = header.get("kid")
        if self._is_due(kid):
            await self._renewed()
        if not self._known or (self._failing and not self._knows(kid)):
            raise IdentityUnavailable
        alg = header.get("alg")
        return tuple(key for key in self._known if key.algorithm_name == alg and kid in (None, key.key_id))

    def _knows(self, kid: object) -> bool:
        return kid is None or any(key.key_id == kid for key in self._known)

    def _is_due(self, kid: object) -> bool:
        pause = self._sooner if self._failing or not self._knows(kid) else self._every
        return time.monotonic() - self._read_at >= (pause if self._known else RETRIED)

    async def _renewed(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._renew())
        await asyncio.wait({self._reading}, timeout=PATIENCE)  # who stops waiting does not stop it for others
        if self._reading.done():
            self._reading.result()
        else:
            self._fail(TimeoutError(f"no answer in {PATIENCE:.0f} s"))

    async def _renew(self) -> None:
        try:
            self._known, self._failing = await asyncio.to_thread(self._read), False
        except (OSError, ValueError) as problem:
            self._fail(problem)
        finally:
            self._read_at = time.monotonic()

    def _fail(self, problem: Exception) -> None:
        if not self._failing:  # once is enough
            then = "Those known go on" if self._known else "Nobody can be identified until they can"
            logger.log(self._level, "The keys of tokens cannot be read from %s: %s. %s.", self._place, problem, then)
        self._failing = True


class JwksFile(Jwks):
    """The public keys of a file, read again when that changes; while it is damaged, those known go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), logging.ERROR, LOOKED, LOOKED_SOONER)
        self._path = path
        self._stamp: tuple[int, int, int] | None = None  # inode, time of the last change, bytes

    async def load(self) -> None:
        """Read the file. Raises `ConfigError` where it cannot be, or holds no key of use."""
        try:
            self._known = await asyncio.to_thread(self._read)
        except (OSError, ValueError) as problem:
            raise ConfigError(f"ZANTARA_JWT_JWKS={str(self._path)!r} cannot be used: {problem}.") from None
        self._read_at = time.monotonic()

    def _read(self) -> tuple[PyJWK, ...]:
        status = self._path.stat()
        before, self._stamp = self._stamp, (status.st_ino, status.st_mtime_ns, status.st_size)
        unchanged = self._stamp == before and self._known and not self._failing
        return self._known if unchanged else _usable(self._path.read_bytes())


class JwksUrl(Jwks):
    """The public keys at an address, fetched every hour. Raises `ConfigError` where somebody else could answer."""

    def __init__(self, url: str) -> None:
        if not _is_safe(url):
            allowed = f"an https:// address without a user name (http:// only of {', '.join(LOOPBACK)})"
            raise ConfigError(f"ZANTARA_JWT_JWKS takes the path of a file, or {allowed}.")
        host = urlsplit(url).hostname or ""  # the rest of an address may be confidential
        super().__init__(host, logging.WARNING, FRESH, PAUSE)
        self._url = url

    async def load(self) -> None:
        """Fetch them; where that fails it is logged, and tried again when somebody comes."""
        await self._renewed()

    def _read(self) -> tuple[PyJWK, ...]:
        return _usable(_fetch(self._url))


def make_keys(secret: str, jwks: str) -> Keys:
    """What `ZANTARA_JWT_SECRET`, or `ZANTARA_JWT_JWKS`, stands for. Raises `ConfigError`, also for both or neither."""
    if bool(secret) == bool(jwks):
        found = "both are" if secret else "neither is"
        raise ConfigError(f"Tokens need one of ZANTARA_JWT_SECRET and ZANTARA_JWT_JWKS; {found} set.")
    if secret:
        return Secret(secret)
    return JwksUrl(jwks) if "://" in jwks else JwksFile(Path(jwks))


def _usable(document: bytes) -> tuple[PyJWK, ...]:
    try:
        entries = json.loads(document)["keys"]
        keys = tuple(key for entry in entries if (key := _key(entry)))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("it is no JWKS, a JSON object with a list of `keys`") from None
    if not keys:
        raise ValueError(f"it holds no public key for signatures, of RSA ({RSA_BITS} bits or more) or of EC ({CURVE})")
    return keys


def _key(entry: object) -> PyJWK | None:
    if not isinstance(entry, dict) or "d" in entry or entry.get("use") not in (None, "sig"):  # "d": a private key
        return None
    algorithm = PUBLIC.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg") not in (None, algorithm):
        return None
    try:
        key = PyJWK(entry, algorithm)
    except PyJWTError:  # others of the same JWKS may do
        return None
    return key if (entry.get("crv") == CURVE if algorithm == "ES256" else key.key.key_size >= RSA_BITS) else None


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        return secure and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:  # not an address
        return False


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if _is_safe(newurl) and urlsplit(newurl).scheme == req.type:
            return super().redirect_request(req, fp, code, msg, headers, newurl)
        return None  # then the redirect itself is the answer


def _fetch(url: str) -> bytes:
    deadline = time.monotonic() + PATIENCE
    request = Request(url, headers={"User-Agent": "zantara-stream"})  # some refuse urllib's own
    direct = [ProxyHandler({})] if request.type == "http" else []  # a proxy's loopback is another
    try:
        with build_opener(_Redirects, *direct).open(request, timeout=PATIENCE) as answer:
            return _body(answer, deadline)
    except HTTPError as error:
        with error:
            raise OSError(f"it answered with status {error.code}") from None
    except HTTPException as error:  # its text may hold the address
        raise OSError(f"it did not speak HTTP ({type(error).__name__})") from None


def _body(answer: HTTPResponse, deadline: float) -> bytes:
    body = b""
    while chunk := answer.read1(65_536):
        body += chunk
        if len(body) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError(f"it took longer than {PATIENCE:.0f} s")
    return body
