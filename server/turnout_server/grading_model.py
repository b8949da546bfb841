"""The policy file's `judge`, `shadow` and `ensemble`: what is asked besides the answer itself, how often, for how much."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from turnout_server.budget_model import Budget
from turnout_server.policy_types import Name, Section, Share, defect

MAX_RUBRIC_BYTES = 8192
MAX_MEMBERS = 4

JudgeMode = Literal["asynchronous", "inline"]
Chooser = Literal["judge", "gates", "confidence"]
OtherwiseName = Literal["single", "cascade"]


def _check_rubric(value: str) -> str:
    if not value.strip():
        raise defect("{value} is empty", value=value)
    if (size := len(value.encode())) > MAX_RUBRIC_BYTES:
        raise defect(
            "{value} has {size} bytes, limit: {limit}", value=value, size=size, limit=MAX_RUBRIC_BYTES
        )
    return value


Rubric = Annotated[
    str,
    AfterValidator(_check_rubric),
    Field(json_schema_extra={"minLength": 1, "maxLength": MAX_RUBRIC_BYTES}),
]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Concurrency = Annotated[int, Field(ge=1, le=1024)]
QueueLength = Annotated[int, Field(ge=0, le=10_000)]


class Judge(Section):
    """A model that grades answers of the fast tier; at least as strong as the highest tier that an answer may escalate
    to. What it is sent: the conversation and the answer, to no deployment that the request forbids.
    """

    tier: Name | None = Field(
        default=None, description="The tier that judges; exactly one of this and `deployment` is set."
    )
    deployment: Name | None = Field(default=None, description="The deployment that judges.")
    share: Share = Field(
        default=0.15,
        description="Share of the fast tier's answers that is judged, 0 to 1; drawn by the decision's id. 0.10 to 0.20 "
        "is usual.",
    )
    mode: JudgeMode = Field(
        default="asynchronous",
        description="asynchronous: after the caller has the answer, which stays as it is; inline: before, as the last "
        "gate of a cascade, and an answer below the threshold escalates.",
    )
    threshold: Share = Field(
        default=0.5,
        description="Least score, 0 to 1, at which an answer suffices. The judge's marks 1 to 5 are the scores 0, 0.25, "
        "0.5, 0.75 and 1.",
    )
    rubric: Rubric | None = Field(
        default=None,
        description="What makes an answer sufficient, in words, at most 8,192 bytes; null: a general one.",
    )
    rubrics: dict[Name, Rubric] = Field(
        default={}, description="The same by task of the bundle, in place of `rubric`."
    )
    timeout_s: Seconds = Field(
        default=20.0, description="Most time of one call in seconds, above 0 to 3,600; then no verdict."
    )
    concurrency: Concurrency = Field(default=4, description="Calls at once of a worker, 1 to 1,024.")
    queue: QueueLength = Field(
        default=64, description="Answers that wait for a call, 0 to 10,000; more are dropped and counted."
    )
    budget: Budget = Field(
        default_factory=Budget,
        description="What judging may cost, apart from the budgets of tenants and policies; left out: no limit.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (count := (self.tier is not None) + (self.deployment is not None)) != 1:
            raise defect("{count} of tier and deployment are set, exactly one needed", count=count)
        return self


class Shadow(Section):
    """A share of the fast tier's answers is also asked of a higher tier, after the caller has the answer; compared by
    the policy's judge, if there is one.
    """

    tier: Name | None = Field(
        default=None, description="The tier that is asked too; null: the highest that the policy permits."
    )
    share: Share = Field(
        default=0.05,
        description="Share of the fast tier's answers, 0 to 1; drawn by the decision's id.",
    )
    timeout_s: Seconds = Field(
        default=60.0,
        description="Most time of one call in seconds, above 0 to 3,600; then it is cancelled and billed.",
    )
    concurrency: Concurrency = Field(default=4, description="Calls at once of a worker, 1 to 1,024.")
    queue: QueueLength = Field(
        default=64, description="Answers that wait for a call, 0 to 10,000; more are dropped and counted."
    )
    budget: Budget = Field(
        default_factory=Budget,
        description="What shadow calls may cost, apart from the budgets of tenants and policies; left out: no limit.",
    )


class Ensemble(Section):
    """Several tiers answer in parallel and one answer is picked: of requests whose strategy is `ensemble`, a share."""

    members: Annotated[list[Name], Field(min_length=2, max_length=MAX_MEMBERS)] | None = Field(
        default=None,
        description="Tiers that answer, 2 to 4; those that a request does not permit are left out. null: the lowest and "
        "the highest that the request permits.",
    )
    chooser: Chooser | None = Field(
        default=None,
        description="judge: the policy's judge compares, in both orders; gates: an answer that the gates accept; "
        "confidence: the same, and the greatest mean token probability. Equals go to the highest tier. null: "
        "the judge where the policy has one, else gates.",
    )
    share: Share = Field(
        default=0.1,
        description="Share of the requests whose strategy is `ensemble` that are carried out so, 0 to 1; drawn by the "
        "decision's id. One that a caller forces always is.",
    )
    otherwise: OtherwiseName = Field(
        default="cascade",
        description="How the rest, and requests that permit one tier only, are carried out.",
    )
    timeout_s: Seconds = Field(
        default=60.0,
        description="Most time of the answers in seconds, above 0 to 3,600; who has none by then is cancelled.",
    )
