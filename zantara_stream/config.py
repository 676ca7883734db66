"""Settings: one table, read from options, the environment and a file, checked before anything starts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from dotenv.parser import Binding, parse_stream

from .errors import ConfigError

PREFIX = "ZANTARA_"
EXTRACTIVE = "extractive"
AUTOMATIC = ""
MEMORY, SQLITE = "memory://", "sqlite:///"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{24,}")
_HOST = re.compile(r"[a-z0-9._-]+")
DEFAULT_ORIGINS = (
    "https://zantara.balizero.com",
    "http://localhost:3000",
    "http://localhost:5173",
    "http://127.0.0.1:3000",
    "http://127.0.0.1:5173",
)


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("any text that is not blank")
    return value.strip()


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not (value.strip().isdecimal() and low <= int(value) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
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


def _token(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError("at least 24 letters, digits, or any of -._~+/= (`openssl rand -hex 24` makes one)")
    return value


def _only(allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.strip().lower() != allowed:
            raise ValueError(f"{allowed} (nothing else in this version)")
        return allowed

    return parse


def _journal(value: str) -> str:
    value = value.strip()
    if value != MEMORY and not (value.startswith(SQLITE) and value.removeprefix(SQLITE).strip("/ ")):
        raise ValueError(f"{MEMORY} (answers end with the server), or {SQLITE}PATH, a file")
    return value


def _listed(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",") if item.strip())


def _origins(value: str) -> tuple[str, ...]:
    origins = _listed(value)
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                "exact origins such as https://example.com, in small letters, separated by commas "
                "(no path, and no *: answers are sent with credentials)"
            )
    return origins


def _hosts(value: str) -> tuple[str, ...]:
    hosts = tuple(host.lower() for host in _listed(value))
    if not all(_HOST.fullmatch(host) or _is_ipv6(host) for host in hosts):
        raise ValueError("host names or addresses without scheme, port or *, separated by commas")
    return hosts


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _model(value: str) -> str:
    if "," in value or not value.strip():
        raise ValueError(f"one model name, or {EXTRACTIVE}")
    return value.strip()


def _setting(
    default: Any, parse: Callable[[str], Any], unit: str, meaning: str, shown: str = "", *, secret: bool = False
) -> Any:
    metadata = {"parse": parse, "unit": unit, "meaning": meaning, "shown": shown or str(default), "secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can set; every field is `ZANTARA_<NAME>`."""

    host: str = _setting("127.0.0.1", _text, "address", "where the server listens")
    port: int = _setting(8080, _whole(0, 65535), "port", "where the server listens; 0 takes a free one")
    index: Path = _setting(
        Path("indexes/default"), lambda v: Path(_text(v)), "folder", "the index that build_index.py wrote"
    )
    journal: str = _setting(
        f"{SQLITE}var/answers.db",
        _journal,
        "address",
        "where answers are kept: `sqlite:///PATH`, or `memory://` until the server stops",
    )
    lease: float = _setting(5.0, _seconds(0.2, 600), "seconds", "how long a silent producer keeps its answer", "5")
    model: str = _setting(
        AUTOMATIC,
        _model,
        "name",
        "who writes the answers: a Claude model, or `extractive`",
        "claude-haiku-4-5 with a key, else extractive",
    )
    embedding_model: str = _setting(
        AUTOMATIC,
        _text,
        "name or path",
        "the sentence-transformers model of the index",
        "the packaged all-MiniLM-L6-v2",
    )
    reranker: str = _setting(
        AUTOMATIC, _text, "name or path", "a sentence-transformers CrossEncoder that puts passages in order", "none"
    )
    cors_origins: tuple[str, ...] = _setting(
        DEFAULT_ORIGINS, _origins, "list", "origins whose pages may ask", ", ".join(DEFAULT_ORIGINS)
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), _hosts, "list", "host names this server answers to", "the loopback names and the bound address"
    )
    heartbeat: float = _setting(15.0, _seconds(0.05, 60), "seconds", "longest silence of a stream", "15")
    grace: float = _setting(30.0, _seconds(0, 3600), "seconds", "how long an answer without readers goes on", "30")
    retention: float = _setting(
        86400.0, _seconds(0, 31_536_000), "seconds", "how long a finished answer is kept", "86400"
    )
    drain: float = _setting(25.0, _seconds(0, 3600), "seconds", "how long a stopping server lets answers finish", "25")
    max_answers: int = _setting(2000, _whole(1, 1_000_000), "answers", "answers being written at once")
    max_connections: int = _setting(12000, _whole(1, 1_000_000), "connections", "streams open at once")
    max_readers: int = _setting(1000, _whole(1, 1_000_000), "connections", "streams open at once of one answer")
    max_log: int = _setting(
        1_048_576, _whole(1000, 1_000_000_000), "bytes", "what is held of one answer's events; a longer text is ended"
    )
    admin_token: str = _setting(
        "", _token, "token", "what operators send to `/admin/…` as `Authorization: Bearer`", "none: closed", secret=True
    )
    auth: str = _setting("off", _only("off"), "switch", "how people are identified")
    trust_email: str = _setting("false", _only("false"), "switch", "whether user_email was verified by a proxy")
    rate_limit: str = _setting("off", _only("off"), "switch", "questions a minute and person or address")

    @property
    def hosts(self) -> frozenset[str]:
        """The host names that requests may be addressed to, lower case, without ports."""
        return frozenset(self.allowed_hosts or (*LOOPBACK, self.host.lower()))


def variable(name: str) -> str:
    """The environment variable of a setting: `variable("port") == "ZANTARA_PORT"`."""
    return PREFIX + name.upper()


def _known(key: str) -> str:
    names = {variable(f.name): f.name for f in fields(Settings)}
    if key in names:
        return names[key]
    close = get_close_matches(key, names, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"The settings are {', '.join(names)}."
    raise ConfigError(f"{key} is not a setting of this version. {hint}")


def _parsed(name: str, value: str) -> Any:
    about = next(f.metadata for f in fields(Settings) if f.name == name)
    try:
        return about["parse"](value)
    except ValueError as problem:
        shown = "…" if about["secret"] else repr(value)
        raise ConfigError(f"{variable(name)}={shown} cannot be used: it takes {problem}.") from None


def _from_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ConfigError(f"The settings file {path} does not exist.")
    try:
        with path.open(encoding="utf-8") as stream:
            lines = [_setting_line(path, line) for line in parse_stream(stream) if line.key or line.error]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings file {path} cannot be read ({error}).") from None
    return dict(lines)


def _setting_line(path: Path, line: Binding) -> tuple[str, str]:
    if line.key is None or line.value is None:
        raise ConfigError(f"{path}, line {line.original.line}, is not of the form ZANTARA_PORT=8080.")
    return line.key, line.value


def load_settings(
    environment: Mapping[str, str],
    file: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings; `options` (by field name) win over `environment`, that over `file`.

    Raises `ConfigError` with the name, its value and what is allowed. Keys of the environment that
    do not begin with `ZANTARA_` are not ours; in the file every key must be.
    """
    given = _from_file(file) if file else {}
    given |= {key: value for key, value in environment.items() if key.startswith(PREFIX)}
    given |= {variable(name): value for name, value in (options or {}).items()}
    return Settings(**{_known(key): _parsed(_known(key), value) for key, value in given.items()})


def settings_table() -> str:
    """The settings as the Markdown table that the README shows."""
    rows = ["| setting | default | unit | what it is |", "|---|---|---|---|"]
    for f in fields(Settings):
        assert f.default is not MISSING
        m = f.metadata
        rows.append(f"| `{variable(f.name)}` | {m['shown']} | {m['unit']} | {m['meaning']} |")
    return "\n".join(rows)
