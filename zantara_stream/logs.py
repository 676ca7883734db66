"""What the server logs: lines for people or for machines, and nothing in them that opens a door or names a person.

Everything passes one formatter, the loggers of other packages, warnings and crashes included: secrets are replaced
wherever they stand, whatever was logged.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

from .answers.answer import ANSWER
from .config import JSON, SQLITE, Settings

MOST = 8192  # characters of a message, and of a traceback
SHORTEST = 6  # characters of a secret; shorter ones would be found in any word
KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
SECRET, ADDRESS = "[secret]", "[e-mail]"
# What looks like something to keep, whoever's it is. Each is bounded, so that no line takes long.
_LOOKS = (
    (re.compile(r"\b(bearer|basic)\s+[^\s\"',;]{4,4096}", re.IGNORECASE), rf"\1 {SECRET}"),
    (re.compile(r"\beyJ[\w-]{4,4096}\.[\w-]{4,4096}(?:\.[\w-]{0,4096})?"), SECRET),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{8,512}"), SECRET),
    (re.compile(r"\b([a-z][a-z0-9+]{1,20}://)[^\s/@'\"]{1,512}@"), rf"\1{SECRET}@"),
    (re.compile(r"(?<=[\w/])\?[\w.%-]{1,64}=[^\s'\"<>]{0,8192}"), "?…"),
    (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), ADDRESS),
)
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "answer", "taskName"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def secrets_of(settings: Settings, environment: Mapping[str, str]) -> list[str]:
    """Everything that must not be read in a log: secret settings, passwords in addresses, the provider's keys."""
    values = [environment.get(key, "") for key in KEYS]
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        if setting.metadata["secret"] and not value.startswith(SQLITE):
            values += [value, (urlsplit(value).password or "") if "://" in value else ""]
    return [value for value in values if len(value) >= SHORTEST]


class Redaction:
    """Takes out of a text what is not to be read: known secrets, and what looks like a token or an address."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        written = {form for secret in secrets for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        longest_first = sorted(written, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if written else None

    def __call__(self, text: str) -> str:
        """The text without it, and not longer than `MOST`."""
        if self._secrets is not None:
            text = self._secrets.sub(SECRET, text)  # before it is cut, so that none is cut in two
        for look, instead in _LOOKS:
            text = look.sub(instead, text[: 4 * MOST])
        return text if len(text) <= MOST else f"{text[:MOST]}… (cut)"


class Lines(logging.Formatter):
    """Makes of a record one line of JSON, or a line for people with the traceback below it."""

    def __init__(self, redact: Redaction, *, as_json: bool) -> None:
        super().__init__()
        self._redact = redact
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; never raises, so that no record is shown as it is."""
        try:
            said = dict(self._said(record))
        except Exception as error:  # arguments that do not fit, or cannot be shown
            said = {"level": record.levelname, "logger": record.name, "message": f"not shown: {type(error).__name__}"}
        return json.dumps(said, ensure_ascii=False) if self._as_json else _for_people(said)

    def _said(self, record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
        yield "time", datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        yield "level", record.levelname.lower()
        yield "logger", record.name
        yield "message", self._redact(record.getMessage())
        if answer := getattr(record, "answer", "") or ANSWER.get():
            yield "answer", answer
        for name, value in vars(record).items():
            if name not in _USUAL:
                yield name, value if type(value) in (int, float, bool) else self._redact(str(value))
        if record.exc_info and record.exc_info[0]:
            yield "error", self._redact(self.formatException(record.exc_info))


def _for_people(said: Mapping[str, Any]) -> str:
    answer = f" [{said['answer']}]" if "answer" in said else ""
    # No message can pretend to be a line of its own.
    message = _CONTROL.sub(lambda found: repr(found[0])[1:-1], str(said["message"]))
    line = f"{said.get('time', '')} {said['level']} {said['logger']}{answer}: {message}"
    return f"{line}\n{said['error']}" if "error" in said else line


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing of it: there is nowhere to say it, and logging's own way would show the record as it is."""


def configure(settings: Settings, environment: Mapping[str, str] = os.environ, stream: TextIO | None = None) -> None:
    """Let everything that is logged, warned of or crashes be written to `stream` (standard error) as settings say."""
    handler = _Handler(stream or sys.stderr)
    redact = Redaction(secrets_of(settings, environment))
    handler.setFormatter(Lines(redact, as_json=settings.log_format == JSON))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("zantara_stream").setLevel(settings.log_level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _crashed
    threading.excepthook = lambda of: _crashed(of.exc_type, of.exc_value, of.exc_traceback)
    sys.unraisablehook = lambda of: _crashed(of.exc_type, of.exc_value, of.exc_traceback)


def _crashed(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    logging.getLogger(__name__).critical("not caught: %s", kind.__name__, exc_info=(kind, error, trace))  # type: ignore[arg-type]
