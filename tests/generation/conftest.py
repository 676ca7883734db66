"""What tests of Claude's part share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from messages_api import MessagesAPI


@pytest.fixture
async def api() -> AsyncIterator[MessagesAPI]:
    """The stand-in."""
    async with MessagesAPI() as server:
        yield server
