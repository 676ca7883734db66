"""What systemd, or whatever speaks its protocol, gives a service and hears of it: sockets, secrets, signs of life.

The protocol is of environment variables and datagrams: sd_listen_fds(3), sd_notify(3), systemd.exec(5).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from .config import PREFIX
from .errors import ConfigError

logger = logging.getLogger(__name__)

FIRST = 3  # the descriptor of the first socket that is passed
CREDENTIALS = "CREDENTIALS_DIRECTORY"
PROVIDER = "ANTHROPIC_"  # what the SDK's own variables begin with


class Supervisor:
    """Who started this process, as `environment` tells; without any, nothing is passed and nobody is told."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._told = _notified(environment.get("NOTIFY_SOCKET", ""))
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        folder = environment.get("WORKERS_FOLDER")
        # Where the workers of one server find each other, and which of them this is; None where it is alone.
        self.worker = (Path(folder), environment["WORKER_PLACE"]) if folder else None
        self.watchdog = int(environment.get("WATCHDOG_USEC", 0)) / 1e6 if ours else 0.0  # seconds; 0: none

    def sockets(self) -> list[socket.socket]:
        """The listening sockets that were passed, none where this process is to bind its own. Raises `ConfigError`."""
        if self._environment.get("LISTEN_PID") != str(os.getpid()):
            return []
        count = int(self._environment["LISTEN_FDS"])
        return [_listening(descriptor) for descriptor in range(FIRST, FIRST + count)]

    def tell(self, state: str) -> None:
        """Tell it a state, such as `READY=1`; what it does not take is logged, since nothing else can be done."""
        if self._told is None:
            return
        try:
            self._told.send(state.encode())
        except OSError as error:
            logger.warning("the supervisor was not told %s: %s", state, error)

    async def live(self) -> None:
        """Tell it twice each period of its watchdog that the event loop runs, until cancelled."""
        while self.watchdog:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / 2)

    def close(self) -> None:
        """Tell it nothing more."""
        if self._told is not None:
            self._told.close()
            self._told = None


def _notified(address: str) -> socket.socket | None:
    if not address:
        return None
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.setblocking(False)  # the event loop does not wait for whoever does not read
    try:
        told.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        told.close()
        raise ConfigError(f"NOTIFY_SOCKET={address!r} cannot be reached: {error.strerror}.") from error
    return told


def _listening(descriptor: int) -> socket.socket:
    try:
        passed = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"LISTEN_FDS: descriptor {descriptor} is no socket ({error.strerror}).") from error
    passed.set_inheritable(False)
    if passed.family not in (socket.AF_INET, socket.AF_INET6) or not passed.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        passed.detach()
        raise ConfigError(f"LISTEN_FDS: descriptor {descriptor} is not a listening TCP socket (ListenStream=).")
    return passed


def take_credentials(environment: MutableMapping[str, str]) -> None:
    """Add the secrets that were passed as files, named as their variables are, to the variables.

    Of `LoadCredential=zantara:FOLDER` systemd makes `zantara_NAME`. Raises `ConfigError`.
    """
    folder = environment.get(CREDENTIALS)
    for path in sorted(Path(folder).iterdir()) if folder else ():
        name = path.name.removeprefix("zantara_")
        if not name.startswith((PREFIX, PROVIDER)):
            continue
        if name in environment:
            raise ConfigError(f"{name} is both a credential and in the environment: remove one of them.")
        try:
            environment[name] = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The credential {name} cannot be read ({error}).") from error
