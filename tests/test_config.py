"""Every setting: its default, where it is read from, and what it refuses."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from settings_table import settings_table

from zantara_stream.config import DEFAULT_ORIGINS, Settings, load_settings, variable
from zantara_stream.errors import ConfigError
from zantara_stream.exposure import check_exposure

SECRET = "0123456789abcdef0123456789abcdef"
TOKEN = "0123456789abcdef-._~+/=z"
DEFAULTS: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 8080,
    "index": Path("indexes/default"),
    "vectors": "faiss",
    "journal": "sqlite:///var/answers.db",
    "lease": 5.0,
    "model": (),
    "connect_timeout": 5.0,
    "first_token_timeout": 60.0,
    "token_timeout": 30.0,
    "embedding_model": "",
    "reranker": "",
    "cors_origins": (
        "https://zantara.balizero.com",
        "http://localhost:3000",
        "http://localhost:5173",
        "http://127.0.0.1:3000",
        "http://127.0.0.1:5173",
    ),
    "allowed_hosts": (),
    "heartbeat": 15.0,
    "grace": 30.0,
    "retention": 86400.0,
    "drain": 25.0,
    "max_answers": 2000,
    "max_connections": 12000,
    "max_readers": 1000,
    "max_log": 1_048_576,
    "admin_token": "",
    "database_url": "sqlite:///var/people.db",
    "auth": "off",
    "jwt_secret": "",
    "jwt_jwks": "",
    "jwt_issuer": "",
    "jwt_audience": "",
    "trust_email": False,
    "allow_anonymous": False,
    "collaborators": None,
    "memory": "on",
    "conversation_retention": 2_592_000.0,
    "log_format": "console",
    "log_level": "info",
    "prices": None,
    "traces": False,
    "rate_limit": 60,
    "max_streams": 100,
    "daily_tokens": None,
    "daily_tokens_person": None,
    "trusted_proxies": (),
}

# Of each setting a value that is not its default, as it is written and as it is read.
GOOD: list[tuple[str, str, Any]] = [
    ("host", "0.0.0.0", "0.0.0.0"),
    ("port", "0", 0),
    ("port", " 65535 ", 65535),
    ("index", "somewhere/else", Path("somewhere/else")),
    ("vectors", " faiss ", "faiss"),
    ("vectors", "milvus://localhost", "milvus://localhost"),
    ("vectors", "milvus+https://:to%2Fken@db.example:443/people", "milvus+https://:to%2Fken@db.example:443/people"),
    ("vectors", "milvus://me:secret@[::1]:19530", "milvus://me:secret@[::1]:19530"),
    ("journal", " memory:// ", "memory://"),
    ("journal", "sqlite:///somewhere/else.db", "sqlite:///somewhere/else.db"),
    ("journal", "sqlite:////an/absolute/path.db", "sqlite:////an/absolute/path.db"),
    ("journal", "redis://localhost", "redis://localhost"),
    ("journal", "rediss://me:a%2Fsecret@one:6380/3", "rediss://me:a%2Fsecret@one:6380/3"),
    ("journal", "redis+sentinel://one:26379,two/answers/2", "redis+sentinel://one:26379,two/answers/2"),
    ("journal", "rediss+cluster://:secret@one:7000,two:7001", "rediss+cluster://:secret@one:7000,two:7001"),
    ("lease", "0.2", 0.2),
    ("model", "claude-opus-5-5", ("claude-opus-5-5",)),
    ("model", "claude-haiku-4-5, extractive", ("claude-haiku-4-5", "extractive")),
    ("connect_timeout", "2", 2.0),
    ("first_token_timeout", "90", 90.0),
    ("token_timeout", "20.5", 20.5),
    ("embedding_model", "some/model", "some/model"),
    ("reranker", " some/reranker ", "some/reranker"),
    ("cors_origins", "https://a.example", ("https://a.example",)),
    ("cors_origins", "https://a.example, http://[::1]:80,", ("https://a.example", "http://[::1]:80")),
    ("cors_origins", "", ()),
    ("allowed_hosts", "Example.com, ::1, 10.0.0.1, my_host", ("example.com", "::1", "10.0.0.1", "my_host")),
    ("allowed_hosts", " , ", ()),
    ("heartbeat", "0.05", 0.05),
    ("grace", "0", 0.0),
    ("retention", "1e3", 1000.0),
    ("drain", "2.5", 2.5),
    ("max_answers", "1", 1),
    ("max_connections", "20", 20),
    ("max_readers", "1", 1),
    ("max_log", "1000", 1000),
    ("admin_token", TOKEN, TOKEN),
    ("auth", "Off", "off"),
    ("auth", " JWT ", "jwt"),
    ("database_url", " memory:// ", "memory://"),
    ("database_url", "sqlite:////an/absolute/path.db", "sqlite:////an/absolute/path.db"),
    ("database_url", "postgresql://me:secret@db.example/people", "postgresql://me:secret@db.example/people"),
    ("database_url", "postgresql:///people?host=/run/pg", "postgresql:///people?host=/run/pg"),
    ("jwt_secret", SECRET, SECRET),
    ("jwt_jwks", "https://a.example/jwks.json", "https://a.example/jwks.json"),
    ("jwt_issuer", "https://a.example", "https://a.example"),
    ("jwt_audience", " zantara ", "zantara"),
    ("trust_email", " TRUE ", True),
    ("trust_email", "false", False),
    ("allow_anonymous", "true", True),
    ("collaborators", "people.toml", Path("people.toml")),
    ("memory", "Explicit", "explicit"),
    ("memory", "off", "off"),
    ("conversation_retention", "60", 60.0),
    ("log_format", "JSON", "json"),
    ("log_level", "Debug", "debug"),
    ("prices", "prices.toml", Path("prices.toml")),
    ("traces", "true", True),
    ("rate_limit", "Off", None),
    ("rate_limit", "5", 5),
    ("max_streams", "3", 3),
    ("daily_tokens", "5000000", 5_000_000),
    ("daily_tokens_person", "100000", 100_000),
    ("trusted_proxies", "127.0.0.1, 10.0.0.0/8,::1", ("127.0.0.1/32", "10.0.0.0/8", "::1/128")),
]

# Of each setting values that it refuses, and words of what it says is allowed.
BAD: list[tuple[str, str, str]] = [
    ("host", " ", "not blank"),
    ("port", "", "a whole number from 0 to 65535"),
    ("port", "65536", "a whole number from 0 to 65535"),
    ("port", "-1", "a whole number from 0 to 65535"),
    ("port", "80.5", "a whole number from 0 to 65535"),
    ("port", "http", "a whole number from 0 to 65535"),
    ("index", "", "not blank"),
    ("vectors", "", "faiss, a file of each build; or milvus://[USER:PASSWORD@]HOST[:PORT][/DATABASE]"),
    ("vectors", "FAISS", "milvus://"),
    ("vectors", "milvus://", "milvus://"),
    ("vectors", "http://localhost:19530", "milvus://"),
    ("vectors", "milvus://one/a/b", "milvus://"),
    ("vectors", "milvus://one:port", "milvus://"),
    ("vectors", "milvus://one:19530,two:19530", "milvus://"),
    ("journal", "redis://", "memory:// (answers end with the server); sqlite:///PATH, a file; redis://HOST:PORT"),
    ("journal", "redis://localhost/people", "redis://HOST:PORT"),
    ("journal", "redis://one:6379,two:6379", "redis+cluster://HOST:PORT,HOST:PORT"),
    ("journal", "redis+sentinel://one:26379", "redis+sentinel://HOST:PORT,HOST:PORT/NAME"),
    ("journal", "redis+cluster://", "redis+cluster://HOST:PORT,HOST:PORT"),
    ("journal", "valkey://localhost", "redis://HOST:PORT"),
    ("journal", "MEMORY://", "sqlite:///PATH"),
    ("journal", "", "sqlite:///PATH"),
    ("journal", "sqlite://", "sqlite:///PATH"),
    ("journal", "sqlite:///", "sqlite:///PATH"),
    ("journal", "sqlite:////", "sqlite:///PATH"),
    ("journal", "var/answers.db", "sqlite:///PATH"),
    ("lease", "0", "a number of seconds from 0.2 to 600"),
    ("model", "", "one model name, or several in order"),
    ("model", "extractive,claude-haiku-4-5", "extractive last"),
    ("model", "claude-haiku-4-5,claude-haiku-4-5", "each once"),
    ("connect_timeout", "0", "from 0.1 to 600"),
    ("first_token_timeout", "0", "from 1 to 3600"),
    ("token_timeout", "9", "from 10 to 3600"),
    ("embedding_model", "", "not blank"),
    ("reranker", " ", "not blank"),
    ("cors_origins", "*", "no *"),
    ("cors_origins", "https://*.example.com", "no *"),
    ("cors_origins", "https://a.example,*", "no *"),
    ("cors_origins", "https://a.example/", "no path"),
    ("cors_origins", "https://a.example/page", "no path"),
    ("cors_origins", "https://a.example?x", "exact origins"),
    ("cors_origins", "https://a.example#x", "exact origins"),
    ("cors_origins", "https://me@a.example", "exact origins"),
    ("cors_origins", "https://A.example", "small letters"),
    ("cors_origins", "HTTPS://a.example", "small letters"),
    ("cors_origins", "a.example", "exact origins"),
    ("cors_origins", "ftp://a.example", "exact origins"),
    ("cors_origins", "null", "exact origins"),
    ("cors_origins", "http://[::1", "exact origins"),
    ("cors_origins", "https://a.example https://b.example", "exact origins"),
    ("allowed_hosts", "*", "without scheme, port or *"),
    ("allowed_hosts", "*.example.com", "without scheme, port or *"),
    ("allowed_hosts", "https://example.com", "without scheme, port or *"),
    ("allowed_hosts", "example.com:8080", "without scheme, port or *"),
    ("allowed_hosts", "[::1]", "without scheme, port or *"),
    ("allowed_hosts", "me@example.com", "without scheme, port or *"),
    ("heartbeat", "0", "a number of seconds from 0.05 to 60"),
    ("heartbeat", "61", "a number of seconds from 0.05 to 60"),
    ("heartbeat", "15s", "a number of seconds from 0.05 to 60"),
    ("grace", "-1", "a number of seconds from 0 to 3600"),
    ("grace", "nan", "a number of seconds from 0 to 3600"),
    ("retention", "inf", "a number of seconds from 0 to 31536000"),
    ("retention", "1e12", "a number of seconds"),
    ("drain", "", "a number of seconds from 0 to 3600"),
    ("max_answers", "0", "a whole number from 1 to 1000000"),
    ("max_connections", "many", "a whole number from 1 to 1000000"),
    ("max_readers", "0", "a whole number from 1 to 1000000"),
    ("max_log", "999", "a whole number from 1000 to 1000000000"),
    ("admin_token", "", "at least 24 letters"),
    ("admin_token", TOKEN[:23], "at least 24 letters"),
    ("admin_token", f"{TOKEN} ", "at least 24 letters"),
    ("admin_token", f"{TOKEN[:12]} {TOKEN[12:]}", "at least 24 letters"),
    ("admin_token", f"{TOKEN}\n", "at least 24 letters"),
    ("admin_token", f"{TOKEN}ä", "at least 24 letters"),
    ("admin_token", f'"{TOKEN}"', "openssl rand -hex 24"),
    ("auth", "on", "off or jwt"),
    ("database_url", "var/people.db", "sqlite:///PATH"),
    ("database_url", "sqlite:///", "sqlite:///PATH"),
    ("database_url", "postgres://me:secret@db.example/people", "postgresql://USER:PASSWORD@HOST/DATABASE"),
    ("database_url", "postgresql://db.example", "postgresql://USER:PASSWORD@HOST/DATABASE"),
    ("database_url", "mysql://db.example/people", "memory://"),
    ("jwt_secret", SECRET[:31], "at least 32 bytes"),
    ("jwt_jwks", " ", "not blank"),
    ("jwt_issuer", "", "not blank"),
    ("jwt_audience", "", "not blank"),
    ("trust_email", "yes", "true or false"),
    ("allow_anonymous", "1", "true or false"),
    ("collaborators", " ", "not blank"),
    ("memory", "true", "on or explicit or off"),
    ("conversation_retention", "59", "a number of seconds from 60 to 3153600000"),
    ("log_format", "xml", "console or json"),
    ("log_level", "all", "debug or info or warning or error"),
    ("prices", " ", "not blank"),
    ("traces", "yes", "true or false"),
    ("rate_limit", "0", "a whole number from 1 to 1000000, or off"),
    ("max_streams", "0", "a whole number from 1"),
    ("daily_tokens", "1e6", "a whole number from 1 to 1000000000000, or off"),
    ("daily_tokens_person", "0", "a whole number from 1 to 1000000000000, or off"),
    ("trusted_proxies", "proxy", "IP addresses and networks"),
]

NAMES = [setting.name for setting in fields(Settings)]


def loaded(**environment: str) -> Settings:
    """The settings of an environment, whose keys are given by field name."""
    return load_settings({variable(name): value for name, value in environment.items()})


def beside(name: str, text: str) -> dict[str, str]:
    """What must be set too for that setting to make sense."""
    if name == "auth" and "jwt" in text.lower():
        return {"jwt_secret": SECRET}
    if name in ("jwt_secret", "jwt_jwks"):
        return {"auth": "jwt"}
    return {"auth": "jwt", "jwt_secret": SECRET} if name.startswith("jwt_") else {}


def settings_file(folder: Path, text: str) -> Path:
    """A settings file with that text."""
    file = folder / "settings.env"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_tables_here_hold_every_setting() -> None:
    assert list(DEFAULTS) == NAMES
    assert {name for name, _, _ in GOOD} == set(NAMES)
    assert {name for name, _, _ in BAD} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_defaults(name: str) -> None:
    assert getattr(load_settings({}), name) == DEFAULTS[name]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_setting_is_read_from_the_environment(name: str, text: str, value: Any) -> None:
    assert getattr(loaded(**{name: text, **beside(name, text)}), name) == value


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_setting_is_read_from_a_file(name: str, text: str, value: Any, tmp_path: Path) -> None:
    lines = [f"{variable(key)}='{value}'\n" for key, value in {name: text, **beside(name, text)}.items()]
    file = settings_file(tmp_path, "# what it is\n\n" + "".join(lines))
    assert getattr(load_settings({}, file), name) == value


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_setting_is_taken_from_the_options(name: str, text: str, value: Any) -> None:
    assert getattr(load_settings({}, options={name: text, **beside(name, text)}), name) == value


@pytest.mark.parametrize(("name", "text", "allowed"), BAD)
def test_a_bad_value_is_refused_with_its_name_and_what_is_allowed(name: str, text: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(**{name: text})
    message = str(raised.value)
    shown = "…" if name in ("admin_token", "database_url", "journal", "jwt_secret", "vectors") else repr(text)
    assert message.startswith(f"{variable(name)}={shown} ")
    assert allowed in message
    assert "\n" not in message


# What contradicts another setting, or has no effect, with words of what is said.
TOGETHER: list[tuple[dict[str, str], str]] = [
    ({"auth": "jwt"}, "neither is set"),
    ({"auth": "jwt", "jwt_secret": SECRET, "jwt_jwks": "keys.json"}, "both are set"),
    ({"auth": "jwt", "jwt_secret": SECRET, "trust_email": "true"}, "ZANTARA_TRUST_EMAIL=true is for ZANTARA_AUTH=off"),
    ({"jwt_secret": SECRET}, "have no effect with ZANTARA_AUTH=off"),
    ({"jwt_jwks": "keys.json"}, "have no effect with ZANTARA_AUTH=off"),
    ({"jwt_issuer": "https://a.example"}, "have no effect with ZANTARA_AUTH=off"),
    ({"jwt_audience": "zantara"}, "have no effect with ZANTARA_AUTH=off"),
]


@pytest.mark.parametrize(("environment", "problem"), TOGETHER)
def test_settings_that_contradict_each_other_are_refused(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(**environment)
    assert problem in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LocalHost"])
def test_whoever_is_on_this_machine_may_ask_without_being_known(host: str) -> None:
    check_exposure(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "192.168.1.2", "localhost.example.com"])
def test_nobody_else_is_served_without_being_known_unless_told_so(host: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_exposure(Settings(host=host))
    for name in (f"ZANTARA_HOST='{host}'", "ZANTARA_AUTH=jwt", "ZANTARA_ALLOW_ANONYMOUS=true"):
        assert name in str(raised.value)
    with pytest.raises(ConfigError):
        check_exposure(Settings(host=host, trust_email=True))  # whoever goes round the proxy says who they are
    check_exposure(Settings(host=host, auth="jwt", jwt_secret=SECRET))
    check_exposure(Settings(host=host, allow_anonymous=True))


@pytest.mark.parametrize(
    "secret", ["too-short-a-token", "a token with spaces in its midst", "ein-schlüssel-mit-umlauten"]
)
@pytest.mark.parametrize("source", ["environment", "file", "options"])
def test_a_bad_token_is_never_shown(secret: str, source: str, tmp_path: Path) -> None:
    file = settings_file(tmp_path, f"ZANTARA_ADMIN_TOKEN='{secret}'\n" if source == "file" else "")
    environment = {"ZANTARA_ADMIN_TOKEN": secret} if source == "environment" else {}
    with pytest.raises(ConfigError, match="ZANTARA_ADMIN_TOKEN=… cannot be used") as raised:
        load_settings(environment, file, {"admin_token": secret} if source == "options" else {})
    assert secret not in f"{raised.value!r} {raised.value.__cause__!r}"


def test_options_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "ZANTARA_PORT=1\nZANTARA_GRACE=1\nZANTARA_DRAIN=1\n")
    settings = load_settings({"ZANTARA_PORT": "2", "ZANTARA_GRACE": "2"}, file, {"port": "3"})
    assert (settings.port, settings.grace, settings.drain) == (3, 2, 1)


def test_a_value_that_is_overruled_may_be_bad(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "ZANTARA_PORT=nonsense\n")
    assert load_settings({"ZANTARA_PORT": "1"}, file).port == 1


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("ZANTARA_PROT", "Did you mean ZANTARA_PORT?"),
        ("ZANTARA_CORS_ORIGIN", "Did you mean ZANTARA_CORS_ORIGINS?"),
        ("ZANTARA_HEARTBEATS", "Did you mean ZANTARA_HEARTBEAT?"),
        ("ZANTARA_port", "Did you mean ZANTARA_PORT?"),
        ("ZANTARA_XYZZYXYZZYXYZZY", "The settings are ZANTARA_HOST, ZANTARA_PORT, "),
    ],
)
def test_an_unknown_setting_stops_the_start_with_a_suggestion(name: str, suggestion: str) -> None:
    with pytest.raises(ConfigError, match="is not a setting of this version") as raised:
        load_settings({name: "1"})
    assert str(raised.value).startswith(f"{name} ")
    assert suggestion in str(raised.value)


def test_the_rest_of_the_environment_is_not_ours() -> None:
    assert load_settings({"PATH": "/bin", "PORT": "1", "ANTHROPIC_API_KEY": "key"}) == Settings()


def test_in_a_file_every_key_must_be_a_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PORT is not a setting"):
        load_settings({}, settings_file(tmp_path, "PORT=1\n"))


def test_a_file_may_have_comments_quotes_and_exports(tmp_path: Path) -> None:
    text = "\n# a comment\nexport ZANTARA_PORT=1 # another\nZANTARA_MODEL=\"claude-opus-5-5\"\nZANTARA_INDEX='a b/$c'\n"
    settings = load_settings({}, settings_file(tmp_path, text))
    assert (settings.port, settings.model, settings.index) == (1, ("claude-opus-5-5",), Path("a b/$c"))


def test_a_file_that_is_empty_sets_nothing(tmp_path: Path) -> None:
    assert load_settings({}, settings_file(tmp_path, "\n")) == Settings()


@pytest.mark.parametrize(
    "line", ["ZANTARA_PORT", "ZANTARA_PORT 8080", 'ZANTARA_PORT="8080', "ZANTARA_PORT: 8080", "= 1"]
)
def test_a_line_of_another_form_is_refused_and_not_passed_over(line: str, tmp_path: Path) -> None:
    file = settings_file(tmp_path, f"ZANTARA_GRACE=1\n{line}\n")
    with pytest.raises(ConfigError, match="is not of the form ZANTARA_PORT=8080") as raised:
        load_settings({}, file)
    assert str(file) in str(raised.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.env does not exist"):
        load_settings({}, tmp_path / "nowhere.env")


def test_a_file_that_is_no_text_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_bytes(b"ZANTARA_HOST=\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"settings\.env cannot be read"):
        load_settings({}, file)


def test_the_server_answers_to_loopback_and_its_own_address_unless_hosts_are_named() -> None:
    assert load_settings({}).hosts == {"localhost", "127.0.0.1", "::1"}
    assert loaded(host="Example.com").hosts == {"localhost", "127.0.0.1", "::1", "example.com"}
    assert loaded(host="10.0.0.1", allowed_hosts="a.example,b.example").hosts == {"a.example", "b.example"}


def test_the_table_of_settings_has_a_row_for_each_with_default_and_unit() -> None:
    header, _, *rows = settings_table().splitlines()
    assert header == "| setting | default | unit | what it is |"
    assert [row.split("`")[1] for row in rows] == [variable(name) for name in NAMES]
    table = {row.split("`")[1]: [cell.strip() for cell in row.strip("|").split("|")] for row in rows}
    assert table["ZANTARA_HEARTBEAT"] == ["`ZANTARA_HEARTBEAT`", "15", "seconds", "longest silence of a stream"]
    assert table["ZANTARA_CORS_ORIGINS"][1] == ", ".join(DEFAULT_ORIGINS)
    assert all(len(cells) == 4 and cells[1] and cells[3] for cells in table.values())


def test_a_token_is_not_seen_among_the_settings() -> None:
    token = "0123456789abcdef0123456789abcdef"
    assert token not in repr(load_settings({"ZANTARA_ADMIN_TOKEN": token}))
