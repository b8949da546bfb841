"""Which of a gateway's models serves a chat request that names the model `auto`. Knows no gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnout.aio import AsyncClient
from turnout.messages import Message
from turnout.requests import RequestFields

AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        model: the gateway's name of the model.
        tier: the decision's tier; of a fallback, empty.
        decision_id: the decision's; of a fallback, empty.
        status: the decision's status in lower case; of a fallback, "defaulted".
        fell_back: whether Turnout did not decide.
    """

    model: str
    tier: str
    decision_id: str
    status: str
    fell_back: bool


class AutoModel:
    """Asks Turnout, and fails open; the client counts how often, in `fail_open_count`."""

    def __init__(
        self, client: AsyncClient, default_model: str, models: Mapping[str, str] | None = None
    ) -> None:
        """Asks by `client`.

        Args:
            client: who asks; its `route_or_timeout_s` is the most that a request waits.
            default_model: the gateway's model that serves when there is no decision.
            models: the gateway's models by the policy's deployments; one that is not there has the same name.

        Raises:
            ValueError: the default is itself to be decided.
        """
        if names_auto(default_model):
            raise ValueError(f"default_model: {default_model!r} is no model of the gateway's")
        self._client = client
        self._default_model = default_model
        self._models = dict(models or {})

    async def choose(self, model: object, messages: Iterable[Message], **fields: Any) -> Choice | None:
        """The model that serves; None: the request names one itself.

        Args:
            model: what the request names: `auto`, or `auto:<policy>`.
            messages: as the chat completions API takes them, or pairs of role and text.
            fields: see `RequestFields`.

        Raises:
            InvalidRequestError: the request breaks the contract, or names a policy that is not there.
        """
        if not isinstance(model, str) or not names_auto(model):
            return None
        asked: RequestFields = fields  # type: ignore[assignment]
        if policy := model.partition(":")[2]:
            asked["policy"] = policy
        decision = await self._client.route_or(self._default_model, messages=messages, **asked)
        if decision.fell_back:
            return Choice(self._default_model, "", "", decision.status.name.lower(), fell_back=True)
        return Choice(
            self._models.get(decision.deployment, decision.deployment),
            decision.tier,
            decision.decision_id,
            decision.status.name.lower(),
            fell_back=False,
        )


def names_auto(model: str) -> bool:
    """Whether a model's name asks for a decision."""
    return model.partition(":")[0] == AUTO


def turns_of_anthropic(system: object, messages: Sequence[object]) -> list[tuple[str, str]]:
    """Roles and texts of a request in Anthropic's form; what is no text is passed over."""
    turns = [("system", text)] if (text := _text(system)) else []
    for message in messages:
        if isinstance(message, Mapping):
            content = message.get("content")
            text = _text(content)
            # A turn that holds tool results alone is no turn of the user's.
            if text or not isinstance(content, list):
                turns.append((str(message.get("role", "user")), text))
    return turns


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(
        str(block["text"])
        for block in blocks
        if isinstance(block, Mapping) and block.get("type") == "text" and "text" in block
    )
