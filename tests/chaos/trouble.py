"""Does planned faults to several nodes, and notes what it did when."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence

from faults.process import Node
from faults.several import Several

from . import plan
from .crowd import Crowd
from .history import FAULT, History
from .plan import Planned

AWAY = 3.0  # seconds that Redis is away at most: longer, and nodes give their answers up, which is another fault
DROPPED = 0.3  # of all connections


class Trouble:
    """Who does it. One thing at a time is done to each node, and no node starts while Redis is away."""

    def __init__(self, h: Several, crowd: Crowd, history: History, seed: int) -> None:
        self._h = h
        self._crowd = crowd
        self._history = history
        self._draw = random.Random(seed)
        self._nodes = [asyncio.Lock() for _ in h.nodes]
        self._redis = asyncio.Lock()
        self._ways: dict[str, Callable[[Planned], Awaitable[None]]] = {
            plan.KILL: self._kill,
            plan.FREEZE: self._freeze,
            plan.TERMINATE: self._terminate,
            plan.CUT: self._cut,
            plan.REDIS: self._kill_redis,
            plan.ROLL: self._roll,
            plan.RELOAD: self._reload,
            plan.DROP: self._drop,
            plan.BREAK: self._break,
        }

    async def make(self, planned: Sequence[Planned]) -> None:
        """Do them all; some overlap."""
        async with asyncio.TaskGroup() as group:
            for one in planned:
                await asyncio.sleep(one.pause)
                group.create_task(self._do(one))

    async def _do(self, one: Planned) -> None:
        began = self._history.now
        await self._ways[one.fault](one)
        self._history.note(FAULT, fault=one.fault, node=one.node, at=began, breaks=one.breaks)

    async def _start(self, node: Node) -> None:
        async with self._redis:
            await node.start()

    async def _kill(self, one: Planned) -> None:
        async with self._nodes[one.node]:
            node = self._h.nodes[one.node]
            await node.kill()
            await asyncio.sleep(one.lasts / 2)
            await self._start(node)

    async def _freeze(self, one: Planned) -> None:
        async with self._nodes[one.node]:
            node = self._h.nodes[one.node]
            node.signal(signal.SIGSTOP)
            await asyncio.sleep(one.lasts)
            node.signal(signal.SIGCONT)

    async def _terminate(self, one: Planned) -> None:
        async with self._nodes[one.node]:
            node = self._h.nodes[one.node]
            node.signal(signal.SIGTERM)
            await node.stopped()
            await self._start(node)

    async def _cut(self, one: Planned) -> None:
        async with self._nodes[one.node]:
            self._h.lines[one.node].cut()
            await asyncio.sleep(one.lasts)
            self._h.lines[one.node].mend()

    async def _roll(self, one: Planned) -> None:
        for number in range(len(self._h.nodes)):
            await self._terminate(Planned(0, plan.TERMINATE, number, 0))

    async def _kill_redis(self, one: Planned) -> None:
        async with self._redis:
            self._h.redis.kill()
            await asyncio.sleep(min(one.lasts, AWAY))
            await asyncio.to_thread(self._h.redis.start)

    async def _reload(self, one: Planned) -> None:
        os.kill(int((self._h.front.folder / "nginx.pid").read_text()), signal.SIGHUP)

    async def _drop(self, one: Planned) -> None:
        self._crowd.drop(DROPPED)

    async def _break(self, one: Planned) -> None:
        self._h.upstream.breaks += one.breaks
