"""Servers run on uvloop where it is there, and do without."""

from __future__ import annotations

import asyncio
import builtins
from typing import Any

import pytest
import uvloop

from zantara_stream.loop import fastest


def test_it_is_uvloop_where_that_is_installed() -> None:
    loop = fastest()
    assert isinstance(loop, uvloop.Loop)
    loop.close()


def test_it_is_asyncios_own_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "uvloop":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    loop = fastest()
    assert not isinstance(loop, uvloop.Loop)
    assert isinstance(loop, asyncio.AbstractEventLoop)
    loop.close()
