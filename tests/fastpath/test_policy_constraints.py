"""Named examples of what the caller allows: it is never left, and an error names what left nothing."""

from __future__ import annotations

from typing import Any

import pytest
from turnout_fastpath import Engine, Reason, ReasonKind, RouteError

from tests.fastpath.conftest import EngineMaker
from tests.fastpath.documents import (
    Document,
    deployment,
    document,
    rule,
    three_tiers,
    tier,
    with_rule,
)
from tests.fastpath.reasons import ids_of, kinds
from tests.fastpath.synthetic import scores_of


def no_candidate(engine: Engine, **fields: Any) -> str:
    """The constraint that an error names."""
    with pytest.raises(RouteError) as caught:
        engine.route("hello", **fields)
    assert caught.value.reason is Reason.NO_CANDIDATE
    assert str(caught.value).endswith(f"removed by: {caught.value.field}")
    return caught.value.field


@pytest.mark.parametrize(
    ("then", "fields", "expected"),
    [
        ({"tier": "frontier"}, {"max_tier": "mid"}, "mid"),
        ({"tier": "small"}, {"min_tier": "mid"}, "mid"),
        ({"floor": "frontier"}, {"max_tier": "small"}, "small"),
        ({"ceiling": "small"}, {"min_tier": "frontier"}, "frontier"),
        ({"deployment": "frontier-us"}, {"max_tier": "small"}, "small"),
        ({"deployment": "small-eu"}, {"min_tier": "mid"}, "mid"),
        ({"tier": "mid"}, {"allowed_deployments": ["small-us"]}, "small"),
        ({"deployment": "mid-us"}, {"allowed_deployments": ["mid-eu"]}, "mid"),
    ],
)
def test_a_constraint_beats_a_rule(
    engine_of: EngineMaker, then: Document, fields: Any, expected: str
) -> None:
    engine = engine_of(with_rule({}, then))
    decision = engine.route("hello", **fields)
    assert decision.tier == expected
    assert decision.deployment.startswith(expected)
    assert decision.deployment in fields.get("allowed_deployments", [decision.deployment])
    assert all(name.startswith(expected) for name in decision.fallback_deployments)
    assert ids_of(decision, ReasonKind.CONSTRAINT) == [key for key in fields if key.endswith("_tier")]


def test_a_constraint_beats_the_bar(engine_of: EngineMaker) -> None:
    decision = engine_of(scores=scores_of(small=0.1, mid=0.1)).route("hello", max_tier="small")
    assert (decision.tier, kinds(decision)) == ("small", ["CONSTRAINT", "BELOW_BAR"])
    assert engine_of().route("hello", min_tier="frontier").tier == "frontier"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"min_tier": "mid"}, "mid"),
        ({"min_tier": "frontier"}, "frontier"),
        ({"max_tier": "mid", "bars": {"default": 1.0}}, "mid"),
    ],
)
def test_the_policys_own_range(engine_of: EngineMaker, limits: Document, expected: str) -> None:
    assert engine_of(document(**limits)).route("hello").tier == expected


@pytest.mark.parametrize(
    "fields", [{"allowed_regions": ["eu"]}, {"allowed_deployments": ["small-eu", "frontier-us"]}]
)
def test_lists_of_what_is_allowed(engine_of: EngineMaker, fields: Any) -> None:
    decision = engine_of().route("hello", **fields)
    assert (decision.deployment, decision.fallback_deployments) == ("small-eu", [])


@pytest.mark.parametrize(
    ("chain", "fields", "expected"),
    [
        ({"context_window": 150}, {"expected_output_tokens": 100}, "small"),
        ({"context_window": 103}, {"expected_output_tokens": 100}, "mid"),
        ({"context_window": 150}, {}, "small"),
        ({"context_window": 103}, {}, "mid"),
        ({"context_window": 5000}, {"context_tokens": 5000}, "small"),
        ({"context_window": 5000}, {"context_tokens": 5001}, "mid"),
        ({"max_output_tokens": 99}, {"expected_output_tokens": 100}, "mid"),
        ({"max_output_tokens": 99}, {}, "small"),
        ({"modalities": ["text"]}, {"needs": ["image"]}, "mid"),
        ({"modalities": ["text", "image"]}, {"needs": ["image"]}, "small"),
        ({"tools": False}, {"n_tools": 2}, "mid"),
        ({"tools": False}, {}, "small"),
        ({"json": False}, {"needs": ["json"]}, "mid"),
        ({"json_schema": False}, {"needs": ["json"]}, "small"),
        ({"json_schema": False}, {"needs": ["json_schema"]}, "mid"),
    ],
)
def test_a_tier_that_does_not_fit_is_passed_over(
    engine_of: EngineMaker, chain: Document, fields: Any, expected: str
) -> None:
    tiers = [tier("small", "small", deployment("small-us", **chain)), *three_tiers()[1:]]
    # A chat answer is estimated at 100 tokens; "hello" is one piece, and a message takes three more.
    decision = engine_of(document(tiers=tiers)).route("hello", **fields)
    assert decision.tier == expected
    assert [candidate.eligible for candidate in decision.candidates] == [expected == "small", True, True]


def test_a_tier_that_was_wanted_and_does_not_fit_is_a_reason(engine_of: EngineMaker) -> None:
    decision = engine_of(with_rule({}, {"tier": "mid", "forbid_deployments": ["mid-us", "mid-eu"]})).route(
        "hello"
    )
    assert (decision.tier, kinds(decision)) == ("frontier", ["RULE", "FIT"])
    assert ids_of(decision, ReasonKind.FIT) == ["mid"]


def test_a_lower_tier_serves_where_no_higher_one_can(engine_of: EngineMaker) -> None:
    engine = engine_of(scores=scores_of(small=0.1, mid=0.1))
    decision = engine.route("hello", allowed_deployments=["small-us", "mid-eu"])
    assert (decision.tier, decision.deployment) == ("mid", "mid-eu")


@pytest.mark.parametrize(
    "limits",
    [
        {"max_tier": "mid"},
        {"rules": [rule("ceiling", {}, {"ceiling": "mid"})]},
        {"limits": {"budget_spent_ceiling": "mid"}},
    ],
    ids=["policy", "rule", "budget"],
)
def test_no_tier_above_a_ceiling_while_one_below_can_serve(engine_of: EngineMaker, limits: Document) -> None:
    engine = engine_of(document(**limits), scores_of(small=0.1, mid=0.1))
    engine.snapshot.state.set_budget_spent("acme", 60)
    for name in ("mid-us", "mid-eu"):
        engine.snapshot.state.close_deployment(name, 60)
    assert engine.route("hello", tenant="acme").tier == "small"
    for name in ("small-us", "small-eu"):
        engine.snapshot.state.close_deployment(name, 60)
    assert engine.route("hello", tenant="acme").tier == "frontier"


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"allowed_deployments": ["small-us"], "allowed_regions": ["eu"]}, "region"),
        ({"allowed_deployments": ["small-us"], "min_tier": "mid"}, "deployment"),
        ({"context_tokens": 200_000}, "context_window"),
        ({"expected_output_tokens": 9000}, "context_window"),
        ({"needs": ["audio"]}, "modality"),
        ({"needs": ["file", "json"]}, "modality"),
        ({"max_cost_usd": 1e-9}, "cost"),
        ({"max_tier": "mid", "needs": ["image"]}, "modality"),
        ({"max_tier": "small", "needs": ["json"]}, "tools"),
        ({"min_tier": "frontier", "needs": ["json"], "allowed_regions": ["eu"]}, "region"),
    ],
)
def test_the_error_names_the_constraint_that_removed_the_last_deployment(
    engine_of: EngineMaker, fields: Any, constraint: str
) -> None:
    tiers = [
        tier("small", "small", deployment("small-us", json=False)),
        tier("mid", "mid", deployment("mid-us", modalities=["text"])),
        tier("frontier", None, deployment("frontier-us"), deployment("frontier-eu", region="us")),
    ]
    tiers[0]["chain"].append(deployment("small-eu", json=False))
    tiers[1]["chain"].append(deployment("mid-eu", modalities=["text"]))
    tiers[0]["chain"][0]["modalities"] = tiers[0]["chain"][1]["modalities"] = ["text"]
    # Without a price no deployment is within a cost ceiling.
    assert no_candidate(engine_of(document(tiers=tiers)), **fields) == constraint


def test_a_tier_outside_the_callers_range_does_not_name_the_constraint(engine_of: EngineMaker) -> None:
    tiers = three_tiers()
    tiers[0]["chain"] = [deployment("small-us", modalities=["text"])]
    engine = engine_of(document(tiers=tiers))
    # Frontier reads images, and only its cost is too high; but the caller allows no more than small.
    assert no_candidate(engine, needs=["image"], max_cost_usd=0.01, max_tier="small") == "modality"
    assert no_candidate(engine, needs=["image"], max_cost_usd=0.01) == "cost"


def test_a_request_longer_than_the_policy_takes(engine_of: EngineMaker) -> None:
    engine = engine_of(document(limits={"max_request_tokens": 100}))
    assert engine.route("hello", tool_schema_bytes=4 * 99).tier == "small"
    with pytest.raises(RouteError) as caught:
        engine.route("hello", tool_schema_bytes=4 * 100)
    error = caught.value
    assert (error.reason, error.value, error.limit) == (Reason.INVALID_FIELD, "101 tokens", "100 tokens")
