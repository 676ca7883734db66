from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import tokens_made as made
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from jwt import PyJWK
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from logs import Clock

from zantara_stream.config import load_settings
from zantara_stream.errors import ConfigError, IdentityUnavailable
from zantara_stream.people import keys
from zantara_stream.people.keys import Jwks, JwksFile, JwksUrl, Keys, Secret, make_keys

RSA, EC = {"alg": "RS256", "kid": "rsa"}, {"alg": "ES256", "kid": "ec"}
OTHER = {"alg": "RS256", "kid": "other"}
ROTATED = made.jwks(made.jwk(made.rsa_key("second"), "other"))
LOOPBACK = "127.0.0.1"
DAMAGED = [
    b"",
    b"\xff",
    b"[]",
    b"{}",
    b'"keys"',
    b"[" * 50_000,
    b'{"keys": 1}',
    b'{"keys": []}',
    b'{"keys": {"kty": "RSA"}}',
    b'{"keys": [1, null, "x", []]}',
]


class Provider:
    """Somebody at a loopback address who publishes keys; `gate` holds the answer back, `raw` is another answer."""

    def __init__(self, clock: Clock) -> None:
        self.document: object = made.jwks()
        self.status = 200
        self.location = ""
        self.raw = b""
        self.takes = 0.0  # seconds that an answer takes by the clock
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.reached = asyncio.Event()
        self.gate.set()
        self.port = 0
        self._clock = clock

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/keys?confidential"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        self.reached.set()
        await self.gate.wait()
        self._clock.now += self.takes
        writer.write(self.raw or self._response())
        writer.close()

    def _response(self) -> bytes:
        body = json.dumps(self.document).encode()
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", f"Content-Length: {len(body)}"]
        lines += [f"Location: {self.location}"] if self.location else []
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made_one = Clock()
    monkeypatch.setattr(keys, "time", made_one)
    return made_one


@pytest.fixture
async def provider(clock: Clock) -> AsyncIterator[Provider]:
    made_one = Provider(clock)
    async with await asyncio.start_server(made_one.answer, LOOPBACK, 0) as server:
        made_one.port = server.sockets[0].getsockname()[1]
        yield made_one


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(made.jwks()))
    return path


def publish(file: Path, document: object) -> None:
    """Exchange a file as an operator should: at once."""
    draft = file.with_suffix(".new")
    draft.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    draft.replace(file)


def damage_unseen(file: Path) -> None:
    """Overwrite a file so that it looks the same from outside."""
    status = file.stat()
    file.write_bytes(b" " * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def move(file: Path, to: Path) -> Path:
    """Rename a file; where it lies then."""
    return file.replace(to)


async def kids(published: Keys, header: dict[str, Any]) -> list[str | None]:
    return [key.key_id for key in await published.candidates(header)]


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == keys.__name__]


# Which settings make which keys


@pytest.mark.parametrize(("secret", "jwks", "found"), [("", "", "neither is"), (made.SECRET, "keys.json", "both are")])
def test_one_of_both_settings_makes_keys(secret: str, jwks: str, found: str) -> None:
    with pytest.raises(ConfigError, match=f"ZANTARA_JWT_SECRET and ZANTARA_JWT_JWKS; {found} set"):
        make_keys(secret, jwks)


@pytest.mark.parametrize(
    ("secret", "jwks", "kind", "algorithms"),
    [
        (made.SECRET, "", Secret, ("HS256",)),
        ("", "etc/keys.json", JwksFile, ("RS256", "ES256")),
        ("", "https://login.example.com/keys", JwksUrl, ("RS256", "ES256")),
        ("", "HTTPS://login.example.com:8443/keys", JwksUrl, ("RS256", "ES256")),
        ("", "http://localhost/keys", JwksUrl, ("RS256", "ES256")),
        ("", "http://127.0.0.1:80/keys", JwksUrl, ("RS256", "ES256")),
        ("", "http://[::1]/keys", JwksUrl, ("RS256", "ES256")),
    ],
)
def test_each_setting_makes_its_keys(secret: str, jwks: str, kind: type, algorithms: tuple[str, ...]) -> None:
    made_ones = make_keys(secret, jwks)
    assert type(made_ones) is kind
    assert made_ones.algorithms == algorithms


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/keys",
        "http://127.0.0.1.example.com/keys",
        "http://localhost@example.com/keys",
        "https://anna:password@example.com/keys",
        "https://example.com:port/keys",
        "https://example.com:0/keys",
        "https://[/keys",
        "https:///keys",
        "ftp://example.com/keys",
        "file:///etc/keys.json",
        "://",
    ],
)
def test_an_address_where_others_could_answer_is_refused(url: str) -> None:
    with pytest.raises(
        ConfigError, match="ZANTARA_JWT_JWKS takes the path of a file, or an https:// address"
    ) as raised:
        make_keys("", url)
    assert "password" not in str(raised.value)


# A secret


async def test_a_secret_is_tried_whatever_the_header_says() -> None:
    secret = Secret(made.SECRET)
    await secret.load()
    (key,) = await secret.candidates({})
    assert await secret.candidates({"kid": "other", "alg": "RS256"}) == (key,)
    assert key.key == made.SECRET.encode()
    assert key.algorithm_name == "HS256"


@pytest.mark.parametrize("secret", ["", "x" * 31, "é" * 15])
def test_a_short_secret_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ConfigError, match="ZANTARA_JWT_SECRET is too short: it takes at least 32 bytes") as raised:
        Secret(secret)
    assert not secret or secret not in str(raised.value)


@pytest.mark.parametrize("secret", ["x" * 32, "é" * 16])
def test_a_secret_as_short_as_the_settings_allow_is_taken(secret: str) -> None:
    settings = {"ZANTARA_AUTH": "jwt", "ZANTARA_JWT_SECRET": secret}
    assert load_settings(settings).jwt_secret == secret
    assert Secret(secret).algorithms == ("HS256",)


@pytest.mark.parametrize("key", [made.pem(made.rsa_key()).decode(), json.dumps(made.jwk(made.ec_key()))])
def test_a_public_key_is_no_secret(key: str) -> None:
    with pytest.raises(ConfigError, match=r"a key of a key pair; set ZANTARA_JWT_JWKS instead") as raised:
        Secret(key)
    assert key not in str(raised.value)


# Which keys of a JWKS count


async def test_a_token_gets_the_keys_of_its_kid_and_algorithm(file: Path) -> None:
    published = JwksFile(file)
    await published.load()
    assert await kids(published, RSA) == ["rsa"]
    assert await kids(published, EC) == ["ec"]
    assert await kids(published, {"alg": "RS256", "kid": "ec"}) == []
    assert await kids(published, {"alg": "HS256", "kid": "rsa"}) == []
    assert await kids(published, {"kid": "rsa"}) == []
    assert await kids(published, OTHER) == []


async def test_a_token_without_a_kid_gets_all_keys_of_its_algorithm(file: Path) -> None:
    publish(file, made.jwks(made.jwk(made.rsa_key()), made.jwk(made.ec_key()), made.jwk(made.rsa_key("second"), "two")))
    published = JwksFile(file)
    await published.load()
    assert await kids(published, {"alg": "RS256"}) == [None, "two"]
    assert await kids(published, {"alg": "ES256"}) == [None]
    assert await kids(published, {"alg": "RS256", "kid": "two"}) == ["two"]


NOT_FOR_TOKENS = {
    "a secret": {"kty": "oct", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA", "kid": "x"},
    "a secret without one": {"kty": "oct"},
    "a short RSA key": made.jwk(made.rsa_key("short", 1024), "x"),
    "another curve": made.jwk(made.ec_key("wide", ec.SECP384R1), "x"),
    "another curve for P-256": made.jwk(made.ec_key("wide", ec.SECP384R1), "x", alg="ES256"),
    "encrypts": made.jwk(made.rsa_key(), "x", use="enc"),
    "another algorithm": made.jwk(made.rsa_key(), "x", alg="RS512"),
    "the algorithm of the other type": made.jwk(made.rsa_key(), "x", alg="ES256"),
    "an algorithm that is none": made.jwk(made.rsa_key(), "x", alg=["RS256"]),
    "a private RSA key": RSAAlgorithm.to_jwk(made.rsa_key(), as_dict=True) | {"kid": "x"},
    "a private EC key": ECAlgorithm.to_jwk(made.ec_key(), as_dict=True) | {"kid": "x"},
    "half a key": {"kty": "RSA", "e": "AQAB", "kid": "x"},
    "not a point": made.jwk(made.ec_key(), "x") | {"x": "A" * 43},
    "no type": {"kid": "x"},
    "a type that is none": {"kty": ["RSA"], "kid": "x"},
    "not an object": "x",
}


@pytest.mark.parametrize("entry", NOT_FOR_TOKENS.values(), ids=NOT_FOR_TOKENS)
async def test_a_key_that_is_not_for_tokens_is_left_out(file: Path, entry: object) -> None:
    publish(file, made.jwks(entry, made.jwk(made.rsa_key(), "rsa")))
    published = JwksFile(file)
    await published.load()
    assert [await kids(published, {"alg": algorithm}) for algorithm in ("RS256", "ES256", "HS256")] == [["rsa"], [], []]


@pytest.mark.parametrize("entry", NOT_FOR_TOKENS.values(), ids=NOT_FOR_TOKENS)
async def test_a_file_with_no_key_for_tokens_stops_the_start(file: Path, entry: object) -> None:
    publish(file, made.jwks(entry))
    with pytest.raises(ConfigError, match=r"it holds no public key for signatures, of RSA \(2048 bits or more\)"):
        await JwksFile(file).load()


@pytest.mark.parametrize("members", [{"use": "sig"}, {"use": None}, {"alg": "RS256"}, {"x5c": ["AQAB"]}])
async def test_what_else_a_key_says_of_itself_does_no_harm(file: Path, members: dict[str, Any]) -> None:
    publish(file, made.jwks(made.jwk(made.rsa_key(), "rsa", **members)))
    published = JwksFile(file)
    await published.load()
    assert await kids(published, RSA) == ["rsa"]


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
ENTRIES = st.builds(
    lambda entry, broken: entry | broken,
    st.sampled_from([{}, made.jwk(made.rsa_key()), made.jwk(made.ec_key()), {"kty": "oct", "k": "AQAB"}]),
    st.dictionaries(st.sampled_from(["kty", "n", "e", "x", "y", "crv", "alg", "use"]), JSON | st.just("AQAB")),
)


@given(st.lists(ENTRIES | JSON, max_size=4))
def test_no_damaged_key_takes_a_good_one_along(entries: list[object]) -> None:
    good = made.jwk(made.rsa_key("second"), "good")
    usable = keys._usable(json.dumps(made.jwks(*entries, good)).encode())
    assert usable[-1].key_id == "good"
    assert {key.algorithm_name for key in usable} <= {"RS256", "ES256"}


# A file


@pytest.mark.parametrize("document", DAMAGED, ids=lambda document: repr(document[:20]))
async def test_a_damaged_file_stops_the_start(file: Path, document: bytes) -> None:
    publish(file, document)
    published = JwksFile(file)
    for _ in range(2):  # having been read once makes it no better
        with pytest.raises(ConfigError, match=r"ZANTARA_JWT_JWKS='.*jwks\.json' cannot be used: it "):
            await published.load()


async def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ZANTARA_JWT_JWKS='.*nowhere' cannot be used: .*No such file"):
        await JwksFile(tmp_path / "nowhere").load()
    with pytest.raises(ConfigError, match="directory"):
        await JwksFile(tmp_path).load()


async def test_a_file_is_read_again_when_it_changed(file: Path, clock: Clock) -> None:
    published = JwksFile(file)
    await published.load()
    publish(file, ROTATED)
    clock.now += keys.LOOKED - 0.1
    assert await kids(published, RSA) == ["rsa"]
    clock.now += 0.1
    assert await kids(published, RSA) == []
    assert await kids(published, OTHER) == ["other"]


async def test_a_file_that_is_the_same_is_not_read_again(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    published = JwksFile(file)
    await published.load()
    damage_unseen(file)
    clock.now += keys.LOOKED
    assert await kids(published, RSA) == ["rsa"]
    assert told(caplog) == []  # it would have been found damaged
    os.utime(file, ns=(1, 1))
    clock.now += keys.LOOKED
    assert await kids(published, EC) == ["ec"]
    with pytest.raises(IdentityUnavailable):
        await kids(published, OTHER)  # the change was seen, and it is a bad one


async def test_an_unknown_kid_looks_at_the_file_sooner(file: Path, clock: Clock) -> None:
    published = JwksFile(file)
    await published.load()
    publish(file, ROTATED)
    clock.now += keys.LOOKED_SOONER - 0.1
    assert await kids(published, OTHER) == []
    clock.now += 0.1
    assert await kids(published, OTHER) == ["other"]


@pytest.mark.parametrize("document", [*DAMAGED, None], ids=lambda document: repr(document and document[:20]))
async def test_while_a_file_is_damaged_its_last_keys_go_on(
    file: Path, clock: Clock, document: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    published = JwksFile(file)
    await published.load()
    kept = move(file, file.with_suffix(".kept"))
    if document is not None:
        publish(file, document)
    for _ in range(3):
        clock.now += keys.LOOKED
        assert await kids(published, RSA) == ["rsa"]
        with pytest.raises(IdentityUnavailable):
            await kids(published, OTHER)  # it may be in the file that cannot be read
    ((level, message),) = told(caplog)
    assert level == logging.ERROR
    assert message.startswith(f"The keys of tokens cannot be read from {file}: ")
    assert message.endswith("Those known go on.")
    move(kept, file)
    clock.now += keys.LOOKED
    assert await kids(published, OTHER) == []


async def test_a_file_that_was_never_loaded_is_read_when_needed(file: Path, clock: Clock) -> None:
    assert await kids(JwksFile(file), RSA) == ["rsa"]
    with pytest.raises(IdentityUnavailable):
        await kids(JwksFile(file.with_name("nowhere")), RSA)


# An address


async def test_fetched_keys_count_for_an_hour(provider: Provider, clock: Clock) -> None:
    published = JwksUrl(provider.url)
    await published.load()
    provider.document = ROTATED
    clock.now += keys.FRESH - 0.1
    assert await kids(published, RSA) == ["rsa"]
    assert len(provider.asked) == 1
    clock.now += 0.1
    assert await kids(published, RSA) == []
    assert await kids(published, OTHER) == ["other"]
    assert len(provider.asked) == 2


async def test_who_fetches_says_what_it_is(provider: Provider) -> None:
    await JwksUrl(provider.url).load()
    assert provider.asked[0].startswith("GET /keys?confidential HTTP/1.1\r\n")
    assert "User-Agent: zantara-stream\r\n" in provider.asked[0]


async def test_made_up_kids_fetch_at_most_every_thirty_seconds(provider: Provider, clock: Clock) -> None:
    published = JwksUrl(provider.url)
    await published.load()
    for number in range(60):
        clock.now += 1
        assert await kids(published, {"alg": "RS256", "kid": f"made up {number}"}) == []
        assert await kids(published, RSA) == ["rsa"]
    assert len(provider.asked) == 1 + 60 // keys.PAUSE


async def test_a_new_kid_is_known_once_it_is_asked_for(provider: Provider, clock: Clock) -> None:
    published = JwksUrl(provider.url)
    await published.load()
    provider.document = ROTATED
    clock.now += keys.PAUSE
    assert await kids(published, OTHER) == ["other"]


async def test_simultaneous_requests_share_a_fetch(provider: Provider) -> None:
    provider.gate.clear()
    published = JwksUrl(provider.url)
    waiting = [asyncio.create_task(kids(published, header)) for header in [RSA, EC, OTHER] * 20]
    await provider.reached.wait()
    waiting.pop().cancel()  # who goes away takes nothing from the others
    provider.gate.set()
    assert (await asyncio.gather(*waiting))[:3] == [["rsa"], ["ec"], []]
    assert len(provider.asked) == 1


async def test_while_some_wait_for_a_new_key_the_others_go_on(provider: Provider, clock: Clock) -> None:
    published = JwksUrl(provider.url)
    await published.load()
    provider.reached.clear()
    provider.gate.clear()
    clock.now += keys.PAUSE
    waiting = asyncio.create_task(kids(published, OTHER))
    await provider.reached.wait()
    assert await kids(published, RSA) == ["rsa"]
    assert not waiting.done()
    provider.gate.set()
    assert await waiting == []


async def test_without_keys_nobody_can_be_identified_until_the_provider_is_back(
    provider: Provider, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    provider.status = 503
    published = JwksUrl(provider.url)
    await published.load()
    for _ in range(20):
        with pytest.raises(IdentityUnavailable):
            await kids(published, RSA)
    assert len(provider.asked) == 1
    assert told(caplog) == [
        (
            logging.WARNING,
            "The keys of tokens cannot be read from 127.0.0.1: it answered with status 503. "
            "Nobody can be identified until they can.",
        )
    ]
    provider.status = 200
    clock.now += keys.RETRIED
    assert await kids(published, RSA) == ["rsa"]


async def test_while_a_provider_fails_the_last_keys_go_on(
    provider: Provider, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    published = JwksUrl(provider.url)
    await published.load()
    provider.status = 500
    clock.now += keys.FRESH
    for _ in range(4):
        assert await kids(published, RSA) == ["rsa"]
        with pytest.raises(IdentityUnavailable):
            await kids(published, OTHER)
        clock.now += keys.PAUSE / 2
    assert len(provider.asked) == 1 + 2
    ((level, message),) = told(caplog)
    assert level == logging.WARNING
    assert message.endswith("it answered with status 500. Those known go on.")
    assert "confidential" not in caplog.text
    provider.status = 200
    clock.now += keys.PAUSE
    assert await kids(published, OTHER) == []


async def test_a_token_without_a_kid_has_no_unknown_one(provider: Provider, clock: Clock) -> None:
    published = JwksUrl(provider.url)
    await published.load()
    clock.now += keys.PAUSE
    assert await kids(published, {"alg": "RS256"}) == ["rsa"]
    assert len(provider.asked) == 1
    provider.status = 500
    clock.now += keys.FRESH
    assert await kids(published, {"alg": "RS256"}) == ["rsa"]
    assert len(provider.asked) == 2


async def test_after_a_failure_the_next_fetch_is_soon(provider: Provider, clock: Clock) -> None:
    published = JwksUrl(provider.url)
    await published.load()
    clock.now += keys.FRESH
    provider.status = 500
    assert await kids(published, RSA) == ["rsa"]
    provider.status, provider.document = 200, ROTATED
    clock.now += keys.PAUSE - 0.1
    assert await kids(published, RSA) == ["rsa"]
    clock.now += 0.1
    assert await kids(published, RSA) == []


async def test_each_outage_is_told_once(provider: Provider, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    published = JwksUrl(provider.url)
    for status in (500, 502, 200, 500, 500):
        provider.status = status
        await published.load()
    assert len(told(caplog)) == 2


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "it did not speak HTTP (BadStatusLine)"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", "it did not speak HTTP (IncompleteRead)"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"keys', "it is no JWKS, a JSON object with a list of `keys`"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "it is no JWKS, a JSON object with a list of `keys`"),
        (b"HTTP/1.1 404 confidential\r\nContent-Length: 0\r\n\r\n", "it answered with status 404"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (keys.LARGEST + 1), "it is larger than 1000000 bytes"),
    ],
)
async def test_an_answer_that_is_none_is_told(
    provider: Provider, raw: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider.raw = raw
    await JwksUrl(provider.url).load()
    ((_, message),) = told(caplog)
    assert f"from 127.0.0.1: {problem}. Nobody" in message
    assert "confidential" not in caplog.text


async def test_a_document_may_be_as_large_as_allowed(provider: Provider) -> None:
    body = json.dumps(made.jwks()).encode()
    provider.raw = b"HTTP/1.1 200 OK\r\n\r\n" + body + b" " * (keys.LARGEST - len(body))
    assert await kids(JwksUrl(provider.url), RSA) == ["rsa"]


async def test_an_answer_must_not_take_long(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    provider.takes = keys.PATIENCE + 0.1
    await JwksUrl(provider.url).load()
    assert "from 127.0.0.1: it took longer than 5 s. Nobody" in caplog.text


async def test_a_provider_that_is_not_there_is_told(
    clock: Clock, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    await JwksUrl(f"http://localhost:{unused_tcp_port}/keys").load()
    assert "from localhost: " in caplog.text
    assert "refused" in caplog.text


class Stuck(Jwks):
    """Keys that cannot be read before `released`."""

    def __init__(self) -> None:
        super().__init__("somewhere", logging.WARNING, 3600, 30)
        self.released = threading.Event()
        self.begun = 0

    async def load(self) -> None:
        """Nothing is read at the start."""

    def _read(self) -> tuple[PyJWK, ...]:
        self.begun += 1
        self.released.wait()
        return keys._usable(json.dumps(made.jwks()).encode())


async def test_nobody_waits_for_ever_and_no_second_reading_begins(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Stuck()
    with monkeypatch.context() as impatient:
        impatient.setattr(keys, "PATIENCE", 0.0)
        for _ in range(3):
            with pytest.raises(IdentityUnavailable):
                await kids(stuck, RSA)
            clock.now += keys.PAUSE
    stuck.released.set()
    assert await kids(stuck, RSA) == ["rsa"]
    assert stuck.begun == 1
    assert [message for _, message in told(caplog)] == [
        "The keys of tokens cannot be read from somewhere: no answer in 0 s. Nobody can be identified until they can."
    ]


async def test_a_mistake_of_ours_is_not_taken_for_the_providers(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck()
    stuck.released.set()
    monkeypatch.setattr(keys, "_usable", None)
    with pytest.raises(TypeError, match="not callable"):
        await kids(stuck, RSA)


# Redirects


async def test_a_redirect_to_the_same_scheme_is_followed(provider: Provider) -> None:
    other = Provider(Clock())
    async with await asyncio.start_server(other.answer, LOOPBACK, 0) as server:
        other.port = server.sockets[0].getsockname()[1]
        provider.status, provider.location = 302, other.url
        assert await kids(JwksUrl(provider.url), RSA) == ["rsa"]
    assert len(other.asked) == len(provider.asked) == 1


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1:{port}/keys",
        "http://keys.example.com/",
        "http://anna@127.0.0.1:{port}/keys",
        "ftp://127.0.0.1:{port}/keys",
        "file:///etc/hostname",
        "data:application/json,%7B%7D",
    ],
)
async def test_other_redirects_are_not_followed(
    provider: Provider, location: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider.status, provider.location = 302, location.format(port=provider.port)
    await JwksUrl(provider.url).load()
    assert "it answered with status 302" in caplog.text
    assert len(provider.asked) == 1


async def test_loopback_is_not_asked_for_through_a_proxy(
    provider: Provider, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("no_proxy", "")
    assert await kids(JwksUrl(provider.url), RSA) == ["rsa"]


def certificate(folder: Path) -> ssl.SSLContext:
    """What a server at 127.0.0.1 shows that vouches for itself; `ca.pem` of the folder is who trusts it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
    key, now, day = made.ec_key("server"), datetime.now(UTC), timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
    shown = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    (folder / "ca.pem").write_bytes(shown)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(private + shown)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


async def test_only_a_provider_with_a_trusted_certificate_is_believed(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secure = Provider(clock)
    async with await asyncio.start_server(secure.answer, LOOPBACK, 0, ssl=certificate(tmp_path)) as server:
        secure.port = server.sockets[0].getsockname()[1]
        published = JwksUrl(secure.url.replace("http", "https", 1))
        await published.load()
        assert "certificate verify failed" in caplog.text
        assert secure.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        clock.now += keys.RETRIED
        assert await kids(published, RSA) == ["rsa"]
