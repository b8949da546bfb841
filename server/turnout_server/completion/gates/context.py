"""What the gates know of a request; made once, at its admission."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import re2

from turnout_server.completion.gates.schemas import CompiledSchema, compile_schema
from turnout_server.providers.chat import ChatRequest, FormatKind, ToolChoice

# A request's 64, and as many of its policy.
MAX_KEYWORDS = 128
MAX_KEYWORD_CHARS = 256
MAX_PATTERN_CHARS = 1024
# Bytes of a compiled pattern; a counted repetition such as (a{100}){100} would be larger.
_MAX_PATTERN_MEMORY = 1 << 20


class Form(StrEnum):
    """A form that an answer can be required to have."""

    JSON = "json"
    CODE_BLOCK = "code_block"
    BULLETS = "bullets"
    NUMBERED = "numbered"
    TABLE = "table"
    ONE_LINE = "one_line"
    NUMBER = "number"


@dataclass(frozen=True)
class Required:
    """What an answer must look like.

    Attributes:
        forms: all of them must be there.
        keywords: words that must all occur, in any case.
        forbidden: words that must not occur, in any case.
        pattern: RE2 pattern that must match somewhere; None: none. RE2 takes linear time whatever the pattern.
        min_chars: least length of the text.
    """

    forms: tuple[Form, ...] = ()
    keywords: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    pattern: str | None = None
    min_chars: int = 0

    def __post_init__(self) -> None:
        for name in ("keywords", "forbidden"):
            words = getattr(self, name)
            if len(words) > MAX_KEYWORDS:
                raise ValueError(f"{name}: {len(words)} words, limit: {MAX_KEYWORDS}")
            for word in words:
                if not 0 < len(word) <= MAX_KEYWORD_CHARS:
                    raise ValueError(
                        f"{name}: a word of {len(word)} characters, limits: 1 to {MAX_KEYWORD_CHARS}"
                    )
        if self.pattern is not None and len(self.pattern) > MAX_PATTERN_CHARS:
            raise ValueError(f"pattern: {len(self.pattern)} characters, limit: {MAX_PATTERN_CHARS}")


@dataclass(frozen=True)
class GateContext:
    """What the gates know of a request.

    Attributes:
        wants_json: the answer must be JSON.
        schema: what it must fit besides.
        tools: schemas of the tools' arguments, by name.
        tool_choice: whether a tool must or must not be called.
        required: what else the answer must look like.
        pattern: the compiled `required.pattern`.
        max_output_tokens: the caller's own limit; None: none was given.
        task: what the request was taken for, which selects thresholds.
        refusals_before: how many tiers have declined this request already.
    """

    wants_json: bool = False
    schema: CompiledSchema | None = None
    tools: Mapping[str, CompiledSchema] = field(default_factory=dict)
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    required: Required = Required()
    pattern: Any = None
    max_output_tokens: int | None = None
    task: str = ""
    refusals_before: int = 0


def read_context(
    request: ChatRequest, *, required: Required = Required(), task: str = "", refusals_before: int = 0
) -> GateContext:
    """Compiles what a request asks of its answer.

    Raises:
        SchemaError: names the field whose schema cannot be used.
        ValueError: `required.pattern` is no RE2 pattern, or too large.
    """
    wanted = request.response_format
    return GateContext(
        wants_json=wanted.kind is not FormatKind.TEXT,
        schema=(
            compile_schema(wanted.schema_json, "response_format.schema")
            if wanted.kind is FormatKind.JSON_SCHEMA
            else None
        ),
        tools={
            tool.name: compile_schema(tool.parameters_json, f"tools[{index}].parameters")
            for index, tool in enumerate(request.tools)
        },
        tool_choice=request.tool_choice,
        required=required,
        pattern=None if required.pattern is None else compile_pattern(required.pattern),
        max_output_tokens=request.max_output_tokens,
        task=task,
        refusals_before=refusals_before,
    )


def compile_pattern(pattern: str) -> Any:
    """An RE2 pattern; a large one is refused.

    Raises:
        ValueError: it is none, or too large.
    """
    options = re2.Options()
    options.max_mem = _MAX_PATTERN_MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"pattern: {error}") from error
