"""A peer behind a cable that can be cut: two network namespaces, and a pair of virtual interfaces.

Needs root, iproute2 and iptables. This thread, and the processes that it starts, are in one of the two meanwhile:
nothing of the machine's own network changes, at which a browser of another test would give up its requests.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

HERE, THERE = "10.231.77.1", "10.231.77.2"
DROPPED, PULLED = WAYS = ("packets dropped", "cable pulled")
CLONE_NEWNET = 0x40000000  # sched.h; os.unshare is there from Python 3.12 on
NAME = f"zs{os.getpid() % 100_000}"
READ = """import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the kernel reads ahead for a process that is frozen
s.connect((sys.argv[1], int(sys.argv[2])))
s.sendall(sys.argv[3].encode())
while piece := s.recv(9999): print(piece, flush=True)"""


def possible() -> bool:
    """Whether namespaces can be made here."""
    return os.geteuid() == 0 and None not in (shutil.which("ip"), shutil.which("iptables"))


async def _ip(*words: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", *words)
    assert await process.wait() == 0, f"ip {' '.join(words)}"


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Put this thread into a network namespace of its own within the block."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(before.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


@asynccontextmanager
async def cable() -> AsyncIterator[None]:
    """The cable, while it is needed."""
    with _elsewhere():
        await _ip("link", "set", "lo", "up")
        async with _laid():
            yield


@asynccontextmanager
async def _laid() -> AsyncIterator[None]:
    await _ip("netns", "add", NAME)
    try:
        await _ip("link", "add", f"{NAME}a", "type", "veth", "peer", "name", f"{NAME}b", "netns", NAME)
        await _ip("addr", "add", f"{HERE}/30", "dev", f"{NAME}a")
        await _ip("link", "set", f"{NAME}a", "up")
        await _ip("-n", NAME, "addr", "add", f"{THERE}/30", "dev", f"{NAME}b")
        await _ip("-n", NAME, "link", "set", f"{NAME}b", "up")
        yield
    finally:
        # A namespace whose sockets still try to send is gone only later, and what is in it with it.
        if f"{NAME}a" in (name for _, name in socket.if_nameindex()):
            await _ip("link", "del", f"{NAME}a")
        await _ip("netns", "del", NAME)


async def reader(port: int, path: str, host: str = HERE) -> asyncio.subprocess.Process:
    """A process, by default at the other end of the cable, that reads a stream and has got something of it."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    there = ("ip", "netns", "exec", NAME) if host == HERE else ()
    command = (*there, sys.executable, "-c", READ, host, str(port), request)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    while b"text" not in await process.stdout.readline():
        pass
    return process


async def cut(how: str) -> None:
    """Neither end hears anything any more, a FIN included: the cable is pulled, or all packets are dropped on it."""
    if how == PULLED:
        await _ip("-n", NAME, "link", "set", f"{NAME}b", "down")
        return
    for chain in ("INPUT", "OUTPUT"):
        await _ip("netns", "exec", NAME, "iptables", "-A", chain, "-j", "DROP")
