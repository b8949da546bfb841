"""Records to store."""

from __future__ import annotations

from typing import Any

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.cost import ModelPrice, Processing, Rates, RateStep, attempt_cost
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, Verdict
from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.faults import FaultKind
from turnout_server.quality.store.records import (
    Agreement,
    AttemptRecord,
    ComparisonRecord,
    CostRecord,
    DecisionRecord,
    GateRecord,
    ScoreRecord,
)

PRICE = ModelPrice(
    "seller/model",
    "2026-11-01",
    (
        RateStep(-1, Rates(3 * 10**9, 15 * 10**9, 3 * 10**8)),
        RateStep(200_000, Rates(6 * 10**9, 22_500_000_000)),
    ),
    (RateStep(-1, Rates(15 * 10**8, 75 * 10**8)),),
)
NOON_MS = 1_795_867_200_000


def decision(decision_id: str, **more: Any) -> DecisionRecord:
    fields: dict[str, Any] = {"at_ms": NOON_MS, "policy": "default", "tier": "small", "status": "decided"}
    return DecisionRecord(decision_id, **(fields | more))


def attempt(attempt_id: str, decision_id: str, **more: Any) -> AttemptRecord:
    fields: dict[str, Any] = {
        "begun_ms": NOON_MS,
        "deployment": "small-us",
        "model": "sim-small",
        "model_version": "sim-small-2026-11-01",
        "purpose": Purpose.SERVE,
        "result": AttemptResult.FAILED,
        "fault": FaultKind.STALLED,
        "first_token_ms": 12.5,
    }
    return AttemptRecord(attempt_id, decision_id, **(fields | more))


def cost(
    attempt_id: str,
    decision_id: str,
    tokens: TokenCounts | None = None,
    *,
    price: ModelPrice | None = PRICE,
    purpose: Purpose = Purpose.SERVE,
    result: AttemptResult = AttemptResult.SERVED,
    estimated: bool = False,
    processing: Processing = Processing.STANDARD,
    **more: Any,
) -> CostRecord:
    tokens = tokens or TokenCounts(input_uncached=100, input_cache_read=7, output_text=20)
    made = attempt_cost(
        tokens, price, purpose=purpose, result=result, estimated=estimated, processing=processing
    )
    fields: dict[str, Any] = {
        "at_ms": NOON_MS,
        "policy": "default",
        "tier": "small",
        "deployment": "small-us",
    }
    return CostRecord(
        attempt_id, decision_id, tokens=tokens, cost=made, processing=processing, **(fields | more)
    )


def gates(attempt_id: str, decision_id: str) -> GateRecord:
    verdicts = (
        GateVerdict(Gate.REFUSAL, Verdict.ACCEPT, GateReason.FINE, 0.0, 900),
        GateVerdict(Gate.SCHEMA, Verdict.ESCALATE, GateReason.JSON_INVALID, None, 500),
    )
    return GateRecord(decision_id, attempt_id, NOON_MS, verdicts)


def score(attempt_id: str, decision_id: str) -> ScoreRecord:
    return ScoreRecord(decision_id, attempt_id, NOON_MS, Purpose.JUDGE, "small", 0.75, 0.9, 0.1, "rubric-1")


def comparison(attempt_id: str, decision_id: str) -> ComparisonRecord:
    return ComparisonRecord(
        decision_id,
        attempt_id,
        NOON_MS,
        "small",
        "frontier",
        Agreement.STRUCTURAL,
        120,
        480,
        "stop",
        "length",
        0.05,
    )
