"""The units: read by systemd's own tools, their commands by ours, and what they forbid forbidden to a real server."""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from zantara_stream import cli
from zantara_stream.config import Settings, load_settings, variable
from zantara_stream.retrieval import builder

DEPLOY = Path(__file__).parent.parent.parent / "deploy" / "systemd"
SERVICES = sorted(path.name for path in DEPLOY.glob("*.service"))
TIMERS = sorted(path.name for path in DEPLOY.glob("*.timer"))
ANALYZE = Path("/usr/bin/systemd-analyze")
CURRENT = "/opt/zantara-stream/current"
MOST = 2.0  # of systemd's exposure, from 0 to 10
PR_SET_MDWE = 65  # prctl(2), Linux 6.3 and later: what MemoryDenyWriteExecute= comes to


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a file system where the units are installed as docs/operations.md says."""
    if not ANALYZE.exists():
        assert not os.environ.get("CI"), "needs systemd: make test-services"
        pytest.skip("needs systemd: make test-services")
    root = tmp_path_factory.mktemp("machine")
    shutil.copytree("/lib/systemd/system", root / "lib/systemd/system", symlinks=True)
    shutil.copytree(DEPLOY, root / "etc/systemd/system")
    for command in (f"{CURRENT[1:]}/.venv/bin/python", "bin/kill", "bin/sh"):
        (root / command).parent.mkdir(parents=True, exist_ok=True)
        (root / command).write_text("#!/bin/sh\n")
        (root / command).chmod(0o755)
    return root


def analyze(*words: str) -> str:
    """What `systemd-analyze` says; it must not complain."""
    done = subprocess.run([ANALYZE, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    assert done.returncode == 0, done.stdout
    return str(done.stdout)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_can_do_little_harm(machine: Path, service: str) -> None:
    said = analyze("security", "--offline=true", f"--root={machine}", service)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None
    assert float(found[1]) < MOST, said


@pytest.mark.parametrize("unit", sorted(path.name for path in DEPLOY.glob("zantara-stream*")))
def test_systemd_understands_every_line(machine: Path, unit: str) -> None:
    said = analyze("verify", f"--root={machine}", unit)
    assert [line for line in said.splitlines() if "zantara" in line] == []


def test_a_line_that_systemd_does_not_understand_is_found(machine: Path) -> None:
    unit = machine / "etc/systemd/system/zantara-wrong.service"
    unit.write_text("[Service]\nType=notify\nExecStart=/bin/kill\nProtectSystme=strict\n")
    with pytest.raises(AssertionError, match="ProtectSystme"):
        test_systemd_understands_every_line(machine, unit.name)
    unit.unlink()


@pytest.mark.parametrize(
    ("file", "unit"),
    [
        ("several/service.conf", "zantara-stream.service"),
        ("several/socket.conf", "zantara-stream.socket"),
        ("milvus/index.conf", "zantara-stream-index.service"),
    ],
)
def test_systemd_understands_what_other_layouts_add(machine: Path, file: str, unit: str) -> None:
    folder = machine / f"etc/systemd/system/{unit}.d"
    folder.mkdir()
    try:
        shutil.copy(DEPLOY / file, folder / "added.conf")
        test_systemd_understands_every_line(machine, unit)
        (folder / "wrong.conf").write_text("[Unit]\nNonsense=1\n", encoding="utf-8")
        with pytest.raises(AssertionError, match="Nonsense"):
            test_systemd_understands_every_line(machine, unit)
    finally:
        shutil.rmtree(folder)


def test_the_user_and_the_folders_are_made(machine: Path) -> None:
    for name, folder in (("sysusers", "sysusers.d"), ("tmpfiles", "tmpfiles.d")):
        (machine / "etc" / folder).mkdir()
        shutil.copy(DEPLOY / f"{name}.conf", machine / "etc" / folder / "zantara-stream.conf")
    subprocess.run(["systemd-sysusers", f"--root={machine}"], check=True)
    assert "zantara-stream" in (machine / "etc/passwd").read_text()
    if os.geteuid() != 0:
        return  # who is not root makes nobody's folders
    subprocess.run(["systemd-tmpfiles", f"--root={machine}", "--create", "zantara-stream.conf"], check=True)
    assert (machine / "etc/zantara-stream/credentials").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("timer", TIMERS)
def test_a_timer_has_a_service_and_a_time(machine: Path, timer: str) -> None:
    text = (DEPLOY / timer).read_text()
    assert timer.replace(".timer", ".service") in SERVICES
    (when,) = re.findall(r"^OnCalendar=(.+)$", text, re.MULTILINE)
    assert "Next elapse" in analyze("calendar", when)


def _commands() -> list[tuple[str, list[str]]]:
    texts = ((service, (DEPLOY / service).read_text()) for service in SERVICES)
    return [(s, shlex.split(c)) for s, text in texts for c in re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)]


@pytest.mark.parametrize(("service", "command"), _commands())
def test_a_command_is_one_of_ours(service: str, command: list[str]) -> None:
    if command[0] == "/bin/sh":
        command = shlex.split(
            command[2].replace('"$$(readlink -f /opt/zantara-stream/current)"', CURRENT)[len("exec ") :]
        )
    python, *words = command
    assert python == f"{CURRENT}/.venv/bin/python"
    if words[:2] == ["-m", "zantara_stream"]:
        assert isinstance(cli._parser().parse_args(words[2:]), argparse.Namespace)
        return
    script = Path(words[0]).relative_to(CURRENT)
    assert (DEPLOY.parent.parent / script).exists()
    assert builder._parser().parse_args(words[1:]).documents == Path("/srv/zantara-stream/documents")


def test_exit_codes_that_are_no_failure_are_ours() -> None:
    for service in ("zantara-stream-index.service", "zantara-stream-backup.service"):
        assert f"SuccessExitStatus={cli.PARTLY}\n" in (DEPLOY / service).read_text()
    assert cli.PARTLY == builder.SOME_SKIPPED


def test_the_settings_can_be_used_with_and_without_what_is_commented_out() -> None:
    text = (DEPLOY / "environment").read_text()
    for lines in (text, re.sub(r"^#(?=ZANTARA)", "", text, flags=re.MULTILINE)):
        given = dict(line.split("=", 1) for line in lines.splitlines() if line.startswith("ZANTARA"))
        settings = load_settings(given)
        assert settings.hosts == {"answers.example.com", "127.0.0.1"}
        assert settings.drain < 45, "TimeoutStopSec is 45"


def test_the_runbook_names_what_there_is() -> None:
    text = (DEPLOY.parent.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    units = set(re.findall(r"zantara-stream[\w-]*\.(?:service|socket|timer)", text))
    assert units == {path.name for path in DEPLOY.glob("zantara-stream*.*")}
    for copied in re.findall(r"^cp (?:-r )?(.+) \S+$", text, re.MULTILINE):
        for pattern in copied.split():
            assert list(DEPLOY.glob(Path(pattern).name)), pattern
    assert {name for name in re.findall(r"ZANTARA_[A-Z_]+", text)} <= {variable(f.name) for f in fields(Settings)}


def _no_new_code() -> None:
    """Forbid this process, for good, to write memory and then run it."""
    assert ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0) == 0


def test_an_answer_needs_no_memory_that_is_written_and_run(sample_index: Path) -> None:
    """`MemoryDenyWriteExecute=yes`, with the real query encoder."""
    if ctypes.CDLL(None).prctl(PR_SET_MDWE + 1, 0, 0, 0, 0) < 0:
        pytest.skip("needs Linux 6.3")
    command = [sys.executable, "-m", "zantara_stream", "ask", "What is the capital of a PT PMA?"]
    environment = {**os.environ, "ZANTARA_INDEX": str(sample_index)}
    done = subprocess.run(command, env=environment, preexec_fn=_no_new_code, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "Sources:" in done.stdout
