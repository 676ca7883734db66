"""What the shipped proxy configurations are tested with: their own text, a certificate, a client that speaks HTTP/2."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import httpx2
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from faults import checker, client
from faults.house import until
from faults.process import Node
from faults.upstream import Upstream, text_of
from server import CHAT, PAGE, QUESTION, STREAM

from zantara_stream.generation.answerer import Part
from zantara_stream.testing import EventReader, ScriptedAnswerer, StreamEvent
from zantara_stream.web.cors import METHODS, REQUEST_HEADERS

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
OPERATORS = ("/metrics", "/metrics?x", "/admin/reload", "//admin/reload", "/x/../admin/reload", "/%61dmin/x")
TEXTS = ("Late renewal ", "is fined\n", "Rp 1 million — 😀 ", "a day.")


def put(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of those lines or words replaced, which must be there just once."""
    for shown, real in changes.items():
        assert text.count(shown) == 1, f"{shown!r} is there {text.count(shown)} times"
        text = text.replace(shown, real)
    return text


def certify(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1 and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    own = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = made.add_extension(own, critical=False).sign(key, hashes.SHA256())
    folder.mkdir(parents=True, exist_ok=True)
    certificate, secret = folder / "site.pem", folder / "site.key"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*form))
    return certificate, secret


@dataclass(frozen=True, slots=True)
class Site:
    """A proxy that runs: its origin, its certificate, the folder of all that it writes."""

    url: str
    certificate: Path
    folder: Path

    @property
    def trust(self) -> ssl.SSLContext:
        """What trusts its certificate."""
        return ssl.create_default_context(cafile=str(self.certificate))

    @asynccontextmanager
    async def client(self, http2: bool = True) -> AsyncIterator[httpx2.AsyncClient]:
        """A client of it."""
        options: dict[str, Any] = {"base_url": self.url, "verify": self.trust, "timeout": 30, "trust_env": False}
        async with httpx2.AsyncClient(http2=http2, http1=not http2, **options) as client:
            yield client

    def written(self) -> str:
        """All that it has logged."""
        return "".join(file.read_text() for file in self.folder.rglob("*.log"))


class Reader:
    """Reads one stream as it comes."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._pieces = response.aiter_bytes()
        self._parser = EventReader()
        self._read: list[StreamEvent] = []

    async def next(self) -> StreamEvent:
        """The next event. Raises `StopAsyncIteration` at the end."""
        while not self._read:
            self._read = list(self._parser.feed(await anext(self._pieces)))
        return self._read.pop(0)

    async def text(self) -> str:
        """The next chunk."""
        while "text" not in (event := await self.next()).json:
            pass
        return str(event.json["text"])

    async def rest(self) -> list[StreamEvent]:
        """All that is still to come."""
        events = []
        while True:
            try:
                events.append(await self.next())
            except StopAsyncIteration:
                return events


@asynccontextmanager
async def asked(client: httpx2.AsyncClient, query: str = QUESTION, **parameters: str) -> AsyncIterator[Reader]:
    """The stream of an answer, as an `EventSource` asks for it."""
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip, br"}
    async with client.stream("GET", STREAM, params={"query": query, **parameters}, headers=headers) as response:
        yield Reader(response)


class Gated(ScriptedAnswerer):
    """Writes `TEXTS`, each when its gate is opened."""

    def __init__(self) -> None:
        self.gates = [asyncio.Event() for _ in TEXTS]
        steps: list[Part | asyncio.Event] = list(chain.from_iterable(zip(self.gates, TEXTS, strict=True)))
        super().__init__(*steps)


class Mirror:
    """A server that answers with the headers that reached it, and keeps the paths."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def _shown(self, request: web.Request) -> web.Response:
        self.paths.append(request.raw_path)
        return web.json_response({name.lower(): value for name, value in request.headers.items()})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its host and port while it serves."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._shown)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def answered_away(front: Site) -> None:
    """Check what is said while the server is away."""
    async with front.client() as browser:
        origin, events = {"Origin": PAGE}, {"Accept": "text/event-stream"}
        stream = await browser.get(STREAM, params={"query": "Secret question?"}, headers={**origin, **events})
        assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream")
        said = re.fullmatch(r"retry: (\d+)\nevent: unavailable\ndata: (\{.*\})\n\n", stream.text)
        assert said is not None, stream.text
        assert 2000 <= int(said[1]) <= 3000
        assert said[2] == '{"code":"draining","retryable":true,"retryAfter":2}'
        json = await browser.post(CHAT, json={"query": "Secret question?"}, headers=origin)
        assert (json.status_code, json.headers["retry-after"], json.json()["code"]) == (503, "2", "draining")
        assert set(json.json()) == {"error", "done", "code", "retryable"}
        for response in (stream, json):
            assert response.headers["access-control-allow-origin"] == PAGE
            assert response.headers["access-control-allow-credentials"] == "true"
            assert response.headers["vary"] == "Origin"
        asks = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        preflight = await browser.options(CHAT, headers=asks)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, PAGE)
        assert preflight.headers["access-control-allow-methods"] == ", ".join(METHODS)
        assert preflight.headers["access-control-allow-headers"] == ", ".join(REQUEST_HEADERS)
        foreign = await browser.post(CHAT, json={}, headers={"Origin": "https://evil.example"})
        assert not [name for name in foreign.headers if name.startswith("access-control-allow")]


async def killed_and_back(
    site: Callable[[Path, str], AbstractAsyncContextManager[Site]], folder: Path, index: Path
) -> Site:
    """Kill a server behind a proxy in the middle of answers; its readers come back, and get every chunk once."""
    (folder / "node").mkdir()
    async with Upstream(0.03).serving() as model:
        node = Node(folder / "node", index, model.url)
        await node.start()
        try:
            async with site(folder / "front", node.url.removeprefix("http://")) as front:
                readers = [client.Reader(front.url, f"Secret question {n}?", f"secret{n}") for n in range(4)]
                await _outlive(node, front, readers)
            journal = checker.journalled(node.journal)
            assert [problem for reader in readers for problem in checker.problems(reader.received, journal)] == []
            assert all(checker.text(reader.received) == text_of(reader.query) for reader in readers)
        finally:
            await node.stop()
    return front


async def _outlive(node: Node, front: Site, readers: list[client.Reader]) -> None:
    connector = TCPConnector(limit=0, force_close=True, ssl=front.trust)
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=None)) as session:
        reading = [asyncio.create_task(reader.run(session)) for reader in readers]
        await asyncio.gather(*(reader.first.wait() for reader in readers))
        await node.kill()
        await until(lambda: all(b"event: unavailable" in b"".join(reader.received) for reader in readers))
        await node.start()
        await asyncio.gather(*reading)
