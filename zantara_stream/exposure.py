"""Whether a server may be reached by whom it can be reached."""

from __future__ import annotations

from collections.abc import Iterable

from . import allowed
from .config import OFF, Settings
from .errors import ConfigError


def check_exposure(settings: Settings, bound: Iterable[str] = ()) -> None:
    """Refuse to serve whoever can reach this machine without knowing who asks, unless told so.

    `bound` are the addresses of sockets that are there already; then the host of the settings is none. Raises
    `ConfigError`.
    """
    if settings.auth != OFF or settings.allow_anonymous:
        return
    for host, name in [(host, f"The socket at {host}") for host in bound] or [
        (settings.host, f"ZANTARA_HOST={settings.host!r}")
    ]:
        if not _is_local(host):
            raise ConfigError(
                f"{name} can be reached by others, and with ZANTARA_AUTH=off nobody is asked who they are. Set "
                "ZANTARA_AUTH=jwt, or listen on 127.0.0.1 behind a proxy, or set ZANTARA_ALLOW_ANONYMOUS=true if "
                "everybody who reaches this address may ask."
            )


def _is_local(host: str) -> bool:
    return host.lower() == "localhost" or allowed.is_loopback(host)
