"""The policy file's `gates`: what answers must hold, whoever asks."""

from __future__ import annotations

from typing import Annotated, Literal

import re2
from pydantic import AfterValidator, Field

from turnout_server.policy_types import Name, Section, defect

MAX_WORDS = 64
MAX_WORD_CHARS = 256
MAX_PATTERN_CHARS = 1024

GateName = Literal[
    "refusal",
    "empty",
    "schema",
    "tool_calls",
    "required",
    "length",
    "hedging",
    "confidence",
    "judge",
]
FormName = Literal["json", "code_block", "bullets", "numbered", "table", "one_line", "number"]


def _check_pattern(value: str) -> str:
    options = re2.Options()
    options.max_mem = 1 << 20
    options.log_errors = False
    try:
        re2.compile(value, options)
    except re2.error:
        raise defect("{value} is no RE2 pattern of at most 1 MiB when compiled", value=value) from None
    return value


Word = Annotated[str, Field(min_length=1, max_length=MAX_WORD_CHARS)]
Words = Annotated[list[Word], Field(max_length=MAX_WORDS)]
Pattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_CHARS), AfterValidator(_check_pattern)]
# Confidences go to 1; a threshold above lets no answer through.
Threshold = Annotated[float, Field(gt=0, le=2)]


class Confidence(Section):
    """Least confidences by task: the geometric mean of an answer's token probabilities. `turnout calibrate-gate`
    computes them from graded answers.
    """

    default: Threshold | None = Field(
        default=None,
        description="For tasks without one of their own, above 0 to 1; above 1, at most 2: no answer passes. null: they "
        "are not checked.",
    )
    tasks: dict[Name, Threshold] = Field(default={}, description="By task of the bundle; the same limits.")


class RequiredOfAnswers(Section):
    """What every answer must look like; a request's own GateOptions come on top."""

    forms: list[FormName] = Field(default=[], description="Forms that an answer must have, all of them.")
    keywords: Words = Field(
        default=[],
        description="Words that must all occur, in any case; at most 64, each 1 to 256 characters.",
    )
    forbidden: Words = Field(
        default=[],
        description="Words that must not occur, in any case; at most 64, each 1 to 256 characters.",
    )
    pattern: Pattern | None = Field(
        default=None,
        description="RE2 pattern that must match somewhere, 1 to 1,024 characters; a request's own takes its place. "
        "null: none.",
    )
    min_chars: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Least length of an answer's text in characters, 0 to 1,000,000."
    )


class Gates(Section):
    """What the gates of cascades and ensembles check, beside what a request says itself."""

    skip: list[GateName] = Field(default=[], description="Gates that do not look.")
    confidence: Confidence = Field(
        default_factory=Confidence, description="Log-probability thresholds; left out: none."
    )
    required: RequiredOfAnswers = Field(
        default_factory=RequiredOfAnswers, description="Forms and words; left out: none."
    )
