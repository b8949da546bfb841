"""Exemplar buckets against their own members: is each decided as its bucket says?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnout_fastpath.decision import Decision, ReasonKind, Status
from turnout_fastpath.engine import Engine


@dataclass(frozen=True)
class Breach:
    """A text that is decided against its bucket's effect, why, and whether it is like a member at all."""

    text: str
    decided: str
    why: str
    matches: bool


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
        decision = engine.route(text, policy=policy, explain=True)
        if not obeys(engine, bucket, decision):
            matches = decision.explanation is not None and (
                decision.explanation.buckets[bucket["name"]] >= bucket["threshold"]
            )
            breaches.append(Breach(text, decision.tier, _why(bucket, decision, matches), matches))
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


def obeys(engine: Engine, bucket: Mapping[str, Any], decision: Decision) -> bool:
    """Whether a decision is as the bucket says."""
    kind, value = effect_of(bucket)
    names = list(engine.snapshot.policies.tier_names)
    if kind == "task":
        return decision.task == value
    if kind == "tier":
        return decision.tier == value
    return names.index(decision.tier) >= names.index(value)


def _why(bucket: Mapping[str, Any], decision: Decision, matches: bool) -> str:
    if decision.status is Status.DEFAULTED:
        return "the classifier did not judge it"
    if not matches:
        return "it does not match"
    others = [
        f"{reason.kind.name.lower()} {reason.id}"
        for reason in decision.reasons
        if reason.kind in (ReasonKind.RULE, ReasonKind.CONSTRAINT, ReasonKind.BUCKET)
        and reason.id != bucket["name"]
    ]
    return "it matches, but " + (" and ".join(others) or "another part of the policy") + " acts too"
