"""Settings: one table, read from options, the environment and a file, checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from . import allowed
from .allowed import EXTRACTIVE as EXTRACTIVE
from .allowed import FAISS as FAISS
from .allowed import MEMORY as MEMORY
from .allowed import REDIS as REDIS
from .allowed import SQLITE as SQLITE
from .errors import ConfigError
from .settings_file import read_settings

PREFIX = "ZANTARA_"
AUTOMATIC = ""
CONSOLE, JSON = "console", "json"
LEVELS = ("debug", "info", "warning", "error")
OFF, ON, JWT, EXPLICIT = "off", "on", "jwt", "explicit"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
DEFAULT_ORIGINS = (
    "https://zantara.balizero.com",
    "http://localhost:3000",
    "http://localhost:5173",
    "http://127.0.0.1:3000",
    "http://127.0.0.1:5173",
)


def _setting(
    default: Any, parse: Callable[[str], Any], unit: str, meaning: str, shown: str = "", *, secret: bool = False
) -> Any:
    metadata = {"parse": parse, "unit": unit, "meaning": meaning, "shown": shown or str(default), "secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can set; every field is `ZANTARA_<NAME>`."""

    host: str = _setting("127.0.0.1", allowed.text, "address", "where the server listens")
    port: int = _setting(8080, allowed.whole(0, 65535), "port", "where the server listens; 0 takes a free one")
    index: Path = _setting(
        Path("indexes/default"), lambda v: Path(allowed.text(v)), "folder", "the index that build_index.py wrote"
    )
    vectors: str = _setting(
        FAISS,
        allowed.vectors,
        "address",
        "where indexes keep their vectors: `faiss`, a file of each build; `milvus://HOST:PORT/DATABASE`",
        secret=True,
    )
    journal: str = _setting(
        f"{SQLITE}var/answers.db",
        allowed.journal,
        "address",
        "where answers are kept: `sqlite:///PATH`; `redis://…`, for several nodes; `memory://`, until the server stops",
        secret=True,
    )
    lease: float = _setting(
        5.0, allowed.seconds(0.2, 600), "seconds", "how long a silent producer keeps its answer", "5"
    )
    model: tuple[str, ...] = _setting(
        (),
        allowed.models,
        "list",
        "who writes the answers: a Claude model, or `extractive`; the next of a list does where the one before cannot",
        "claude-haiku-4-5 with a key, else extractive",
    )
    connect_timeout: float = _setting(
        5.0, allowed.seconds(0.1, 600), "seconds", "how long a connection to the model may take", "5"
    )
    first_token_timeout: float = _setting(
        60.0, allowed.seconds(1, 3600), "seconds", "how long the model may take to begin to write or to think", "60"
    )
    token_timeout: float = _setting(
        30.0, allowed.seconds(10, 3600), "seconds", "how long the model may be silent in the middle", "30"
    )
    embedding_model: str = _setting(
        AUTOMATIC,
        allowed.text,
        "name or path",
        "the sentence-transformers model of the index",
        "the packaged all-MiniLM-L6-v2",
    )
    reranker: str = _setting(
        AUTOMATIC,
        allowed.text,
        "name or path",
        "a sentence-transformers CrossEncoder that puts passages in order",
        "none",
    )
    cors_origins: tuple[str, ...] = _setting(
        DEFAULT_ORIGINS, allowed.origins, "list", "origins whose pages may ask", ", ".join(DEFAULT_ORIGINS)
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), allowed.hosts, "list", "host names this server answers to", "the loopback names and the bound address"
    )
    heartbeat: float = _setting(15.0, allowed.seconds(0.05, 60), "seconds", "longest silence of a stream", "15")
    grace: float = _setting(
        30.0, allowed.seconds(0, 3600), "seconds", "how long an answer without readers goes on", "30"
    )
    retention: float = _setting(
        86400.0, allowed.seconds(0, 31_536_000), "seconds", "how long a finished answer is kept", "86400"
    )
    drain: float = _setting(
        25.0, allowed.seconds(0, 3600), "seconds", "how long a stopping server lets answers finish", "25"
    )
    max_answers: int = _setting(2000, allowed.whole(1, 1_000_000), "answers", "answers being written at once")
    max_connections: int = _setting(12000, allowed.whole(1, 1_000_000), "connections", "streams open at once")
    max_readers: int = _setting(1000, allowed.whole(1, 1_000_000), "connections", "streams open at once of one answer")
    max_log: int = _setting(
        1_048_576,
        allowed.whole(1000, 1_000_000_000),
        "bytes",
        "what is held of one answer's events; a longer text is ended",
    )
    admin_token: str = _setting(
        "",
        allowed.token,
        "token",
        "what operators send to `/admin/…` as `Authorization: Bearer`",
        "none: closed",
        secret=True,
    )
    database_url: str = _setting(
        f"{SQLITE}var/people.db",
        allowed.database,
        "address",
        "where conversations, memory and feedback are kept: `sqlite:///PATH`, or "
        "`postgresql://USER:PASSWORD@HOST/DATABASE`, or `memory://` until the server stops",
        secret=True,
    )
    auth: str = _setting(
        OFF, allowed.one_of(OFF, JWT), "switch", "how people are identified: `off`, or by `jwt`, signed tokens"
    )
    jwt_secret: str = _setting("", allowed.secret, "secret", "what tokens are signed with (HS256)", "none", secret=True)
    jwt_jwks: str = _setting(
        "", allowed.text, "path or address", "the public keys of tokens (RS256, ES256), as a JWKS", "none"
    )
    jwt_issuer: str = _setting("", allowed.text, "text", "the `iss` that tokens must have", "none: any")
    jwt_audience: str = _setting(
        "", allowed.text, "text", "the `aud` that tokens must have", "none: tokens without one"
    )
    trust_email: bool = _setting(
        False, allowed.switch, "switch", "whether a proxy in front has verified `user_email`", "false"
    )
    allow_anonymous: bool = _setting(
        False,
        allowed.switch,
        "switch",
        "whether other addresses than loopback are served without `ZANTARA_AUTH`",
        "false",
    )
    collaborators: Path | None = _setting(
        None, lambda v: Path(allowed.text(v)), "file", "who is known: names, languages, access levels (TOML)", "none"
    )
    memory: str = _setting(
        ON,
        allowed.one_of(ON, EXPLICIT, OFF),
        "switch",
        "what is remembered of a person: `on`, what Claude finds in their questions; `explicit`, what they ask to be "
        "remembered; `off`, nothing",
    )
    conversation_retention: float = _setting(
        2_592_000.0, allowed.seconds(60, 3_153_600_000), "seconds", "how long an unused conversation is kept", "2592000"
    )
    log_format: str = _setting(
        CONSOLE, allowed.one_of(CONSOLE, JSON), "switch", "how the log is written: `console`, for people, or `json`"
    )
    log_level: str = _setting("info", allowed.one_of(*LEVELS), "switch", f"what is logged: {', '.join(LEVELS)}")
    prices: Path | None = _setting(
        None,
        lambda v: Path(allowed.text(v)),
        "file",
        "what models cost, for the metrics (TOML)",
        "Anthropic's, of November 2026",
    )
    traces: bool = _setting(
        False,
        allowed.switch,
        "switch",
        "whether answers are sent as OpenTelemetry traces, to where `OTEL_EXPORTER_OTLP_ENDPOINT` says",
        "false",
    )
    rate_limit: int | None = _setting(
        60,
        allowed.whole_or_off(1, 1_000_000),
        "questions a minute",
        "questions of one person, or of one address where nobody is known, and `off` for any number; "
        "this machine itself may ask as it likes",
    )
    max_streams: int = _setting(
        100, allowed.whole(1, 1_000_000), "connections", "streams open at once of one person or address"
    )
    daily_tokens: int | None = _setting(
        None,
        allowed.whole_or_off(1, 10**12),
        "tokens",
        "tokens of models that may be paid on one day (UTC), in all, and `off` for any number; what is being written "
        "then is finished",
        "off",
    )
    daily_tokens_person: int | None = _setting(
        None,
        allowed.whole_or_off(1, 10**12),
        "tokens",
        "the same of one person, where people are known",
        "off",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (),
        allowed.networks,
        "list",
        "addresses and networks of proxies in front, whose `X-Forwarded-For` is believed",
        "none",
    )

    @property
    def hosts(self) -> frozenset[str]:
        """The host names that requests may be addressed to, lower case, without ports."""
        return frozenset(self.allowed_hosts or (*LOOPBACK, self.host.lower()))


def _check_identity(settings: Settings) -> None:
    """Refuse settings of identity that contradict each other, or that have no effect."""
    keys = bool(settings.jwt_secret) + bool(settings.jwt_jwks)
    if settings.auth == JWT and keys != 1:
        found = "both are set" if keys else "neither is set"
        raise ConfigError(f"ZANTARA_AUTH=jwt needs one of ZANTARA_JWT_SECRET and ZANTARA_JWT_JWKS; {found}.")
    if settings.auth == JWT and settings.trust_email:
        raise ConfigError("ZANTARA_TRUST_EMAIL=true is for ZANTARA_AUTH=off; with jwt the token says who asks.")
    if settings.auth == OFF and (keys or settings.jwt_issuer or settings.jwt_audience):
        raise ConfigError("ZANTARA_JWT_… have no effect with ZANTARA_AUTH=off; set ZANTARA_AUTH=jwt.")


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


def load_settings(
    environment: Mapping[str, str],
    file: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings; `options` (by field name) win over `environment`, that over `file`.

    Raises `ConfigError` with the name, its value and what is allowed. Keys of the environment that
    do not begin with `ZANTARA_` are not ours; in the file every key must be.
    """
    given = read_settings(file) if file else {}
    given |= {key: value for key, value in environment.items() if key.startswith(PREFIX)}
    given |= {variable(name): value for name, value in (options or {}).items()}
    settings = Settings(**{_known(key): _parsed(_known(key), value) for key, value in given.items()})
    _check_identity(settings)
    return settings
