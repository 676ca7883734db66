"""The server as it is really run: its start, its stop, and the starts that it refuses."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from server import (
    CHAT,
    EVENT_STREAM,
    QUESTION,
    STREAM,
    BlockingEmbedder,
    Reader,
    WatchedLibrary,
    data,
    never,
    serving,
)

from zantara_stream import app as composition
from zantara_stream import serving as service
from zantara_stream.app import ANSWERS
from zantara_stream.config import MEMORY, Settings
from zantara_stream.errors import ConfigError
from zantara_stream.generation.chain import Chain
from zantara_stream.generation.claude import ClaudeAnswerer
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.parts import make_answerer
from zantara_stream.retrieval.steady import SWITCH_INTERVAL
from zantara_stream.serving import make_runner, serve
from zantara_stream.supervisor import Supervisor
from zantara_stream.testing import ScriptedAnswerer, read_events

ADDRESS = re.compile(r"http://\S+:[0-9]+")


def found_address(line: str) -> str:
    """The address that a server announces."""
    match = ADDRESS.search(line)
    assert match is not None
    return match[0]


# ---------------------------------------------------------------------------------------- in this process


class Running:
    """`serve`, running in a task, over a small index and with a scripted model."""

    def __init__(self, settings: Settings, library: WatchedLibrary, supervisor: Supervisor | None) -> None:
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self.apps: list[web.Application] = []  # that were made for it
        self.library = library
        self.task = asyncio.create_task(serve(settings, self._lines.put_nowait, supervisor))

    def made(self, app: web.Application) -> web.Application:
        """Remember that application."""
        self.apps.append(app)
        return app

    def readers(self) -> int:
        """How many connections read its answers."""
        return sum(answer.log.readers for answer in self.apps[0][ANSWERS]._running)

    async def line(self) -> str:
        """The next line that it announces. Raises what `serve` raises."""
        line = asyncio.create_task(self._lines.get())
        await asyncio.wait([line, self.task], return_when=asyncio.FIRST_COMPLETED)
        if not line.done():
            line.cancel()
            await self.task
        return await line


@asynccontextmanager
async def running(
    index: Path,
    monkeypatch: pytest.MonkeyPatch,
    answerer: ScriptedAnswerer,
    supervisor: Supervisor | None = None,
    embedder: BlockingEmbedder | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """A server that `serve` runs."""
    library = WatchedLibrary(index) if embedder is None else WatchedLibrary(index, lambda folder: embedder)
    monkeypatch.setattr(composition, "make_library", lambda settings: library)
    monkeypatch.setattr(composition, "make_answerer", lambda settings, **_: answerer)
    make = composition.create_app
    server: Running

    def made(settings: Settings, **more: Any) -> web.Application:
        return server.made(make(settings, **more))

    monkeypatch.setattr(service, "create_app", made)
    settings = {"port": 0, "journal": MEMORY, "database_url": MEMORY, **settings}
    server = Running(Settings(index=index, **settings), library, supervisor)
    try:
        yield server
    finally:
        server.task.cancel()
        await asyncio.wait([server.task])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopping_server_takes_no_new_questions_and_finishes_the_running_answers(
    small_index: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    answerer = ScriptedAnswerer("a", gate := asyncio.Event(), "b")
    async with running(small_index, monkeypatch, answerer) as server, ClientSession() as session:
        url = found_address(await server.line())
        await server.library.opened.wait()
        async with session.get(f"{url}/ready") as response:
            assert response.status == 200
        reader = Reader(await session.get(url + STREAM, params={"query": QUESTION}))
        await reader.next()
        last = await reader.next()
        os.kill(os.getpid(), number)
        assert "Stopping" in await server.line()
        assert sys.getswitchinterval() == SWITCH_INTERVAL
        async with session.get(f"{url}/ready") as response:
            assert (response.status, (await response.json())["code"]) == (503, "draining")
        async with session.get(f"{url}/health") as response:
            assert response.status == 200
        async with session.post(url + CHAT, json={"query": QUESTION}) as response:
            assert (response.status, (await response.json())["code"]) == (503, "draining")
        refused = Reader(await session.get(url + STREAM, params={"query": QUESTION}, headers=EVENT_STREAM))
        assert [event.event for event in await refused.rest()] == ["unavailable"]
        back = Reader(await session.get(url + STREAM, headers={"Last-Event-ID": last.id}))
        assert (await back.next()).event == "resumed", "running answers can still be joined"
        gate.set()
        for following in (reader, back):
            assert await following.text() == "b"
        await server.task
    assert len(answerer.prompts) == 1


class Held(Supervisor):
    """A supervisor that holds a listening socket, and passes it to one process after the other."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__({})
        self.listening = socket.create_server((host, 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.told: list[str] = []

    def sockets(self) -> list[socket.socket]:
        """It, as the next process has it."""
        self.passed = self.listening.dup()
        return [self.passed]

    def tell(self, state: str) -> None:
        """Note it."""
        self.told.append(state)


@pytest.fixture
def held() -> Iterator[Held]:
    """One on loopback."""
    made = Held()
    yield made
    made.listening.close()


async def test_who_connects_while_it_stops_is_served_by_the_next_one(
    small_index: Path, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    answerer = ScriptedAnswerer("a", gate := asyncio.Event(), "b")
    async with running(small_index, monkeypatch, answerer, held) as server, ClientSession() as session:
        assert found_address(await server.line()) == held.url
        reader = Reader(await session.get(held.url + STREAM, params={"query": QUESTION}))
        await reader.next()
        async with session.get(f"{held.url}/health") as response:
            assert "close" not in response.headers.get("Connection", "")
        os.kill(os.getpid(), signal.SIGTERM)
        assert "Stopping" in await server.line()
        # A connection that is there is answered, and told to come again on another one.
        kept = asyncio.create_task(session.post(held.url + CHAT, json={"query": QUESTION + " Really?"}))
        async with ClientSession() as elsewhere:
            later = asyncio.create_task(elsewhere.get(held.url + STREAM, params={"query": QUESTION}))
            while len(answerer.prompts) < 2:  # noqa: ASYNC110 (it is the server's)
                await asyncio.sleep(0.01)
            gate.set()
            assert "b" in await reader.text()
            async with await kept as response:
                assert (response.status, response.headers["Connection"]) == (200, "close")
                assert (await response.json())["response"] == "ab"
            await server.task
            assert not later.done()
            async with running(small_index, monkeypatch, answerer, held) as following:
                await following.line()
                assert await Reader(await later).text() == "ab"
    assert held.told == ["READY=1", "STOPPING=1", "READY=1"]


async def test_who_waits_at_a_socket_that_is_passed_waits_for_the_index(
    small_index: Path, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    slow = BlockingEmbedder(armed=True)
    async with (
        running(small_index, monkeypatch, ScriptedAnswerer("a"), held, slow) as server,
        ClientSession() as session,
    ):
        early = asyncio.create_task(session.get(f"{held.url}/ready"))
        await asyncio.sleep(0.3)
        assert not early.done()
        assert held.told == []
        slow.go.set()
        async with await early as response:
            assert response.status == 200
        await server.line()


async def test_who_waits_at_a_socket_does_not_wait_for_ever(
    small_index: Path, monkeypatch: pytest.MonkeyPatch, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "OPENING", 0.1)
    slow = BlockingEmbedder(armed=True)
    async with running(small_index, monkeypatch, ScriptedAnswerer("a"), held, slow), ClientSession() as session:
        async with session.get(f"{held.url}/ready") as response:
            assert (response.status, (await response.json())["code"]) == (503, "index_unavailable")
        slow.go.set()
    assert "the index is not open after 0.1 seconds" in caplog.text


async def test_a_socket_that_others_can_reach_is_refused_as_an_address_is(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = Held("0.0.0.0")
    async with running(small_index, monkeypatch, ScriptedAnswerer("a"), open_to_all) as server:
        with pytest.raises(ConfigError, match=r"The socket at 0\.0\.0\.0 can be reached by others"):
            await server.line()
    open_to_all.listening.close()
    open_to_all.passed.close()


async def test_it_does_not_start_where_others_could_ask_without_being_known(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(small_index, monkeypatch, ScriptedAnswerer("a"), host="0.0.0.0") as server:
        with pytest.raises(ConfigError, match="ZANTARA_ALLOW_ANONYMOUS"):
            await server.line()
    async with running(small_index, monkeypatch, ScriptedAnswerer("a"), host="0.0.0.0", allow_anonymous=True) as server:
        assert found_address(await server.line())


async def test_the_collaborators_are_read_again_when_it_is_told_so(
    small_index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, person = tmp_path / "people.toml", {"user_email": "made@example.com"}
    answerer = ScriptedAnswerer("a")

    def write(nickname: str) -> None:
        file.write_text(f"[[collaborator]]\nid='m'\nemail='made@example.com'\nname='Made'\nnickname='{nickname}'\n")

    write("First")
    settings: dict[str, Any] = {"trust_email": True, "collaborators": file}
    async with running(small_index, monkeypatch, answerer, **settings) as server, ClientSession() as session:
        url = found_address(await server.line())
        await server.library.opened.wait()

        async def called() -> str:
            async with session.post(url + CHAT, json={"query": QUESTION, **person}) as response:
                assert response.status == 200
            return answerer.prompts[-1].person.called

        assert await called() == "First"
        write("Second")
        assert await called() == "First"
        os.kill(os.getpid(), signal.SIGHUP)
        while await called() != "Second":
            pass
        file.write_text("damaged")
        os.kill(os.getpid(), signal.SIGHUP)
        assert await called() == "Second"


async def test_what_does_not_finish_in_time_ends_with_a_coded_error_and_the_server_stops(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answerer = ScriptedAnswerer("half", never())
    async with running(small_index, monkeypatch, answerer, drain=0.0) as server, ClientSession() as session:
        url = found_address(await server.line())
        await server.library.opened.wait()
        reader = Reader(await session.get(url + STREAM, params={"query": QUESTION}))
        await reader.next()
        await reader.next()
        os.kill(os.getpid(), signal.SIGTERM)
        (end,) = data(await reader.rest())
        assert (end["code"], end["retryable"]) == ("draining", True)
        await server.task
    assert answerer.cancelled == 1


async def test_what_does_not_finish_in_time_is_finished_by_the_server_that_comes_next(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = f"sqlite:///{tmp_path}/answers.db"
    answerer = ScriptedAnswerer("half ", never())
    async with (
        running(small_index, monkeypatch, answerer, drain=0.0, journal=journal) as server,
        ClientSession() as session,
    ):
        url = found_address(await server.line())
        await server.library.opened.wait()
        reader = Reader(await session.get(url + STREAM, params={"query": QUESTION, "continuity_id": "c"}))
        await reader.next()
        last = await reader.next()
        whole = asyncio.create_task(session.post(url + CHAT, json={"query": QUESTION, "continuity_id": "c"}))
        while server.readers() < 2:  # noqa: ASYNC110 (the server runs in this loop)
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        (told,) = await reader.rest()
        assert told.retry is not None
        data = {"code": "draining", "retryable": True, "retryAfter": told.retry / 1000}
        assert (told.event, told.id, told.json) == ("draining", last.id, data)
        assert 1000 <= told.retry <= 10_000
        async with await whole as response:
            assert (response.status, (await response.json())["code"]) == (503, "draining")
        await server.task
    assert answerer.cancelled == 1, "the model's request is closed"
    going_on = ScriptedAnswerer("the rest")
    async with serving(small_index, going_on, journal=journal) as server:
        back = await server.resume(last.id)
        opening, *events = await back.rest()
        assert (opening.event, opening.id) == ("resumed", last.id)
        texts = [(event.json["text"], event.json["sequenceNumber"]) for event in events if "text" in event.json]
        assert texts == [("the rest", 2)]
        assert events[-1].json["stopReason"] == "end_turn"
    assert [prompt.written for prompt in going_on.prompts] == ["half "]


@pytest.mark.parametrize("by", ["event id", "continuity id", "moment", "end", "id"])
async def test_a_finished_answer_outlives_the_server_that_wrote_it(small_index: Path, tmp_path: Path, by: str) -> None:
    journal = f"sqlite:///{tmp_path}/answers.db"
    async with serving(small_index, ScriptedAnswerer("Hel", "lo"), journal=journal) as server:
        before = await (await server.stream(continuity_id="c")).rest()
    answerer = ScriptedAnswerer("another answer")
    async with serving(small_index, answerer, journal=journal) as server:
        match by:
            case "event id":
                assert (await (await server.resume(before[1].id)).rest())[1:] == before[2:]
            case "continuity id":
                assert (await (await server.stream(continuity_id="c")).rest())[1:] == before[1:]
            case "moment":
                moment = {"X-Reconnection": "true", "X-Last-Chunk-Timestamp": str(before[1].json["timestamp"])}
                assert (await (await server.stream(moment, continuity_id="c")).rest())[1:] == before[2:]
            case "end":
                assert (await server.resume(before[-1].id)).response.status == 204
            case _:
                status, shown = await server.answer(before[0].json["answer"])
                assert (status, shown["state"], shown["text"]) == (200, "complete", "Hello")
        async with await server.post(CHAT, {"query": "Another?", "continuity_id": "c"}) as response:
            assert response.status == 409
    assert answerer.prompts == []


async def test_a_journal_that_cannot_be_opened_stops_the_start(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = f"sqlite:///{tmp_path}"
    async with running(small_index, monkeypatch, ScriptedAnswerer(), journal=journal) as server:
        with pytest.raises(ConfigError, match=f"ZANTARA_JOURNAL='{journal}': "):
            await server.line()


async def test_a_port_that_is_taken_is_said_so(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with running(small_index, monkeypatch, ScriptedAnswerer(), port=port) as server:
            with pytest.raises(ConfigError, match=f"ZANTARA_HOST='127.0.0.1', ZANTARA_PORT={port}: cannot listen"):
                await server.line()


async def test_a_host_that_is_none_is_said_so(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(small_index, monkeypatch, ScriptedAnswerer(), host="256.0.0.1") as server:
        with pytest.raises(ConfigError, match=r"ZANTARA_HOST='256\.0\.0\.1'"):
            await server.line()


async def test_an_address_of_version_6_is_announced_in_brackets(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    async with running(small_index, monkeypatch, ScriptedAnswerer(), host="::1") as server, ClientSession() as session:
        url = found_address(await server.line())
        assert url.startswith("http://[::1]:")
        async with session.get(f"{url}/health") as response:
            assert response.status == 200


async def test_a_server_is_stopped_with_streams_open_and_readers_stay_polite(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("half", never())) as server:
        readers = await asyncio.gather(*(server.stream() for _ in range(10)))
        for reader in readers:
            await reader.next()
            await reader.next()
        await server.app.shutdown()  # closes the logs, before the connections are waited for
        for reader in readers:
            assert [item["code"] for item in data(await reader.rest())] == ["draining"]


async def test_an_old_proxy_s_request_is_streamed_and_its_connection_closed(small_index: Path) -> None:
    # nginx speaks HTTP/1.0 to what is behind it unless it is told otherwise.
    async with serving(small_index, ScriptedAnswerer("Hel", "lo")) as server:
        response = await server.raw(f"GET {STREAM}?query=permit HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = response.partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert [item.get("text") for item in data(read_events(body))][:2] == ["Hel", "lo"]


async def test_readers_who_leave_a_silent_stream_are_noticed_in_production_too(small_index: Path) -> None:
    # The test server of aiohttp does so by itself, its production server only when told.
    async with serving(small_index) as server:
        runner = make_runner(server.app)
        assert runner._kwargs["handler_cancellation"] is True
        assert runner._kwargs["access_log"] is None


# ----------------------------------------------------------------------------------------- its composition


def test_without_a_key_the_answers_are_extractive() -> None:
    assert isinstance(make_answerer(Settings(), {}), ExtractiveAnswerer)
    keyed = {"ANTHROPIC_API_KEY": "key", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
    assert isinstance(make_answerer(Settings(model=("extractive",)), keyed), ExtractiveAnswerer)
    assert isinstance(make_answerer(Settings(), {"ANTHROPIC_BASE_URL": "http://x"}), ExtractiveAnswerer)


@pytest.mark.parametrize(
    ("model", "environment", "named"),
    [
        ("", {"ANTHROPIC_API_KEY": "key"}, "claude-haiku-4-5"),
        ("", {"ANTHROPIC_AUTH_TOKEN": "token"}, "claude-haiku-4-5"),
        ("claude-opus-5-5", {"ANTHROPIC_API_KEY": "key"}, "claude-opus-5-5"),
        ("llama", {"ANTHROPIC_BASE_URL": "http://127.0.0.1:11434"}, "llama"),
    ],
)
async def test_with_a_key_or_an_address_claude_writes_them(
    monkeypatch: pytest.MonkeyPatch, model: str, environment: dict[str, str], named: str
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    answerer = make_answerer(Settings(model=(model,) if model else ()))
    assert isinstance(answerer, Chain)
    assert [link.model for link in answerer.links] == [named]
    assert isinstance(answerer.links[0].answerer, ClaudeAnswerer)
    await answerer.close()


def test_a_model_without_a_key_stops_the_start_and_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="ZANTARA_MODEL='claude-opus-5-5' needs a key: set ANTHROPIC_API_KEY"):
        make_answerer(Settings(model=("claude-opus-5-5",)), {})


# ------------------------------------------------------------------------------------ in a process of its own


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without what concerns us, and with those settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ZANTARA_", "ANTHROPIC_", "COV_"))}
    return kept | {f"ZANTARA_{name.upper()}": value for name, value in settings.items()}


async def command(folder: Path, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
    """`python -m zantara_stream …`, started in that folder."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "zantara_stream",
        *arguments,
        cwd=folder,
        env=environment(**settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def refusal(folder: Path, *arguments: str, **settings: str) -> str:
    """The one line in which a command says why it does not start."""
    process = await command(folder, *arguments, **settings)
    out, err = await process.communicate()
    lines = [line for line in err.decode().splitlines() if " info " not in line]  # such as that the index is open
    assert process.returncode == 1, err.decode()
    assert out == b""
    assert len(lines) == 1, err.decode()
    return lines[0]


async def test_the_server_in_a_process_of_its_own(sample_index: Path, tmp_path: Path) -> None:
    process = await command(tmp_path, "serve", "--port", "0", index=str(sample_index))
    assert process.stdout is not None
    url = found_address((await process.stdout.readline()).decode())
    async with ClientSession() as session:
        async with session.get(f"{url}/health") as response:
            assert response.status == 200, "at once, whatever is still being loaded"
        while True:
            async with session.get(f"{url}/ready") as response:
                body = await response.json()
                if response.status == 200:
                    break
                assert "still being opened" in body["error"]
            await asyncio.sleep(0.1)  # between two probes
        assert body["model"] == "extractive"
        question = "What does it cost to extend a visa on arrival?"
        reader = Reader(await session.get(url + STREAM, params={"query": question}))
        events = await reader.rest()
        assert events[0].event == "start"
        kinds = [next(iter(item)) for item in data(events)]
        assert re.fullmatch(r"(text |citation )+sources done ", "".join(f"{kind} " for kind in kinds))
        assert all(item["citation"]["verified"] for item in data(events) if "citation" in item)
        async with session.get(url + STREAM, headers={"Last-Event-ID": events[-1].id}) as response:
            assert response.status == 204
    process.terminate()
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert "Stopping" in out.decode()
    assert "Traceback" not in err.decode()
    assert question not in (out + err).decode()


async def test_it_does_not_start_without_an_index(tmp_path: Path) -> None:
    line = await refusal(tmp_path, "serve", "--port", "0")
    assert line.startswith("zantara_stream: There is no index in indexes/default: build it with: ")


async def test_it_does_not_start_with_a_damaged_index(sample_index: Path, tmp_path: Path) -> None:
    shutil.copytree(sample_index, damaged := tmp_path / "damaged")
    (vectors,) = damaged.rglob("vectors.faiss")
    with vectors.open("ab") as file:
        file.write(b"x")
    line = await refusal(tmp_path, "serve", "--port", "0", index=str(damaged))
    assert "The index is damaged: " in line
    assert "vectors.faiss is not as it was built" in line


async def test_it_does_not_start_with_the_index_of_another_model(small_index: Path, tmp_path: Path) -> None:
    line = await refusal(tmp_path, "serve", "--port", "0", index=str(small_index))
    assert "The index was built with the embedding model hashing" in line


async def test_it_does_not_start_with_a_setting_that_is_none(tmp_path: Path) -> None:
    line = await refusal(tmp_path, "serve", prot="8080")
    assert line == ("zantara_stream: ZANTARA_PROT is not a setting of this version. Did you mean ZANTARA_PORT?")


async def test_it_does_not_start_on_a_port_that_is_taken(sample_index: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = await refusal(tmp_path, "serve", "--port", port, index=str(sample_index))
    assert f"ZANTARA_PORT={port}: cannot listen there" in line
