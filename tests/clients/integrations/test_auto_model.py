"""Which model serves, asked of a service on loopback, and of none."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout import AsyncClient, InvalidRequestError
from turnout.integrations.auto_model import AutoModel, turns_of_anthropic

from tests.server.ext_proc.conftest import serving
from tests.server.ext_proc.envoys import free_ports

PLAIN = [("user", "What are your business hours?")]
HARD = [("user", "Review this contract clause for compliance issues")]


async def test_the_decisions_deployment_is_the_model(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, decision_port=False, ext_proc=False) as (_, port),
        AsyncClient(f"127.0.0.1:{port}", route_or_timeout_s=10.0) as client,
    ):
        auto = AutoModel(client, "spare", {"strong": "gpt"})
        for model, messages, chosen in (
            ("auto", PLAIN, "cheap"),
            ("auto", HARD, "gpt"),
            ("auto:careful", PLAIN, "gpt"),
        ):
            choice = await auto.choose(model, messages)
            assert choice is not None
            assert (choice.model, choice.fell_back) == (chosen, False)
            assert len(choice.decision_id) == 32
        with pytest.raises(InvalidRequestError, match="nowhere"):
            await auto.choose("auto:nowhere", PLAIN)
        assert client.fail_open_count.total() == 0


async def test_without_turnout_the_default_serves_and_is_counted() -> None:
    [port] = free_ports(1)
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        choice = await AutoModel(client, "spare").choose("auto", PLAIN)
        assert choice is not None
        assert (choice.model, choice.tier, choice.status, choice.fell_back) == (
            "spare",
            "",
            "defaulted",
            True,
        )
        assert client.fail_open_count.total() == 1


@pytest.mark.parametrize("model", ["gpt-4o", "automatic", "", None, 7])
async def test_a_model_that_is_named_is_left_alone(model: object) -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        assert await AutoModel(client, "spare").choose(model, PLAIN) is None


async def test_the_default_must_be_a_model() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="auto:x"):
            AutoModel(client, "auto:x")


def test_anthropic_turns() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "12 degrees"}
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}],
        },
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": [result]},
    ]
    turns = turns_of_anthropic([{"type": "text", "text": "s"}], messages)
    assert turns == [("system", "s"), ("user", "a\nb"), ("assistant", "c")]
