from __future__ import annotations

import asyncio
import json
import re
import string
from pathlib import Path
from typing import Any

import jwt
import pytest
import tokens_made as made
from hypothesis import example, given
from hypothesis import strategies as st

from zantara_stream.errors import IdentityUnavailable, Unauthenticated
from zantara_stream.people.identity import LONGEST, Identity, Tokens, email_key
from zantara_stream.people.keys import JwksFile, JwksUrl, Secret

ISSUER, AUDIENCE = "https://login.example.com/", "zantara"
TOKENS = Tokens(Secret(made.SECRET))
STRICT = Tokens(Secret(made.SECRET), ISSUER, AUDIENCE)

EXPIRED = "The token has expired; sign in again."
EARLY = "The token is not valid yet; a clock is wrong, of this server or of who made it."
AUDIENCES = "The token is meant for somebody else than this server."
ISSUERS = "The token was made by somebody whom this server does not trust."
LACKING = "The token lacks a claim that it must have: exp, sub, or a configured iss or aud."
NOBODY = "The token does not say properly whose it is."
NOWHERE = "The token does not say properly who made it."
MALFORMED = "This is not a valid token."
SIGNATURE = "The token is not signed with a key that this server knows; sign in again."
SECRET_ONLY = "The token is not signed in a way that this server takes, which is HS256."
PUBLIC_ONLY = "The token is not signed in a way that this server takes, which is RS256 or ES256."


@pytest.fixture
def public(tmp_path: Path) -> Tokens:
    """What checks tokens against the first pairs of keys."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(made.jwks()))
    return Tokens(JwksFile(file))


async def refusal(tokens: Tokens, token: str) -> str:
    """Why a token is refused."""
    with pytest.raises(Unauthenticated) as raised:
        await tokens.verify(token)
    return str(raised.value)


# What a token says


async def test_a_token_says_who_sends_it() -> None:
    token = made.token("anna", email=" Anna@Example.com ", name=" Anna Bianchi ", iss=ISSUER, aud=AUDIENCE)
    assert await STRICT.verify(token) == Identity("anna", "anna@example.com", "Anna Bianchi", ISSUER)


async def test_a_subject_is_enough_and_taken_as_it_is() -> None:
    assert await TOKENS.verify(made.token("auth0|Änna 1")) == Identity("auth0|Änna 1")
    assert await TOKENS.verify(made.token("x" * 255)) == Identity("x" * 255)


@pytest.mark.parametrize("verified", [True, "true", "True"])
async def test_an_address_counts_if_nothing_is_said_against_it(verified: object) -> None:
    token = made.token(email="anna@example.com", email_verified=verified)
    assert (await TOKENS.verify(token)).email == "anna@example.com"


@pytest.mark.parametrize("verified", [False, "false", "no", "", 0, 1, [], {}])
async def test_an_address_that_nobody_verified_is_none(verified: object) -> None:
    identity = await TOKENS.verify(made.token(email="anna@example.com", email_verified=verified, name="Anna"))
    assert identity == Identity("anna", "", "Anna")


@pytest.mark.parametrize(
    "claim",
    [
        "",
        "  ",
        7,
        True,
        ["anna@example.com"],
        {},
        "a\nb",
        "a\x00b",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "a\ud800",
        "x" * 255,
    ],
    ids=ascii,
)
async def test_a_name_or_address_that_is_no_short_line_is_none(claim: object) -> None:
    assert await TOKENS.verify(made.token(email=claim, name=claim)) == Identity("anna")


async def test_names_and_addresses_have_their_own_bounds() -> None:
    identity = await TOKENS.verify(made.token(email="x" * 254, name="\u200cنازنین" + "x" * 193))
    assert len(identity.email) == 254
    assert len(identity.name) == 200
    assert (await TOKENS.verify(made.token(name="x" * 201))).name == ""


# What is required of it


@pytest.mark.parametrize(
    "subject", [None, "", " ", "\t", 7, True, [], {}, "x" * 256, "a\nb", "a\x00", "\ud800"], ids=ascii
)
async def test_a_token_needs_a_subject(subject: object) -> None:
    assert await refusal(TOKENS, made.token(subject)) == (LACKING if subject is None else NOBODY)


@pytest.mark.parametrize("issuer", [7, ["x"], {}, "x" * 256, "a\nb"], ids=ascii)
async def test_an_issuer_is_a_short_line_where_any_is_taken(issuer: object) -> None:
    assert await refusal(TOKENS, made.token(iss=issuer)) == NOWHERE


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": None}, LACKING),
        ({"exp": "soon"}, MALFORMED),
        ({"exp": []}, MALFORMED),
        ({"exp": float("inf")}, MALFORMED),
        ({"exp": float("nan")}, MALFORMED),
        ({"exp": 0}, EXPIRED),
        ({"exp": -1}, EXPIRED),
        ({"exp": True}, EXPIRED),
        ({"lifetime": -32}, EXPIRED),
        ({"nbf": "soon"}, MALFORMED),
        ({"nbf": 10**12}, EARLY),
        ({"iat": "now"}, MALFORMED),
        ({"iat": 10**12}, EARLY),
    ],
    ids=repr,
)
async def test_a_token_is_for_its_time(claims: dict[str, Any], said: str) -> None:
    assert await refusal(TOKENS, made.token(**claims)) == said


NOW = 1_730_552_400  # a moment of tests


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": NOW - 30 + 1}, ""),
        ({"exp": NOW - 30}, EXPIRED),
        ({"exp": NOW + 60, "nbf": NOW + 30}, ""),
        ({"exp": NOW + 60, "nbf": NOW + 30 + 1}, EARLY),
        ({"exp": NOW + 60, "iat": NOW + 30}, ""),
        ({"exp": NOW + 60, "iat": NOW + 30 + 1}, EARLY),
    ],
)
async def test_clocks_may_differ_by_half_a_minute(
    claims: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Moment(jwt.api_jwt.datetime):  # type: ignore[misc,name-defined]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.fromtimestamp(NOW, tz)

    monkeypatch.setattr(jwt.api_jwt, "datetime", Moment)
    token = made.token(**({"iat": None} | claims))
    if said:
        assert await refusal(TOKENS, token) == said
    else:
        assert await TOKENS.verify(token) == Identity("anna")


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["others", AUDIENCE]])
async def test_a_token_for_this_audience_is_taken(audience: object) -> None:
    assert await STRICT.verify(made.token(iss=ISSUER, aud=audience)) == Identity("anna", issuer=ISSUER)


@pytest.mark.parametrize(
    ("audience", "said"),
    [
        (None, LACKING),
        ("", LACKING),
        ([], LACKING),
        ("others", AUDIENCES),
        ("zantar", AUDIENCES),
        ("Zantara", AUDIENCES),
        (["others"], AUDIENCES),
        ([AUDIENCE, 7], AUDIENCES),
        ({AUDIENCE: True}, AUDIENCES),
        (7, AUDIENCES),
    ],
)
async def test_a_token_for_another_audience_is_refused(audience: object, said: str) -> None:
    assert await refusal(STRICT, made.token(iss=ISSUER, aud=audience)) == said


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], "", [], {}, 0, False])
async def test_a_token_for_some_audience_is_refused_where_none_is_configured(audience: object) -> None:
    assert await refusal(TOKENS, made.token(aud=audience)) == AUDIENCES


@pytest.mark.parametrize(
    ("issuer", "said"),
    [
        (None, LACKING),
        ("", ISSUERS),
        (ISSUER.rstrip("/"), ISSUERS),
        ("https://other.example.com/", ISSUERS),
        ([ISSUER], ISSUERS),
        (7, ISSUERS),
    ],
)
async def test_a_token_of_another_issuer_is_refused(issuer: object, said: str) -> None:
    assert await refusal(STRICT, made.token(iss=issuer, aud=AUDIENCE)) == said


# How it is signed


async def test_public_keys_check_tokens_of_their_kind(public: Tokens) -> None:
    for headers in ({}, {"kid": "rsa"}):
        assert await public.verify(made.rs256("bruno", headers=headers)) == Identity("bruno")
    for headers in ({}, {"kid": "ec"}):
        assert await public.verify(made.es256("carla", headers=headers)) == Identity("carla")


async def test_a_token_without_a_kid_is_tried_against_each_key(tmp_path: Path) -> None:
    rsa, ec = [made.rsa_key(), made.rsa_key("second")], [made.ec_key(), made.ec_key("second")]
    entries = [made.jwk(rsa[0], "a"), made.jwk(ec[0], "b"), made.jwk(rsa[1], "c"), made.jwk(ec[1], "d")]
    (tmp_path / "jwks.json").write_text(json.dumps(made.jwks(*entries)))
    public = Tokens(JwksFile(tmp_path / "jwks.json"))
    for one, other in zip(rsa, ec, strict=True):
        assert await public.verify(made.rs256(key=one)) == Identity("anna")
        assert await public.verify(made.es256(key=other)) == Identity("anna")
    assert await refusal(public, made.rs256(key=made.rsa_key("third"))) == SIGNATURE
    assert await refusal(public, made.rs256(key=rsa[1], lifetime=-99)) == EXPIRED


@pytest.mark.parametrize("headers", [{}, {"kid": "rsa"}, {"kid": "ec"}, {"kid": "other"}, {"kid": ""}])
async def test_a_token_of_another_key_is_refused(public: Tokens, headers: dict[str, Any]) -> None:
    assert await refusal(public, made.rs256(key=made.rsa_key("second"), headers=headers)) == SIGNATURE
    assert await refusal(public, made.es256(key=made.ec_key("second"), headers=headers)) == SIGNATURE
    assert await refusal(TOKENS, made.token(secret=made.SECRET + "!", headers=headers)) == SIGNATURE


async def test_a_kid_must_name_the_key_that_signed(public: Tokens) -> None:
    for kid in ("ec", "other", ""):
        assert await refusal(public, made.rs256(headers={"kid": kid})) == SIGNATURE


@pytest.mark.parametrize(
    "alg", ["none", "None", "", "hs256", "HS384", "HS512", "RS256", "ES256", "EdDSA", None, 7, ["HS256"], {}]
)
async def test_with_a_secret_other_algorithms_are_refused(alg: object) -> None:
    token = made.token(headers={"alg": alg})
    assert await refusal(TOKENS, token) == SECRET_ONLY
    assert await refusal(TOKENS, token.rpartition(".")[0] + ".") == SECRET_ONLY


@pytest.mark.parametrize("alg", ["none", "HS256", "HS384", "RS384", "RS512", "PS256", "ES384", "ES256K", "EdDSA", None])
async def test_with_public_keys_other_algorithms_are_refused(public: Tokens, alg: object) -> None:
    assert await refusal(public, made.token(headers={"alg": alg, "kid": "rsa"})) == PUBLIC_ONLY


async def test_a_token_without_an_algorithm_is_refused(public: Tokens) -> None:
    token = made.signed({"typ": "JWT"}, made.payload(), made.SECRET.encode())
    assert await refusal(TOKENS, token) == SECRET_ONLY
    assert await refusal(public, token) == PUBLIC_ONLY


@pytest.mark.parametrize("kid", ["rsa", "ec"])
async def test_a_public_key_is_not_taken_for_a_secret(public: Tokens, kid: str) -> None:
    key = made.rsa_key() if kid == "rsa" else made.ec_key()
    own = "RS256" if kid == "rsa" else "ES256"
    for secret in (made.pem(key), made.pem(key).strip(), json.dumps(made.jwk(key, kid)).encode()):
        assert await refusal(public, made.signed({"alg": "HS256", "kid": kid}, made.payload(), secret)) == PUBLIC_ONLY
        assert await refusal(public, made.signed({"alg": own, "kid": kid}, made.payload(), secret)) == SIGNATURE
        assert await refusal(public, made.signed({"alg": own}, made.payload(), secret)) == SIGNATURE


async def test_the_type_of_a_key_decides_how_it_is_used(public: Tokens) -> None:
    of_rsa, of_ec = made.rs256(headers={"kid": "rsa"}), made.es256(headers={"kid": "ec"})
    for token, header in ((of_rsa, {"alg": "ES256", "kid": "rsa"}), (of_ec, {"alg": "RS256", "kid": "ec"})):
        other = made.signed(header, b"", b"").partition(".")[0]
        assert await refusal(public, ".".join([other, *token.split(".")[1:]])) == SIGNATURE


async def test_a_token_cannot_bring_its_key(public: Tokens) -> None:
    key = made.rsa_key("second")
    brought = {"jwk": made.jwk(key, "rsa"), "x5c": ["AQAB"], "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}
    for headers in ({}, {"kid": "rsa"}):
        assert await refusal(public, made.rs256(key=key, headers=headers | brought)) == SIGNATURE
        assert await public.verify(made.rs256(headers=headers | brought)) == Identity("anna")
    assert await TOKENS.verify(made.token(headers=brought)) == Identity("anna")


async def test_no_key_is_fetched_for_an_algorithm_that_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("zantara_stream.people.keys._fetch", asked.append)
    assert await refusal(Tokens(JwksUrl("https://login.example.com/keys")), made.token()) == PUBLIC_ONLY
    assert asked == []


async def test_where_no_key_can_be_read_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityUnavailable, match="cannot check who you are just now"):
        await Tokens(JwksFile(tmp_path / "nowhere")).verify(made.rs256())


# What is no token


@pytest.mark.parametrize("header", [{"alg": "HS256", "crit": ["exp"]}, {"alg": "HS256", "kid": 7}, [], "HS256", None])
async def test_a_header_that_is_none_is_refused(header: Any) -> None:
    assert await refusal(TOKENS, made.signed(header, made.payload(), made.SECRET.encode())) == MALFORMED


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"anna", b"\xff", b'"anna"', b"[" * 5000, b'{"exp": ' + b"9" * 5000 + b"}"]
)
async def test_claims_that_are_none_are_refused(body: bytes) -> None:
    assert await refusal(TOKENS, made.signed({"alg": "HS256"}, body, made.SECRET.encode())) == MALFORMED


async def test_a_detached_body_is_refused() -> None:
    header = {"alg": "HS256", "b64": False, "crit": ["b64"]}
    assert await refusal(TOKENS, made.signed(header, made.payload(), made.SECRET.encode())) == MALFORMED
    assert await refusal(TOKENS, made.signed(header, b"", made.SECRET.encode())) == MALFORMED


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "anna", "a.b.c", "a.b.c.d.e", "é.b.c", "\ud800", "{}.{}.", " "]
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    assert await refusal(TOKENS, token) == MALFORMED
    assert await refusal(TOKENS, token + made.token() + "\n") == MALFORMED


def of_length(length: int) -> str:
    """A good token with so many characters, or one more."""
    padding = "x" * (length - len(made.token(more="")))
    while len(made.token(more=padding)) >= length + 2:
        padding = padding[:-1]
    return made.token(more=padding)


async def test_a_long_token_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await TOKENS.verify(of_length(LONGEST - 1)) == Identity("anna")
    monkeypatch.setattr(jwt, "get_unverified_header", None)
    assert await refusal(TOKENS, of_length(LONGEST + 1)) == "The token is longer than 8192 characters."


@given(st.text() | st.from_regex(r"[A-Za-z0-9_=-]{0,40}\.[A-Za-z0-9_=-]{0,40}\.[A-Za-z0-9_=-]{0,40}", fullmatch=True))
def test_no_text_is_taken_for_a_token_by_chance(text: str) -> None:
    assert asyncio.run(refusal(TOKENS, text))


@given(st.data())
def test_no_character_of_a_token_can_be_another(data: st.DataObject) -> None:
    token = made.token("anna", exp=10**10, iat=None)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(
        st.sampled_from(string.ascii_letters + string.digits + "-_=.").filter(lambda one: one != token[at])
    )
    assert asyncio.run(refusal(TOKENS, token[:at] + other + token[at + 1 :]))


CLAIMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text().map(lambda text: f"mark{text}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


NAMES = st.sampled_from(["sub", "exp", "iat", "nbf", "iss", "aud", "jti", "email", "name", "email_verified"])


async def outcome(tokens: Tokens, token: str) -> Identity | Unauthenticated:
    """What comes of a token."""
    try:
        return await tokens.verify(token)
    except Unauthenticated as refused:
        return refused


@given(st.dictionaries(NAMES, CLAIMS))
@example({"sub": "mark", "exp": "mark", "iss": "mark", "aud": "mark"})
@example({"sub": "\ud800", "name": "\ud800"})
def test_whatever_is_signed_is_an_identity_or_refused_in_words_that_hold_nothing_of_it(claims: dict[str, Any]) -> None:
    said = {"subject": claims.pop("sub", "anna"), **claims}
    for tokens in (TOKENS, STRICT):
        match asyncio.run(outcome(tokens, made.token(**said))):
            case Identity() as identity:
                assert identity.subject == said["subject"]
                assert all(len(text.encode()) < 1024 for text in (identity.email, identity.name, identity.issuer))
            case refused:
                assert "mark" not in str(refused)
                assert refused.__suppress_context__ or refused.__context__ is None  # a traceback would show it


# Under what their things are kept


@pytest.mark.parametrize("key", [Identity("anna").key, email_key("anna@example.com")])
def test_a_key_is_opaque(key: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}", key)


def test_keys_stay_the_same_from_version_to_version() -> None:
    assert Identity("anna", issuer=ISSUER).key == "31b1b9aab393df2c2f016390a8bb281a"
    assert email_key("anna@example.com") == "2344c7347f752e7c38c6208657d6d06d"


def test_a_key_is_of_subject_and_issuer_alone() -> None:
    assert Identity("anna", "anna@example.com", "Anna").key == Identity("anna").key
    keys = {Identity(*who).key for who in [("anna",), ("Anna",), ("anna", "", "", ISSUER), ("bruno", "", "", ISSUER)]}
    assert len(keys) == 4


@given(st.text(), st.text(), st.text(), st.text())
@example("a", "bc", "ab", "c")
@example('a","b', "", "a", 'b","')
@example("\ud800", "", "?", "")
def test_two_identities_share_no_key(subject: str, issuer: str, other: str, its_issuer: str) -> None:
    same = (subject, issuer) == (other, its_issuer)
    assert (Identity(subject, issuer=issuer).key == Identity(other, issuer=its_issuer).key) is same


@pytest.mark.parametrize("address", ["Anna@Example.COM", " anna@example.com\n"])
def test_an_address_is_the_same_in_any_case(address: str) -> None:
    assert email_key(address) == email_key("anna@example.com")


def test_no_address_has_the_key_of_a_token_or_of_another() -> None:
    keys = [email_key("a@example.com"), email_key("b@example.com"), Identity("a@example.com").key]
    keys += [Identity("a@example.com", issuer="email").key, Identity("email", issuer="a@example.com").key]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("address", ["", " ", "\n"])
def test_no_address_is_nobodys_key(address: str) -> None:
    assert email_key(address) == ""
