"""Whatever is wrong with a resolved document is said with its path, and with what there is instead."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from turnout_fastpath import PolicyError, load_policy
from turnout_fastpath.policy import PolicySet
from turnout_fastpath.policy_compiler import compile_policy
from turnout_fastpath.snapshot import ALL_FEATURE_NAMES

from tests.fastpath.documents import Document, bucket, deployment, document, policy, rule, span, tier
from tests.fastpath.synthetic import EXEMPLARS, HEADS, OUTPUT_TOKENS, TASKS

ONE_RULE = document(rules=[rule("one", {}, {"tier": "mid"})])
ONE_BUCKET = document(buckets=[bucket("one", ["x"], floor="mid")])
CHAIN = "tiers[1].chain[1]"
RULE = "policies.default.rules[0]"


def compiled(given: Document, **bundle: Any) -> PolicySet:
    """The document compiled against the synthetic bundle; `bundle` overrides what that offers."""
    offers: dict[str, Any] = {
        "heads": HEADS,
        "tasks": TASKS,
        "features": ALL_FEATURE_NAMES,
        "output_tokens": OUTPUT_TOKENS,
        "exemplar_sets": EXEMPLARS,
    }
    return compile_policy(given, **offers | bundle)


def changed(given: Document, path: str, value: Any) -> Document:
    """A copy of the document with another value at a path such as `tiers.1.chain.0.price`."""
    result = copy.deepcopy(given)
    at: Any = result
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in parents:
        at = at[step]
    at[last] = value
    return result


def default(path: str, value: Any) -> Document:
    """The plain document with another value in its one policy."""
    return changed(document(), f"policies.default.{path}", value)


def when(**conditions: Any) -> Document:
    """A document with one rule of these conditions."""
    return document(rules=[rule("one", conditions)])


def then(**actions: Any) -> Document:
    """A document with one rule of these actions."""
    return document(rules=[rule("one", {}, actions)])


TIERS = "known: small, mid, frontier"
DEPLOYMENTS = "known: small-us, small-eu, mid-us, mid-eu, frontier-us, frontier-eu"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (changed(document(), "default_policy", "x"), "default_policy: no policy 'x'; known: default"),
        (changed(document(), "tiers.0.head", "x"), "tiers[0].head: no head 'x'; known: small, mid"),
        (
            changed(document(), "tiers.0.head", None),
            "tiers[0].head: tier 'small' has no head; known: small, mid",
        ),
        (
            changed(changed(document(), "tiers.0.head", "mid"), "tiers.1.head", "small"),
            "tiers[1].head: 'small' does not follow 'mid'; a dearer tier needs a later head of: small, mid",
        ),
        (
            changed(document(), "tiers.1.head", "small"),
            "tiers[1].head: 'small' does not follow 'small'; a dearer tier needs a later head of: small, mid",
        ),
        (
            changed(document(), "tiers.2.head", "mid"),
            "tiers[2].head: the top tier 'frontier' has no head, given: 'mid'",
        ),
        (changed(document(), "tiers.1.chain.1.price", "x"), f"{CHAIN}.price: no price 'x'; known: none"),
        (
            changed(document(), "tiers.1.chain.1.modalities", ["text", "smell"]),
            f"{CHAIN}.modalities[1]: no modality 'smell'; known: text, image, audio, file",
        ),
        (
            changed(ONE_BUCKET, "buckets.0.effect.floor", "x"),
            f"buckets[0].effect.floor: no tier 'x'; {TIERS}",
        ),
        (changed(ONE_BUCKET, "buckets.0.effect.tier", "x"), f"buckets[0].effect.tier: no tier 'x'; {TIERS}"),
        (
            changed(ONE_BUCKET, "buckets.0.effect.task", "x"),
            "buckets[0].effect.task: no task 'x'; known: chat, knowledge, math, code",
        ),
        (
            changed(ONE_BUCKET, "buckets.0.exemplar_set", "x"),
            "buckets[0].exemplar_set: no exemplar set 'x'; known: known_hard",
        ),
        (changed(ONE_BUCKET, "buckets.0.exemplars", []), "buckets[0]: no exemplars"),
        (default("buckets", ["x"]), "policies.default.buckets[0]: no bucket 'x'; known: none"),
        (default("safe_tier", "x"), f"policies.default.safe_tier: no tier 'x'; {TIERS}"),
        (default("min_tier", "x"), f"policies.default.min_tier: no tier 'x'; {TIERS}"),
        (default("max_tier", "x"), f"policies.default.max_tier: no tier 'x'; {TIERS}"),
        (
            changed(default("min_tier", "frontier"), "policies.default.max_tier", "mid"),
            "policies.default.min_tier: 'frontier' is above max_tier 'mid'",
        ),
        (
            default("strategy", "x"),
            "policies.default.strategy: no strategy 'x'; known: single, cascade, ensemble",
        ),
        (
            default("sessions.mode", "keep"),
            "policies.default.sessions.mode: no mode 'keep'; known: none, keep_or_raise, keep_while_warm",
        ),
        (
            default("limits.budget_spent_ceiling", "x"),
            f"policies.default.limits.budget_spent_ceiling: no tier 'x'; {TIERS}",
        ),
        (default("bars.tiers", {"x": 0.5}), f"policies.default.bars.tiers: no tier 'x'; {TIERS}"),
        (
            default("bars.tasks", {"x": 0.5}),
            "policies.default.bars.tasks: no task 'x'; known: chat, knowledge, math, code",
        ),
        (
            default("bars.tasks", {"math": {"x": 0.5}}),
            f"policies.default.bars.tasks.math: no tier 'x'; {TIERS}",
        ),
        (default("bars.max_gain", {"x": 0.5}), f"policies.default.bars.max_gain: no tier 'x'; {TIERS}"),
        (when(tasks=["math", "x"]), f"{RULE}.when.tasks[1]: no task 'x'; known: chat, knowledge, math, code"),
        (
            when(needs=["json", "x"]),
            f"{RULE}.when.needs[1]: no need 'x'; known: json, json_schema, tools, image, audio, file",
        ),
        (
            when(answer_use=["x"]),
            f"{RULE}.when.answer_use[0]: no use 'x'; known: unspecified, person, program, prompt, action",
        ),
        (when(keywords=["a", " "]), f"{RULE}.when.keywords[1]: an empty phrase"),
        (
            when(features={"x": span(1)}),
            f"{RULE}.when.features: no feature 'x'; known: {', '.join(ALL_FEATURE_NAMES)}",
        ),
        (then(tier="x"), f"{RULE}.then.tier: no tier 'x'; {TIERS}"),
        (then(floor="x"), f"{RULE}.then.floor: no tier 'x'; {TIERS}"),
        (then(ceiling="x"), f"{RULE}.then.ceiling: no tier 'x'; {TIERS}"),
        (then(strategy="x"), f"{RULE}.then.strategy: no strategy 'x'; known: single, cascade, ensemble"),
        (
            then(deployment="x"),
            f"{RULE}.then.deployment: no deployment 'x'; {DEPLOYMENTS}",
        ),
        (then(forbid_regions=["us", "x"]), f"{RULE}.then.forbid_regions[1]: no region 'x'; known: eu, us"),
        (
            then(forbid_deployments=["x"]),
            f"{RULE}.then.forbid_deployments[0]: no deployment 'x'; {DEPLOYMENTS}",
        ),
    ],
)
def test_error_names_the_path_and_what_there_is(given: Document, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(given)
    assert str(caught.value) == message


def many_tiers(n: int) -> Document:
    """A document of n tiers over n - 1 heads that are called as the tiers."""
    tiers = [tier(f"t{i}", f"t{i}" if i < n - 1 else None) for i in range(n)]
    return document(tiers=tiers, safe_tier="t0")


def many_deployments(n: int, regions: int) -> Document:
    """A document whose first tier has n deployments over some regions."""
    chain = [deployment(f"d{i}", region=f"r{i % regions}") for i in range(n)]
    return document(
        tiers=[tier("small", "small", *chain), tier("top", None, deployment("top", region="r0"))],
        safe_tier="top",
    )


def many_buckets(n: int) -> Document:
    return document(buckets=[bucket(f"b{i}", ["x"], floor="mid") for i in range(n)])


def many_policies(n: int) -> Document:
    return document(policies={f"p{i}": policy() for i in range(n)}, default_policy="p0")


def many_keywords(n: int) -> Document:
    return document(rules=[rule(f"r{i}", {"keywords": [f"word{i}"]}) for i in range(n)])


@pytest.mark.parametrize(
    ("make", "limit", "message"),
    [
        (many_tiers, 8, "tiers: 9 entries, limit: 8"),
        (lambda n: many_deployments(n - 1, 1), 256, "tiers: deployments: 257 entries, limit: 256"),
        (lambda n: many_deployments(n, n), 64, "tiers: regions: 65 entries, limit: 64"),
        (many_buckets, 64, "buckets: 65 entries, limit: 64"),
        (many_policies, 256, "policies: 257 entries, limit: 256"),
        (many_keywords, 1024, "policies: 1025 keyword groups, limit: 1024"),
    ],
)
def test_limit_is_allowed_and_one_more_is_refused(
    make: Callable[[int], Document], limit: int, message: str
) -> None:
    heads = ["small", "mid"] if make is not many_tiers else [f"t{i}" for i in range(8)]
    assert compiled(make(limit), heads=heads).tier_names
    with pytest.raises(PolicyError) as caught:
        compiled(make(limit + 1), heads=heads)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("offers", "message"),
    [
        ({"heads": [str(i) for i in range(9)]}, "bundle heads: 9 entries, limit: 8"),
        (
            {
                "tasks": [str(i) for i in range(17)],
                "output_tokens": {str(i): 1.0 for i in range(17)} | {"any": 1.0},
            },
            "bundle tasks: 17 entries, limit: 16",
        ),
    ],
)
def test_a_bundle_beyond_the_structs_is_refused(offers: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(document(), **offers)
    assert str(caught.value) == message


@pytest.mark.parametrize("key", ["tiers", "buckets", "policies", "default_policy"])
def test_a_missing_key_is_named(key: str) -> None:
    given = document()
    del given[key]
    with pytest.raises(PolicyError, match=f"no key '{key}'"):
        compiled(given)


def test_names_are_kept_in_order() -> None:
    made = compiled(
        document(
            buckets=[bucket("b1", ["x"], floor="mid"), bucket("b2", exemplar_set="known_hard", tier="mid")],
            policies={"z": policy(rules=[rule("r1")]), "a": policy(rules=[rule("r2"), rule("r3")])},
            default_policy="a",
        )
    )
    assert made.tier_names == ["small", "mid", "frontier"]
    assert made.deployment_names == ["small-us", "small-eu", "mid-us", "mid-eu", "frontier-us", "frontier-eu"]
    assert made.policy_names == ["z", "a"]
    assert made.rule_names == ["r1", "r2", "r3"]
    assert made.bucket_names == ["b1", "b2"]
    assert made.region_names == ["eu", "us"]
    assert made.bucket_exemplars == [["x"], EXEMPLARS["known_hard"]]


def test_one_tier_needs_no_head() -> None:
    assert compiled(document(tiers=[tier("only", None)], safe_tier="only"), heads=[]).tier_names == ["only"]


def test_revision_is_of_the_content() -> None:
    given = document(rules=[rule("one", {"keywords": ["naïve"]})])
    backwards = json.loads(json.dumps(given), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert compiled(given).revision == compiled(backwards).revision
    assert len(compiled(given).revision) == 8
    assert (
        compiled(given).revision != compiled(document(rules=[rule("one", {"keywords": ["naive"]})])).revision
    )


def test_document_is_kept() -> None:
    assert compiled(ONE_RULE).document == ONE_RULE


def test_default_policy_compiles() -> None:
    made = compiled(load_policy())
    assert made.rule_names == ["short", "long"]
    assert made.policy_names == ["default"]
