"""A callback for LiteLLM's proxy: requests for the model `auto` go to the model that Turnout decides for."""

# LiteLLM pins versions that nothing else here should, and is looked for only by who imports this module.
# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from turnout.aio import AsyncClient
from turnout.connection import DEFAULT_TARGET
from turnout.errors import InvalidRequestError
from turnout.fail_open import DEFAULT_TIMEOUT_S
from turnout.integrations.auto_model import AutoModel, Choice, names_auto, turns_of_anthropic
from turnout.integrations.litellm_caller import DEFAULT_SOURCES, TenantSource, session_of, tenant_of

ANTHROPIC = "anthropic_messages"
CALL_TYPES = ("completion", "acompletion", ANTHROPIC)
PREFIX = "turnout_"


class TurnoutHook(CustomLogger):
    """Chooses the model of chat requests; all others pass as they are.

    What was chosen stands in the request's metadata as `turnout_decision_id`, `turnout_tier`, `turnout_status` and
    `turnout_fell_back`, for LiteLLM's own logs, and in the headers `x-turnout-...` of the response.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        default_model: str,
        models: Mapping[str, str] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        tenant_from: Sequence[TenantSource] = DEFAULT_SOURCES,
        client: AsyncClient | None = None,
    ) -> None:
        """Prepares a hook; it connects at the first request.

        Args:
            target: a gRPC target of either port.
            default_model: `model_name` of what serves when there is no decision.
            models: `model_name`s by the policy's deployments; one that is not there has the same name.
            timeout_s: the most that a request waits for its decision, in seconds.
            tenant_from: where the tenant of a request is found, the first that is there; empty: none is told.
            client: a client of the caller's, with TLS or a token; excludes `target` and `timeout_s`.

        Raises:
            ValueError: the default is itself to be decided, or `tenant_from` names no source.
        """
        super().__init__()
        self._client = AsyncClient(target, route_or_timeout_s=timeout_s) if client is None else client
        self._tenant_from = tuple(TenantSource(source) for source in tenant_from)
        self._auto = AutoModel(self._client, default_model, models)

    @property
    def fail_open_count(self) -> Counter[str]:
        """How often the default served for want of a decision, by the reason; a copy."""
        return self._client.fail_open_count

    async def async_pre_call_hook(
        self, user_api_key_dict: object, cache: object, data: dict[str, Any], call_type: str
    ) -> dict[str, Any] | None:
        """LiteLLM's hook: the request with its model chosen; None: it stays as it is.

        Raises:
            litellm.BadRequestError: the request breaks the contract.
        """
        messages, model = data.get("messages"), data.get("model")
        if call_type not in CALL_TYPES or not isinstance(messages, list):
            return None
        if not isinstance(model, str) or not names_auto(model):
            return None
        fields: dict[str, Any] = {}
        if session_id := session_of(data):
            fields["session_id"] = session_id
        if call_type == ANTHROPIC:
            messages = turns_of_anthropic(data.get("system"), messages)
        else:
            fields |= {key: value for key in ("tools", "response_format") if (value := data.get(key))}
        try:
            if tenant := tenant_of(user_api_key_dict, self._tenant_from):
                fields["tenant"] = tenant
            choice = await self._auto.choose(model, messages, **fields)
        except InvalidRequestError as error:
            raise litellm.BadRequestError(str(error), model=model, llm_provider="turnout") from error
        if choice is None:
            return None
        data["model"] = choice.model
        # LiteLLM keeps its own metadata under another key where the API has a field of that name.
        key = "litellm_metadata" if "litellm_metadata" in data else "metadata"
        data[key] = {**(data.get(key) or {}), **_describe(choice)}
        return data

    async def async_post_call_response_headers_hook(
        self, data: dict[str, Any], *_: object, **__: object
    ) -> dict[str, str] | None:
        """LiteLLM's hook: headers of the response."""
        told = {**(data.get("metadata") or {}), **(data.get("litellm_metadata") or {})}
        return {
            f"x-{key.replace('_', '-')}": str(value)
            for key, value in told.items()
            if key.startswith(PREFIX) and value != ""
        } or None


def _describe(choice: Choice) -> dict[str, str]:
    return {
        f"{PREFIX}decision_id": choice.decision_id,
        f"{PREFIX}tier": choice.tier,
        f"{PREFIX}status": choice.status,
        f"{PREFIX}fell_back": str(choice.fell_back).lower(),
    }
