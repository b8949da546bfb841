"""The rates of escalation, failover and fallback can be derived from the counters; money adds up."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from turnout.v1.completion_pb2 import CompleteRequest

from tests.faults import Fault
from tests.server.completion.wall import Wall, walled


def counters(wall: Wall, family: str) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for name, labels, values in wall.service.sums().values:
        if name == family:
            found[labels] += values[0]
    return found


async def test_rates_come_from_counters(tmp_path: Path, bundle: Path, log: object) -> None:
    models = ["ordinary.small", Fault.REFUSAL_IN_WORDS, Fault.OVERLOADED]
    cost = 0
    async with walled(tmp_path, bundle, models, strategy="cascade") as wall:
        for model, times in (("ordinary.small", 3), (Fault.REFUSAL_IN_WORDS, 2), (Fault.OVERLOADED, 1)):
            for _ in range(times):
                request = CompleteRequest(prompt="Where?")
                request.constraints.allowed_deployments.extend([model, "ordinary.frontier"])
                outcome = await wall.ask(request)
                cost += outcome.response.cost.nano_usd
        # A fault with an equivalent behind it.
        request = CompleteRequest(prompt="Where?")
        request.constraints.allowed_deployments.extend([Fault.OVERLOADED, "ordinary.small"])
        request.constraints.max_tier = "small"
        for _ in range(2):
            cost += (await wall.ask(request)).response.cost.nano_usd
        assert counters(wall, "turnout_completions") == {
            ("small", "small", "cascade", "served"): 5,
            ("small", "frontier", "cascade", "served"): 3,
        }
        # Escalation and fallback rate: 2 of 8.
        assert counters(wall, "turnout_escalations") == {("small",): 2}
        attempts = counters(wall, "turnout_attempts")
        failed = sum(value for labels, value in attempts.items() if labels[2] == "failed")
        assert attempts[Fault.REFUSAL_IN_WORDS, "serve", "rejected", ""] == 2
        assert attempts["ordinary.frontier", "escalate", "served", ""] == 2
        assert attempts[Fault.OVERLOADED, "serve", "failed", "overloaded"] == failed
        assert sum(counters(wall, "turnout_failovers").values()) == failed - 1
        assert sum(counters(wall, "turnout_cost_nano_usd").values()) == cost
        gates = counters(wall, "turnout_gates")
        assert gates["refusal", "escalate", "refusal_worded"] == 2
