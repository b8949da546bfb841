"""An asker whose answers are a function, and that counts what it is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from turnout_fastpath import Decision
from turnout_server.completion.attempt import Purpose
from turnout_server.labels.upstream import Plan, Reply
from turnout_server.providers.chat import ChatRequest, ChatResponse, FinishReason


@dataclass(frozen=True)
class Held:
    """As much of a decision as is looked at."""

    tier: str


@dataclass
class ScriptedAsker:
    """Answers by `say(tier, question)`; None: no answer.

    Attributes:
        say: the answers.
        most_nano: what each call may cost.
        cost_nano: what each call costs.
        asked: calls by tier and question.
        at_once: the most that were under way.
    """

    say: Callable[[str, str], str | None]
    most_nano: int | None = 100
    cost_nano: int = 60
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    at_once: int = 0
    _now: int = 0

    def plan(self, chat: ChatRequest, told: Sequence[Mapping[str, Any]], tier: str) -> Plan:
        return Plan(chat, cast(Decision, Held(tier)), self.most_nano, self.most_nano)

    async def ask(self, plan: Plan, purpose: Purpose) -> Reply:
        tier, question = plan.decision.tier, plan.chat.messages[-1].text
        self.asked[tier, question] += 1
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        for _ in range(3):
            await asyncio.sleep(0)
        self._now -= 1
        text = self.say(tier, question)
        if text is None:
            return Reply(None, "server_error", None, 0, True)
        return Reply(ChatResponse(text, FinishReason.STOP), "", self.cost_nano, self.cost_nano, True)
