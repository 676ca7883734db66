"""What settings take: each turns text into a value, or raises `ValueError` saying what is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

EXTRACTIVE, FAISS = "extractive", "faiss"
MEMORY, SQLITE, POSTGRESQL = "memory://", "sqlite:///", "postgresql://"
REDIS = ("redis://", "rediss://", "redis+", "rediss+")
SECRET_BYTES = 32  # of a secret that signs tokens, at least: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{24,}")
_HOST = re.compile(r"[a-z0-9._-]+")
_REDIS = re.compile(r"rediss?://[^\s/,]+(/\d+)?|rediss?\+sentinel://[^\s/]+/[^\s/]+(/\d+)?|rediss?\+cluster://[^\s/]+")
_MILVUS = re.compile(r"milvus(\+https)?://([^\s/@]*@)?(\[[0-9a-fA-F:.]+\]|[^\s/@:\[\]]+)(:\d{1,5})?(/\w+)?")
_POSTGRESQL = re.compile(rf"{POSTGRESQL}[^\s/]*/[^\s/?]+(\?\S*)?")


def text(value: str) -> str:
    """Any text that is not blank."""
    if not value.strip():
        raise ValueError("any text that is not blank")
    return value.strip()


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number of that range."""

    def parse(value: str) -> int:
        if not (value.strip().isdecimal() and low <= int(value) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """A number of seconds of that range."""

    def parse(value: str) -> float:
        allowed = f"a number of seconds from {low:.12g} to {high:.12g}"
        try:
            number = float(value)
        except ValueError:
            raise ValueError(allowed) from None
        if not (math.isfinite(number) and low <= number <= high):
            raise ValueError(allowed)
        return number

    return parse


def token(value: str) -> str:
    """What is sent as a Bearer token."""
    if not _TOKEN.fullmatch(value):
        raise ValueError("at least 24 letters, digits, or any of -._~+/= (`openssl rand -hex 24` makes one)")
    return value


def secret(value: str) -> str:
    """What signs tokens."""
    if len(value.encode()) < SECRET_BYTES:
        raise ValueError(f"at least {SECRET_BYTES} bytes (`openssl rand -hex 32` makes some)")
    return value


def one_of(*allowed: str) -> Callable[[str], str]:
    """One of a few words, in any case."""

    def parse(value: str) -> str:
        if value.strip().lower() not in allowed:
            raise ValueError(" or ".join(allowed) + (" (nothing else in this version)" if len(allowed) == 1 else ""))
        return value.strip().lower()

    return parse


def switch(value: str) -> bool:
    """True or false."""
    return one_of("true", "false")(value) == "true"


def vectors(value: str) -> str:
    """Where the vectors of indexes are kept."""
    value = value.strip()
    if value != FAISS and not _MILVUS.fullmatch(value):
        raise ValueError(
            f"{FAISS}, a file of each build; or milvus://[USER:PASSWORD@]HOST[:PORT][/DATABASE] (milvus+https encrypts)"
        )
    return value


def journal(value: str) -> str:
    """Where answers are kept."""
    value = value.strip()
    if value != MEMORY and not _is_file(value) and not _REDIS.fullmatch(value):
        raise ValueError(
            f"{MEMORY} (answers end with the server); {SQLITE}PATH, a file; redis://HOST:PORT, "
            "redis+sentinel://HOST:PORT,HOST:PORT/NAME or redis+cluster://HOST:PORT,HOST:PORT (rediss… encrypts)"
        )
    return value


def database(value: str) -> str:
    """Where people's things are kept."""
    value = value.strip()
    if value != MEMORY and not _is_file(value) and not _POSTGRESQL.fullmatch(value):
        raise ValueError(f"{SQLITE}PATH, a file; {POSTGRESQL}USER:PASSWORD@HOST/DATABASE; or {MEMORY}")
    return value


def _is_file(value: str) -> bool:
    return value.startswith(SQLITE) and bool(value.removeprefix(SQLITE).strip("/ "))


def _listed(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",") if item.strip())


def origins(value: str) -> tuple[str, ...]:
    """Origins of pages."""
    origins = _listed(value)
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                "exact origins such as https://example.com, in small letters, separated by commas "
                "(no path, and no *: answers are sent with credentials)"
            )
    return origins


def hosts(value: str) -> tuple[str, ...]:
    """Names of hosts."""
    hosts = tuple(host.lower() for host in _listed(value))
    if not all(_HOST.fullmatch(host) or _is_ipv6(host) for host in hosts):
        raise ValueError("host names or addresses without scheme, port or *, separated by commas")
    return hosts


def networks(value: str) -> tuple[str, ...]:
    """Addresses and networks of machines."""
    try:
        return tuple(str(ip_network(item)) for item in _listed(value))
    except ValueError:
        raise ValueError("IP addresses and networks such as 127.0.0.1 or 10.0.0.0/8, separated by commas") from None


def whole_or_off(low: int, high: int) -> Callable[[str], int | None]:
    """A whole number of that range; None for `off`, where there is no limit."""

    def parse(value: str) -> int | None:
        if value.strip().lower() == "off":
            return None
        try:
            return whole(low, high)(value)
        except ValueError as error:
            raise ValueError(f"{error}, or off") from None

    return parse


def is_loopback(address: str) -> bool:
    """Whether it is an IP address that only this machine reaches; no name is."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def models(value: str) -> tuple[str, ...]:
    """Who writes, and who does where the one before cannot."""
    names = _listed(value)
    if not names or len(set(names)) < len(names) or EXTRACTIVE in names[:-1]:
        raise ValueError(f"one model name, or several in order, separated by commas, each once, {EXTRACTIVE} last")
    return names
