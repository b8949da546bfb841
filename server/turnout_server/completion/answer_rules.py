"""What a policy says of answers (`gates`, `judge`, `shadow`, `ensemble`), read once from the resolved document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from turnout_fastpath import Strategy

from turnout_server.completion.asked import Asked
from turnout_server.completion.gates.chain import GateChain
from turnout_server.completion.gates.confidence_fit import Thresholds
from turnout_server.completion.gates.context import Form, Required, compile_pattern
from turnout_server.completion.gates.verdict import Gate

USUAL_RUBRIC = "usual"
"""Name of the rubric in records, where neither the task nor the policy has one."""


class ChooserKind(StrEnum):
    """How an ensemble's answer is picked."""

    JUDGE = "judge"
    GATES = "gates"
    CONFIDENCE = "confidence"


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """What bounds calls beside those that answer.

    Attributes:
        timeout_s: seconds of one call.
        concurrency: calls at once of this process.
        queue: how many wait for one.
    """

    timeout_s: float
    concurrency: int
    queue: int


@dataclass(frozen=True, slots=True)
class GateRules:
    """What answers must hold, whoever asks.

    Attributes:
        chain: the gates of a request that says nothing of them itself.
        thresholds: of confidence, by task.
        skip: gates that do not look.
        required: what every answer must look like.
        pattern: the compiled `required.pattern`.
        requires: False where `required` demands nothing.
    """

    chain: GateChain
    thresholds: Thresholds
    skip: tuple[Gate, ...]
    required: Required
    pattern: Any
    requires: bool

    def chain_for(self, asked: Asked) -> GateChain:
        """The gates of a request, its own wishes heeded."""
        if not asked.skip and asked.min_confidence is None:
            return self.chain
        return GateChain(thresholds=self.thresholds_for(asked), without=(*self.skip, *asked.skip))

    def thresholds_for(self, asked: Asked) -> Thresholds:
        """The request's own threshold in place of the policy's."""
        return self.thresholds if asked.min_confidence is None else Thresholds(default=asked.min_confidence)

    def add_to(self, asked: Asked) -> Asked:
        """The request, whose answer must look as the policy says too."""
        if not self.requires:
            return asked
        own, context = asked.gates.required, asked.gates
        both = Required(
            (*self.required.forms, *own.forms),
            (*self.required.keywords, *own.keywords),
            (*self.required.forbidden, *own.forbidden),
            own.pattern or self.required.pattern,
            max(self.required.min_chars, own.min_chars),
        )
        compiled = context.pattern if own.pattern else self.pattern
        return replace(asked, gates=replace(context, required=both, pattern=compiled))


@dataclass(frozen=True, slots=True)
class JudgeRules:
    """The judge of a policy; see the section's own descriptions.

    Attributes:
        tier: that judges; empty: `deployment` does.
        deployment: that judges; empty: the tier's first healthy one does.
    """

    tier: str
    deployment: str
    share: float
    inline: bool
    threshold: float
    rubric: str | None
    rubrics: Mapping[str, str]
    limits: LaneLimits

    def rubric_for(self, task: str) -> tuple[str, str | None]:
        """Name and words of a task's rubric; None: the usual words."""
        if task in self.rubrics:
            return f"task {task}", self.rubrics[task]
        return (USUAL_RUBRIC, None) if self.rubric is None else ("policy", self.rubric)


@dataclass(frozen=True, slots=True)
class ShadowRules:
    """The shadow calls of a policy."""

    tier: str
    share: float
    limits: LaneLimits


@dataclass(frozen=True, slots=True)
class EnsembleRules:
    """The ensembles of a policy. No members: the lowest and the highest tier that a request permits."""

    members: tuple[str, ...]
    chooser: ChooserKind
    share: float
    otherwise: Strategy
    timeout_s: float


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """All of it.

    Attributes:
        fast_tier: the lowest tier that the policy permits, whose answers are judged and shadowed.
    """

    fast_tier: str
    gates: GateRules
    judge: JudgeRules | None
    shadow: ShadowRules | None
    ensemble: EnsembleRules


def read_answer_rules(document: Mapping[str, Any]) -> dict[str, AnswerRules]:
    """Rules by policy."""
    tiers = [tier["name"] for tier in document["tiers"]]
    return {name: _read(policy, tiers) for name, policy in document["policies"].items()}


def _read(policy: Mapping[str, Any], tiers: Sequence[str]) -> AnswerRules:
    judge, shadow, ensemble = policy["judge"], policy["shadow"], policy["ensemble"]
    usual = ChooserKind.GATES if judge is None else ChooserKind.JUDGE
    return AnswerRules(
        fast_tier=policy["min_tier"] or tiers[0],
        gates=_read_gates(policy["gates"]),
        judge=None if judge is None else _read_judge(judge),
        shadow=None
        if shadow is None
        else ShadowRules(
            tier=shadow["tier"] or policy["max_tier"] or tiers[-1],
            share=shadow["share"],
            limits=_read_limits(shadow),
        ),
        ensemble=EnsembleRules(
            members=tuple(ensemble["members"] or ()),
            chooser=usual if ensemble["chooser"] is None else ChooserKind(ensemble["chooser"]),
            share=ensemble["share"],
            otherwise=Strategy[ensemble["otherwise"].upper()],
            timeout_s=ensemble["timeout_s"],
        ),
    )


def _read_gates(section: Mapping[str, Any]) -> GateRules:
    told = section["required"]
    required = Required(
        tuple(Form(name) for name in told["forms"]),
        tuple(told["keywords"]),
        tuple(told["forbidden"]),
        told["pattern"],
        told["min_chars"],
    )
    thresholds = Thresholds(section["confidence"]["default"], section["confidence"]["tasks"])
    skip = tuple(Gate(name) for name in section["skip"])
    return GateRules(
        GateChain(thresholds=thresholds, without=skip),
        thresholds,
        skip,
        required,
        None if required.pattern is None else compile_pattern(required.pattern),
        required != Required(),
    )


def _read_judge(section: Mapping[str, Any]) -> JudgeRules:
    return JudgeRules(
        tier=section["tier"] or "",
        deployment=section["deployment"] or "",
        share=section["share"],
        inline=section["mode"] == "inline",
        threshold=section["threshold"],
        rubric=section["rubric"],
        rubrics=section["rubrics"],
        limits=_read_limits(section),
    )


def _read_limits(section: Mapping[str, Any]) -> LaneLimits:
    return LaneLimits(section["timeout_s"], section["concurrency"], section["queue"])
