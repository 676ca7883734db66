"""What a handler is told of who asks: nobody, a person, this machine itself; and whose conversations are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import ClientSession, UnixConnector, web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from server import CHAT, QUESTION, Server, serving
from tokens_made import SECRET, token

from zantara_stream.app import create_app
from zantara_stream.config import MEMORY, Settings
from zantara_stream.errors import Unauthenticated
from zantara_stream.people.person import NOBODY, Person
from zantara_stream.serving import make_runner
from zantara_stream.testing import ScriptedAnswerer
from zantara_stream.web.asker import PERSON, UNGUESSABLE, asker, is_own, kept_session, known_asker

CONVERSATIONS = "/bali-zero/conversations"
PROXIED = [
    {"X-Forwarded-For": "192.0.2.1"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-For": ""},
    {"x-forwarded-for": "::1"},
    {"Forwarded": "for=192.0.2.1"},
    {"forwarded": "for=localhost;proto=https"},
    {"X-Real-IP": "192.0.2.1"},
    {"Via": "1.1 proxy"},
    {"X-Forwarded-Host": "example.com"},
    {"FORWARDED": "secret", "X-Forwarded-For": "unknown"},
]
ANNA = {"Authorization": f"Bearer {token('anna')}"}
LONG, SHORT = "s" * UNGUESSABLE, "s" * (UNGUESSABLE - 1)


def request(remote: str | None = "127.0.0.1", headers: Mapping[str, str] | None = None) -> web.Request:
    """A request from that address; None for a connection that has gone."""
    transport = Mock()
    peer = None if remote is None else (remote, 1)
    transport.get_extra_info.side_effect = lambda name, default=None: peer if name == "peername" else default
    return make_mocked_request("GET", "/", headers=dict(headers or {}), transport=transport)


# ---------------------------------------------------------------------------------------------- who asks


def test_nobody_asks_where_that_is_not_known() -> None:
    assert asker(request()) is NOBODY
    with pytest.raises(Unauthenticated, match="sign in"):
        known_asker(request())


def test_a_person_asks_whose_key_is_known() -> None:
    anna = Person(key="k", name="Anna", level=2)
    asked = request()
    asked[PERSON] = anna
    assert asker(asked) is known_asker(asked) is anna


def test_a_name_without_a_key_is_nobody_known() -> None:
    asked = request()
    asked[PERSON] = Person(name="Anna", level=3)
    with pytest.raises(Unauthenticated):
        known_asker(asked)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/bali-zero/tickets"),
        ("GET", CONVERSATIONS),
        ("GET", "/bali-zero/memory"),
        ("DELETE", "/bali-zero/memory"),
        ("DELETE", "/bali-zero/memory/some"),
    ],
)
async def test_what_is_kept_of_people_is_for_people_who_are_known(small_index: Path, method: str, path: str) -> None:
    async with (
        serving(small_index) as server,
        server.session.request(method, server.url + path, headers=ANNA) as response,
    ):
        body = await response.json()
        assert (response.status, body["code"], body["retryable"]) == (401, "unauthenticated", False)
        assert response.headers["WWW-Authenticate"] == "Bearer"


# ---------------------------------------------------------------------------------------------- this machine


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1"])
def test_this_machine_asks_from_its_own_addresses(remote: str) -> None:
    assert is_own(request(remote))


@pytest.mark.parametrize("remote", ["192.0.2.1", "10.0.0.1", "0.0.0.0", "::", "2001:db8::1", "fe80::1%eth0", "", None])
def test_others_ask_from_other_addresses(remote: str | None) -> None:
    assert not is_own(request(remote))


@pytest.mark.parametrize("headers", PROXIED)
def test_a_proxy_on_this_machine_is_not_this_machine(headers: dict[str, str]) -> None:
    assert not is_own(request(headers=headers))


async def metrics(server: Server, headers: Mapping[str, str]) -> int:
    """The status of a page that is open to this machine."""
    async with await server.get("/metrics", headers) as response:
        return response.status


@pytest.mark.parametrize("headers", PROXIED)
async def test_over_http_a_proxy_shows_itself_too(small_index: Path, headers: dict[str, str]) -> None:
    async with serving(small_index) as server:
        assert await metrics(server, {}) == 200
        assert await metrics(server, headers) == 403


async def test_a_unix_socket_may_have_a_proxy_at_its_other_end(small_index: Path, tmp_path: Path) -> None:
    app = create_app(Settings(index=small_index, journal=MEMORY, database_url=MEMORY), answerer=ScriptedAnswerer("x"))
    runner = make_runner(app)
    await runner.setup()
    try:
        await web.UnixSite(runner, tmp_path / "s").start()
        async with ClientSession(connector=UnixConnector(str(tmp_path / "s"))) as session:
            for path, status in (("/health", 200), ("/metrics", 403), (f"{CONVERSATIONS}/short", 404)):
                async with session.get(f"http://localhost{path}") as response:
                    assert response.status == status
    finally:
        await runner.cleanup()


# ---------------------------------------------------------------------------------------------- sessions


@given(session=st.text(max_size=40), key=st.sampled_from(["", "k"]), remote=st.sampled_from(["::1", "192.0.2.1"]))
def test_a_session_is_kept_of_somebody_or_unguessable_or_on_this_machine(session: str, key: str, remote: str) -> None:
    asked = request(remote)
    asked[PERSON] = Person(key=key)
    kept = bool(key) or len(session) >= UNGUESSABLE or remote == "::1"
    assert kept_session(asked, session) == (session if kept else "")


async def kept(server: Server, session: str, asking: Mapping[str, str], reading: Mapping[str, str]) -> bool:
    """Whether a conversation that is held with those headers can be read with the others."""
    async with await server.post(CHAT, {"query": QUESTION, "session_id": session}, asking) as response:
        assert response.status == 200
    async with await server.get(f"{CONVERSATIONS}/{session}", reading) as response:
        assert response.status in (200, 404)
        return response.status == 200 and (await response.json())["turns"][-1]["query"] == QUESTION


@pytest.mark.parametrize("proxied", PROXIED)
async def test_sessions_of_nobody_are_kept_by_what_cannot_be_guessed(
    small_index: Path, proxied: dict[str, str]
) -> None:
    async with serving(small_index) as server:
        assert not await kept(server, SHORT, proxied, {}), "it was not kept at all"
        assert not await kept(server, SHORT, {}, proxied), "and one that was is not shown"
        assert await kept(server, SHORT, {}, {}), "but to this machine"
        assert await kept(server, LONG, proxied, proxied)


async def test_what_is_not_shown_is_not_deleted(small_index: Path) -> None:
    async with serving(small_index) as server:
        assert await kept(server, SHORT, {}, {})
        url = f"{server.url}{CONVERSATIONS}/{SHORT}"
        async with server.session.delete(url, headers=PROXIED[0]) as response:
            assert response.status == 404
        async with await server.get(f"{CONVERSATIONS}/{SHORT}") as response:
            assert response.status == 200


async def test_a_short_session_through_a_proxy_recalls_nothing(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        assert await kept(server, SHORT, {}, {})
        for headers, turns in ((PROXIED[0], 0), ({}, 2)):
            async with await server.post(CHAT, {"query": "And then?", "session_id": SHORT}, headers) as response:
                assert response.status == 200
            assert len(answerer.prompts[-1].history) == turns


@pytest.mark.parametrize("proxied", [{}, *PROXIED[:2]])
async def test_a_known_person_s_sessions_may_be_called_anything(small_index: Path, proxied: dict[str, str]) -> None:
    settings: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET}
    async with serving(small_index, **settings) as server:
        assert await kept(server, "s", {**ANNA, **proxied}, {**ANNA, **proxied})
        made = {"Authorization": f"Bearer {token('made')}", **proxied}
        async with await server.get(f"{CONVERSATIONS}/s", made) as response:
            assert response.status == 404
