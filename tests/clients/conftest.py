"""Every test that takes `opener` runs for both clients."""

from __future__ import annotations

import pytest

from tests.clients.both_clients import Opener, open_async, open_sync


@pytest.fixture(params=[open_sync, open_async], ids=["sync", "asyncio"])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Opens one of both clients."""
    opened: Opener = request.param
    return opened
