"""What the three wires have in common: calls, events of a stream, problems, and the replies that tell them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto
from typing import Any, Protocol

from tests.faults.answer import Answer, Usage

# A moment in the past, so that nothing a server sends depends on when a test runs.
CREATED_S = 1_700_000_000


class Wire(StrEnum):
    """A provider's wire format."""

    OPENAI = "openai"
    """Chat completions, as OpenAI and the servers compatible with it speak them."""
    ANTHROPIC = "anthropic"
    """Messages."""
    GEMINI = "gemini"
    """generateContent and streamGenerateContent."""


@dataclass(frozen=True)
class Call:
    """A request as its wire means it.

    Attributes:
        wire: the format it came in.
        model: the model it names.
        stream: whether it asks for a stream.
        sse: whether the stream is of server-sent events; without them Gemini streams one JSON array.
        usage_in_stream: whether the stream tells the usage.
        logprobs: whether log-probabilities are asked for.
        prefilled: whether the conversation ends with a turn of the assistant.
        body: the request's JSON.
    """

    wire: Wire
    model: str
    stream: bool
    body: Mapping[str, Any]
    sse: bool = True
    usage_in_stream: bool = True
    logprobs: bool = False
    prefilled: bool = False


class Part(Enum):
    """What an event of a stream brings."""

    START = auto()
    TOKEN = auto()
    """A piece of text."""
    OTHER = auto()
    """A piece of reasoning, of a refusal or of a tool call, or what frames one."""
    FINISH = auto()
    """The reason why the answer ended."""
    USAGE = auto()
    """Token counts alone."""
    END = auto()
    """The wire's own end mark."""


@dataclass(frozen=True)
class Event:
    """One event of a stream.

    Attributes:
        part: what it brings.
        data: its payload, JSON text but for OpenAI's end mark.
        name: its name; empty on the wires whose events have none.
    """

    part: Part
    data: str
    name: str = ""


def event(part: Part, payload: Mapping[str, Any], name: str = "") -> Event:
    """An event with a JSON payload."""
    return Event(part, compact(payload), name)


def compact(payload: object) -> str:
    """JSON without spaces, in UTF-8's own characters."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def parsed(arguments: str) -> Any:
    """Arguments as the object that some wires send; what is no JSON stays text, which a reader must reject."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


class Problem(Enum):
    """What a provider complains of."""

    RATE_LIMITED = auto()
    QUOTA_EXHAUSTED = auto()
    SERVER_ERROR = auto()
    UNAVAILABLE = auto()
    OVERLOADED = auto()
    CONTEXT_EXCEEDED = auto()
    CONTENT_POLICY = auto()
    BAD_REQUEST = auto()
    PREFILL_REJECTED = auto()
    UNAUTHORIZED = auto()
    FORBIDDEN = auto()
    NOT_FOUND = auto()


@dataclass(frozen=True)
class Reply:
    """A whole response.

    Attributes:
        status: HTTP status.
        body: JSON text.
        headers: beside the content's type and length.
    """

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


class BadCallError(Exception):
    """The request is not what the wire's provider takes.

    Attributes:
        problem: what the provider would complain of.
        message: which rule is broken.
    """

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem = problem
        self.message = message


class WireFormat(Protocol):
    """Forms of one wire."""

    line_end: str
    """What ends a line of its streams."""

    def read(self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Call:
        """The call of a request; raises BadCallError where the provider would refuse it."""

    def answer(self, answer: Answer, call: Call) -> str:
        """The body of a unary response."""

    def events(self, answer: Answer, call: Call) -> Iterator[Event]:
        """The events of a stream."""

    def problem(self, problem: Problem, message: str = "", *, retry_info_s: float | None = None) -> Reply:
        """The error response for a problem; with Gemini's RetryInfo where one is given."""

    def problem_event(self, problem: Problem) -> Event:
        """The same, told within a stream."""


def told_usage(usage: Usage, wire: Wire) -> Usage:
    """What a reader can know of a usage from what the wire tells: a part that is not told stands in its neighbour."""
    if wire is Wire.ANTHROPIC:
        return replace(usage, output_text=usage.output_total, output_reasoning=0)
    uncached = usage.input_uncached + usage.input_cache_write
    return replace(usage, input_uncached=uncached, input_cache_write_5m=0, input_cache_write_1h=0)


def require(held: object, problem: Problem, message: str) -> None:
    """Raises BadCallError unless the condition holds."""
    if not held:
        raise BadCallError(problem, message)
