"""Exploration and the control arm: what is taken is what the propensity says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from turnout_fastpath import ReasonKind

from tests.fastpath.conftest import EngineMaker
from tests.fastpath.documents import (
    Document,
    document,
    rule,
)
from tests.fastpath.reasons import kinds
from tests.fastpath.synthetic import scores_of

IDS = [f"{i:032x}" for i in range(20_000)]


@pytest.mark.parametrize(
    ("explore", "control", "small"), [(0.3, 0.0, 0.9), (0.3, 0.0, 0.1), (0.0, 0.2, 0.9), (0.4, 0.25, 0.9)]
)
def test_propensities_are_the_shares_that_are_taken(
    engine_of: EngineMaker, explore: float, control: float, small: float
) -> None:
    engine = engine_of(document(explore=explore, control_share=control), scores_of(small=small, mid=0.1))
    taken = [
        (decision.tier, decision.propensity)
        for decision in (engine.route("hello", decision_id=i) for i in IDS)
    ]
    propensity = dict(taken)
    assert len(set(taken)) == len(propensity), "a tier's propensity is the same in every decision"
    assert sum(propensity.values()) == pytest.approx(1)
    for name, count in Counter(name for name, _ in taken).items():
        expected = propensity[name]
        # Five standard deviations of a binomial count.
        assert abs(count / len(IDS) - expected) < 5 * (expected * (1 - expected) / len(IDS)) ** 0.5


def test_identifiers_of_one_moment_explore_as_often(engine_of: EngineMaker) -> None:
    engine = engine_of(document(explore=0.5))
    tiers = Counter(engine.route("hello").tier for _ in range(4000))
    assert tiers["small"] / 4000 == pytest.approx(0.5, abs=0.05)
    assert tiers["mid"] / 4000 == pytest.approx(0.25, abs=0.05)


def test_exploration_says_what_it_took(engine_of: EngineMaker) -> None:
    engine = engine_of(document(explore=0.5))
    for decision in (engine.route("hello", decision_id=i) for i in IDS[:200]):
        explored = [reason for reason in decision.reasons if reason.kind is ReasonKind.EXPLORE]
        assert [reason.id for reason in explored] == ([] if decision.tier == "small" else [decision.tier])
        assert all(reason.score == 0.25 for reason in explored)


def test_exploration_stays_in_range(engine_of: EngineMaker) -> None:
    engine = engine_of(document(explore=0.5, max_tier="mid"))
    assert {engine.route("hello", decision_id=i).tier for i in IDS[:200]} == {"small", "mid"}
    narrow = [engine.route("hello", decision_id=i, max_tier="small") for i in IDS[:200]]
    assert {(decision.tier, decision.propensity) for decision in narrow} == {("small", 1.0)}


@pytest.mark.parametrize("fields", [{"tier": "mid"}, {"deployment": "mid-eu"}])
def test_what_a_rule_sets_is_not_explored(engine_of: EngineMaker, fields: Document) -> None:
    engine = engine_of(document(explore=0.5, control_share=0.5, rules=[rule("rule", {}, fields)]))
    decisions = [engine.route("hello", decision_id=i) for i in IDS[:100]]
    assert {(decision.tier, decision.propensity) for decision in decisions} == {("mid", 1.0)}


def test_unjudged_requests_are_not_explored(engine_of: EngineMaker) -> None:
    engine = engine_of(document(explore=0.5, control_share=0.5))
    assert {engine.route("", decision_id=i).tier for i in IDS[:100]} == {"mid"}


@pytest.mark.parametrize("key", ["session_id", "tenant"])
def test_the_control_arm_is_sticky(engine_of: EngineMaker, key: str) -> None:
    engine = engine_of(document(control_share=0.3))
    arms: list[bool] = []
    for i in range(2000):
        fields: Any = {key: f"name-{i}"}
        tiers = {engine.route("hello", **fields).tier for _ in range(3)}
        assert len(tiers) == 1
        arms.append(tiers == {"frontier"})
    assert sum(arms) / len(arms) == pytest.approx(0.3, abs=0.05)


def test_the_session_sticks_before_the_tenant(engine_of: EngineMaker) -> None:
    engine = engine_of(document(control_share=0.5))
    by_tenant = {engine.route("hello", session_id="s", tenant=f"tenant-{i}").tier for i in range(50)}
    assert len(by_tenant) == 1


def test_the_control_arm_takes_the_highest_tier_in_range(engine_of: EngineMaker) -> None:
    engine = engine_of(document(control_share=0.5, max_tier="mid"))
    decisions = [engine.route("hello", decision_id=i) for i in IDS[:100]]
    controlled = [decision for decision in decisions if ReasonKind.CONTROL.name in kinds(decision)]
    assert {decision.tier for decision in controlled} == {"mid"}
    assert all(decision.reasons[-1].score == 0.5 for decision in controlled)
    assert {decision.tier for decision in decisions} == {"small", "mid"}
