"""The file of settings: lines of `ZANTARA_PORT=8080`, as shells and systemd read them, too."""

from __future__ import annotations

from pathlib import Path

from dotenv.parser import Binding, parse_stream

from .errors import ConfigError


def read_settings(path: Path) -> dict[str, str]:
    """What each line sets. Raises `ConfigError`, naming the line."""
    if not path.is_file():
        raise ConfigError(f"The settings file {path} does not exist.")
    try:
        with path.open(encoding="utf-8") as stream:
            lines = [_setting(path, line) for line in parse_stream(stream) if line.key or line.error]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings file {path} cannot be read ({error}).") from None
    return dict(lines)


def _setting(path: Path, line: Binding) -> tuple[str, str]:
    if line.key is None or line.value is None:
        raise ConfigError(f"{path}, line {line.original.line}, is not of the form ZANTARA_PORT=8080.")
    return line.key, line.value
