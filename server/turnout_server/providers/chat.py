"""What is asked of a provider and what comes back, in words that no wire format owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from turnout_server.completion.tokens import TokenCounts


class Role(StrEnum):
    """Who speaks in a message."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    DEVELOPER = "developer"
    TOOL = "tool"


class MediaKind(StrEnum):
    """What content that is not text shows."""

    IMAGE = "image"
    AUDIO = "audio"
    FILE = "file"


class CacheLifetime(StrEnum):
    """How long a provider's prompt cache shall keep a prefix, where it lets the caller say."""

    FIVE_MINUTES = "5m"
    ONE_HOUR = "1h"


class ToolChoiceMode(StrEnum):
    """Whether the model calls a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


class FormatKind(StrEnum):
    """The form that the answer must have."""

    TEXT = "text"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"


class ReasoningEffort(StrEnum):
    """How much hidden reasoning is asked for; adapters take the nearest that their wire format knows."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class FinishReason(StrEnum):
    """Why the model stopped, in one vocabulary for all wire formats."""

    STOP = "stop"
    """At a natural end or a stop sequence."""
    LENGTH = "length"
    """At the limit of output tokens."""
    TOOL_CALLS = "tool_calls"
    """To have tools called."""
    CONTENT_FILTER = "content_filter"
    """The provider's filter blocked the prompt or the answer."""
    REFUSAL = "refusal"
    """The model declined, and the wire format says so outside the text."""
    CONTEXT_EXCEEDED = "context_exceeded"
    """At the end of the context window."""
    PAUSED = "paused"
    """A long turn was paused; the provider would go on if asked again."""
    ERROR = "error"
    """The provider ended the answer for a fault of its own, such as a malformed tool call."""
    OTHER = "other"
    """A reason that this version does not know; see the native one."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text; `cache` marks the end of a stable prefix for the provider's prompt cache."""

    text: str
    cache: CacheLifetime | None = None


@dataclass(frozen=True, slots=True)
class MediaPart:
    """Content that is not text: the bytes, or an https address that is handed to the provider, never fetched here.

    Attributes:
        kind: what it shows.
        media_type: IANA media type, such as image/png.
        data: the bytes; None where `uri` is set.
        uri: an https address; None where `data` is set.
        name: a file's name, where the provider takes one.
        cache: marks the end of a stable prefix for the provider's prompt cache.
    """

    kind: MediaKind
    media_type: str
    data: bytes | None = field(default=None, repr=False)
    uri: str | None = field(default=None, repr=False)
    name: str = ""
    cache: CacheLifetime | None = None

    def __post_init__(self) -> None:
        if (self.data is None) == (self.uri is None):
            raise ValueError("data, uri: exactly one needed")
        if self.uri is not None and not self.uri.startswith("https://"):
            raise ValueError("uri: not an https address")


Part = TextPart | MediaPart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asked for.

    Attributes:
        id: echoed by the tool message that answers the call.
        name: the tool.
        arguments_json: the arguments as the model wrote them; not always valid JSON.
        signature: what the provider wants back unchanged beside the call (Gemini's thought signature); mostly empty.
    """

    id: str
    name: str
    arguments_json: str
    signature: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; `cache` marks its end, tool calls and results included, as the end of a stable prefix."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str = ""
    tool_call_id: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    cache: CacheLifetime | None = None

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        """A turn of text alone."""
        return cls(role, (TextPart(text),))

    @property
    def text(self) -> str:
        """All text of the turn, its pieces joined by line ends."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call; `parameters_json` is the JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters_json: str = '{"type":"object","properties":{}}'
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether, and which, tool is called. `name` is for NAMED alone."""

    mode: ToolChoiceMode = ToolChoiceMode.AUTO
    name: str = ""
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The form of the answer. Name, schema and strictness are for JSON_SCHEMA alone."""

    kind: FormatKind = FormatKind.TEXT
    name: str = "answer"
    schema_json: str = "{}"
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request, as every adapter takes it.

    Attributes:
        messages: the conversation, oldest first.
        tools: what the model may call.
        tool_choice: whether it does.
        response_format: the form of the answer.
        temperature: 0 to 2; None leaves it to the provider.
        top_p: above 0 to 1; None leaves it to the provider.
        max_output_tokens: most tokens of the answer; None: the deployment's limit.
        stop: texts at which the answer ends.
        seed: for answers that repeat, where the provider can.
        logprobs: True asks for the log-probability of every token.
        top_logprobs: alternatives a token, 0 to 20; above 0 implies `logprobs`.
        reasoning_effort: None leaves it to the provider.
        cache_prefix: marks the end of tools and system prompt as a stable prefix.
        cache_key: routes requests with an equal prefix to an equal cache, where the provider can.
        metadata: for records; no adapter sends it upstream.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    response_format: ResponseFormat = ResponseFormat()
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    reasoning_effort: ReasoningEffort | None = None
    cache_prefix: CacheLifetime | None = None
    cache_key: str = ""
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def wants_logprobs(self) -> bool:
        """True where log-probabilities are asked for in either way."""
        return self.logprobs or self.top_logprobs > 0


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of the answer, its natural log-probability, and the likeliest alternatives, best first."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A whole answer.

    Attributes:
        text: what the caller sees.
        tool_calls: the calls that the model asks for.
        refusal: the text of a structural refusal; empty where the provider gave none.
        reasoning: reasoning text where the provider shows it.
        finish_reason: why the model stopped.
        native_finish_reason: the same in the provider's word.
        usage: token counts; None where the provider sent none.
        model_version: the model as the provider names it in the response; empty where it does not.
        request_id: the provider's identifier of the request.
        logprobs: of the text's tokens, where asked for and given.
        mean_logprob: mean over the answer's tokens; None without any.
        ignored: fields of the request that this deployment cannot take and that were left out or clipped.
    """

    text: str
    finish_reason: FinishReason
    native_finish_reason: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str = ""
    reasoning: str = ""
    usage: TokenCounts | None = None
    model_version: str = ""
    request_id: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    mean_logprob: float | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of a tool call: the first delta of an index bears id and name; arguments are to be joined."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    signature: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More of a structural refusal's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of the reasoning; without text where the provider hides it but shows that it goes on."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class UsageUpdate:
    """Token counts so far; the last one holds."""

    usage: TokenCounts


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every stream that ended well."""

    finish_reason: FinishReason
    native_finish_reason: str = ""
    usage: TokenCounts | None = None
    model_version: str = ""
    request_id: str = ""
    mean_logprob: float | None = None
    ignored: tuple[str, ...] = ()


StreamEvent = TextDelta | ToolCallDelta | RefusalDelta | ReasoningDelta | UsageUpdate | Finished
