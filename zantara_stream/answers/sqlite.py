"""The journal in a SQLite file: answers outlive the process, and a killed one loses nothing that was shown.

What all running answers append in one turn is one row, the very bytes that readers get, and one commit;
a row an event would write a page of the file for each answer (docs/decisions/0008). When an answer
closes, its log becomes one value of its own row, and rows that only closed answers needed are deleted.
Everything that touches the file runs in one thread: `Database` is what runs in it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..errors import ConfigError, JournalUnavailable
from ..metrics import JOURNAL_COMMIT
from .database import Append, Database
from .journal import Committed, Fenced, Lease, Opening, Stored

T = TypeVar("T")

# Seconds from one commit to the next at least, so that a busy server commits many events at once; what an answer begins
# with does not wait.
PACE = 0.008
LOOK = 0.02  # seconds between two looks at what another process writes
DEADLINE = 8.0  # seconds; a file that cannot be written by then is unavailable


class SqliteJournal:
    """Keeps answers in the file `path`; several processes of one machine may share it."""

    durable = True
    patience = 0.0  # beyond the deadline of each call

    def __init__(self, path: Path, lease: float = 5.0) -> None:
        self.name = f"sqlite:///{path}"
        self.problem = ""
        self._database = Database(path, lease)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._waiting: list[tuple[Append, Committed]] = []
        self._batch: list[tuple[Append, Committed]] = []  # being committed
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_commit = 0.0
        self._unbegun: set[str] = set()  # answers of which nothing has been appended yet
        self._planned: asyncio.TimerHandle | None = None  # the next commit, where it is waited for
        self._overdue_at: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Create or open the file. Raises `ConfigError`."""
        try:
            await self._run(self._database.open)
        except JournalUnavailable as error:
            self._thread.shutdown(wait=False)
            raise ConfigError(f"ZANTARA_JOURNAL={self.name!r}: {self.problem}") from error

    async def close(self) -> None:
        """Commit what is waiting, and close the file."""
        try:
            await self._flush()
            await self._run(self._database.close)
        finally:
            self._thread.shutdown(wait=False)

    # ------------------------------------------------------------------------------------------- appending

    def append(self, lease: Lease, frame: bytes, committed: Committed) -> None:
        """Append with whatever else is appended until the next commit."""
        self._waiting.append((Append(lease, frame), committed))
        if lease.answer in self._unbegun:
            self._unbegun.discard(lease.answer)
            self._begin(0.0)
        elif self._idle.is_set():
            self._begin(self._last_commit + PACE - asyncio.get_running_loop().time())

    def _begin(self, pause: float) -> None:
        """Plan the next commit, unless one is being made or planned for then."""
        if self._planned is not None and not pause:
            self._planned.cancel()
        elif not self._idle.is_set():
            return
        self._idle.clear()
        self._commit_after(pause)

    def _commit_after(self, pause: float) -> None:
        self._planned = asyncio.get_running_loop().call_later(max(0.0, pause), self._commit)

    def _commit(self) -> None:
        loop = asyncio.get_running_loop()
        self._planned = None
        self._batch, self._waiting = self._waiting, []
        self._last_commit = loop.time()
        self._overdue_at = loop.call_later(DEADLINE, self._overdue)
        work = self._thread.submit(self._database.commit, [append for append, _ in self._batch])
        work.add_done_callback(lambda work: loop.call_soon_threadsafe(self._committed, work))

    def _committed(self, work: Future[list[Fenced | None]]) -> None:
        assert self._overdue_at is not None
        self._overdue_at.cancel()
        JOURNAL_COMMIT.observe(asyncio.get_running_loop().time() - self._last_commit)
        batch, self._batch = self._batch, []
        error = work.exception()
        if error is None:
            self.problem = ""
            for (_, committed), outcome in zip(batch, work.result(), strict=False):  # none is left of an overdue one
                committed(outcome)
        else:
            self._fail(batch, error)
        if self._waiting:
            self._commit_after(self._last_commit + PACE - asyncio.get_running_loop().time())
        else:
            self._idle.set()

    def _overdue(self) -> None:
        """The thread hangs on the file: whoever waits is told, and whoever comes until it goes on."""
        batch, self._batch, self._waiting = self._batch + self._waiting, [], []
        self._fail(batch, TimeoutError(f"the file could not be written within {DEADLINE:g} seconds"))
        self._overdue_at = asyncio.get_running_loop().call_later(DEADLINE, self._overdue)

    async def _flush(self) -> None:
        """Wait until all that was appended is written."""
        try:
            await asyncio.wait_for(self._idle.wait(), DEADLINE)
        except TimeoutError as error:
            raise self._unavailable(error) from error

    def _fail(self, batch: list[tuple[Append, Committed]], error: BaseException) -> None:
        failure = self._unavailable(error)
        for _, committed in batch:
            committed(failure)

    # ------------------------------------------------------------------------------------ everything else

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self._thread, work), DEADLINE)
        except (sqlite3.Error, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error

    async def _write(self, work: Callable[[], T]) -> T:
        result = await self._run(work)
        self.problem = ""
        return result

    def _unavailable(self, error: BaseException) -> JournalUnavailable:
        self.problem = str(error) or type(error).__name__
        return JournalUnavailable()

    async def create(self, opening: Opening) -> Lease | str:
        """Begin an answer, or name the one that is there."""
        created = await self._write(partial(self._database.create, opening))
        if isinstance(created, Lease):
            self._unbegun.add(created.answer)
        return created

    async def find(self, answer: str, owner: str = "") -> Stored | None:
        """The answer of that id, if it is that owner's."""
        return await self._run(partial(self._database.find, answer, owner))

    async def named(self, continuity: str) -> str | None:
        """The id of the answer that a continuity id names."""
        return await self._run(partial(self._database.named, continuity))

    async def follow(self, tails: Mapping[str, int], wait: float) -> dict[str, tuple[bytes, ...] | None]:
        """What other processes write of these answers, looked for every `LOOK`; all, where it does not wait."""
        until = asyncio.get_running_loop().time() + wait
        while asyncio.get_running_loop().time() < until:
            if found := await self._run(partial(self._database.news, tails)):
                return found
            await asyncio.sleep(LOOK)
        return await self._run(partial(self._database.logs, tails)) if not wait else {}

    async def ask_to_stop(self, answer: str) -> None:
        """Ask whoever writes an answer to stop it."""
        await self._write(partial(self._database.ask_to_stop, answer))

    async def asked_to_stop(self, answers: Collection[str]) -> list[str]:
        """Those of these that somebody asked to be stopped."""
        return await self._run(partial(self._database.asked_to_stop, answers))

    async def mark_read(self, answers: Collection[str]) -> None:
        """Say that somebody reads these answers here."""
        if answers:
            await self._write(partial(self._database.mark_read, answers))

    async def unread_for(self, answer: str) -> float:
        """The seconds since some process said that it is read there."""
        return await self._run(partial(self._database.unread_for, answer))

    async def renew(self, leases: Collection[Lease]) -> None:
        """Keep these leases from running out."""
        if leases:
            await self._write(partial(self._database.renew, leases))

    async def release(self, leases: Collection[Lease]) -> None:
        """Let these leases run out now, after what was appended with them."""
        await self._flush()
        if leases:
            await self._write(partial(self._database.release, leases))

    async def claim(self, most: int, held: Collection[str] = ()) -> list[tuple[Lease, Stored]]:
        """Take over unfinished answers whose leases ran out."""
        return await self._run(partial(self._database.claim, most, held))

    async def touch(self, answers: Collection[str]) -> None:
        """Count the retention of these answers from now."""
        if answers:
            await self._write(partial(self._database.touch, answers))

    async def expire(self, retention: float, read: Collection[str] = ()) -> list[str]:
        """Forget what nobody reads any more, and give its room back."""
        return await self._run(partial(self._database.expire, retention, read))

    async def probe(self) -> None:
        """Write something, and take it back."""
        await self._write(self._database.probe)
