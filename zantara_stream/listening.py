"""The sockets that a server listens on."""

from __future__ import annotations

import socket

from .config import Settings
from .errors import ConfigError

BACKLOG = 1024  # connections that wait to be accepted


def bound(settings: Settings, *, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets of the address that the settings name, one for each that the name stands for. Raises `ConfigError`.

    Several processes may each have theirs of one address if all are made to `reuse_port`.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        port, made = settings.port, list[socket.socket]()
        for family, *_, address in dict.fromkeys(found):
            place = address[0], port
            made.append(socket.create_server(place, family=family, backlog=BACKLOG, reuse_port=reuse_port))
            port = port or made[0].getsockname()[1]
    except OSError as error:
        raise ConfigError(
            f"ZANTARA_HOST={settings.host!r}, ZANTARA_PORT={settings.port}: cannot listen there ({error.strerror})."
        ) from error
    return made


def address(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
