"""Documents, requests and live state over few names, so that they meet.

Documents are a strategy, so that what fails is shrunk; requests and states come from a seed, which is many times as
fast and varies them more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.fastpath.documents import Document, bucket, deployment, document, policy, price, rule, span, tier
from tests.fastpath.synthetic import HEADS, TASKS
from tests.fastpath.twins.state import State

TENANTS = ["acme", "globex", ""]
SESSIONS = ["s1", "s2", ""]
PLANS = ["free", "pro", ""]
LABELS = ["blue", "green", ""]
NEEDS = ["json", "json_schema", "tools", "image", "audio", "file"]
ANSWER_USES = ["unspecified", "person", "program", "prompt", "action"]
TEXTS = [
    "hello",
    "what is the capital?",
    "write code to prove the sum of a poem " * 8,
    "prove it",
    "中文 hello",
    "the sum " * 400,
    "",
]
KEYWORDS = ["code", "capital", "the sum", "poem", "中文"]
PRICES = {
    "cheap": price(0.15, 0.6),
    "cached": price(3.0, 15.0, cache_read=0.3, per_piece=1.3),
    "dear": price(50.0, 200.0, per_piece=0.7),
}
SHARES = st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]) | st.floats(0, 1)


def some(values: Sequence[str], most: int = 3) -> st.SearchStrategy[list[str]]:
    """A short list of different values, often empty."""
    return st.just([]) | st.lists(st.sampled_from(values), max_size=most, unique=True)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A value, more often None."""
    return st.none() | st.none() | strategy


@st.composite
def tiers(draw: st.DrawFn) -> list[Document]:
    """One to three tiers with one to three deployments each."""
    heads = draw(st.sampled_from([HEADS, HEADS, HEADS[:1], HEADS[1:], ()]))

    def chain(name: str) -> list[Document]:
        return [
            deployment(
                f"{name}-{i}",
                region=draw(st.sampled_from(["us", "eu", "ap"])),
                price=draw(maybe(st.sampled_from(sorted(PRICES)))),
                context_window=draw(st.sampled_from([100_000, 100_000, 1500, 150])),
                max_output_tokens=draw(st.sampled_from([8192, 8192, 50])),
                modalities=[
                    "text",
                    *draw(st.sampled_from([[], [], [], ["image"], ["image", "audio", "file"]])),
                ],
                tools=draw(st.booleans()),
                json=draw(st.booleans()),
                json_schema=draw(st.booleans()),
            )
            for i in range(draw(st.integers(1, 3)))
        ]

    names = [f"tier-{head}" for head in heads]
    return [tier(name, head, *chain(name)) for name, head in zip(names, heads, strict=True)] + [
        tier("top", None, *chain("top"))
    ]


def spans(least: float, most: float) -> st.SearchStrategy[Document]:
    """A range, open at either end."""
    ends = st.none() | st.floats(least, most)
    return st.builds(span, ends, ends)


@st.composite
def rules(draw: st.DrawFn, name: str, tier_names: list[str], chains: dict[str, str]) -> Document:
    """A rule with up to two conditions and up to two actions; `chains` are deployments with their regions."""
    conditions: dict[str, st.SearchStrategy[Any]] = {
        "tenant": some(TENANTS),
        "user_tier": some(PLANS),
        "feature": some(PLANS),
        "labels": st.dictionaries(
            st.sampled_from(["team", "colour"]), st.lists(st.sampled_from(LABELS), min_size=1), max_size=2
        ),
        "keywords": some(KEYWORDS),
        "tasks": some(TASKS, 4),
        "task_probability": SHARES,
        "needs": some(NEEDS, 2),
        "answer_use": some(ANSWER_USES),
        "tokens": spans(0, 300),
        "request_tokens": spans(0, 2000),
        "features": st.dictionaries(
            st.sampled_from(["media_bytes", "messages", "bytes", "tools"]), spans(0, 500), max_size=2
        ),
    }
    actions: dict[str, st.SearchStrategy[Any]] = {
        "tier": st.sampled_from(tier_names),
        "floor": st.sampled_from(tier_names),
        "ceiling": st.sampled_from(tier_names),
        "strategy": st.sampled_from(["single", "cascade", "ensemble"]),
        "deployment": st.sampled_from(sorted(chains)),
        "bar": SHARES,
        "bar_shift": st.floats(-0.5, 0.5),
        "forbid_deployments": some(sorted(chains)),
        "forbid_regions": some(sorted(set(chains.values()))),
    }
    when = draw(st.lists(st.sampled_from(sorted(conditions)), max_size=2, unique=True))
    then = draw(st.lists(st.sampled_from(sorted(actions)), min_size=1, max_size=2, unique=True))
    return rule(name, {key: draw(conditions[key]) for key in when}, {key: draw(actions[key]) for key in then})


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A resolved document with up to three tiers, three buckets, two policies and five rules a policy."""
    made = draw(tiers())
    names = [given["name"] for given in made]
    chains = {d["name"]: d["region"] for given in made for d in given["chain"]}
    effects = st.sampled_from([("floor", names), ("tier", names), ("task", list(TASKS))]).flatmap(
        lambda effect: st.sampled_from(effect[1]).map(lambda value: {effect[0]: value})
    )
    buckets = [
        bucket(
            f"bucket-{i}",
            draw(st.lists(st.sampled_from(TEXTS[:5]), min_size=1, max_size=3)),
            threshold=draw(st.floats(0.01, 1)),
            **draw(effects),
        )
        for i in range(draw(st.integers(0, 3)))
    ]
    bars = st.fixed_dictionaries(
        {
            "default": SHARES,
            "tiers": st.dictionaries(st.sampled_from(names), SHARES),
            "tasks": st.dictionaries(
                st.sampled_from(TASKS), SHARES | st.dictionaries(st.sampled_from(names), SHARES)
            ),
            "tenants": st.dictionaries(st.sampled_from(TENANTS[:2]), SHARES),
            "max_gain": st.dictionaries(st.sampled_from(names), st.floats(-1, 1)),
        }
    )

    def one_policy() -> Document:
        least, most = sorted(draw(st.tuples(*[st.integers(0, len(names) - 1)] * 2)))
        return policy(
            safe_tier=draw(st.sampled_from(names)),
            strategy=draw(st.sampled_from(["single", "cascade", "ensemble"])),
            min_tier=draw(maybe(st.just(names[least]))),
            max_tier=draw(maybe(st.just(names[most]))),
            bars=draw(bars),
            rules=[draw(rules(f"rule-{i}", names, chains)) for i in range(draw(st.integers(0, 5)))],
            buckets=draw(some([given["name"] for given in buckets])) if buckets else [],
            sessions={"mode": draw(st.sampled_from(["keep_or_raise", "keep_while_warm", "none"]))},
            limits={
                "max_request_tokens": draw(maybe(st.integers(1, 1500))),
                "budget_spent_ceiling": draw(maybe(st.sampled_from(names))),
            },
            explore=draw(st.sampled_from([0.0, 0.5])),
            control_share=draw(st.sampled_from([0.0, 0.4])),
        )

    policies = {name: one_policy() for name in draw(st.sampled_from([["only"], ["first", "second"]]))}
    default = draw(st.sampled_from(sorted(policies)))
    return document(tiers=made, prices=PRICES, buckets=buckets, policies=policies, default_policy=default)


def request_fields(random: Random, given: Document) -> dict[str, Any]:
    """Fields of a request to a document, all but its text; seldom a name that the document does not have."""
    names = [made["name"] for made in given["tiers"]]
    chains = {d["name"]: d["region"] for made in given["tiers"] for d in made["chain"]}

    def known(values: Iterable[str]) -> str:
        return random.choice([*values] * 20 + ["unknown"])

    def few(values: Iterable[str], most: int) -> list[str]:
        return [known(values) for _ in range(random.randint(1, most))]

    optional: dict[str, Callable[[], Any]] = {
        "policy": lambda: known(given["policies"]),
        "needs": lambda: random.sample(NEEDS, random.randint(0, 2)),
        "n_tools": lambda: random.randint(0, 3),
        "tool_schema_bytes": lambda: random.choice([0, 100, 5000]),
        "media_bytes": lambda: random.choice([0, 10, 1000, 1_000_000]),
        "expected_output_tokens": lambda: random.choice([0, 20, 100, 5000]),
        "context_tokens": lambda: random.choice([0, 200, 5000, 200_000]),
        "answer_use": lambda: random.choice(ANSWER_USES),
        "tenant": lambda: random.choice(TENANTS),
        "session_id": lambda: random.choice(SESSIONS),
        "user_tier": lambda: random.choice(PLANS),
        "feature": lambda: random.choice(PLANS),
        "labels": lambda: {"team": random.choice(LABELS), "colour": random.choice(LABELS)},
        "min_tier": lambda: known(names),
        "max_tier": lambda: known(names),
        "allowed_deployments": lambda: few(chains, 4),
        "allowed_regions": lambda: few(chains.values(), 2),
        "max_cost_usd": lambda: random.choice([1e-5, 1e-4, 1e-3, 1e-2, 1.0]),
        "quality_bar": lambda: random.choice([0.0, 0.3, 0.6, 0.9, 1.0]),
        "rules_only": lambda: random.choice([True, False]),
    }
    chosen = random.sample(sorted(optional), random.randint(0, 7))
    return {key: optional[key]() for key in chosen} | {"decision_id": random.randbytes(16).hex()}


def live_state(random: Random, given: Document) -> State:
    """Live state, held for an hour: closed deployments, sessions with a warm cache, spent budgets."""
    state = State()
    names = [d["name"] for made in given["tiers"] for d in made["chain"]]
    for name in random.sample(names, random.choice([0, 0, 1, len(names) // 2, len(names)])):
        state.close_deployment(name, 3600)
    for session in random.sample(SESSIONS[:2], random.randint(0, 2)):
        warm_at = random.choice([None, "elsewhere", *names])
        number = random.choice([0, 0, 0, 1, 2, 7])
        state.set_session(session, number, 3600, warm_at, random.choice([0, 50, 10_000]))
    if random.choice([True, False]):
        state.set_budget_spent(TENANTS[0], 3600)
    return state
