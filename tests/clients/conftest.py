"""Services and clients for the tests; every test that takes `opener` runs for both clients."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.clients.both_clients import Opener, open_async, open_sync
from tests.clients.fake_routing import FakeRouting, full_response, serving


@pytest.fixture(params=[open_sync, open_async], ids=["sync", "asyncio"])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Opens one of both clients."""
    opened: Opener = request.param
    return opened


@pytest.fixture
def fake() -> Iterator[FakeRouting]:
    """A service that answers with `full_response`."""
    with serving(full_response) as fake:
        yield fake


@pytest.fixture
def free_target() -> Iterator[str]:
    """An address that refuses connections for as long as the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"
