"""What the simulated provider says: words that obey the form that was asked for, and mean nothing."""

from __future__ import annotations

import random
import re

import orjson

from turnout_server.providers.chat import ChatRequest, FormatKind, Role, ToolChoiceMode
from turnout_server.providers.schema_example import example_of

_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+$")
_WORDS = [
    "the",
    "signal",
    "shows",
    "a",
    "clear",
    "line",
    "through",
    "the",
    "junction",
    "and",
    "every",
    "train",
    "keeps",
    "its",
    "own",
    "time",
    "while",
    "the",
    "points",
    "move",
    "only",
    "when",
    "the",
    "track",
    "is",
    "free",
    "so",
    "the",
    "shortest",
    "way",
    "wins",
    "unless",
    "a",
    "heavier",
    "load",
    "needs",
    "the",
    "better",
    "road",
]
_POOR = "I am not sure, but it might perhaps be something along those lines."


def split_tokens(text: str) -> list[str]:
    """The text in pieces of a word or a mark, which joined give the text."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """How many pieces the text has."""
    return sum(1 for _ in _TOKEN.finditer(text))


def good_text(request: ChatRequest, seed: bytes, words: int) -> str:
    """An answer in the form that was asked for."""
    draw = random.Random(seed)
    wanted = request.response_format
    if wanted.kind is FormatKind.JSON_SCHEMA:
        schema = orjson.loads(wanted.schema_json or "{}")
        return orjson.dumps(example_of(schema, schema)).decode()
    if wanted.kind is FormatKind.JSON_OBJECT:
        return orjson.dumps({"answer": draw.choice(_WORDS)}).decode()
    count = draw.randint(max(1, words // 2), max(1, words))
    sentence = " ".join(draw.choice(_WORDS) for _ in range(count))
    return f"{sentence[0].upper()}{sentence[1:]}."


def poor_text(request: ChatRequest) -> str:
    """An answer that a gate should reject: it hedges, or is broken JSON where JSON was asked for."""
    if request.response_format.kind is not FormatKind.TEXT:
        return '{"answer": '
    return _POOR


def choose_tool(request: ChatRequest) -> tuple[str, str] | None:
    """The tool that must be called and arguments that fit its schema; None where none must be."""
    choice = request.tool_choice
    answered = bool(request.messages) and request.messages[-1].role is Role.TOOL
    if not request.tools or answered or choice.mode not in (ToolChoiceMode.REQUIRED, ToolChoiceMode.NAMED):
        return None
    tool = next((tool for tool in request.tools if tool.name == choice.name), request.tools[0])
    schema = orjson.loads(tool.parameters_json or "{}")
    return tool.name, orjson.dumps(example_of(schema, schema)).decode()


def logprob_of(token: str, good: bool) -> float:
    """A log-probability that is near 0 for good answers and low for poor ones."""
    return -(0.05 if good else 1.5) - (len(token) % 3) * 0.01
