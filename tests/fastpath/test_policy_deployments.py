"""Named examples of the chain behind a tier: health, order, costs and the warm cache."""

from __future__ import annotations

from typing import Any

import pytest
from turnout_fastpath import Engine, Reason, ReasonKind, RouteError

from tests.fastpath.conftest import EngineMaker
from tests.fastpath.documents import (
    Document,
    deployment,
    document,
    price,
    three_tiers,
    tier,
    with_rule,
)
from tests.fastpath.reasons import ids_of, kinds
from tests.fastpath.synthetic import scores_of

PRICES = {"low": price(1.0, 10.0), "high": price(10.0, 100.0), "cached": price(1.0, 10.0, cache_read=0.1)}


def no_candidate(engine: Engine, **fields: Any) -> str:
    """The constraint that an error names."""
    with pytest.raises(RouteError) as caught:
        engine.route("hello", **fields)
    assert caught.value.reason is Reason.NO_CANDIDATE
    assert str(caught.value).endswith(f"removed by: {caught.value.field}")
    return caught.value.field


def test_the_chain_stands_behind_the_first_deployment(engine_of: EngineMaker) -> None:
    chain = [deployment(f"d{i}") for i in range(20)]
    engine = engine_of(document(tiers=[tier("small", "small", *chain), tier("top", None)], safe_tier="top"))
    decision = engine.route("hello")
    assert decision.deployment == "d0"
    assert decision.fallback_deployments == [f"d{i}" for i in range(1, 17)]


def test_closed_deployments_are_passed_over_and_come_last(engine_of: EngineMaker) -> None:
    chain = [deployment(f"d{i}") for i in range(4)]
    engine = engine_of(document(tiers=[tier("small", "small", *chain), tier("top", None)], safe_tier="top"))
    for name in ("d0", "d2"):
        engine.snapshot.state.close_deployment(name, 60)
    decision = engine.route("hello")
    assert [decision.deployment, *decision.fallback_deployments] == ["d1", "d3", "d0", "d2"]
    assert ids_of(decision, ReasonKind.HEALTH) == ["d0", "d2"]
    engine.snapshot.state.open_deployment("d0")
    assert engine.route("hello").deployment == "d0"


def test_a_tier_without_an_open_deployment_is_passed_over(engine_of: EngineMaker) -> None:
    engine = engine_of()
    for name in ("small-us", "small-eu"):
        engine.snapshot.state.close_deployment(name, 60)
    decision = engine.route("hello")
    assert (decision.tier, decision.candidates[0].eligible) == ("mid", False)


def test_closed_deployments_serve_where_nothing_else_is_left(engine_of: EngineMaker) -> None:
    tiers = [
        tier(name, head, deployment(f"{name}-us", price="low"))
        for name, head in [("small", "small"), ("top", None)]
    ]
    engine = engine_of(document(tiers=tiers, prices=PRICES, safe_tier="top"))
    for name in ("small-us", "top-us"):
        engine.snapshot.state.close_deployment(name, 60)
    decision = engine.route("hello")
    assert (decision.tier, decision.deployment, decision.fallback_deployments) == ("small", "small-us", [])
    assert ids_of(decision, ReasonKind.HEALTH) == ["small-us"]
    assert all(candidate.eligible for candidate in decision.candidates)
    assert [candidate.estimated_cost_usd for candidate in decision.candidates] == pytest.approx(
        [0.001004] * 2
    )


def test_closed_deployments_serve_inside_the_callers_range(engine_of: EngineMaker) -> None:
    engine = engine_of()
    for name in ("small-us", "small-eu"):
        engine.snapshot.state.close_deployment(name, 60)
    decision = engine.route("hello", max_tier="small")
    assert (decision.tier, decision.deployment, decision.fallback_deployments) == (
        "small",
        "small-us",
        ["small-eu"],
    )


def test_a_rules_deployment_that_is_closed_is_replaced_by_its_equal(engine_of: EngineMaker) -> None:
    engine = engine_of(with_rule({}, {"deployment": "mid-eu"}))
    assert engine.route("hello").fallback_deployments == ["mid-us"]
    engine.snapshot.state.close_deployment("mid-eu", 60)
    decision = engine.route("hello")
    assert (decision.deployment, decision.fallback_deployments) == ("mid-us", ["mid-eu"])


def priced(**fields: Any) -> Document:
    """Small at the low price, the other two tiers at the high one."""
    keys = {"small": "low", "mid": "high", "frontier": "high"}
    tiers = [
        tier(name, head, deployment(f"{name}-us", price=keys[name]))
        for name, head in [("small", "small"), ("mid", "mid"), ("frontier", None)]
    ]
    return document(tiers=tiers, prices=PRICES, **fields)


def test_a_cost_is_tokens_in_and_out_at_the_deployments_price(engine_of: EngineMaker) -> None:
    # One piece and three tokens of its message at 1 US dollar a million, 1,000 tokens out at 10.
    costs = [
        c.estimated_cost_usd
        for c in engine_of(priced()).route("hello", expected_output_tokens=1000).candidates
    ]
    assert costs == pytest.approx([0.010004, 0.10004, 0.10004])


def test_the_length_of_an_answer_is_estimated_by_task(engine_of: EngineMaker) -> None:
    chat = engine_of(priced()).route("hello").candidates[0].estimated_cost_usd
    code = engine_of(priced(), scores_of(task="code")).route("hello").candidates[0].estimated_cost_usd
    unknown = engine_of(priced()).route("hello", rules_only=True).candidates[0].estimated_cost_usd
    assert [chat, code, unknown] == pytest.approx([0.001004, 0.009004, 0.004004])


def test_tokens_are_the_providers_own(engine_of: EngineMaker) -> None:
    given = priced()
    given["prices"]["low"] = price(1.0, 10.0, per_piece=2.0)
    decision = engine_of(given).route("hello " * 100, expected_output_tokens=1)
    assert decision.candidates[0].estimated_cost_usd == pytest.approx((200 + 3 + 10) / 1e6)


def test_without_a_price_the_cost_is_not_known(engine_of: EngineMaker) -> None:
    assert {c.estimated_cost_usd for c in engine_of().route("hello").candidates} == {None}


def test_a_cost_ceiling_removes_dear_deployments(engine_of: EngineMaker) -> None:
    engine = engine_of(priced(), scores_of(small=0.1, mid=0.1))
    decision = engine.route("hello", max_cost_usd=0.005)
    assert (decision.tier, kinds(decision)) == ("small", ["BELOW_BAR", "FIT"])
    assert [candidate.eligible for candidate in decision.candidates] == [True, False, False]
    assert decision.candidates[2].estimated_cost_usd == pytest.approx(0.01004)
    assert engine.route("hello", max_cost_usd=0.02).tier == "frontier"
    assert no_candidate(engine, max_cost_usd=0.0001) == "cost"


def test_a_warm_cache_makes_its_deployment_cheaper(engine_of: EngineMaker) -> None:
    tiers = three_tiers()
    tiers[0]["chain"] = [deployment("small-us", price="cached"), deployment("small-eu", price="cached")]
    engine = engine_of(document(tiers=tiers, prices=PRICES))

    def cost(session: str) -> float | None:
        decision = engine.route("hello " * 97, expected_output_tokens=1, session_id=session)
        return decision.candidates[0].estimated_cost_usd

    state = engine.snapshot.state
    state.set_session("half", 0, 60, deployment="small-us", warm_tokens=50)
    state.set_session("more", 0, 60, deployment="small-us", warm_tokens=100_000)
    state.set_session("other", 0, 60, deployment="small-eu", warm_tokens=50)
    state.set_session("cold", 0, 60, deployment="small-us")
    # 100 tokens in at 1 or, from the cache, at 0.1 US dollars a million; one out at 10.
    assert cost("half") == pytest.approx((50 + 50 * 0.1 + 10) / 1e6)
    assert cost("more") == pytest.approx((100 * 0.1 + 10) / 1e6)
    assert cost("other") == cost("cold") == cost("") == pytest.approx((100 + 10) / 1e6)


def test_a_warm_cache_without_a_price_for_it_changes_nothing(engine_of: EngineMaker) -> None:
    engine = engine_of(priced())
    engine.snapshot.state.set_session("s", 0, 60, deployment="small-us", warm_tokens=1000)
    warm, cold = engine.route("hello", session_id="s"), engine.route("hello")
    assert warm.candidates[0].estimated_cost_usd == cold.candidates[0].estimated_cost_usd


def test_a_session_stays_where_the_cache_is_warm_while_that_is_no_dearer(engine_of: EngineMaker) -> None:
    """Frontier reads 1,000 tokens at 0.1 US dollars a million where small takes them at 1; its answers cost the same."""
    tiers = three_tiers()
    for at, name in ((0, "small-us"), (2, "frontier-us")):
        tiers[at]["chain"] = [deployment(name, price="cached", context_window=100_000)]
    engine = engine_of(document(tiers=tiers, prices=PRICES, sessions={"mode": "keep_while_warm"}))
    state = engine.snapshot.state
    state.set_session("warm", 2, 60, deployment="frontier-us", warm_tokens=1000)
    state.set_session("cold", 2, 60, deployment="frontier-us")
    state.set_session("elsewhere", 2, 60, deployment="mid-us", warm_tokens=1000)
    prompt = "hello " * 1000
    assert engine.route(prompt).tier == "small"
    warm = engine.route(prompt, session_id="warm")
    assert (warm.tier, warm.deployment) == ("frontier", "frontier-us")
    assert "SESSION" in kinds(warm)
    for session in ("cold", "elsewhere"):
        assert engine.route(prompt, session_id=session).tier == "small"
    assert engine.route(prompt, session_id="warm", max_tier="mid").tier == "small"
    state.close_deployment("frontier-us", 60)
    assert engine.route(prompt, session_id="warm").tier == "small"


def test_a_session_leaves_a_warm_cache_that_is_dearer_all_the_same(engine_of: EngineMaker) -> None:
    tiers = three_tiers()
    tiers[0]["chain"] = [deployment("small-us", price="cheapest")]
    tiers[2]["chain"] = [deployment("frontier-us", price="cached")]
    prices = {**PRICES, "cheapest": price(0.05, 0.1)}
    engine = engine_of(document(tiers=tiers, prices=prices, sessions={"mode": "keep_while_warm"}))
    engine.snapshot.state.set_session("warm", 2, 60, deployment="frontier-us", warm_tokens=1000)
    assert engine.route("hello " * 100, session_id="warm").tier == "small"
