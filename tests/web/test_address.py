"""Where a request comes from."""

from __future__ import annotations

import logging

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from zantara_stream.web.address import Addresses

PROXIES = ("127.0.0.1/32", "10.0.0.0/8", "::1/128")


def request(peer: str, *forwarded: str) -> web.Request:
    """A request from a peer, with these headers."""
    from multidict import CIMultiDict

    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    made = make_mocked_request("GET", "/", headers=headers)
    return made.clone(remote=peer)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("198.51.100.1",), "203.0.113.9"),  # whoever says so is no proxy of ours
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("192.0.2.66, 198.51.100.1",), "198.51.100.1"),  # the first was said by the second
        ("127.0.0.1", ("192.0.2.66", "198.51.100.1, 10.1.2.3"), "198.51.100.1"),
        ("127.0.0.1", ("10.9.9.9, 10.1.2.3",), "10.9.9.9"),
        ("127.0.0.1", ("198.51.100.1:4711",), "198.51.100.1"),
        ("127.0.0.1", ("[2001:db8:1:2:3:4:5:6]:4711",), "2001:db8:1:2::/64"),
        ("::1", ("2001:db8:1:2:ffff::1",), "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", (), "203.0.113.9"),
        ("::ffff:127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("198.51.100.1, unknown",), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1, ",), "127.0.0.1"),
        ("127.0.0.1", ("'; DROP TABLE",), "127.0.0.1"),
        ("", (), ""),
        ("", ("198.51.100.1",), ""),
    ],
)
def test_what_trusted_proxies_have_added_is_believed_and_nothing_else(
    peer: str, forwarded: tuple[str, ...], address: str
) -> None:
    assert Addresses(PROXIES).of(request(peer, *forwarded)) == address


def test_nobody_is_trusted_unless_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    addresses = Addresses()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert addresses.of(request("127.0.0.1", "198.51.100.1")) == "127.0.0.1"
    assert caplog.text.count("ZANTARA_TRUSTED_PROXIES") == 1, "and it is told, once"
    assert "198.51.100.1" not in caplog.text


@pytest.mark.parametrize(
    ("peer", "named", "found"),
    [
        ("127.0.0.1", "0f8fad5bd9cb469fa1656764fdd2f29c", "0f8fad5bd9cb469fa1656764fdd2f29c"),
        ("127.0.0.1", "0f8fad5b-d9cb-469f-a165-6764fdd2f29c", "0f8fad5b-d9cb-469f-a165-6764fdd2f29c"),
        ("203.0.113.9", "0f8fad5bd9cb469fa1656764fdd2f29c", ""),  # whoever says so is no proxy of ours
        ("127.0.0.1", "short", ""),
        ("127.0.0.1", "x" * 65, ""),
        ("127.0.0.1", "0f8fad5b d9cb469f a1656764 fdd2f29c", ""),
        ("127.0.0.1", "", ""),
    ],
)
def test_the_name_that_a_trusted_proxy_gives_a_request_is_believed(peer: str, named: str, found: str) -> None:
    made = make_mocked_request("POST", "/", headers={"X-Request-ID": named}).clone(remote=peer)
    assert Addresses(PROXIES).request_id(made) == found
