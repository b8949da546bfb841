"""Named examples of what a policy decides: bars, ranges, judgement missing, sessions and budgets."""

from __future__ import annotations

from typing import Any

import pytest
from turnout_fastpath import ReasonKind, Status

from tests.fastpath.conftest import EngineMaker
from tests.fastpath.documents import (
    Document,
    document,
    rule,
    with_rule,
)
from tests.fastpath.reasons import ids_of, kinds
from tests.fastpath.synthetic import scores_of


@pytest.mark.parametrize(
    ("small", "mid", "expected", "kind"),
    [
        (0.71, 0.9, "small", "BAR"),
        (0.69, 0.71, "mid", "BAR"),
        (0.69, 0.69, "frontier", "BELOW_BAR"),
        (0.9, 0.1, "small", "BAR"),
    ],
)
def test_the_cheapest_tier_that_reaches_the_bar(
    engine_of: EngineMaker, small: float, mid: float, expected: str, kind: str
) -> None:
    decision = engine_of(scores=scores_of(small=small, mid=mid)).route("hello")
    assert (decision.tier, decision.status, kinds(decision)) == (expected, Status.DECIDED, [kind])
    assert decision.reasons[0].id == expected
    best = {"BAR": small if expected == "small" else mid, "BELOW_BAR": max(small, mid)}[kind]
    assert decision.reasons[0].score == pytest.approx(best)


def test_candidates_say_what_is_known_of_each_tier(engine_of: EngineMaker) -> None:
    engine = engine_of(scores=scores_of(small=0.3, mid=0.8, gain_small=0.4, gain_mid=0.2))
    candidates = engine.route("hello").candidates
    assert [candidate.tier for candidate in candidates] == ["small", "mid", "frontier"]
    assert [candidate.p_sufficient for candidate in candidates] == pytest.approx([0.3, 0.8, 1])
    assert [candidate.gain for candidate in candidates] == pytest.approx([0.4, 0.2, 0])
    assert all(candidate.eligible for candidate in candidates)


@pytest.mark.parametrize(
    ("bars", "fields", "expected"),
    [
        ({"default": 0.9}, {}, "frontier"),
        ({"default": 0.9, "tiers": {"mid": 0.5}}, {}, "mid"),
        ({"default": 0.9, "tiers": {"small": 0.9}, "tasks": {"math": 0.5}}, {}, "small"),
        ({"default": 0.9, "tasks": {"chat": 0.5}}, {}, "frontier"),
        ({"default": 0.9, "tasks": {"math": {"mid": 0.5}}}, {}, "mid"),
        ({"default": 0.9, "tasks": {"math": 0.9}, "tenants": {"acme": 0.5}}, {"tenant": "acme"}, "small"),
        ({"default": 0.5, "tenants": {"acme": 0.9}}, {"tenant": "globex"}, "small"),
        ({"default": 0.5, "tenants": {"acme": 0.9}}, {"tenant": "acme", "quality_bar": 0.6}, "small"),
        ({"default": 0.5}, {"quality_bar": 0.9}, "frontier"),
        ({"default": 0.5, "max_gain": {"small": 0.05}}, {}, "mid"),
        ({"default": 0.5, "max_gain": {"small": 0.05, "mid": 0.01}}, {}, "frontier"),
    ],
)
def test_which_bar_holds(engine_of: EngineMaker, bars: Document, fields: Any, expected: str) -> None:
    scores = scores_of(task="math", small=0.7, mid=0.8, gain_small=0.1, gain_mid=0.05)
    assert engine_of(document(bars=bars), scores).route("hello", **fields).tier == expected


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ({"bar": 0.6}, "small"),
        ({"bar": 0.75}, "mid"),
        ({"bar_shift": 0.2}, "frontier"),
        ({"bar_shift": -0.2}, "small"),
        ({"bar": 0.5, "bar_shift": 0.25}, "mid"),
        ({"bar_shift": -1.0}, "small"),
        ({"bar_shift": 1.0}, "frontier"),
    ],
)
def test_a_rule_moves_the_bar(engine_of: EngineMaker, then: Document, expected: str) -> None:
    engine = engine_of(with_rule({}, then), scores_of(small=0.65, mid=0.8))
    assert engine.route("hello").tier == expected


def test_a_bar_is_kept_within_zero_and_one(engine_of: EngineMaker) -> None:
    surely = engine_of(with_rule({}, {"bar": 0.9, "bar_shift": 0.5}), scores_of(small=1 - 1e-6))
    assert surely.route("hello").tier == "frontier"
    hardly = engine_of(with_rule({}, {"bar": 0.1, "bar_shift": -0.5}), scores_of(small=1e-6))
    assert hardly.route("hello").tier == "small"


def test_the_requests_bar_is_not_shifted(engine_of: EngineMaker) -> None:
    engine = engine_of(with_rule({}, {"bar_shift": 0.5}), scores_of(small=0.8))
    assert engine.route("hello", quality_bar=0.75).tier == "small"


def test_the_safe_tier_serves_without_judgement(engine_of: EngineMaker) -> None:
    engine = engine_of(document(safe_tier="mid"))
    empty = engine.route("")
    assert (empty.tier, empty.status, kinds(empty)) == ("mid", Status.ABSTAINED, ["ABSTAIN"])
    hurried = engine.route("hello", rules_only=True)
    assert (hurried.tier, hurried.status, kinds(hurried)) == ("mid", Status.DEFAULTED, ["DEFAULT"])
    assert (hurried.task, hurried.task_probability) == (None, 0)
    assert {(c.p_sufficient, c.gain) for c in hurried.candidates} == {(None, None)}


@pytest.mark.parametrize(
    ("limits", "fields", "expected"),
    [
        ({"rules": [rule("tier", {}, {"tier": "small"})]}, {}, "small"),
        ({"rules": [rule("floor", {}, {"floor": "frontier"})]}, {}, "frontier"),
        ({"rules": [rule("ceiling", {}, {"ceiling": "small"})]}, {}, "small"),
        ({}, {"max_tier": "small"}, "small"),
        ({}, {"min_tier": "frontier"}, "frontier"),
    ],
)
def test_the_safe_tier_stays_in_range(
    engine_of: EngineMaker, limits: Document, fields: Any, expected: str
) -> None:
    engine = engine_of(document(safe_tier="mid", **limits))
    assert (
        engine.route("", **fields).tier == engine.route("hello", rules_only=True, **fields).tier == expected
    )


def test_a_rule_on_the_task_does_not_match_unjudged_requests(engine_of: EngineMaker) -> None:
    engine = engine_of(with_rule({"tasks": ["chat", "knowledge", "math", "code"]}))
    assert ids_of(engine.route("hello", rules_only=True), ReasonKind.RULE) == []


@pytest.mark.parametrize(
    ("kept", "small", "expected", "reasons"),
    [
        (1, 0.9, "mid", ["SESSION", "BAR"]),
        (2, 0.9, "frontier", ["SESSION", "BELOW_BAR"]),
        (0, 0.9, "small", ["BAR"]),
        (0, 0.1, "mid", ["BAR"]),
        (7, 0.9, "frontier", ["SESSION", "BELOW_BAR"]),
    ],
)
def test_a_session_keeps_its_tier_or_moves_up(
    engine_of: EngineMaker, kept: int, small: float, expected: str, reasons: list[str]
) -> None:
    engine = engine_of(scores=scores_of(small=small))
    engine.snapshot.state.set_session("s", kept, 60)
    decision = engine.route("hello", session_id="s")
    assert (decision.tier, kinds(decision)) == (expected, reasons)
    assert engine.route("hello", session_id="other").reasons[0].kind is not ReasonKind.SESSION


def test_a_policy_may_forget_sessions(engine_of: EngineMaker) -> None:
    engine = engine_of(document(sessions={"mode": "none"}))
    engine.snapshot.state.set_session("s", 2, 60)
    assert engine.route("hello", session_id="s").tier == "small"


def test_a_session_does_not_leave_what_the_caller_allows(engine_of: EngineMaker) -> None:
    engine = engine_of()
    engine.snapshot.state.set_session("s", 2, 60)
    assert engine.route("hello", session_id="s", max_tier="mid").tier == "mid"


def test_a_spent_budget_lowers_the_ceiling(engine_of: EngineMaker) -> None:
    engine = engine_of(document(limits={"budget_spent_ceiling": "mid"}), scores_of(small=0.1, mid=0.1))
    engine.snapshot.state.set_budget_spent("acme", 60)
    engine.snapshot.state.set_session("s", 2, 60)
    decision = engine.route("hello", tenant="acme", session_id="s")
    assert (decision.tier, kinds(decision)) == ("mid", ["SESSION", "BUDGET", "BELOW_BAR"])
    assert engine.route("hello", tenant="globex").tier == "frontier"
    assert engine.route("hello").tier == "frontier"


def test_a_spent_budget_changes_nothing_without_a_ceiling(engine_of: EngineMaker) -> None:
    engine = engine_of(scores=scores_of(small=0.1, mid=0.1))
    engine.snapshot.state.set_budget_spent("acme", 60)
    assert engine.route("hello", tenant="acme").tier == "frontier"
