"""What is logged: its form, and what is taken out of it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server import serving

from zantara_stream import logs
from zantara_stream.answers.answer import ANSWER
from zantara_stream.config import Settings
from zantara_stream.logs import MOST, Lines, Redaction, configure, secrets_of
from zantara_stream.testing import ScriptedAnswerer

SECRET = 'QUINCE/secret+of 32 bytes & more"'
SETTINGS = Settings(
    jwt_secret=SECRET,
    auth="jwt",
    admin_token="QUINCE-operator-0123456789",
    database_url="postgresql://zantara:QUINCEpass@db.example/people",
)
KEYS = {"ANTHROPIC_API_KEY": "QUINCE-key-0123456789"}
logger = logging.getLogger("zantara_stream.tested")


@contextmanager
def logging_to(log_format: str = "json", level: str = "debug") -> Iterator[io.StringIO]:
    """What is logged within the block; afterwards all is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("zantara_stream")
    before = (root.handlers[:], root.level, ours.level, sys.excepthook, threading.excepthook, sys.unraisablehook)
    stream = io.StringIO()
    settings = Settings(**{**_given(), "log_format": log_format, "log_level": level})
    try:
        root.handlers[:] = []
        configure(settings, KEYS, stream)
        yield stream
    finally:
        logging.captureWarnings(False)
        root.handlers[:], sys.excepthook, threading.excepthook, sys.unraisablehook = before[0], *before[3:]
        root.setLevel(before[1])
        ours.setLevel(before[2])


def _given() -> dict[str, Any]:
    return {name: getattr(SETTINGS, name) for name in ("jwt_secret", "auth", "admin_token", "database_url")}


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The records of a log in JSON, of which each is a line."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_is_a_line_a_record_with_what_else_was_said() -> None:
    with logging_to() as stream:
        logger.warning("two\nlines of %d", 7, extra={"seconds": 1.5, "who": "anna@example.com"})
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "zantara_stream.tested",
        "message": "two\nlines of 7",
        "seconds": 1.5,
        "who": "[e-mail]",
    }


def test_for_people_no_message_makes_a_line_of_its_own_and_tracebacks_are_readable() -> None:
    with logging_to("console") as stream:
        logger.error("one\n2026-01-01 INFO forged\x1b[2J")
        try:
            raise ValueError("why")
        except ValueError:
            logger.exception("failed")
    first, *rest = stream.getvalue().splitlines()
    assert "one\\n2026-01-01 INFO forged\\x1b[2J" in first
    assert "zantara_stream.tested: failed" in rest[0]
    assert rest[1] == "Traceback (most recent call last):"
    assert rest[-1] == "ValueError: why"


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_is_a_setting(level: str, count: int) -> None:
    with logging_to(level=level) as stream:
        logger.debug("a")
        logger.info("b")
        logger.warning("c")
    assert len(lines(stream)) == count


def test_others_loggers_are_heard_from_warnings_on() -> None:
    with logging_to() as stream:
        logging.getLogger("aiohttp.server").warning("their %s", SECRET)
        logging.getLogger("aiohttp.server").info("not this")
    assert [line["message"] for line in lines(stream)] == ["their [secret]"]


async def test_all_that_is_logged_while_an_answer_is_written_has_its_id(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Talking(ScriptedAnswerer):
        async def answer(self, prompt: Any) -> Any:
            logger.info("writing")
            async for part in super().answer(prompt):
                yield part

    with logging_to() as stream:
        async with serving(small_index, Talking("Hello"), auth="off") as server:
            names = []
            for _ in range(2):
                reader = await server.stream()
                names.append((await reader.until("message")).id.partition(".")[0])
                await reader.rest()
    said = [line for line in lines(stream) if line.get("answer")]
    assert [line["answer"] for line in said if line["message"] == "writing"] == names
    ended = [line for line in said if line["message"].startswith("ended: end_turn by scripted")]
    assert [line["answer"] for line in ended] == names
    assert ANSWER.get() == "", "and nothing else has it"


def test_secrets_are_those_of_settings_and_of_the_provider() -> None:
    found = set(secrets_of(SETTINGS, KEYS))
    assert found == {SECRET, SETTINGS.admin_token, SETTINGS.database_url, "QUINCEpass", *KEYS.values()}
    assert secrets_of(Settings(), {}) == [], "the path of a file is none"


@given(st.text(), st.text(), st.sampled_from(secrets_of(SETTINGS, KEYS)))
def test_a_secret_is_taken_out_wherever_it_stands(before: str, after: str, secret: str) -> None:
    redact = Redaction(secrets_of(SETTINGS, KEYS))
    assert secret not in redact(before + secret + after)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [secret]"),
        ("token eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl.", "token [secret]."),
        ("key sk-ant-api03-abcDEF_123", "key [secret]"),
        ("made.wayan+x@mail.example.co.id asked", "[e-mail] asked"),
        ("postgresql://user:pass@host/db", "postgresql://[secret]@host/db"),
        ("GET /bali-zero/chat-stream?query=my+visa&ticket=abc HTTP/1.1", "GET /bali-zero/chat-stream?… HTTP/1.1"),
        ("Really? yes=no", "Really? yes=no"),
        ("a ratio of 3@4", "a ratio of 3@4"),
    ],
)
def test_what_looks_like_something_to_keep_is_taken_out(text: str, shown: str) -> None:
    assert Redaction()(text) == shown


def test_a_secret_is_taken_out_of_all_parts_of_a_record() -> None:
    class Shown:
        def __str__(self) -> str:
            return SECRET

    with logging_to() as stream:
        try:
            try:
                raise ValueError(SECRET)
            except ValueError as error:
                raise KeyError(KEYS["ANTHROPIC_API_KEY"]) from error
        except KeyError:
            logger.exception("%s and %s", SECRET[:9], Shown(), extra={"where": {"key": SECRET}})
        logger.warning("%s%s", SECRET[:9], SECRET[9:])
    assert len(lines(stream)) == 2
    assert "QUINCE-key" not in stream.getvalue()
    assert json.dumps(SECRET)[1:-1] not in stream.getvalue()
    assert SECRET[9:] not in stream.getvalue()


def test_a_record_that_cannot_be_shown_is_not_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to() as stream:
        logger.warning("%d", SECRET)
    assert [line["message"] for line in lines(stream)] == ["not shown: TypeError"]
    assert "QUINCE" not in "".join(capsys.readouterr())


def test_a_stream_that_is_closed_is_no_reason_to_show_anything(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to() as stream:
        stream.close()
        logger.warning(SECRET)
    assert "QUINCE" not in "".join(capsys.readouterr())


def test_long_texts_are_cut_after_secrets_are_taken_out() -> None:
    redact = Redaction([SECRET])
    said = redact("x" * (MOST - 5) + SECRET + "y" * MOST)
    assert len(said) < MOST + 20
    assert "QUINCE" not in said
    assert said.endswith("(cut)")


async def test_what_nobody_catches_goes_the_same_way() -> None:
    with logging_to() as stream:
        sys.excepthook(ValueError, ValueError(SECRET), None)

        def crash() -> None:
            raise ValueError(SECRET)

        thread = threading.Thread(target=crash)
        thread.start()
        thread.join()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn_explicit(f"old {SECRET}", UserWarning, "module.py", 1)
        asyncio.get_running_loop().call_exception_handler({"message": f"loop {SECRET}"})
    said = lines(stream)
    assert [line["logger"] for line in said] == [logs.__name__, logs.__name__, "py.warnings", "asyncio"]
    assert "QUINCE" not in stream.getvalue()


@given(st.text(st.sampled_from("a@.?=/: ey-JsBearer"), max_size=3000))
def test_no_text_takes_long_or_fails(text: str) -> None:
    record = logging.LogRecord("n", logging.INFO, "", 0, text, None, None)
    for as_json in (True, False):
        assert Lines(Redaction(), as_json=as_json).format(record)
