"""What a fake model answers, before a wire gives it its form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

TOKENS = 60


def numbered_tokens(count: int = TOKENS) -> tuple[str, ...]:
    """Tokens of an ordinary answer; each says its own place, so that a lost or doubled one shows."""
    return tuple(f"t{number:02d} " for number in range(1, count + 1))


def split_words(text: str) -> tuple[str, ...]:
    """Words with the space after each; joined, the text. None for an empty one."""
    *words, last = text.split(" ")
    return (*(word + " " for word in words), *([last] if last else []))


class Finish(Enum):
    """Why an answer ended."""

    STOP = auto()
    LENGTH = auto()
    TOOL_CALLS = auto()
    REFUSAL = auto()
    """The model refuses, in the wire's own field."""
    BLOCKED = auto()
    """A filter beside the model stops the answer, or the prompt."""
    CONTEXT_WINDOW = auto()
    """The model's window is full."""


@dataclass(frozen=True)
class ToolCall:
    """A call that the model asks for; its arguments come in fragments.

    Attributes:
        id: the call's identifier.
        name: the tool's name.
        fragments: joined, the arguments as JSON text.
    """

    id: str
    name: str
    fragments: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """The whole arguments."""
        return "".join(self.fragments)


@dataclass(frozen=True)
class Usage:
    """Token counts in parts that do not overlap; each wire adds them up in its own way."""

    input_uncached: int = 12
    input_cache_read: int = 0
    input_cache_write_5m: int = 0
    input_cache_write_1h: int = 0
    output_text: int = TOKENS
    output_reasoning: int = 0

    @property
    def input_cache_write(self) -> int:
        """Tokens written to a cache of either lifetime."""
        return self.input_cache_write_5m + self.input_cache_write_1h

    @property
    def input_total(self) -> int:
        """All input tokens."""
        return self.input_uncached + self.input_cache_read + self.input_cache_write

    @property
    def output_total(self) -> int:
        """All output tokens."""
        return self.output_text + self.output_reasoning


@dataclass(frozen=True)
class Answer:
    """An answer in pieces.

    Attributes:
        tokens: the text, one streamed piece a token.
        reasoning: visible reasoning before the text, one streamed piece a token.
        tool_calls: calls after the text.
        refusal: text of a refusal, for the wires that have a field for it; empty otherwise.
        finish: why it ended.
        usage: what it is billed for.
    """

    tokens: tuple[str, ...] = numbered_tokens()
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str = ""
    finish: Finish = Finish.STOP
    usage: Usage = Usage()

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.tokens)

    @classmethod
    def of(cls, text: str, *, finish: Finish = Finish.STOP) -> Answer:
        """An answer of this text, a word a token."""
        tokens = split_words(text)
        return cls(tokens=tokens, finish=finish, usage=Usage(output_text=len(tokens)))
