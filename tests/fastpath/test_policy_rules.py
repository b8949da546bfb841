"""Named examples of rules and buckets: each condition, each action, and which of several holds."""

from __future__ import annotations

import pytest
from turnout_fastpath import ReasonKind, Strategy

from tests.fastpath.conftest import EngineMaker
from tests.fastpath.documents import (
    Document,
    bucket,
    document,
    policy,
    rule,
    span,
    with_rule,
)
from tests.fastpath.reasons import ids_of, kinds
from tests.fastpath.synthetic import scores_of


@pytest.mark.parametrize(
    ("when", "matching", "other"),
    [
        ({"tenant": ["acme", "globex"]}, {"tenant": "globex"}, {"tenant": "initech"}),
        ({"tenant": [""]}, {}, {"tenant": "acme"}),
        ({"user_tier": ["pro"]}, {"user_tier": "pro"}, {"user_tier": "Pro"}),
        ({"feature": ["search"]}, {"feature": "search"}, {}),
        ({"labels": {"team": ["blue", "green"]}}, {"labels": {"team": "green"}}, {"labels": {"team": "red"}}),
        ({"labels": {"team": [""]}}, {"labels": {"team": ""}}, {}),
        (
            {"labels": {"team": ["blue"], "kind": ["x"]}},
            {"labels": {"kind": "x", "team": "blue", "more": ""}},
            {"labels": {"team": "blue"}},
        ),
        ({"keywords": ["poem of"]}, {"prompt": "a POEM\n of mine"}, {"prompt": "poems of mine"}),
        ({"needs": ["json", "tools"]}, {"needs": ["tools", "json"]}, {"needs": ["json"]}),
        ({"needs": ["tools"]}, {"n_tools": 1}, {}),
        ({"answer_use": ["action", "prompt"]}, {"answer_use": "action"}, {"answer_use": "person"}),
        ({"answer_use": ["unspecified"]}, {}, {"answer_use": 1}),
        ({"tokens": span(3, 4)}, {"prompt": "hello code the"}, {"prompt": "hello code"}),
        ({"tokens": span(None, 2)}, {"prompt": "hello code"}, {"prompt": "hello code the"}),
        ({"tokens": span(3)}, {"prompt": "hello code the"}, {"prompt": "hello code"}),
        ({"request_tokens": span(100)}, {"tool_schema_bytes": 400}, {"tool_schema_bytes": 300}),
        ({"features": {"media_bytes": span(10, 20)}}, {"media_bytes": 20}, {"media_bytes": 21}),
        (
            {"features": {"messages": span(2)}},
            {"messages": [("system", ""), ("user", "")]},
            {"messages": [("user", "")]},
        ),
        ({"tasks": ["code", "math"]}, {}, {"rules_only": True}),
    ],
)
def test_a_condition(engine_of: EngineMaker, when: Document, matching: Document, other: Document) -> None:
    engine = engine_of(with_rule(when), scores_of(task="math"))

    def is_matched(fields: Document) -> bool:
        given = dict(fields)
        prompt = given.pop("prompt", None if "messages" in given else "hello")
        decision = engine.route(prompt, **given)
        assert (decision.tier == "frontier") is (ids_of(decision, ReasonKind.RULE) == ["the-rule"])
        return decision.tier == "frontier"

    assert is_matched(matching)
    assert not is_matched(other)


@pytest.mark.parametrize(
    ("tasks", "probability", "expected"),
    [(["math"], 0.0, True), (["math"], 0.8, True), (["math"], 0.95, False), (["chat"], 0.0, False)],
)
def test_a_task_needs_its_probability(
    engine_of: EngineMaker, tasks: list[str], probability: float, expected: bool
) -> None:
    engine = engine_of(with_rule({"tasks": tasks, "task_probability": probability}), scores_of(task="math"))
    decision = engine.route("hello")
    # exp(3) / (exp(3) + 3)
    assert decision.task == "math"
    assert decision.task_probability == pytest.approx(0.87, abs=0.001)
    assert (decision.tier == "frontier") is expected


def test_all_conditions_must_hold(engine_of: EngineMaker) -> None:
    engine = engine_of(with_rule({"tenant": ["acme"], "user_tier": ["pro"]}))
    assert engine.route("hello", tenant="acme", user_tier="pro").tier == "frontier"
    assert engine.route("hello", tenant="acme").tier == engine.route("hello", user_tier="pro").tier == "small"


def test_a_rule_without_conditions_matches_everything(engine_of: EngineMaker) -> None:
    assert engine_of(with_rule({})).route("").tier == "frontier"


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ({"tier": "mid"}, ("mid", "mid-us")),
        ({"floor": "mid"}, ("mid", "mid-us")),
        ({"deployment": "mid-eu"}, ("mid", "mid-eu")),
        ({"forbid_deployments": ["small-us"]}, ("small", "small-eu")),
        ({"forbid_regions": ["us"]}, ("small", "small-eu")),
        ({"forbid_deployments": ["small-us", "small-eu"]}, ("mid", "mid-us")),
        ({"tier": "mid", "forbid_regions": ["us"]}, ("mid", "mid-eu")),
        ({"tier": "small", "deployment": "frontier-eu"}, ("frontier", "frontier-eu")),
    ],
)
def test_an_action(engine_of: EngineMaker, then: Document, expected: tuple[str, str]) -> None:
    decision = engine_of(with_rule({}, then)).route("hello")
    assert (decision.tier, decision.deployment) == expected


def test_a_ceiling_holds_below_the_bar(engine_of: EngineMaker) -> None:
    decision = engine_of(with_rule({}, {"ceiling": "mid"}), scores_of(small=0.1, mid=0.2)).route("hello")
    assert (decision.tier, kinds(decision)) == ("mid", ["RULE", "BELOW_BAR"])
    assert decision.reasons[1].score == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["single", "cascade", "ensemble"])
def test_a_strategy_is_the_rules_else_the_policys(engine_of: EngineMaker, name: str) -> None:
    assert engine_of(with_rule({}, {"strategy": name})).route("hello").strategy is Strategy[name.upper()]
    assert engine_of(document(strategy=name)).route("hello").strategy is Strategy[name.upper()]


def test_the_first_match_of_each_kind_wins_and_all_matches_are_reasons(engine_of: EngineMaker) -> None:
    engine = engine_of(
        document(
            rules=[
                rule("never", {"tenant": ["acme"]}, {"tier": "frontier", "strategy": "single"}),
                rule("one", {}, {"strategy": "cascade", "bar_shift": 0.2}),
                rule("two", {}, {"strategy": "ensemble", "floor": "mid", "bar_shift": -0.5}),
                rule("three", {}, {"floor": "frontier", "bar": 0.5}),
                rule("four", {}, {"bar": 0.9}),
            ]
        ),
        scores_of(small=0.9, mid=0.75),
    )
    decision = engine.route("hello")
    # The bar is rule three's, shifted by rule one's; the floor is rule two's.
    assert (decision.tier, decision.strategy) == ("mid", Strategy.CASCADE)
    assert ids_of(decision, ReasonKind.RULE) == ["one", "two", "three", "four"]
    assert kinds(decision) == ["RULE"] * 4 + ["BAR"]


def test_prohibitions_add_up(engine_of: EngineMaker) -> None:
    rules = [
        rule("one", {}, {"forbid_deployments": ["small-us"]}),
        rule("two", {}, {"forbid_deployments": ["small-eu"]}),
        rule("three", {}, {"forbid_regions": ["us"]}),
    ]
    decision = engine_of(document(rules=rules)).route("hello")
    assert (decision.tier, decision.deployment, decision.fallback_deployments) == ("mid", "mid-eu", [])
    assert [candidate.eligible for candidate in decision.candidates] == [False, True, True]


def test_more_matches_than_a_decision_holds_are_cut(engine_of: EngineMaker) -> None:
    decision = engine_of(document(rules=[rule(f"rule-{i}", {}, {"bar": 0.5}) for i in range(60)])).route(
        "hello"
    )
    assert ids_of(decision, ReasonKind.RULE) == [f"rule-{i}" for i in range(48)]
    assert decision.tier == "small"


def test_rules_are_the_policys_own(engine_of: EngineMaker) -> None:
    policies = {
        "default": policy(rules=[rule("one", {}, {"tier": "frontier"})]),
        "cheap": policy(
            rules=[rule("two", {}, {"tier": "small"}), rule("three", {}, {"strategy": "cascade"})]
        ),
        "plain": policy(),
    }
    engine = engine_of(document(policies=policies))
    reasons = {name: ids_of(engine.route("hello", policy=name), ReasonKind.RULE) for name in policies}
    assert reasons == {"default": ["one"], "cheap": ["two", "three"], "plain": []}
    assert engine.route("hello").policy == "default"


HARD = "prove the sum of a poem, and what is the capital of code, to the hello"


def test_a_bucket_raises_the_floor(engine_of: EngineMaker) -> None:
    engine = engine_of(document(buckets=[bucket("hard", [HARD], floor="frontier")]))
    decision = engine.route(HARD)
    assert (decision.tier, kinds(decision)) == ("frontier", ["BUCKET", "BELOW_BAR"])
    assert decision.reasons[0].id == "hard"
    assert decision.reasons[0].score == pytest.approx(1, abs=1e-3)
    assert engine.route("1 2 3 4 5 6 7 8 9").tier == "small"


def test_a_bucket_uses_the_bundles_exemplars(engine_of: EngineMaker) -> None:
    engine = engine_of(document(buckets=[bucket("hard", exemplar_set="known_hard", tier="frontier")]))
    assert engine.route("prove the sum of a poem").tier == "frontier"
    assert engine.snapshot.policies.bucket_exemplars == [
        ["prove the sum of a poem", "write code to prove the capital"]
    ]


def test_a_buckets_tier_stands_behind_a_rules(engine_of: EngineMaker) -> None:
    buckets = [bucket("one", [HARD], tier="frontier"), bucket("two", [HARD], tier="small")]
    assert engine_of(document(buckets=buckets)).route(HARD).tier == "frontier"
    engine = engine_of(document(buckets=buckets, rules=[rule("rule", {}, {"tier": "mid"})]))
    assert engine.route(HARD).tier == "mid"


def test_the_highest_floor_of_buckets_and_rules_holds(engine_of: EngineMaker) -> None:
    buckets = [bucket("one", [HARD], floor="mid"), bucket("two", [HARD], floor="frontier")]
    engine = engine_of(document(buckets=buckets, rules=[rule("rule", {}, {"floor": "small"})]))
    assert engine.route(HARD).tier == "frontier"


def test_a_bucket_names_the_task_that_rules_and_bars_see(engine_of: EngineMaker) -> None:
    engine = engine_of(
        document(
            buckets=[bucket("sums", [HARD], task="math")],
            bars={"default": 0.5, "tasks": {"math": {"small": 0.99}}},
            rules=[rule("on-math", {"tasks": ["math"]}, {"strategy": "cascade"})],
        ),
        scores_of(task="chat"),
    )
    decision = engine.route(HARD)
    assert (decision.task, decision.tier, decision.strategy) == ("math", "mid", Strategy.CASCADE)
    assert decision.task_probability < 0.1
    assert engine.route("1 2 3 4 5 6 7 8 9").task == "chat"


def test_a_bucket_acts_only_where_the_policy_uses_it(engine_of: EngineMaker) -> None:
    unused = document(buckets=[bucket("hard", [HARD], floor="frontier")])
    unused["policies"]["default"]["buckets"] = []
    assert engine_of(unused).route(HARD).tier == "small"
