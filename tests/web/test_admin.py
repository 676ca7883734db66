"""What operators ask for with their token."""

from __future__ import annotations

import asyncio
import hmac
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from builds_made import DAMAGES, DOCUMENT, Changing, sentence, until_served
from server import PAGE, Server, serving
from yarl import URL

from zantara_stream.retrieval.building import build
from zantara_stream.retrieval.documents import Document, Section
from zantara_stream.retrieval.manifest import current_build
from zantara_stream.retrieval.reading import Reading
from zantara_stream.testing import HashingEmbedder
from zantara_stream.web import admin

TOKEN = "0123456789abcdef0123456789-._~+/="
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
RELOAD, DOCUMENTS = "/admin/reload", "/admin/documents"
SHOWN = f"{DOCUMENTS}/permits/renewal.md"
STRANGE = ["a b.md", "100%.md", "été/résumé #1?.md", "a+b&c=d.md", "..md", "x/..y/z.md", "a;b.md", "%2e%2e.md"]


async def raw(server: Server, path: bytes, headers: bytes = b"Authorization: Bearer " + TOKEN.encode()) -> bytes:
    """The whole response to a GET of exactly that path."""
    return await server.raw(b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%b\r\n\r\n" % (path, headers))


def status(response: bytes) -> int:
    """The status of a raw response."""
    return int(response.split(b" ")[1])


# ------------------------------------------------------------------------------------------------ who may


@pytest.mark.parametrize(("method", "path"), [("POST", RELOAD), ("GET", SHOWN)])
async def test_without_a_token_set_it_is_closed_to_everybody(small_index: Path, method: str, path: str) -> None:
    async with serving(small_index) as server:
        for headers in ({}, OPERATOR, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}):
            async with server.session.request(method, server.url + path, headers=headers) as response:
                body = await response.json()
                assert (response.status, body["code"], body["retryable"]) == (403, "forbidden", False)
                assert "ZANTARA_ADMIN_TOKEN" in body["error"], "and what to do"


@pytest.mark.parametrize(("method", "path"), [("POST", RELOAD), ("GET", SHOWN)])
@pytest.mark.parametrize(
    "sent",
    [
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Bearer x {TOKEN}",
        "Bearer ä",
    ],
)
async def test_another_token_or_none_is_refused(small_index: Path, method: str, path: str, sent: str) -> None:
    async with serving(small_index, admin_token=TOKEN) as server:
        headers = {"Authorization": sent} if sent else {}
        async with server.session.request(method, server.url + path, headers=headers) as response:
            body = await response.json()
            assert (response.status, body["code"], body["retryable"]) == (401, "unauthenticated", False)
            assert "ZANTARA_ADMIN_TOKEN" in body["error"]
            assert TOKEN not in str(body)


async def test_bytes_that_are_no_text_are_another_token(small_index: Path) -> None:
    async with serving(small_index, admin_token=TOKEN) as server:
        assert status(await raw(server, SHOWN.encode(), b"Authorization: Bearer \xff\xfe" + TOKEN.encode())) == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_right_token_is_let_in_however_the_scheme_is_written(small_index: Path, scheme: str) -> None:
    async with serving(small_index, admin_token=TOKEN) as server:
        response = await server.get(SHOWN, {"Authorization": f"{scheme} {TOKEN}"})
        assert response.status == 200


async def test_tokens_are_compared_in_constant_time(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, right: bytes) -> bool:
        compared.append((given, right))
        return hmac.compare_digest(given, right)

    class Spy:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(admin, "hmac", Spy)
    async with serving(small_index, admin_token=TOKEN) as server:
        for given in ("0123", TOKEN):
            await server.get(SHOWN, {"Authorization": f"Bearer {given}"})
    assert compared == [(b"0123", TOKEN.encode()), (TOKEN.encode(), TOKEN.encode())]


async def test_no_token_is_ever_logged(small_index: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "a-token-that-is-wrong-but-secret"
    async with serving(small_index, admin_token=TOKEN) as server:
        for headers in (OPERATOR, {"Authorization": f"Bearer {wrong}"}):
            await server.get(SHOWN, headers)
            await server.post(RELOAD, {}, headers)
        await raw(server, SHOWN.encode(), b"Authorization: Bearer " + TOKEN.encode() * 2000)  # too long a line
        await raw(server, SHOWN.encode(), b"Authorization: Bearer\x00" + TOKEN.encode())  # malformed
    assert TOKEN not in caplog.text
    assert wrong not in caplog.text


async def test_other_methods_and_addresses_are_none(small_index: Path) -> None:
    async with serving(small_index, admin_token=TOKEN) as server:
        for method, path, expected in [
            ("GET", RELOAD, 405),
            ("POST", SHOWN, 405),
            ("HEAD", SHOWN, 405),
            ("GET", "/admin", 404),
            ("GET", DOCUMENTS, 404),
            ("GET", f"{DOCUMENTS}/", 404),
        ]:
            async with server.session.request(method, server.url + path, headers=OPERATOR) as response:
                assert (method, path, response.status) == (method, path, expected)


@pytest.mark.parametrize(("method", "path"), [("POST", RELOAD), ("GET", SHOWN)])
async def test_pages_of_allowed_origins_may_and_of_others_may_not(small_index: Path, method: str, path: str) -> None:
    async with serving(small_index, admin_token=TOKEN) as server:
        async with server.session.request(method, server.url + path, headers={**OPERATOR, "Origin": PAGE}) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == PAGE
        async with server.session.request(method, server.url + path, headers={"Origin": PAGE}) as response:
            assert response.status == 401
            assert response.headers["Access-Control-Allow-Origin"] == PAGE
        foreign = {**OPERATOR, "Origin": "https://evil.example"}
        async with server.session.request(method, server.url + path, headers=foreign) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers


# ------------------------------------------------------------------------------------------------ reloading


async def test_reload_takes_up_the_current_build_at_once(tmp_path: Path) -> None:
    changing = Changing(tmp_path)
    first = changing.build(1)
    async with serving(changing.index, admin_token=TOKEN) as server:
        for manifest in (first, changing.build(2), changing.build(3)):
            async with await server.post(RELOAD, None, OPERATOR) as response:
                assert response.status == 200
                told = await response.json()
            assert told["build"] == server.library.current.manifest.build
            if manifest is not first:
                assert told == {"build": current_build(changing.index).name, "passages": 2, "model": "hashing"}


async def test_reload_tells_why_a_build_is_refused_and_the_old_one_goes_on(tmp_path: Path) -> None:
    changing = Changing(tmp_path)
    first = changing.build(1)
    async with serving(changing.index, admin_token=TOKEN) as server:
        DAMAGES["corpus.db flipped"](changing.index)
        for _ in range(2):
            async with await server.post(RELOAD, {}, OPERATOR) as response:
                body = await response.json()
                assert (response.status, body["code"]) == (503, "index_unavailable")
                assert "corpus.db is not as it was built" in body["error"]
        assert server.library.current.manifest == first


async def test_an_operator_who_leaves_has_the_build_taken_up_all_the_same(tmp_path: Path) -> None:
    changing = Changing(tmp_path)
    changing.build(1)
    async with serving(changing.index, admin_token=TOKEN) as server:
        second = changing.build(2)
        asking = asyncio.create_task(server.post(RELOAD, {}, OPERATOR))
        await asyncio.sleep(0.005)
        asking.cancel()
        async with asyncio.timeout(30):
            await until_served(server.library, second.build)


# ------------------------------------------------------------------------------------------------ documents


async def shown(server: Server, path: str) -> dict[str, Any]:
    """What is shown of a document."""
    url = URL(f"{server.url}{DOCUMENTS}/{quote(path, safe='/')}", encoded=True)
    async with server.session.get(url, headers=OPERATOR) as response:
        assert response.status == 200, path
        body: dict[str, Any] = await response.json()
        return body


async def test_a_document_is_shown_as_it_was_indexed(small_index: Path) -> None:
    async with serving(small_index, admin_token=TOKEN) as server:
        document = await shown(server, "permits/renewal.md")
        (hit, *_) = await server.library.current.search("late renewal fined", 1)
        assert document["text"][hit.passage.start : hit.passage.end] == hit.passage.text, "spans count in it"
        assert {name: value for name, value in document.items() if name != "text"} == {
            "build": current_build(small_index).name,
            "path": "permits/renewal.md",
            "title": "Renewing a permit",
            "language": "en",
            "updated": "2026-01-31",
            "url": "https://example.com/renewal",
            "level": 0,
        }
        assert status(await raw(server, b"/admin/documents/permits%2Frenewal.md")) == 200, "slashes may be escaped"


async def test_it_is_of_the_build_that_is_served(tmp_path: Path) -> None:
    changing = Changing(tmp_path)
    changing.build(1)
    async with serving(changing.index, admin_token=TOKEN) as server:
        assert sentence(1) in (await shown(server, DOCUMENT))["text"]
        changing.build(2)
        await server.post(RELOAD, {}, OPERATOR)
        assert sentence(2) in (await shown(server, DOCUMENT))["text"]


async def test_strange_names_lead_to_their_documents(tmp_path: Path) -> None:
    documents = [Document(path, path, f"This is {path}.", (Section("", 0, 8 + len(path)),), "en") for path in STRANGE]
    build(Reading(documents), HashingEmbedder(), tmp_path, "0" * 8)
    async with serving(tmp_path, admin_token=TOKEN) as server:
        for path in STRANGE:
            assert (await shown(server, path))["text"] == f"This is {path}."


@pytest.mark.parametrize(
    "path",
    [
        b"nothing.md",
        b"permits",
        b"permits/",
        b"/permits/renewal.md",
        b"PERMITS/renewal.md",
        b"permits/renewal.md%00",
        b"../../../../etc/passwd",
        b"..%2F..%2F..%2Fetc%2Fpasswd",
        b"%2e%2e/%2e%2e/setup.cfg",
        b"permits/%2e%2e/pajak.html%20",
        b"..",
        b"%25",
        b"%",
        b"%ff",
        b"' OR 1=1 --".replace(b" ", b"%20"),
        b"x" * 10_000,
    ],
)
async def test_what_is_no_document_is_not_there(small_index: Path, path: bytes) -> None:
    async with serving(small_index, admin_token=TOKEN) as server:
        response = await raw(server, b"/admin/documents/" + path)
        assert status(response) == 404
        assert b"root:" not in response


async def test_a_path_that_is_no_text_is_no_document(small_index: Path) -> None:
    async with serving(small_index, admin_token=TOKEN) as server:
        for path in (b"\xff\xfe", b"\xc3\xa9"):
            assert status(await raw(server, b"/admin/documents/" + path)) == 400


async def test_without_an_index_there_are_no_documents(tmp_path: Path) -> None:
    async with serving(tmp_path / "nowhere", admin_token=TOKEN) as server:
        for method, path in (("POST", RELOAD), ("GET", SHOWN)):
            async with server.session.request(method, server.url + path, headers=OPERATOR) as response:
                assert (response.status, (await response.json())["code"]) == (503, "index_unavailable")
