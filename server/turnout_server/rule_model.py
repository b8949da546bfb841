"""The rules of a policy: on which requests they act, and what they do."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from turnout_server.policy_types import (
    AnswerUse,
    CallerKey,
    CallerValue,
    Description,
    Keyword,
    Name,
    Need,
    Section,
    Share,
    StrategyName,
    defect,
)

# Features that `when` has fields of its own for.
SPAN_FIELDS = ("tokens", "request_tokens")


class Span(Section):
    """A range of numbers, both ends included; at least one end is set."""

    min: float | None = Field(default=None, description="Least value; null: no lower end.")
    max: float | None = Field(default=None, description="Greatest value; null: no upper end.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min is None and self.max is None:
            raise defect("neither min nor max is set, so it would always match")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise defect("min {min} is greater than max {max}", min=self.min, max=self.max)
        return self


class When(Section):
    """Conditions of a rule; all that are set must hold. Without any, the rule matches every request."""

    tenant: list[CallerValue] = Field(
        default=[],
        description="The caller's tenant is one of these; each at most 256 bytes. An empty text stands for "
        "none given.",
    )
    user_tier: list[CallerValue] = Field(
        default=[],
        description="The end user's plan is one of these; each at most 256 bytes. An empty text stands for "
        "none given.",
    )
    feature: list[CallerValue] = Field(
        default=[],
        description="The product feature that asks is one of these; each at most 256 bytes. An empty text "
        "stands for none given.",
    )
    labels: dict[CallerKey, Annotated[list[CallerValue], Field(min_length=1)]] = Field(
        default={},
        description="By label key: the caller's label has one of these values; at least one value a key. "
        "Every key named must match. Keys and values at most 256 bytes.",
    )
    keywords: list[Keyword] = Field(
        default=[],
        description="The judged text holds one of these words or phrases, whole words, upper and lower case "
        "alike; each at most 256 bytes.",
    )
    tasks: list[Name] = Field(
        default=[],
        description="The classifier takes the request for one of these tasks of the bundle. Does not match "
        "where the classifier did not run.",
    )
    task_probability: Share = Field(
        default=0.0, description="Least probability of the task, 0 to 1; only together with `tasks`."
    )
    needs: list[Need] = Field(default=[], description="The answer needs all of these abilities.")
    answer_use: list[AnswerUse] = Field(default=[], description="The answer is for one of these uses.")
    tokens: Span | None = Field(
        default=None,
        description="Length of the judged text (the last user turn), in word pieces of the bundle.",
    )
    request_tokens: Span | None = Field(
        default=None,
        description="Length of the whole request with system prompt and history, in word pieces, estimated "
        "from bytes beyond what is read.",
    )
    features: dict[Name, Span] = Field(
        default={},
        description="By text or context feature, as an explained decision names them: the range its raw "
        "value lies in, in the feature's own unit.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.task_probability and not self.tasks:
            raise defect("task_probability acts only together with tasks")
        for name in SPAN_FIELDS:
            if name in self.features:
                raise defect("features names {name}, which is a field of `when` itself", name=name)
        return self


class Then(Section):
    """What a rule does; at least one field is set. Of each field the first matching rule wins; what is
    forbidden adds up over all of them.
    """

    tier: Name | None = Field(
        default=None,
        description="This tier serves, within what the caller allows; the classifier is not asked.",
    )
    floor: Name | None = Field(default=None, description="No tier below this one.")
    ceiling: Name | None = Field(default=None, description="No tier above this one.")
    strategy: StrategyName | None = Field(
        default=None, description="How `Complete` carries the decision out."
    )
    deployment: Name | None = Field(
        default=None, description="This deployment, and so its tier, serves, if it fits and is healthy."
    )
    bar: Share | None = Field(
        default=None,
        description="Quality bar in place of the policy's: least p_sufficient, 0 to 1, at which a tier "
        "serves.",
    )
    bar_shift: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        default=None, description="Added to the bar, -1 to 1; the sum is kept within 0 to 1."
    )
    forbid_deployments: list[Name] = Field(default=[], description="Deployments that may not serve.")
    forbid_regions: list[Name] = Field(default=[], description="Regions whose deployments may not serve.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if all(value is None or value == [] for value in self.__dict__.values()):
            raise defect("empty, so the rule would do nothing")
        return self


class Rule(Section):
    """If a request is like this, then do that."""

    name: Name = Field(description="What reasons call the rule; unique in its policy, at most 128 bytes.")
    description: Description = Field(default="", description="For people; at most 1,024 bytes.")
    when: When = Field(
        default_factory=When, description="On which requests it acts; left out or empty: on every request."
    )
    then: Then = Field(
        description="What it does; at least one field.", json_schema_extra={"minProperties": 1}
    )
