"""Who asks, over HTTP: what a token, a ticket's owner, an address or nothing at all opens, on every route there is."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from server import CHAT, EVENT_STREAM, PAGE, QUESTION, SEARCH, STREAM, Server, serving
from tokens_made import SECRET, ec_key, es256, jwk, jwks, rs256, rsa_key, token

from zantara_stream.app import PEOPLE as KEPT
from zantara_stream.app import create_app
from zantara_stream.config import Settings
from zantara_stream.people import keys
from zantara_stream.people.identity import Identity, email_key
from zantara_stream.people.person import NOBODY, Person
from zantara_stream.retrieval import builder
from zantara_stream.retrieval.reading import fingerprint, read_folder
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer
from zantara_stream.web.authentication import PEOPLE

JWT: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET}
TICKETS, CONVERSATIONS, MEMORY = "/bali-zero/tickets", "/bali-zero/conversations", "/bali-zero/memory"
EMAIL, OTHER = "anna@example.com", "made@example.org"
OPERATOR = "0123456789abcdef0123456789abcdef"


def bearer(sent: str, scheme: str = "Bearer") -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"{scheme} {sent}"}


ANNA = bearer(token("anna", email=EMAIL, name="Anna"))


def routes() -> list[tuple[str, str]]:
    """Every method and path of the application, the names in paths replaced by some value."""
    app = create_app(Settings(database_url="memory://", journal="memory://"))
    found = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    return sorted((method, re.sub(r"\{\w+\}", "some", path)) for method, path in found)


OF_PEOPLE = [(method, path) for method, path in routes() if path.startswith(PEOPLE) and method != "OPTIONS"]
PREFLIGHTS = sorted({path for _, path in routes() if path.startswith(PEOPLE)})


def test_the_routes_of_people_are_there() -> None:
    assert {("GET", STREAM), ("POST", CHAT), ("POST", SEARCH), ("POST", TICKETS), ("DELETE", MEMORY)} <= set(OF_PEOPLE)


async def status(server: Server, method: str, path: str, headers: Mapping[str, str], **more: Any) -> int:
    """What a request is answered with."""
    async with server.session.request(method, server.url + path, headers=headers, **more) as response:
        await response.read()
        return response.status


async def refusal(server: Server, code: int, path: str, headers: Mapping[str, str], **parameters: str) -> str:
    """The words of a GET's refusal with that status."""
    async with await server.get(path, headers, **parameters) as response:
        assert response.status == code
        return str((await response.json())["error"])


async def asked(server: Server, answerer: ScriptedAnswerer, headers: Mapping[str, str], **parameters: str) -> Person:
    """Who the model is told is asking."""
    reader = await server.stream(headers, **parameters)
    assert reader.response.status == 200
    assert (await reader.rest())[-1].json["done"] is True
    return answerer.prompts[-1].person


# ------------------------------------------------------------------------------------------ closed with jwt

FOREIGN = {
    "none": {},
    "blank": {"Authorization": ""},
    "a scheme alone": {"Authorization": "Bearer"},
    "a scheme and blanks": {"Authorization": "Bearer   "},
    "no scheme": {"Authorization": token()},
    "Basic": bearer("YW5uYTpzZWNyZXQ=", "Basic"),
    "Basic with a token": bearer(token(), "Basic"),
    "Bearer twice": bearer(f"Bearer {token()}"),
    "no token": bearer("undefined"),
    "expired": bearer(token(lifetime=-3600)),
    "of another secret": bearer(token(secret="another secret, of more than 32 bytes")),
    "of a key pair": bearer(rs256()),
    "unsigned": bearer(token(headers={"alg": "none"})),
    "of nobody": bearer(token(None)),
    "for another audience": bearer(token(aud="another")),
    "huge": bearer("x" * 9000),
    "no ASCII": {"Authorization": "Bearer é"},
}


@pytest.mark.parametrize(("method", "path"), OF_PEOPLE)
async def test_every_route_of_people_is_closed_without_a_good_token(small_index: Path, method: str, path: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    more: dict[str, Any] = {"data": b'{"query": "x"}'} if method == "POST" else {"params": {"query": "x"}}
    async with serving(small_index, answerer, **JWT) as server:
        for shown, headers in FOREIGN.items():
            sent = {**headers, "Origin": PAGE}
            async with server.session.request(method, server.url + path, headers=sent, **more) as response:
                assert response.status == 401, shown
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert response.headers["Access-Control-Allow-Origin"] == PAGE
                assert response.headers["Access-Control-Allow-Credentials"] == "true"
                assert response.headers["Cache-Control"] == "no-store"
                body = await response.text()
                assert method == "HEAD" or json.loads(body)["code"] == "unauthenticated"
        await asked(server, answerer, ANNA)
        assert len(answerer.prompts) == 1, "and that is Anna's"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_what_is_not_there_is_closed_too(small_index: Path, method: str) -> None:
    async with serving(small_index, **JWT) as server:
        assert await status(server, method, "/bali-zero/nothing", {}) == 401
        assert await status(server, method, "/bali-zero/nothing", ANNA) == 404


async def test_a_person_s_token_is_asked_for_before_the_body_is_read(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        for body in (b"{", b"\xff", b'{"user_email": 5}', b"x" * 3_000_000):
            async with await server.send(CHAT, body) as response:
                assert response.status == 401
            async with await server.send(CHAT, body, ANNA) as response:
                assert response.status in (400, 413)


async def test_an_event_source_is_told_by_the_status(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        error = await refusal(server, 401, STREAM, {**EVENT_STREAM, "Origin": PAGE}, query="x")
        assert "POST /bali-zero/tickets" in error, "and what to do"


async def test_a_page_that_may_not_ask_is_told_that_first(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        for headers in ({}, ANNA):
            foreign = {**headers, "Origin": "https://evil.example"}
            assert await status(server, "GET", STREAM, foreign, params={"query": "x"}) == 403


SPELLINGS = [
    "/bali-zero/memory",
    "/bali-zero/memory?x=/health",
    "/%62ali-zero/memory",
    "/bali%2dzero/memory",
    "/bali-zero%2Fmemory",
    "/bali-zero/%6demory",
    "/bali-zero/./memory",
    "/health/../bali-zero/memory",
    "//bali-zero/memory",
    "/bali-zero//memory",
    "/BALI-ZERO/memory",
    "/bali-zero/memory/",
    "/bali-zero/memory;x",
    "/bali-zero/memory#x",
    "http://localhost/bali-zero/memory",
    "http://localhost/health/../bali-zero/memory",
]


@pytest.mark.parametrize("target", SPELLINGS)
async def test_no_way_to_write_an_address_leads_around_the_door(small_index: Path, target: str) -> None:
    async with serving(small_index, **JWT) as server:
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answered = await server.raw(request.encode())
        assert re.match(rb"HTTP/1\.[01] (?:400|401|403|404) ", answered)
        assert b"facts" not in answered


@given(path=st.text("abeilmnoryz-/.%2fF6dD;:@", max_size=30))
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
async def test_no_address_at_all_shows_a_memory_to_nobody(small_index: Path, path: str) -> None:
    async with serving(small_index, **JWT) as server:
        for prefix in ("/", "/bali-zero/memory", "/bali-zero/../"):
            request = f"GET {prefix}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            assert b'"facts"' not in await server.raw(request.encode())


# ------------------------------------------------------------------------------------------ open with jwt


@pytest.mark.parametrize("path", PREFLIGHTS)
async def test_a_preflight_needs_no_token(small_index: Path, path: str) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    async with serving(small_index, **JWT) as server:
        for method in sorted({method for method, other in OF_PEOPLE if other == path} - {"HEAD"}):
            headers = {**asks, "Access-Control-Request-Method": method}
            async with server.session.options(server.url + path, headers=headers) as response:
                assert response.status == 200
                assert response.headers["Access-Control-Allow-Origin"] == PAGE
                assert "authorization" in response.headers["Access-Control-Allow-Headers"].lower()


@pytest.mark.parametrize("path", ["/", "/page.js", "/style.css", "/icon.svg", "/health", "/ready"])
async def test_the_page_and_what_probes_ask_are_open(small_index: Path, path: str) -> None:
    async with serving(small_index, **JWT) as server:
        for headers in ({}, ANNA, bearer("undefined"), {"X-Forwarded-For": "192.0.2.1"}):
            assert await status(server, "GET", path, headers) == 200


async def test_metrics_are_for_this_machine_whatever_token_comes(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        for headers in ({}, ANNA, bearer("undefined")):
            assert await status(server, "GET", "/metrics", headers) == 200
            assert await status(server, "GET", "/metrics", {**headers, "X-Forwarded-For": "192.0.2.1"}) == 403


async def test_a_person_is_no_operator_and_an_operator_no_person(small_index: Path) -> None:
    async with serving(small_index, admin_token=OPERATOR, **JWT) as server:
        for method, path in (("POST", "/admin/reload"), ("GET", "/metrics"), ("GET", "/admin/documents/villa.md")):
            assert await status(server, method, path, ANNA) == 401
            assert await status(server, method, path, bearer(OPERATOR)) == 200
        assert await status(server, "GET", MEMORY, bearer(OPERATOR)) == 401


# ------------------------------------------------------------------------------------------ good tokens


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
async def test_a_token_opens_the_door_in_any_case_of_its_scheme(small_index: Path, scheme: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        person = await asked(server, answerer, bearer(token(name="Anna"), scheme))
        assert person == Person(key=Identity("anna").key, name="Anna")


async def test_the_key_is_of_the_issuer_and_subject_and_nothing_else(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        more: list[dict[str, Any]] = [{}, {"email": EMAIL}, {"name": "Anna", "email": OTHER}]
        for claims in more:
            assert (await asked(server, answerer, bearer(token(**claims)))).key == Identity("anna").key
        other = await asked(server, answerer, bearer(token(iss="https://id.example.com")))
        assert other.key == Identity("anna", issuer="https://id.example.com").key != Identity("anna").key


async def test_tokens_of_key_pairs_are_checked_with_a_jwks(small_index: Path, tmp_path: Path) -> None:
    published = tmp_path / "jwks.json"
    published.write_text(json.dumps(jwks()))
    answerer = ScriptedAnswerer("Hello")
    good = (rs256(name="Anna"), rs256(name="Anna", headers={"kid": "rsa"}), es256(name="Anna", headers={"kid": "ec"}))
    forged = (token(), rs256(key=rsa_key("second")), es256(key=ec_key("second")), rs256(headers={"kid": "ec"}))
    async with serving(small_index, answerer, auth="jwt", jwt_jwks=str(published)) as server:
        for sent in good:
            assert await asked(server, answerer, bearer(sent)) == Person(key=Identity("anna").key, name="Anna")
        for sent in forged:
            await refusal(server, 401, STREAM, bearer(sent), query=QUESTION)
        assert len(answerer.prompts) == len(good)


async def test_who_made_a_token_and_for_whom_is_checked_where_that_is_set(small_index: Path) -> None:
    settings = {**JWT, "jwt_issuer": "https://id.example.com", "jwt_audience": "zantara"}
    right: dict[str, Any] = {"iss": "https://id.example.com", "aud": "zantara"}
    async with serving(small_index, **settings) as server:
        assert await status(server, "GET", MEMORY, bearer(token(**right))) == 200
        for changed in ({"iss": None}, {"aud": None}, {"iss": "https://evil.example"}, {"aud": "another"}):
            wrong: dict[str, Any] = {**right, **changed}
            assert await status(server, "GET", MEMORY, bearer(token(**wrong))) == 401


async def test_while_keys_cannot_be_read_nobody_is_told_that_their_token_is_bad(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "LOOKED_SOONER", 0.0)
    published = tmp_path / "jwks.json"
    published.write_text(json.dumps(jwks(jwk(rsa_key(), "rsa"))))
    new = bearer(rs256(key=rsa_key("second"), headers={"kid": "second"}))
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, auth="jwt", jwt_jwks=str(published)) as server:
        published.unlink()
        async with await server.post(CHAT, {"query": QUESTION}, new) as response:
            assert (response.status, (await response.json())["code"]) == (503, "identity_unavailable")
            assert int(response.headers["Retry-After"]) > 0
        (event,) = await (await server.stream({**new, **EVENT_STREAM})).rest()
        assert (event.event, event.json["code"]) == ("unavailable", "identity_unavailable")
        assert answerer.prompts == []


# ------------------------------------------------------------------------------------------ user_email and a token

OWN = [EMAIL, "ANNA@Example.COM", f"  {EMAIL} ", "", "   ", "undefined", "null", "None", "NULL"]


async def test_one_s_own_address_may_be_sent_or_none(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        for said in OWN:
            assert await status(server, "GET", MEMORY, ANNA, params={"user_email": said}) == 200
            assert await status(server, "POST", SEARCH, ANNA, json={"query": "x", "user_email": said}) == 200
            both = {"query": "x", "user_email": EMAIL}
            assert await status(server, "POST", SEARCH, ANNA, params={"user_email": said}, json=both) == 200
        assert await status(server, "POST", SEARCH, ANNA, json={"query": "x", "user_email": None}) == 200


FORGED: list[dict[str, Any]] = [
    {"params": {"user_email": OTHER}},
    {"json": {"query": QUESTION, "user_email": OTHER}},
    {"params": {"user_email": OTHER}, "json": {"query": QUESTION, "user_email": OTHER}},
    {"params": {"user_email": EMAIL}, "json": {"query": QUESTION, "user_email": OTHER}},
    {"params": {"user_email": OTHER}, "json": {"query": QUESTION, "user_email": EMAIL}},
    {"params": [("user_email", EMAIL), ("user_email", OTHER)]},
    {"params": {"user_email": f"{EMAIL}, {OTHER}"}},
    {"params": {"user_email": "\u212aetut@example.com"}},
]


@pytest.mark.parametrize(("method", "path"), OF_PEOPLE)
async def test_another_s_address_is_forbidden_everywhere(small_index: Path, method: str, path: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, **JWT) as server:
        for more in FORGED:
            if method == "POST" or "json" not in more:
                sent = {"json": {"query": QUESTION}, **more} if method == "POST" else more
                assert await status(server, method, path, ANNA, **sent) == 403
        await asked(server, answerer, ANNA)
        assert len(answerer.prompts) == 1, "and that was asked without an address"


@pytest.mark.parametrize("claims", [{}, {"email": ""}, {"email": EMAIL, "email_verified": False}])
async def test_a_token_without_an_address_takes_none(small_index: Path, claims: dict[str, Any]) -> None:
    async with serving(small_index, **JWT) as server:
        headers = bearer(token(**claims))
        error = await refusal(server, 403, MEMORY, headers, user_email=EMAIL)
        assert "user_email" in error
        assert EMAIL not in error
        for nobody in ("", "undefined", "null"):
            assert await status(server, "GET", MEMORY, headers, params={"user_email": nobody}) == 200


NO_TEXT: list[Any] = [5, ["anna@example.com"], True, {}]


async def test_what_is_no_text_is_no_address(small_index: Path) -> None:
    async with serving(small_index, **JWT) as server:
        for said in NO_TEXT:
            assert await status(server, "POST", SEARCH, ANNA, json={"query": "x", "user_email": said}) == 400


# ------------------------------------------------------------------------------------------ what rights come of it


@pytest.fixture(scope="module")
def leveled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of four documents, one a level, that all bear on the question."""
    folder = tmp_path_factory.mktemp("leveled") / "documents"
    folder.mkdir()
    for level in range(4):
        text = f"# Fines of level {level}\n\nLate renewal of a permit is fined Rp {level + 1} million a day.\n"
        (folder / f"level{level}.md").write_text(f"---\nlevel: {level}\n---\n{text}")
    out = folder.parent / "index"
    builder.build(read_folder(folder), HashingEmbedder(), out, fingerprint(folder))
    return out


@pytest.fixture
def collaborators(tmp_path: Path) -> Path:
    """The file of four people, one a level."""
    file = tmp_path / "collaborators.toml"
    entries = (
        f'[[collaborator]]\nid = "id-{level}"\nname = "Person {level}"\nemail = "person{level}@example.com"\n'
        f'level = {level}\nlanguage = "{language}"\n'
        for level, language in enumerate(("en", "id", "it", "uk"))
    )
    file.write_text("\n".join(entries))
    return file


def seen(level: int) -> set[str]:
    """The documents that somebody of a level may see."""
    return {f"level{number}.md" for number in range(level + 1)}


async def searched(server: Server, headers: Mapping[str, str], **body: str) -> set[str]:
    """The documents that a search finds."""
    async with await server.post(SEARCH, {"query": QUESTION, "limit": 50, **body}, headers) as response:
        assert response.status == 200
        return {result["document"] for result in (await response.json())["results"]}


def read(answerer: ScriptedAnswerer) -> set[str]:
    """The documents that reached the model last."""
    return {hit.passage.document for hit in answerer.prompts[-1].hits}


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("by", ["id", "email"])
async def test_a_token_gets_the_level_of_its_person(leveled: Path, collaborators: Path, level: int, by: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    email = f"PERSON{level}@example.com"
    sent = token(f"id-{level}") if by == "id" else token("somebody", email=email, name="Another Name")
    subject = f"id-{level}" if by == "id" else "somebody"
    async with serving(leveled, answerer, collaborators=collaborators, **JWT) as server:
        assert await searched(server, bearer(sent)) == seen(level)
        person = await asked(server, answerer, bearer(sent))
        assert read(answerer) == seen(level)
        assert (person.key, person.name, person.level) == (Identity(subject).key, f"Person {level}", level)
        assert person.language == ("en", "id", "it", "uk")[level]


async def test_an_id_counts_before_an_address_and_an_unverified_address_for_nothing(
    leveled: Path, collaborators: Path
) -> None:
    top: dict[str, Any] = {"email": "person3@example.com"}
    async with serving(leveled, collaborators=collaborators, **JWT) as server:
        assert await searched(server, bearer(token("id-1", **top))) == seen(1)
        assert await searched(server, bearer(token("somebody", **top, email_verified=False))) == seen(0)
        assert await searched(server, bearer(token("somebody", level=3, role="Initiated"))) == seen(0)
        assert await searched(server, bearer(token("person3@example.com"))) == seen(0), "which is no id"


async def test_rights_are_those_of_each_request_and_of_no_other(leveled: Path, collaborators: Path) -> None:
    async with serving(leveled, collaborators=collaborators, **JWT) as server:
        levels = [3, 0, 2, 1, 0, 3, 1, 2] * 3
        found = await asyncio.gather(*(searched(server, bearer(token(f"id-{level}"))) for level in levels))
        assert found == [seen(level) for level in levels]


def demote(file: Path) -> None:
    """Write another level for the person of the highest."""
    file.write_text(file.read_text().replace("level = 3", "level = 1"))


async def test_a_right_that_is_taken_away_is_gone(leveled: Path, collaborators: Path) -> None:
    async with serving(leveled, collaborators=collaborators, **JWT) as server:
        headers = bearer(token("id-3"))
        assert await searched(server, headers) == seen(3)
        demote(collaborators)
        server.app[KEPT].collaborators.reload()
        assert await searched(server, headers) == seen(1)


# ------------------------------------------------------------------------------------------ without tokens


async def test_an_address_that_nobody_verified_earns_nothing(leveled: Path, collaborators: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    top = "person3@example.com"
    async with serving(leveled, answerer, collaborators=collaborators) as server:
        for headers in ({}, bearer(token("id-3", email=top))):
            assert await searched(server, headers, user_email=top) == seen(0)
            assert await asked(server, answerer, headers, user_email=top) == NOBODY
            assert read(answerer) == seen(0)
            for path in (MEMORY, CONVERSATIONS):
                assert await status(server, "GET", path, headers, params={"user_email": top}) == 401
            assert await status(server, "POST", TICKETS, headers, json={"user_email": top}) == 401
        assert answerer.prompts[-1].facts == ()


@pytest.mark.parametrize("level", range(4))
async def test_a_trusted_address_gets_what_its_person_may_have(leveled: Path, collaborators: Path, level: int) -> None:
    answerer = ScriptedAnswerer("Hello")
    email = f"Person{level}@Example.com"
    async with serving(leveled, answerer, collaborators=collaborators, trust_email=True) as server:
        assert await searched(server, {}, user_email=email) == seen(level)
        person = await asked(server, answerer, {}, user_email=email)
        assert read(answerer) == seen(level)
        assert (person.key, person.name, person.level) == (email_key(email), f"Person {level}", level)
        assert person.language == ("en", "id", "it", "uk")[level]
        assert await status(server, "GET", MEMORY, {}, params={"user_email": email}) == 200
        assert await status(server, "POST", TICKETS, {}, json={"user_email": email}) == 201


async def test_a_trusted_address_of_no_collaborator_is_known_and_of_level_0(leveled: Path, collaborators: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(leveled, answerer, collaborators=collaborators, trust_email=True) as server:
        assert await asked(server, answerer, {}, user_email=OTHER) == Person(key=email_key(OTHER))
        assert read(answerer) == seen(0)
        for nobody in ("", "undefined", "null"):
            assert await asked(server, answerer, {}, user_email=nobody) == NOBODY
            assert await status(server, "GET", MEMORY, {}, params={"user_email": nobody}) == 401
        assert await asked(server, answerer, bearer(token("id-3"))) == NOBODY, "tokens are for jwt"


async def test_no_right_of_one_address_comes_to_another(leveled: Path, collaborators: Path) -> None:
    async with serving(leveled, collaborators=collaborators, trust_email=True) as server:
        addresses = {"person3@example.com": 3, "person1@example.com": 1, OTHER: 0, "": 0, "person2@example.org": 0}
        sent = list(addresses) * 4
        found = await asyncio.gather(*(searched(server, {}, user_email=email) for email in sent))
        assert found == [seen(addresses[email]) for email in sent]


async def test_two_addresses_at_once_are_refused(leveled: Path, collaborators: Path) -> None:
    """A proxy that verified the one of them must not vouch for the other."""
    top, low = "person3@example.com", "person0@example.com"
    body = {"query": QUESTION, "user_email": top}
    async with serving(leveled, collaborators=collaborators, trust_email=True) as server:
        assert await status(server, "POST", SEARCH, {}, params={"user_email": low}, json=body) == 403
        assert await status(server, "GET", MEMORY, {}, params=[("user_email", top), ("user_email", low)]) == 403
        assert await status(server, "GET", MEMORY, {}, params=[("user_email", top), ("user_email", top)]) == 200
        assert await status(server, "POST", SEARCH, {}, params={"user_email": top.upper()}, json=body) == 200


async def test_what_a_trusted_address_keeps_is_its_own(small_index: Path) -> None:
    async with serving(small_index, trust_email=True) as server:
        async with await server.post(CHAT, {"query": QUESTION, "session_id": "s", "user_email": EMAIL}) as response:
            assert response.status == 200

        async def listed(email: str) -> list[str]:
            async with await server.get(CONVERSATIONS, user_email=email) as response:
                return [one["id"] for one in (await response.json())["conversations"]]

        assert await listed(EMAIL.upper()) == ["s"]
        assert await listed(OTHER) == []
