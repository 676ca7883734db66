"""Several processes on one port are one server to whoever asks, and none of them is missed when it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession
from faults import checker
from faults.client import Reader, session
from faults.house import until
from faults.upstream import Upstream, text_of
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families

from zantara_stream import cli, workers
from zantara_stream.config import Settings
from zantara_stream.errors import ConfigError
from zantara_stream.metrics import merged
from zantara_stream.supervisor import Supervisor
from zantara_stream.workers import serve_workers

ROOT = Path(__file__).parent.parent
PACE = 0.02
OURS = "ZANTARA_", "ANTHROPIC_", "COV_"


def environment(folder: Path, index: Path, model: str, **settings: object) -> dict[str, str]:
    """The settings of a server whose model is at that address."""
    return {
        **{
            name: value for name, value in os.environ.items() if not name.startswith(("ZANTARA_", "ANTHROPIC_", "COV_"))
        },
        "PYTHONPATH": str(ROOT),
        "ZANTARA_INDEX": str(index),
        "ZANTARA_JOURNAL": f"sqlite:///{folder}/answers.db",
        "ZANTARA_DATABASE_URL": f"sqlite:///{folder}/people.db",
        "ZANTARA_LEASE": "1",
        "ZANTARA_DRAIN": "1",
        "ZANTARA_RATE_LIMIT": "off",
        "ANTHROPIC_API_KEY": "test",
        "ANTHROPIC_BASE_URL": model,
        **{f"ZANTARA_{name.upper()}": str(value) for name, value in settings.items()},
    }


class Server:
    """The parent's process."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    def workers(self) -> list[int]:
        """The processes that serve."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    async def connections(self, client: ClientSession) -> dict[str, float]:
        """How many streams are open at each worker."""
        async with client.get(f"{self.url}/metrics") as response:
            families = text_string_to_metric_families(await response.text())
        samples = next(family.samples for family in families if family.name == "zantara_connections")
        return {sample.labels["worker"]: sample.value for sample in samples}


@asynccontextmanager
async def served(folder: Path, index: Path, model: str, **settings: object) -> AsyncIterator[Server]:
    """A server of two workers."""
    command = [sys.executable, "-m", "zantara_stream", "serve", "--port", "0", "--workers", "2"]
    with (folder / "errors.txt").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment(folder, index, model, **settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    said = (await process.stdout.readline()).decode()
    found = re.search(r"http://\S+", said)
    assert found is not None, (folder / "errors.txt").read_text()
    assert "2 workers" in said
    try:
        yield Server(process, found[0])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_an_answer_is_read_at_any_worker_and_outlives_its_own(tmp_path: Path, sample_index: Path) -> None:
    async with (
        Upstream(PACE).serving() as upstream,
        session() as client,
        served(tmp_path, sample_index, upstream.url) as server,
    ):
        before = set(server.workers())
        readers = [Reader(server.url, f"Middling {n % 3}?", f"q{n % 3}") for n in range(18)]
        tasks = [asyncio.create_task(reader.run(client)) for reader in readers]
        await asyncio.wait_for(asyncio.gather(*(reader.first.wait() for reader in readers)), 30)
        open_at = await server.connections(client)
        assert sum(open_at.values()) == 18
        assert min(open_at.values()) > 0, "else this is no test of two"
        os.kill(min(before), signal.SIGKILL)
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
        journal = checker.journalled(tmp_path / "answers.db")
        assert len(journal) == 3
        for reader in readers:
            assert checker.problems(reader.received, journal) == []
            assert checker.text(reader.received) == text_of(reader.query)
        asked = {reader.query for reader in readers}
        assert checker.overpaid(asked, upstream.begun, upstream.continued, 1) == []
        await until(lambda: len(server.workers()) == 2 and set(server.workers()) != before)
        log = (tmp_path / "errors.txt").read_text()
        assert "ended with -9 and is started again" in log
        assert "internal error" not in log


async def test_whichever_worker_is_told_an_answer_is_stopped_soon(tmp_path: Path, sample_index: Path) -> None:
    async with (
        Upstream(PACE).serving() as upstream,
        session() as client,
        served(tmp_path, sample_index, upstream.url, lease=4) as server,
    ):
        readers = [Reader(server.url, f"Long {n}?", f"q{n}") for n in range(8)]
        tasks = [asyncio.create_task(reader.run(client)) for reader in readers]
        await asyncio.wait_for(asyncio.gather(*(reader.first.wait() for reader in readers)), 30)
        names = [reader.answer for reader in readers]

        async def stop(name: str) -> str:
            async with client.delete(f"{server.url}/bali-zero/answers/{name}") as response:
                return str((await response.json())["state"])

        # Each on a connection of its own, which may be any worker's.
        assert await asyncio.wait_for(asyncio.gather(*map(stop, names)), 30) == ["stopped"] * 8
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        await until(lambda: upstream.left == 8)


async def test_told_to_stop_all_end_and_the_port_is_free(tmp_path: Path, sample_index: Path) -> None:
    async with Upstream(PACE).serving() as upstream, served(tmp_path, sample_index, upstream.url) as server:
        pids = server.workers()
        assert len(pids) == 2
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.process.wait(), 30) == 0
        assert not any(map(_runs, pids))
        with pytest.raises(ClientError):
            async with session() as client, client.get(server.url):
                pass


async def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path, sample_index: Path) -> None:
    async with Upstream(PACE).serving() as upstream, served(tmp_path, sample_index, upstream.url) as server:
        pids = server.workers()
        server.process.kill()
        await server.process.wait()
        await until(lambda: not any(_runs(pid) for pid in pids))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_one_that_hangs_is_killed_and_started_again(
    tmp_path: Path, sample_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "BEAT", 1.0)
    for name, value in environment(tmp_path, sample_index, "http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        index=sample_index, port=0, journal=f"sqlite:///{tmp_path}/answers.db", database_url="sqlite:///x", drain=1
    )
    said = asyncio.Queue[str]()
    arguments = ["serve", "--port", "0"]
    serving = asyncio.create_task(serve_workers(settings, 1, arguments, said.put_nowait, Supervisor({})))
    try:
        assert "with 1 workers" in await asyncio.wait_for(said.get(), 60)
        me = Server(_Me(), "")  # type: ignore[arg-type]
        (pid,) = filter(_is_worker, me.workers())
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: not _runs(pid))
        await until(lambda: any(_is_worker(other) and other != pid for other in me.workers()))
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(serving, 60) == 0


class _Me:
    pid = os.getpid()


def _is_worker(pid: int) -> bool:
    try:
        return b"zantara_stream.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


async def test_where_one_cannot_begin_the_server_does_not(
    tmp_path: Path, sample_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(
        tmp_path, sample_index, "http://127.0.0.1:9", journal="sqlite:////proc/no/x"
    ).items():
        monkeypatch.setenv(name, value)
    settings = Settings(index=sample_index, port=0, journal="sqlite:////proc/no/x")
    said: list[str] = []
    assert await serve_workers(settings, 2, ["serve", "--port", "0"], said.append, Supervisor({})) == 1
    assert said == []


@pytest.mark.parametrize("count", [0, -1, 65])
async def test_a_number_of_workers_that_makes_no_sense_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match="from 1 to 64"):
        await serve_workers(Settings(), count, [], print, Supervisor({}))


@pytest.mark.parametrize("kept", [{"journal": "memory://"}, {"database_url": "memory://"}])
async def test_workers_share_what_is_kept(kept: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="share"):
        await serve_workers(Settings(**kept), 2, [], print, Supervisor({}))  # type: ignore[arg-type]


async def test_a_port_that_another_server_has_is_not_shared_with_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        with pytest.raises(ConfigError, match="cannot listen there"):
            await serve_workers(Settings(port=other.getsockname()[1]), 2, [], print, Supervisor({}))


def test_the_command_takes_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--workers", "two"])
    assert "--workers" in capsys.readouterr().err


def test_what_workers_have_measured_is_told_together() -> None:
    one = b'# HELP a_total What it is\n# TYPE a_total counter\na_total 1.0\n# HELP b B\n# TYPE b gauge\nb{x="y"} 2.0\n'
    other = b"# HELP a_total What it is\n# TYPE a_total counter\na_total 4.0\n"
    families = {
        family.name: family for family in text_string_to_metric_families(merged({"0": one, "1": other}).decode())
    }
    assert [(sample.labels, sample.value) for sample in families["a"].samples] == [
        ({"worker": "0"}, 1.0),
        ({"worker": "1"}, 4.0),
    ]
    assert families["a"].documentation == "What it is"
    assert families["b"].samples[0].labels == {"x": "y", "worker": "0"}
