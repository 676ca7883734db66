"""The provider's SDK and its transport, imported when they are first needed: that takes as long as all else at a start.

`sdk.anthropic` and `sdk.httpx2` are the modules.
"""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import anthropic
    import httpx2

__all__ = ["anthropic", "httpx2", "load"]

_MODULES = "httpx2", "anthropic"
_thread = ThreadPoolExecutor(1, thread_name_prefix="sdk")  # of its own: all who ask meanwhile wait for one import


async def load() -> None:
    """Import them in a thread, unless they are there: whatever streams meanwhile goes on."""
    if _MODULES[-1] not in globals():
        await asyncio.get_running_loop().run_in_executor(_thread, _load)


def _load() -> None:
    collecting = gc.isenabled()
    gc.disable()  # nothing of it is garbage, and looking for some takes a sixth of the time
    try:
        for name in _MODULES:
            globals()[name] = import_module(name)  # once it is whole: one that is being imported can be had before
    finally:
        if collecting:
            gc.enable()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    _load()
    return globals()[name]
