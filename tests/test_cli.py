"""The commands: their options, their output, their exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from messages_api import MessagesAPI, http_error
from redis_server import shared

from zantara_stream import cli, serving, terminal
from zantara_stream.cli import main
from zantara_stream.config import Settings, variable
from zantara_stream.errors import ModelOverloaded
from zantara_stream.people.feedback import Feedback, Feedbacks
from zantara_stream.people.store import Store
from zantara_stream.retrieval.library import Library
from zantara_stream.supervisor import Supervisor
from zantara_stream.terminal import check
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

COMMANDS = ["serve", "ask", "feedback", "check"]
QUESTION = "How is late renewal of a permit fined?"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*(variable(setting.name) for setting in fields(Settings)), "ANTHROPIC_API_KEY"]:
        monkeypatch.delenv(name, raising=False)
    for name in ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZANTARA_JOURNAL", f"sqlite:///{tmp_path}/var/answers.db")  # not into the working folder
    monkeypatch.setenv("ZANTARA_DATABASE_URL", f"sqlite:///{tmp_path}/var/people.db")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Library]]:
    """The libraries that commands open, each with a small embedder."""
    made: list[Library] = []

    def make(settings: Settings) -> Library:
        made.append(Library(settings.index, HashingEmbedder.load))
        return made[-1]

    monkeypatch.setattr(terminal, "make_library", make)
    yield made
    for library in made:
        library.close()


def answering(monkeypatch: pytest.MonkeyPatch, answerer: ScriptedAnswerer) -> None:
    """Let commands be answered by that answerer."""
    monkeypatch.setattr(terminal, "make_answerer", lambda settings: answerer)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_setting_with_its_default(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # so that no name is broken at a hyphen
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for setting in fields(Settings):
        assert (f"--{setting.name.replace('_', '-')} " in shown) is not setting.metadata["secret"]
        assert variable(setting.name) in shown
        assert " ".join(setting.metadata["shown"].split()) in shown
    assert "--config" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_no_help_and_no_refusal_shows_a_secret(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "a-secret-of-the-operator-Ä"
    monkeypatch.setenv("ZANTARA_ADMIN_TOKEN", secret)
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert main([command, *(["x"] if command == "ask" else [])]) == 1
    shown = capsys.readouterr()
    assert "ZANTARA_ADMIN_TOKEN=… cannot be used" in shown.err
    assert secret not in shown.out + shown.err


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["fly"], ["serve", "--prot", "1"], ["ask"]])
def test_a_command_that_is_none_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--port", "many"], "ZANTARA_PORT='many' cannot be used: it takes a whole number from 0 to 65535."),
        (["ask", "x", "--heartbeat", "0"], "ZANTARA_HEARTBEAT='0' cannot be used: it takes a number of seconds"),
        (["check", "--cors-origins", "*"], "ZANTARA_CORS_ORIGINS='*' cannot be used"),
        (["serve", "--config", "nowhere.env"], "The settings file nowhere.env does not exist."),
        (["serve", "--index", "nowhere"], "There is no index in nowhere: build it with: python scripts/build_index.py"),
    ],
)
def test_a_refused_start_is_one_line_and_exit_code_1(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"zantara_stream: {message}")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_options_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Settings] = []

    async def look(settings: Settings) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr(terminal, "check", look)
    file = tmp_path / "settings.env"
    file.write_text("ZANTARA_PORT=1\nZANTARA_GRACE=1\nZANTARA_DRAIN=1\n")
    monkeypatch.setenv("ZANTARA_PORT", "2")
    monkeypatch.setenv("ZANTARA_GRACE", "2")
    assert main(["check", "--config", str(file), "--port", "3"]) == 0
    assert (seen[0].port, seen[0].grace, seen[0].drain) == (3, 2, 1)


def test_serve_checks_the_index_and_then_serves(
    sample_index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[Settings] = []

    async def serve(settings: Settings, announce: Any, supervisor: Supervisor) -> None:
        served.append(settings)
        announce("Here it is")

    monkeypatch.setattr(serving, "serve", serve)
    assert main(["serve", "--index", str(sample_index), "--port", "0"]) == 0
    assert served[0].index == sample_index
    assert capsys.readouterr().out == "Here it is\n"


def test_ctrl_c_is_no_traceback(
    sample_index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(settings: Settings, options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_check", interrupted)
    assert main(["check"]) == 1
    assert capsys.readouterr().err == ""


# --------------------------------------------------------------------------------------------------- ask


@pytest.mark.usefixtures("opened")
def test_ask_shows_the_answer_and_its_sources(
    small_index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, ScriptedAnswerer("Rp 1 million", " a day.\n"))
    assert main(["ask", QUESTION, "--index", str(small_index)]) == 0
    text, _, sources = capsys.readouterr().out.partition("\n\nSources:\n")
    assert text == "Rp 1 million a day.\n"
    first = sources.splitlines()[0]
    assert first.startswith("  1. Renewing a permit — Fees, 2026-01-31, similarity 0.")
    assert first.endswith("[permits/renewal.md]")


@pytest.mark.usefixtures("opened")
def test_ask_without_a_key_quotes_the_documents_and_says_so(
    small_index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", QUESTION, "--index", str(small_index)]) == 0
    shown = capsys.readouterr().out
    assert "Late renewal is fined Rp 1 million a day." in shown
    assert "without a language model" in shown


@pytest.mark.usefixtures("opened")
def test_a_greeting_has_no_sources(small_index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "Ciao!", "--index", str(small_index)]) == 0
    shown = capsys.readouterr().out
    assert shown.strip()
    assert "Sources" not in shown


@pytest.mark.parametrize("question", ["", "   ", "x" * 8001])
def test_a_question_that_is_none_is_refused(question: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", question]) == 1
    assert capsys.readouterr().err.startswith("zantara_stream: query ")


@pytest.mark.usefixtures("opened")
def test_ask_without_an_index_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", QUESTION, "--index", str(tmp_path / "nowhere")]) == 1
    shown = capsys.readouterr()
    assert "zantara_stream: There is no index in" in shown.err
    assert shown.out == ""


@pytest.mark.usefixtures("opened")
def test_a_model_that_fails_is_said_so_after_what_was_written(
    small_index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, ScriptedAnswerer("half", ModelOverloaded()))
    assert main(["ask", QUESTION, "--index", str(small_index)]) == 1
    shown = capsys.readouterr()
    assert shown.out == "half"
    assert shown.err.endswith(f"zantara_stream: {ModelOverloaded()}\n")


# ------------------------------------------------------------------------------------------------- check


def test_check_says_of_each_part_that_it_is_fine(sample_index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--index", str(sample_index)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:1]] == [["settings", "fine"]]
    assert [line.split()[0] for line in lines] == ["settings", "journal", "store", "people", "index", "model"]
    assert all("fine" in line for line in lines)
    assert "answers.db, answers are kept for 86400 seconds" in lines[1]
    build = (sample_index / "CURRENT").read_text().strip()
    assert "people.db, unused conversations are kept for 2592000 seconds, memory is on" in lines[2]
    assert "nobody is asked who they are; 0 collaborators" in lines[3]
    assert build in lines[4]
    assert "all-MiniLM-L6-v2" in lines[4]
    assert "extractive" in lines[5]
    assert "ANTHROPIC_API_KEY" in lines[5]


def told(part: str, shown: str) -> str:
    """What is said of that part."""
    return next(line for line in shown.splitlines() if line.split()[0] == part)


def test_check_says_how_people_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = str(Path(__file__).parent.parent / "collaborators.example.toml")
    monkeypatch.setenv("ZANTARA_JWT_SECRET", "0123456789abcdef0123456789abcdef")
    main(["check", "--auth", "jwt", "--collaborators", example])
    assert told("people", capsys.readouterr().out) == "people    fine: by tokens (HS256); 4 collaborators"
    monkeypatch.delenv("ZANTARA_JWT_SECRET")
    main(["check", "--trust-email", "true"])
    assert "by user_email, which a proxy verifies" in told("people", capsys.readouterr().out)
    (tmp_path / "keys.json").write_text("{}")
    assert main(["check", "--auth", "jwt", "--jwt-jwks", str(tmp_path / "keys.json")]) == 1
    assert "ZANTARA_JWT_JWKS" in told("people", capsys.readouterr().out)


def test_check_says_that_the_store_cannot_be_used_and_no_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZANTARA_DATABASE_URL", "postgresql://me:hunter2hunter2@127.0.0.1:1/people")
    assert main(["check"]) == 1
    shown = capsys.readouterr()
    assert "ZANTARA_DATABASE_URL='postgresql://me:***@127.0.0.1:1/people': " in told("store", shown.out)
    assert "hunter2" not in shown.out + shown.err


def test_check_says_that_others_could_ask_without_being_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--host", "0.0.0.0"]) == 1
    assert "ZANTARA_ALLOW_ANONYMOUS" in told("settings", capsys.readouterr().out)


async def test_feedback_is_printed_for_evaluation_without_whose_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/people.db"
    store = Store(url)
    await store.open()
    given = Feedback("A" * 22, 2, "Too short.\n", "What?", "This.", {"sources": [{"document": "a.md"}]})
    await Feedbacks(store).give("anna", given)
    await store.close()
    assert await terminal.feedback(Settings(database_url=url)) == 0
    shown = capsys.readouterr().out
    (line,) = map(json.loads, shown.splitlines())
    assert (line["question"], line["rating"], line["details"]) == ("What?", 2, {"sources": [{"document": "a.md"}]})
    assert "anna" not in shown


def test_check_says_what_to_do_and_looks_at_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--index", str(tmp_path / "nowhere"), "--model", "claude-opus-5-5"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].startswith("index     There is no index in")
    assert "build_index.py" in lines[4]
    assert lines[5].startswith("model     ZANTARA_MODEL='claude-opus-5-5' needs a key")


def test_check_says_that_answers_in_memory_end_with_the_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZANTARA_JOURNAL", "memory://")
    main(["check"])
    assert capsys.readouterr().out.splitlines()[1] == "journal   fine: memory://, answers end with the server"


def test_check_looks_at_a_journal_in_redis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    url = shared().emptied()
    monkeypatch.setenv("ZANTARA_JOURNAL", url)
    main(["check"])
    assert capsys.readouterr().out.splitlines()[1] == f"journal   fine: {url}, answers are kept for 86400 seconds"
    monkeypatch.setenv("ZANTARA_JOURNAL", url.replace("redis://", "redis://me:a-secret@"))
    assert main(["check"]) == 1
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(f"journal   ZANTARA_JOURNAL='{url}': ")
    assert "WRONGPASS" in line or "invalid username-password" in line


def test_check_says_that_the_journal_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("This is no database, and long enough to be seen to be none. " * 10)
    monkeypatch.setenv("ZANTARA_JOURNAL", f"sqlite:///{file}")
    assert main(["check"]) == 1
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(f"journal   ZANTARA_JOURNAL='sqlite:///{file}': ")
    assert "not a database" in line


def test_check_says_that_the_index_is_another_model_s(small_index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--index", str(small_index)]) == 1
    assert "built with the embedding model hashing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (0, 0, "model     fine: claude-haiku-4-5"),
        (401, 1, "ANTHROPIC_API_KEY"),
        (402, 1, "out of credit"),
        (529, 1, "The language model is busy."),
    ],
)
async def test_check_asks_the_provider_for_the_model(
    sample_index: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    code: int,
    said: str,
) -> None:
    async with MessagesAPI() as api:
        if status:
            api.model_reply = http_error(status, retry_after=0)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        assert await check(Settings(index=sample_index, journal="memory://", database_url="memory://")) == code
        assert all(request.path == "/v1/models/claude-haiku-4-5" for request in api.requests)
    shown = capsys.readouterr().out.splitlines()[-1]
    assert said in shown
    assert shown.startswith("model ")
