"""What the hook refuses, without LiteLLM: of its modules only the names that the hook takes are there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from turnout import AsyncClient
from turnout.integrations.litellm_caller import MAX_TENANT_BYTES

HOOK = "turnout.integrations.litellm"


class FakeBadRequestError(Exception):
    """As LiteLLM's, which its proxy answers with 400."""

    def __init__(self, message: str, model: str, llm_provider: str) -> None:
        super().__init__(message)
        self.model = model
        self.llm_provider = llm_provider


@pytest.fixture
def hook_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    names = ("litellm", "litellm.integrations", "litellm.integrations.custom_logger")
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[names[0]], "BadRequestError", FakeBadRequestError, raising=False)
    monkeypatch.setattr(sys.modules[names[2]], "CustomLogger", object, raising=False)
    monkeypatch.delitem(sys.modules, HOOK, raising=False)
    yield importlib.import_module(HOOK)
    sys.modules.pop(HOOK, None)


@pytest.mark.parametrize("call_type", ["acompletion", "anthropic_messages"])
async def test_a_tenant_beyond_the_contract_is_a_bad_request(hook_module: Any, call_type: str) -> None:
    """Whether or not Turnout is there; and of those alone that it is asked about."""
    key = SimpleNamespace(team_alias="x" * (MAX_TENANT_BYTES + 1))
    asked = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
    # Nobody listens there.
    async with AsyncClient("127.0.0.1:1") as client:
        hook = hook_module.TurnoutHook(default_model="strong", client=client)
        with pytest.raises(
            FakeBadRequestError, match=r"caller\.tenant: 257 bytes from .*team_alias.*: 256 bytes"
        ):
            await hook.async_pre_call_hook(key, None, asked, call_type)
        assert await hook.async_pre_call_hook(key, None, asked | {"model": "cheap"}, call_type) is None
        key.team_alias = "acme"
        decided = await hook.async_pre_call_hook(key, None, dict(asked), call_type)
        assert decided["model"] == "strong"
        assert hook.fail_open_count.total() == 1
