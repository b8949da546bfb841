"""Rows of records: names cut to the columns' width, text cleaned of what a database refuses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import orjson

from turnout_server.completion.tokens import TokenCounts
from turnout_server.quality.store.records import (
    AttemptRecord,
    ComparisonRecord,
    CostRecord,
    DecisionRecord,
    GateRecord,
    ScoreRecord,
)

HOUR_MS = 3_600_000
MAX_NAME_CHARS = 256
MAX_ID_CHARS = 64
MAX_TEXT_CHARS = 1 << 20
_MAX_INTEGER = 2**63 - 1

Row = dict[str, Any]


def decision_row(record: DecisionRecord) -> Row:
    """A row of `decisions`."""
    row = {name: _name(getattr(record, name)) for name in _DECISION_NAMES}
    return row | {
        "decision_id": _id(record.decision_id),
        "at_ms": _whole(record.at_ms),
        "propensity": float(record.propensity),
        "tokens_total": _whole(record.tokens_total),
        "p_sufficient": clean(orjson.dumps(dict(record.p_sufficient)).decode(), MAX_TEXT_CHARS),
        "features": record.features,
        "prompt": record.prompt,
        "answer": record.answer,
    }


def count_key(at_ms: int, policy: str, tier: str, status: str) -> tuple[int, str, str, str]:
    """Where a decision is counted: hour, policy, tier, status."""
    return _whole(at_ms) // HOUR_MS * HOUR_MS, _name(policy), _name(tier), _name(status)


def attempt_row(record: AttemptRecord) -> Row:
    """A row of `attempts`."""
    row = {name: _name(getattr(record, name)) for name in _ATTEMPT_NAMES}
    return row | {
        "attempt_id": _id(record.attempt_id),
        "decision_id": _id(record.decision_id),
        "begun_ms": _whole(record.begun_ms),
        "fault": None if record.fault is None else str(record.fault),
        "first_token_ms": record.first_token_ms,
        "total_ms": record.total_ms,
    }


def gate_rows(record: GateRecord) -> list[Row]:
    """Rows of `gates`, numbered from 0."""
    return [
        {
            "attempt_id": _id(record.attempt_id),
            "step": step,
            "decision_id": _id(record.decision_id),
            "at_ms": _whole(record.at_ms),
            "gate": str(said.gate),
            "verdict": str(said.verdict),
            "reason": str(said.reason),
            "score": said.score,
            "time_ns": _whole(said.time_ns),
        }
        for step, said in enumerate(record.verdicts)
    ]


def cost_row(record: CostRecord) -> Row:
    """A row of `costs`."""
    cost = record.cost
    return {
        "attempt_id": _id(record.attempt_id),
        "decision_id": _id(record.decision_id),
        "at_ms": _whole(record.at_ms),
        "policy": _name(record.policy),
        "tenant": _name(record.tenant),
        "tier": _name(record.tier),
        "deployment": _name(record.deployment),
        "purpose": str(cost.purpose),
        "result": str(cost.result),
        "processing": str(record.processing),
        **{part: _whole(getattr(record.tokens, part)) for part in _TOKEN_PARTS},
        "cost_nano": None if cost.cost_nano is None else _whole(cost.cost_nano),
        "complete": cost.complete,
        "estimated": cost.estimated,
        "price_version": cost.price_version,
        "settled_ns": _whole(record.settled_ns),
    }


def score_row(record: ScoreRecord) -> Row:
    """A row of `scores`."""
    return {
        "attempt_id": _id(record.attempt_id),
        "decision_id": _id(record.decision_id),
        "at_ms": _whole(record.at_ms),
        "source": str(record.source),
        "tier": _name(record.tier),
        "score": float(record.score),
        "other_score": record.other_score,
        "propensity": float(record.propensity),
        "detail": _name(record.detail),
        "other_tier": _name(record.other_tier),
        "judge": _name(record.judge),
        "judge_version": _name(record.judge_version),
    }


def comparison_row(record: ComparisonRecord) -> Row:
    """A row of `comparisons`."""
    return {
        "attempt_id": _id(record.attempt_id),
        "decision_id": _id(record.decision_id),
        "at_ms": _whole(record.at_ms),
        "tier": _name(record.tier),
        "other_tier": _name(record.other_tier),
        "agreement": str(record.agreement),
        "chars": _whole(record.chars),
        "other_chars": _whole(record.other_chars),
        "finish_reason": _name(record.finish_reason),
        "other_finish_reason": _name(record.other_finish_reason),
        "propensity": float(record.propensity),
    }


def clean(text: str, limit: int) -> str:
    """Text without NUL and lone surrogates, which PostgreSQL refuses, cut to `limit` characters."""
    if len(text) <= limit and text.isascii() and "\0" not in text:
        return text
    return text[:limit].replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _name(value: str) -> str:
    return clean(str(value), MAX_NAME_CHARS)


def _id(value: str) -> str:
    # Not cut: two ids could become one.
    if not 0 < len(value) <= MAX_ID_CHARS:
        raise ValueError(f"an id of {len(value)} characters, limits: 1 to {MAX_ID_CHARS}")
    return clean(value, MAX_ID_CHARS)


def _whole(value: int) -> int:
    if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        raise ValueError(f"a whole number of {value.bit_length()} bits, limit: 63")
    return int(value)


_DECISION_NAMES = (
    "policy",
    "tier",
    "status",
    "deployment",
    "tenant",
    "task",
    "strategy",
    "policy_revision",
    "bundle_revision",
    "features_revision",
    "inputs_revision",
)
_TOKEN_PARTS = tuple(one.name for one in fields(TokenCounts))
_ATTEMPT_NAMES = ("deployment", "model", "model_version", "purpose", "result", "finish_reason")
