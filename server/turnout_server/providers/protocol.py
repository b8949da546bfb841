"""The narrow protocol that every provider speaks, and the one error that comes out of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.chat import ChatRequest, ChatResponse, StreamEvent
from turnout_server.providers.credentials import KeySource
from turnout_server.providers.faults import FaultKind

Clock = Callable[[], float]
"""Monotonic seconds."""

DEFAULT_CONNECT_S = 3.0
DEFAULT_FIRST_TOKEN_S = 10.0
DEFAULT_INTER_TOKEN_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """The deployment that a call goes to.

    Attributes:
        name: the deployment as the policy names it.
        provider: the adapter's name in the policy, such as openai or groq; it carries the dialect.
        model: the provider's name of the model.
        endpoint: http or https address of the API; None: the provider's public one.
        key: where the key comes from; None: none is sent.
        max_output_tokens: the deployment's own limit.
    """

    name: str
    provider: str
    model: str
    endpoint: str | None = None
    key: KeySource | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a call may take; each timer is the lesser of its limit and the deadline.

    Attributes:
        deadline: instant on the injected clock at which the call ends in any case; None: never.
        connect_s: to a connected, TLS-checked socket.
        first_token_s: from the start of the call to the first content.
        inter_token_s: between pieces of content.
        response_s: `complete` alone, to the response's headers, which mostly come when the answer is whole; None:
            `first_token_s`.
    """

    deadline: float | None = None
    connect_s: float = DEFAULT_CONNECT_S
    first_token_s: float = DEFAULT_FIRST_TOKEN_S
    inter_token_s: float = DEFAULT_INTER_TOKEN_S
    response_s: float | None = None


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One upstream call; `attempt` is its ordinal among the attempts of a request."""

    target: Target
    request: ChatRequest = field(repr=False)
    limits: Limits = Limits()
    attempt: int = 0


class UpstreamError(Exception):
    """A call that failed. Neither the message nor the repr holds a prompt, a key or the provider's own text.

    Attributes:
        kind: what went wrong, as retries and breakers tell it apart.
        http_status: of the response; None where none came.
        native_code: the provider's code of the error, bounded and scrubbed; empty where it has none.
        retry_after_s: how long the provider wants to be left alone; None where it does not say.
        bytes_seen: True if any byte of a response came.
        partial_text: what came of the answer before the fault; never in the message.
        content_seen: True if any content came, text or not; then another attempt would be a second answer.
        usage: token counts so far; None if none came.
        request_id: the provider's identifier of the request.
        field: for a request that this wire format cannot carry, the field at fault.
    """

    def __init__(
        self,
        kind: FaultKind,
        *,
        http_status: int | None = None,
        native_code: str = "",
        retry_after_s: float | None = None,
        bytes_seen: bool = False,
        content_seen: bool = False,
        partial_text: str = "",
        usage: TokenCounts | None = None,
        request_id: str = "",
        field: str = "",
    ) -> None:
        causes = [f"HTTP {http_status}" if http_status else "", native_code, field]
        told = ", ".join(cause for cause in causes if cause)
        super().__init__(f"{kind} ({told})" if told else str(kind))
        self.kind = kind
        self.http_status = http_status
        self.native_code = native_code
        self.retry_after_s = retry_after_s
        self.bytes_seen = bytes_seen
        self.content_seen = content_seen
        self.partial_text = partial_text
        self.usage = usage
        self.request_id = request_id
        self.field = field


class Provider(Protocol):
    """Something that answers chat requests."""

    async def complete(self, call: ProviderCall) -> ChatResponse:
        """The whole answer at once. Cancelling aborts the upstream call.

        Raises:
            UpstreamError: and nothing else.
        """
        ...

    def stream(self, call: ProviderCall) -> AsyncGenerator[StreamEvent, None]:
        """The answer as it comes; the last event is `Finished`, and a stream without it raises.

        Cancelling, or closing the generator (`contextlib.aclosing`), aborts the upstream call.

        Raises:
            UpstreamError: and nothing else.
        """
        ...
