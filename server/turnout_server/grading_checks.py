"""Checks of a policy's `judge`, `shadow` and `ensemble` against its tiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from turnout_server.budget_model import Budget
from turnout_server.grading_model import Ensemble, Judge, Shadow
from turnout_server.policy_defects import Defect, Location, show, suggest
from turnout_server.policy_model import Policy, Tier


def check_grading(path: Location, policy: Policy, tiers: Sequence[Tier]) -> Iterator[Defect]:
    """Everything that is wrong with the sections of one policy; of `min_tier` and `max_tier` only the known are heeded."""
    check = _Check(path, policy, tiers)
    if policy.judge is not None:
        yield from check.check_judge((*path, "judge"), policy.judge)
    if policy.shadow is not None:
        yield from check.check_shadow((*path, "shadow"), policy.shadow)
    yield from check.check_ensemble((*path, "ensemble"), policy.ensemble)


class _Check:
    def __init__(self, path: Location, policy: Policy, tiers: Sequence[Tier]) -> None:
        self.path = path
        self.policy = policy
        self.tiers = tiers
        self.names = [tier.name for tier in tiers]
        self.low = self.names.index(policy.min_tier) if policy.min_tier in self.names else 0
        self.high = self.names.index(policy.max_tier) if policy.max_tier in self.names else len(tiers) - 1
        self.tier_of = {one.name: tier for tier in tiers for one in tier.chain}

    def check_judge(self, path: Location, judge: Judge) -> Iterator[Defect]:
        named, kind, known = (
            (judge.tier, "tier", self.names)
            if judge.deployment is None
            else (judge.deployment, "deployment", list(self.tier_of))
        )
        yield from _check_known((*path, kind), kind, named, known)
        if named not in known:
            return
        tier = named if judge.deployment is None else self.tier_of[judge.deployment].name
        assert tier is not None
        if self.names.index(tier) < self.high:
            whose = show(tier) if judge.deployment is None else f"{show(named)} of tier {show(tier)}"
            message = f"{whose} is weaker than {show(self.names[self.high])}, to which an answer may escalate"
            yield Defect((*path, kind), message)
        elif judge.deployment is None:
            yield from self.check_budget((*path, "budget"), judge.budget, tier)
        else:
            yield from self.check_budget((*path, "budget"), judge.budget, tier, judge.deployment)

    def check_shadow(self, path: Location, shadow: Shadow) -> Iterator[Defect]:
        yield from _check_known((*path, "tier"), "tier", shadow.tier, self.names)
        if shadow.tier is not None and shadow.tier not in self.names:
            return
        rank = self.high if shadow.tier is None else self.names.index(shadow.tier)
        shown = show(self.names[rank])
        if rank <= self.low:
            message = f"{shown} is not above {show(self.names[self.low])}, whose answers it would shadow"
            yield Defect((*path, "tier"), message)
        elif rank > self.high:
            yield Defect((*path, "tier"), f"{shown} is above max_tier {show(self.names[self.high])}")
        else:
            yield from self.check_budget((*path, "budget"), shadow.budget, self.names[rank])

    def check_ensemble(self, path: Location, ensemble: Ensemble) -> Iterator[Defect]:
        if ensemble.chooser == "judge" and self.policy.judge is None:
            yield Defect((*path, "chooser"), "'judge', but the policy has no judge")
        for i, name in enumerate(ensemble.members or ()):
            here = (*path, "members", i)
            yield from _check_known(here, "tier", name, self.names)
            if name not in self.names:
                continue
            rank = self.names.index(name)
            if name in (ensemble.members or ())[:i]:
                yield Defect(here, f"{show(name)} is a member already")
            elif not self.low <= rank <= self.high:
                limits = f"{show(self.names[self.low])} to {show(self.names[self.high])}"
                yield Defect(here, f"{show(name)} is outside of the policy's tiers, {limits}")

    def check_budget(
        self, path: Location, budget: Budget, tier: str, deployment: str | None = None
    ) -> Iterator[Defect]:
        """A call without a price costs nothing that a budget could see."""
        if budget.day_usd is None and budget.month_usd is None:
            return
        for one in next(each for each in self.tiers if each.name == tier).chain:
            if one.price is None and deployment in (None, one.name):
                yield Defect(path, f"deployment {show(one.name)} has no price, so no budget holds for it")


def _check_known(path: Location, kind: str, name: str | None, known: Sequence[str]) -> Iterator[Defect]:
    if name is not None and name not in known:
        yield Defect(path, f"no {kind} {show(name)}; {suggest(name, known)}")
