"""A gateway that others run: LiteLLM's proxy, with answers it makes up itself, asked on all three wires."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from turnout_server.providers.aiohttp_transport import AiohttpTransport
from turnout_server.providers.chat import FinishReason
from turnout_server.providers.collecting import collect
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import Limits, Provider, ProviderCall, UpstreamError
from turnout_server.providers.registry import create_providers

from tests.server.providers.calls import KEY, ask, call_of

LITELLM = os.environ.get("TURNOUT_LITELLM", "")
pytestmark = [
    pytest.mark.litellm,
    pytest.mark.skipif(not LITELLM, reason="TURNOUT_LITELLM does not name LiteLLM's executable"),
]

ANSWER = "Zürich lies in Switzerland."
# Seconds: the proxy imports a great deal.
START_S = 180.0
MODELS = {
    "whole": ANSWER,
    "limited": "litellm.RateLimitError",
    "window": "litellm.ContextWindowExceededError",
    "broken": "litellm.InternalServerError",
}
CONFIG = "\n".join(
    [
        "model_list:",
        *(
            f"  - {{model_name: {name}, litellm_params: "
            f"{{model: openai/gpt-4o-mini, api_key: none, mock_response: '{answer}'}}}}"
            for name, answer in MODELS.items()
        ),
        "router_settings: {num_retries: 0}",
        f"general_settings: {{master_key: {KEY}}}",
    ]
)
WIRES = ["openai_compatible", "anthropic", "gemini"]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The proxy's address; it listens on a loopback port that was free."""
    folder = tmp_path_factory.mktemp("litellm")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(LITELLM).absolute()),
        "--config",
        "config.yaml",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    environment.pop("PYTHONPATH", None)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail((folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def providers() -> AsyncIterator[dict[str, Provider]]:
    transport = AiohttpTransport()
    yield create_providers(transport)
    await transport.close()


def proxied(proxy: str, provider: str, model: str) -> ProviderCall:
    limits = Limits(first_token_s=60.0, inter_token_s=60.0)
    return call_of(ask(max_output_tokens=100), provider=provider, model=model, endpoint=proxy, limits=limits)


@pytest.mark.parametrize("provider", WIRES)
async def test_a_whole_answer(proxy: str, providers: dict[str, Provider], provider: str) -> None:
    found = await providers[provider].complete(proxied(proxy, provider, "whole"))
    assert found.text == ANSWER
    assert found.finish_reason is FinishReason.STOP
    assert found.usage is not None
    assert found.usage.input_total > 0
    assert found.usage.output_total > 0


async def test_a_stream(proxy: str, providers: dict[str, Provider]) -> None:
    call = proxied(proxy, "openai_compatible", "whole")
    found = await collect(providers["openai_compatible"].stream(call))
    assert found.text == ANSWER
    assert found.finish_reason is FinishReason.STOP
    assert found.usage is not None
    assert found.usage.output_total > 0


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("limited", FaultKind.RATE_LIMITED),
        ("window", FaultKind.CONTEXT_EXCEEDED),
        ("broken", FaultKind.SERVER_ERROR),
        ("unknown", FaultKind.BAD_REQUEST),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error(
    proxy: str, providers: dict[str, Provider], model: str, kind: FaultKind, stream: bool
) -> None:
    provider, call = providers["openai_compatible"], proxied(proxy, "openai_compatible", model)
    with pytest.raises(UpstreamError) as caught:
        await (collect(provider.stream(call)) if stream else provider.complete(call))
    assert caught.value.kind is kind


async def test_many_streams_at_once(proxy: str, providers: dict[str, Provider]) -> None:
    call = proxied(proxy, "openai_compatible", "whole")
    found = await asyncio.gather(*(collect(providers["openai_compatible"].stream(call)) for _ in range(16)))
    assert [response.text for response in found] == [ANSWER] * 16
