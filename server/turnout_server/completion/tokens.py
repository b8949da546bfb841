"""Token counts of one upstream call, in parts that do not overlap."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import add, attrgetter


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """What a provider counted, converted so that every token stands in exactly one part.

    Providers count differently: OpenAI's prompt tokens include cached ones, Anthropic's exclude them; some include
    reasoning in the output, some do not. Adapters convert; totals are always derived.

    Attributes:
        input_uncached: input tokens that no cache served or took.
        input_cache_read: input tokens read from the provider's cache.
        input_cache_write_5m: input tokens written to a cache that lives five minutes, or as long as the provider likes.
        input_cache_write_1h: input tokens written to a cache that lives an hour.
        output_text: output tokens that the caller can see, tool calls among them.
        output_reasoning: output tokens of hidden reasoning.
    """

    input_uncached: int = 0
    input_cache_read: int = 0
    input_cache_write_5m: int = 0
    input_cache_write_1h: int = 0
    output_text: int = 0
    output_reasoning: int = 0

    def __post_init__(self) -> None:
        if min(_values(self)) < 0:
            name, value = next(pair for pair in zip(_PARTS, _values(self), strict=True) if pair[1] < 0)
            raise ValueError(f"{name}: {value}, at least 0 needed")

    @property
    def input_total(self) -> int:
        """All input tokens."""
        return (
            self.input_uncached
            + self.input_cache_read
            + self.input_cache_write_5m
            + self.input_cache_write_1h
        )

    @property
    def output_total(self) -> int:
        """All output tokens."""
        return self.output_text + self.output_reasoning

    def __add__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(*map(add, _values(self), _values(other)))


_PARTS = tuple(part.name for part in fields(TokenCounts))
_values = attrgetter(*_PARTS)
