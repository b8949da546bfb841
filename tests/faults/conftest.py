"""A fake upstream whose seconds are a thousandth of a second."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults import FaultServer


@pytest.fixture
async def upstream() -> AsyncIterator[FaultServer]:
    async with FaultServer(time_factor=0.001) as server:
        yield server
