"""Resolved policy documents for tests: every key that the compiler reads, with overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = dict[str, Any]


def price(
    input_usd: float = 1.0,
    output_usd: float = 4.0,
    *,
    cache_read: float | None = None,
    per_piece: float = 1.0,
) -> Document:
    """US dollars a million tokens, and provider tokens a word piece."""
    return {
        "version": "2026-11-01",
        "input_usd_per_mtok": input_usd,
        "output_usd_per_mtok": output_usd,
        "cache_read_usd_per_mtok": cache_read,
        "cache_write_usd_per_mtok": None,
        "tokens_per_piece": per_piece,
    }


def deployment(name: str, **fields: Any) -> Document:
    """A deployment that can do everything but read files; `fields` override."""
    return {
        "name": name,
        "provider": "simulated",
        "model": f"model-of-{name}",
        "region": "eu" if name.endswith("eu") else "us",
        "price": None,
        "context_window": 100_000,
        "max_output_tokens": 8192,
        "modalities": ["text", "image"],
        "tools": True,
        "json": True,
        "json_schema": True,
        "endpoint": None,
        "credentials": None,
    } | fields


def tier(name: str, head: str | None, *chain: Document) -> Document:
    """A tier; without a chain, one deployment in each of two regions."""
    return {
        "name": name,
        "head": head,
        "chain": list(chain) or [deployment(f"{name}-us"), deployment(f"{name}-eu")],
    }


def three_tiers() -> list[Document]:
    """Small, mid and frontier, each with a deployment in `us` and one in `eu`."""
    return [tier("small", "small"), tier("mid", "mid"), tier("frontier", None)]


def span(least: float | None = None, most: float | None = None) -> Document:
    """A range of numbers, both ends included."""
    return {"min": least, "max": most}


def rule(name: str, when: Mapping[str, Any] | None = None, then: Mapping[str, Any] | None = None) -> Document:
    """A rule; without conditions it matches every request, without actions it is only a reason."""
    conditions: Document = {
        "tenant": [],
        "user_tier": [],
        "feature": [],
        "labels": {},
        "keywords": [],
        "tasks": [],
        "task_probability": 0.0,
        "needs": [],
        "answer_use": [],
        "tokens": None,
        "request_tokens": None,
        "features": {},
    }
    actions: Document = {
        "tier": None,
        "floor": None,
        "ceiling": None,
        "strategy": None,
        "deployment": None,
        "bar": None,
        "bar_shift": None,
        "forbid_deployments": [],
        "forbid_regions": [],
    }
    unknown = (set(when or ()) - set(conditions)) | (set(then or ()) - set(actions))
    assert not unknown, f"no such keys of a rule: {unknown}"
    return {
        "name": name,
        "description": "",
        "when": conditions | dict(when or {}),
        "then": actions | dict(then or {}),
    }


def bucket(
    name: str,
    exemplars: Sequence[str] = (),
    *,
    exemplar_set: str | None = None,
    threshold: float = 0.88,
    **effect: str,
) -> Document:
    """A bucket with one effect: floor, tier or task."""
    return {
        "name": name,
        "effect": {"floor": None, "tier": None, "task": None} | effect,
        "threshold": threshold,
        "exemplars": list(exemplars),
        "exemplar_set": exemplar_set,
    }


def policy(**fields: Any) -> Document:
    """A policy with a bar of 0.7 and `mid` as its safe tier; mappings take partial overrides."""
    base: Document = {
        "safe_tier": "mid",
        "strategy": "single",
        "min_tier": None,
        "max_tier": None,
        "bars": {"default": 0.7, "tiers": {}, "tasks": {}, "tenants": {}, "max_gain": {}},
        "rules": [],
        "buckets": [],
        "sessions": {"mode": "keep_or_raise", "ttl_s": 3600},
        "limits": {"max_request_tokens": None, "budget_spent_ceiling": None, "least_time_ms": 2.0},
        "explore": 0.0,
        "control_share": 0.0,
    }
    for key, value in fields.items():
        assert key in base, f"no such key of a policy: {key}"
        base[key] = base[key] | value if isinstance(base[key], dict) else value
    return base


def document(
    *,
    tiers: Sequence[Document] | None = None,
    prices: Mapping[str, Document] | None = None,
    buckets: Sequence[Document] = (),
    policies: Mapping[str, Document] | None = None,
    default_policy: str = "default",
    **fields: Any,
) -> Document:
    """A document of three tiers and one policy, which uses all `buckets` and takes `fields` as overrides."""
    names = [bucket["name"] for bucket in buckets]
    return {
        "version": 1,
        "default_policy": default_policy,
        "prices": dict(prices or {}),
        "tiers": three_tiers() if tiers is None else list(tiers),
        "buckets": list(buckets),
        "policies": dict(policies) if policies else {"default": policy(**({"buckets": names} | fields))},
    }


def with_rule(when: Document, then: Document | None = None) -> Document:
    """A document whose only rule, `the-rule`, takes `frontier` unless told otherwise."""
    return document(rules=[rule("the-rule", when, then or {"tier": "frontier"})])
