"""Where a request comes from: the address at the other end, or what a proxy that is trusted says of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import hdrs, web

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[0-9A-Za-z_-]{16,64}")
SUBNET = 64  # bits of an IPv6 address that one household or machine has to itself


class Addresses:
    """Tells the addresses of requests; `trusted` are the addresses and networks of proxies in front."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._told = False
        self._trusted: list[IPv4Network | IPv6Network] = [ip_network(one) for one in trusted]

    @property
    def through_proxies(self) -> bool:
        """Whether requests are expected to come through proxies."""
        return bool(self._trusted)

    def of(self, request: web.Request) -> str:
        """The address that a request comes from, of IPv6 its network; "" where there is none, as of a Unix socket.

        Of what `X-Forwarded-For` says, only what trusted proxies have added counts: it is read from its end, to the
        first address that is none of theirs.
        """
        address = request.remote or ""
        if hdrs.X_FORWARDED_FOR in request.headers and not self._is_trusted(address):
            self._tell(address)
        said = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
        while said and self._is_trusted(address):
            found = _address(said.pop())
            if not found:
                break
            address = found
        return _asker(address)

    def request_id(self, request: web.Request) -> str:
        """How a trusted proxy names the request, also where it passes it on a second time; "" where none does."""
        named = request.headers.get("X-Request-ID", "")
        return named if self._is_trusted(request.remote or "") and _REQUEST_ID.fullmatch(named) else ""

    def _tell(self, address: str) -> None:
        if not self._told:
            self._told = True
            logger.warning(
                "requests come through a proxy at %s that ZANTARA_TRUSTED_PROXIES does not name: all who come that way "
                "are counted as one",
                address or "a Unix socket",
            )

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._trusted)


def _address(said: str) -> str:
    """One entry of the header as an address, without port and brackets; "" for what is none."""
    said = said.strip()
    if said.startswith("["):
        said = said[1:].partition("]")[0]
    elif said.count(":") == 1:
        said = said.partition(":")[0]
    try:
        return str(ip_address(said))
    except ValueError:
        return ""


def _asker(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network(f"{parsed}/{SUBNET}", strict=False))
