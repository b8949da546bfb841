"""Exemplar buckets against their own members: is each decided as its bucket says?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnout_fastpath.decision import Decision, ReasonKind, Status
from turnout_fastpath.engine import Engine


@dataclass(frozen=True)
class Breach:
    """A text that is decided against its bucket's effect, and why."""

    text: str
    decided: str
    why: str


@dataclass(frozen=True)
class BucketRecall:
    """What becomes of a bucket's members; `effect` is such as "floor frontier"."""

    bucket: str
    policy: str
    effect: str
    members: int
    obeyed: int
    breaches: tuple[Breach, ...]


def recall_members(engine: Engine) -> Iterator[BucketRecall]:
    """Every bucket of every policy that uses it."""
    policies = engine.snapshot.policies
    document = policies.document
    by_name = {bucket["name"]: bucket for bucket in document["buckets"]}
    texts = dict(zip(policies.bucket_names, policies.bucket_exemplars, strict=True))
    for policy, content in document["policies"].items():
        for name in content["buckets"]:
            yield recall_texts(engine, by_name[name], policy, texts[name])


def recall_texts(
    engine: Engine, bucket: Mapping[str, Any], policy: str, texts: Sequence[str]
) -> BucketRecall:
    """Decides texts that belong to a bucket, by a policy that uses it.

    Args:
        engine: over bundle and policy file.
        bucket: of the resolved policy document.
        policy: name of the policy.
        texts: members or paraphrases of them.
    """
    breaches = []
    for text in texts:
        decision = engine.route(text, policy=policy)
        if (why := find_breach(engine, bucket, decision)) is not None:
            breaches.append(Breach(text, decision.tier, why))
    kind, value = effect_of(bucket)
    return BucketRecall(
        bucket=bucket["name"],
        policy=policy,
        effect=f"{kind} {value}",
        members=len(texts),
        obeyed=len(texts) - len(breaches),
        breaches=tuple(breaches),
    )


def effect_of(bucket: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and value of the effect that is set."""
    return next((kind, value) for kind, value in bucket["effect"].items() if value is not None)


def find_breach(engine: Engine, bucket: Mapping[str, Any], decision: Decision) -> str | None:
    """Why a decision goes against a bucket's effect; None if it does not."""
    kind, value = effect_of(bucket)
    names = list(engine.snapshot.policies.tier_names)
    if kind == "task":
        kept = decision.task == value
    elif kind == "tier":
        kept = decision.tier == value
    else:
        kept = names.index(decision.tier) >= names.index(value)
    if kept:
        return None
    acted = [reason for reason in decision.reasons if reason.kind is ReasonKind.BUCKET]
    if not any(reason.id == bucket["name"] for reason in acted):
        if decision.status is Status.DEFAULTED:
            return "the classifier did not judge it"
        return "it does not match"
    others = [
        f"{reason.kind.name.lower()} {reason.id}"
        for reason in decision.reasons
        if reason.kind in (ReasonKind.RULE, ReasonKind.CONSTRAINT, ReasonKind.BUCKET)
        and reason.id != bucket["name"]
    ]
    return "it matches, but " + (" and ".join(others) or "another part of the policy") + " decides"
