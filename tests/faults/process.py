"""Server processes that faults are done to."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

from aiohttp import ClientError, ClientSession

NODE = Path(__file__).parent / "node.py"
ROOT = NODE.parent.parent.parent
PASS = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Node:
    """One server over `folder/answers.db`; started again it listens on the same port."""

    def __init__(
        self,
        folder: Path,
        index: Path,
        claude_at: str = "",
        write_deadline: float = 2,
        user_timeout: float = 18,
        models: str = "claude-haiku-4-5",
        **settings: object,
    ) -> None:
        self.folder = folder
        self.journal = folder / "answers.db"
        self.port = 0
        self.url = ""
        self._index = index
        self._clock = folder / "clock.txt"
        self._listening: socket.socket | None = None
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("ZANTARA_", "ANTHROPIC_", "COV_"))},
            "PYTHONPATH": str(ROOT),
            "ZANTARA_JOURNAL": f"sqlite:///{self.journal}",
            "ZANTARA_LEASE": "1",
            "ZANTARA_ALLOW_ANONYMOUS": "true",  # one scenario listens on a cable
            "ZANTARA_HEARTBEAT": "1",
            "FAULTS_WRITE_DEADLINE": str(write_deadline),
            "FAULTS_USER_TIMEOUT": str(user_timeout),
            "FAULTS_MODELS": models,
            "FAULTS_PACE": "0.1",
            **({"ANTHROPIC_BASE_URL": claude_at} if claude_at else {}),
            **{f"ZANTARA_{name.upper()}": str(value) for name, value in settings.items()},
        }

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it was started, and has not ended."""
        return hasattr(self, "_process") and self._process.returncode is None

    def listen(self, listening: socket.socket, told: socket.socket) -> None:
        """Let it be started as a supervisor does, that holds the listening socket and is told how it is."""
        self._listening = listening
        self.port = listening.getsockname()[1]
        self._environment |= {"NOTIFY_SOCKET": f"@{told.getsockname()[1:].decode()}", "WATCHDOG_USEC": "1000000"}

    def move(self, code: Path) -> None:
        """Let its next start be of the code in that folder."""
        self._environment["PYTHONPATH"] = str(code)

    def preload(self, library: Path, offset: str) -> None:
        """Let its next start see another time; `set_clock` changes it while it runs."""
        self.set_clock(offset)
        self._environment |= {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set_clock(self, offset: str) -> None:
        """Let it see another time from the next second on."""
        new = self._clock.with_suffix(".new")
        new.write_text(offset)
        new.replace(self._clock)  # it is read at any moment

    async def start(self) -> float:
        """Start it and wait until it is ready; the unix seconds at which it was started."""
        began = time.time()
        command = [sys.executable, str(NODE), str(self._index), str(self.port)]
        passed: tuple[int, ...] = ()
        if self._listening is not None:
            passed = (self._listening.fileno(),)
            command = [sys.executable, "-c", PASS, str(*passed), *command]
        with (self.folder / "errors.txt").open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                env=self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                pass_fds=passed,
            )
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        found = re.search(r"http://\S+:(\d+)", line)
        assert found is not None, (self.folder / "errors.txt").read_text()
        self.url, self.port = found[0], int(found[1])
        await self.until_ready(200)
        return began

    async def until_ready(self, status: int) -> None:
        """Wait until `/ready` answers that."""
        async with ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{self.url}/ready") as response:
                        if response.status == status:
                            return
                except (ClientError, ConnectionError):
                    pass  # not listening yet
                await asyncio.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        await self._process.wait()

    async def stopped(self) -> int:
        """Wait until it has ended; its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it, however it is."""
        if self.runs:
            await self.kill()

    @property
    def memory(self) -> int:
        """KiB that it has resident."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])
