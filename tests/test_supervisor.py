"""What a supervisor gives and hears: sockets, secrets, signs of life."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zantara_stream import cli
from zantara_stream.errors import ConfigError
from zantara_stream.supervisor import Supervisor, take_credentials

# Passes descriptor 7 on as the first one, which only a process of its own can do.
PASSED = """
import os, socket, sys
from zantara_stream.errors import ConfigError
from zantara_stream.supervisor import Supervisor
os.dup2(int(sys.argv[1]), 3)
try:
    sockets = Supervisor({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": sys.argv[2]}).sockets()
    print([s.getsockname()[1] for s in sockets], [s.get_inheritable() for s in sockets])
except ConfigError as error:
    print(error)
"""


@pytest.fixture
def told() -> Iterator[socket.socket]:
    """Where a supervisor listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("")  # a name of the kernel's choosing
        listening.settimeout(30)
        yield listening


def name(listening: socket.socket) -> str:
    """The socket's address as the variable has it."""
    return f"@{listening.getsockname()[1:].decode()}"


def passed(descriptor: int, count: int = 1) -> str:
    """What a process says that is passed this descriptor."""
    command = [sys.executable, "-c", PASSED, str(descriptor), str(count)]
    done = subprocess.run(command, pass_fds=[descriptor], check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return str(done.stdout)


def test_a_socket_that_is_passed_is_taken_and_passed_to_nobody_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert passed(listening.fileno()) == f"[{listening.getsockname()[1]}] [False]\n"


def test_what_is_no_listening_socket_is_refused(tmp_path: Path, told: socket.socket) -> None:
    with socket.socket() as other:
        assert "descriptor 3 is not a listening TCP socket" in passed(other.fileno())
    assert "descriptor 3 is not a listening TCP socket" in passed(told.fileno())
    with (tmp_path / "file").open("w") as file:
        assert "descriptor 3 is no socket" in passed(file.fileno())


def test_sockets_of_another_process_are_left_alone() -> None:
    assert Supervisor({"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1"}).sockets() == []
    assert Supervisor({}).sockets() == []


@pytest.mark.parametrize("abstract", [True, False])
def test_it_is_told_how_things_are(told: socket.socket, tmp_path: Path, abstract: bool) -> None:
    if not abstract:
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        told.bind(str(tmp_path / "notify"))
    supervisor = Supervisor({"NOTIFY_SOCKET": name(told) if abstract else str(tmp_path / "notify")})
    supervisor.tell("READY=1")
    assert told.recv(100) == b"READY=1"
    supervisor.close()
    supervisor.tell("STOPPING=1")  # nobody is told any more
    told.setblocking(False)
    with pytest.raises(BlockingIOError):
        told.recv(100)
    told.close()


def test_one_that_does_not_read_holds_nobody_up(told: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": name(told)})
    for _ in range(10_000):
        supervisor.tell("WATCHDOG=1")
        if caplog.messages:
            break
    assert "the supervisor was not told WATCHDOG=1" in caplog.text
    supervisor.close()


def test_one_that_is_not_there_is_an_error_for_people() -> None:
    with pytest.raises(ConfigError, match=r"NOTIFY_SOCKET='/nowhere' cannot be reached"):
        Supervisor({"NOTIFY_SOCKET": "/nowhere"})


async def test_signs_of_life_come_twice_a_period(told: socket.socket) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": name(told), "WATCHDOG_USEC": "100000"})
    living = asyncio.create_task(supervisor.live())
    for _ in range(3):
        assert await asyncio.to_thread(told.recv, 100) == b"WATCHDOG=1"
    assert supervisor.watchdog == 0.1
    living.cancel()
    supervisor.close()


async def test_without_a_watchdog_of_ours_there_are_no_signs_of_life() -> None:
    await Supervisor({}).live()
    await Supervisor({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid() + 1)}).live()


def test_credentials_are_variables(tmp_path: Path) -> None:
    (tmp_path / "zantara_ANTHROPIC_API_KEY").write_text("key\n")
    (tmp_path / "ZANTARA_ADMIN_TOKEN").write_text("token")
    (tmp_path / "other").write_text("of another program")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    take_credentials(environment)
    assert environment.pop("CREDENTIALS_DIRECTORY")
    assert environment == {"ANTHROPIC_API_KEY": "key", "ZANTARA_ADMIN_TOKEN": "token"}


def test_a_credential_that_is_in_the_environment_too_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "zantara_ZANTARA_ADMIN_TOKEN").write_text("new")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("ZANTARA_ADMIN_TOKEN", "old")
    assert cli.main(["check"]) == cli.FAILED
    assert "ZANTARA_ADMIN_TOKEN is both a credential and in the environment" in capsys.readouterr().err


def test_a_credential_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ANTHROPIC_API_KEY").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY cannot be read"):
        take_credentials({"CREDENTIALS_DIRECTORY": str(tmp_path)})
