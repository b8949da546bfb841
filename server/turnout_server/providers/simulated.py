"""A provider that answers without a network: every answer is a function of seed, model and messages.

It makes `turnout serve` complete without a key, and strategies, gates and retries testable: answers are good or poor,
late, refused or failed in stated shares, and the same request meets the same fate each time.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.chat import (
    ChatRequest,
    ChatResponse,
    Finished,
    FinishReason,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    TextPart,
    TokenLogprob,
    ToolCallDelta,
    UsageUpdate,
)
from turnout_server.providers.collecting import collect
from turnout_server.providers.encoding import output_limit
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import Clock, Limits, ProviderCall, UpstreamError
from turnout_server.providers.simulated_text import (
    choose_tool,
    count_tokens,
    good_text,
    logprob_of,
    poor_text,
    split_tokens,
)

Sleep = Callable[[float], Awaitable[None]]

_STATUS = {
    FaultKind.RATE_LIMITED: 429,
    FaultKind.QUOTA_EXHAUSTED: 429,
    FaultKind.OVERLOADED: 529,
    FaultKind.SERVER_ERROR: 500,
    FaultKind.CONTEXT_EXCEEDED: 400,
    FaultKind.CONTENT_POLICY: 400,
    FaultKind.BAD_REQUEST: 400,
    FaultKind.CONFIGURATION: 401,
}
REFUSAL = "I can't help with that."
_MID_STREAM = (FaultKind.CUT, FaultKind.STALLED)


@dataclass(frozen=True, slots=True)
class SimulatedFault:
    """A fault that befalls a share of attempts.

    Attributes:
        kind: what goes wrong; CUT and STALLED come after half of the answer, the others before it.
        share: of attempts, 0 to 1. A retry draws anew.
        retry_after_s: for RATE_LIMITED and OVERLOADED.
    """

    kind: FaultKind
    share: float
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """How a model behaves.

    Attributes:
        quality: share of prompts that it answers well, 0 to 1. A prompt that a model answers well is answered well
            by every better one with the same seed.
        first_token_s: seconds to the first token.
        per_token_s: seconds a token after it.
        refusal_share: of prompts, 0 to 1, that it refuses.
        faults: what goes wrong; their shares add up to at most 1.
        context_window: input tokens above which the context is exceeded; None: no limit.
        words: most words of a good answer.
    """

    quality: float = 1.0
    first_token_s: float = 0.0
    per_token_s: float = 0.0
    refusal_share: float = 0.0
    faults: tuple[SimulatedFault, ...] = ()
    context_window: int | None = None
    words: int = 40

    def __post_init__(self) -> None:
        shares = [self.quality, self.refusal_share, sum(fault.share for fault in self.faults)]
        for name, share in zip(("quality", "refusal_share", "faults"), shares, strict=True):
            if not 0 <= share <= 1:
                raise ValueError(f"{name}: {share}, 0 to 1 needed")


# The deployments of the shipped policy. The qualities and times are of no real model.
DEFAULT_MODELS: Mapping[str, SimulatedModel] = {
    "sim-small": SimulatedModel(quality=0.7, first_token_s=0.05, per_token_s=0.002),
    "sim-mid": SimulatedModel(quality=0.85, first_token_s=0.1, per_token_s=0.004),
    "sim-frontier": SimulatedModel(quality=0.97, first_token_s=0.2, per_token_s=0.008),
}


@dataclass(frozen=True, slots=True)
class SimulatedProvider:
    """Answers for models by name; one that is not named behaves like `default`.

    Attributes:
        models: behaviour by model name.
        default: of all other models.
        seed: of all draws.
        sleep: takes the time that a model needs; its seconds are those of `clock`.
        clock: monotonic seconds, in which deadlines are.
    """

    models: Mapping[str, SimulatedModel] = field(default_factory=lambda: DEFAULT_MODELS)
    default: SimulatedModel = SimulatedModel()
    seed: int = 0
    sleep: Sleep = asyncio.sleep
    clock: Clock = time.monotonic

    async def complete(self, call: ProviderCall) -> ChatResponse:
        """See `Provider.complete`."""
        return await collect(self.stream(call))

    async def stream(self, call: ProviderCall) -> AsyncGenerator[StreamEvent, None]:
        """See `Provider.stream`."""
        model = self.models.get(call.target.model, self.default)
        draw = _Draw(self.seed, call)
        fault = draw.fault(model)
        input_tokens = _input_tokens(call.request)
        if model.context_window is not None and input_tokens > model.context_window:
            fault = SimulatedFault(FaultKind.CONTEXT_EXCEEDED, 1.0)
        limits = call.limits
        if fault is not None and fault.kind in (FaultKind.FIRST_TOKEN_TIMEOUT, FaultKind.DEADLINE):
            await self._wait(float("inf"), limits.first_token_s, limits, FaultKind.FIRST_TOKEN_TIMEOUT)
        await self._wait(model.first_token_s, limits.first_token_s, limits, FaultKind.FIRST_TOKEN_TIMEOUT)
        if fault is not None and fault.kind not in _MID_STREAM:
            raise _error(fault, draw.request_id)
        usage = TokenCounts(input_uncached=input_tokens)
        yield UsageUpdate(usage)
        answer, reason = _answer(model, call, draw)
        cut_at = len(answer) // 2 if fault is not None else len(answer)
        sent: list[str] = []
        for index, event in enumerate(answer):
            if fault is not None and index == cut_at:
                if fault.kind is FaultKind.STALLED:
                    await self._wait(float("inf"), limits.inter_token_s, limits, fault.kind, sent, usage)
                raise _error(fault, draw.request_id, sent, usage)
            if index:
                await self._wait(
                    model.per_token_s, limits.inter_token_s, limits, FaultKind.STALLED, sent, usage
                )
            if isinstance(event, TextDelta):
                sent.append(event.text)
            usage = TokenCounts(input_uncached=input_tokens, output_text=index + 1)
            yield event
        yield Finished(
            finish_reason=reason,
            native_finish_reason="simulated",
            usage=usage,
            model_version=f"{call.target.model}-1",
            request_id=draw.request_id,
        )

    async def _wait(
        self,
        time_s: float,
        limit_s: float,
        limits: Limits,
        late: FaultKind,
        sent: list[str] | None = None,
        usage: TokenCounts | None = None,
    ) -> None:
        """Takes the model's time, or as much of it as limit and deadline leave; then it is too late."""
        kind = late
        if limits.deadline is not None and (left_s := limits.deadline - self.clock()) <= limit_s:
            limit_s, kind = max(left_s, 0.0), FaultKind.DEADLINE
        if time_s > 0:
            await self.sleep(min(time_s, limit_s))
        if time_s > limit_s:
            raise UpstreamError(
                kind,
                bytes_seen=sent is not None,
                content_seen=bool(sent),
                partial_text="".join(sent or ()),
                usage=usage,
            )


class _Draw:
    """What chance has in store for a call: equal calls draw equal lots."""

    def __init__(self, seed: int, call: ProviderCall) -> None:
        request = call.request
        said = "\x1e".join(f"{message.role}\x1f{message.text}" for message in request.messages)
        self._prompt = f"{seed}\x1d{said}"
        self._model = f"{self._prompt}\x1d{call.target.model}"
        self._attempt = f"{self._model}\x1d{call.target.name}\x1d{call.attempt}"
        self.request_id = f"sim-{_digest(self._attempt)[:8].hex()}"

    @property
    def difficulty(self) -> float:
        """Of the prompt, the same for all models: a model is up to it if its quality is above."""
        return _unit(f"{self._prompt}\x1ddifficulty")

    @property
    def words_seed(self) -> bytes:
        """For the words of the answer."""
        return _digest(f"{self._model}\x1dwords")

    def refuses(self, model: SimulatedModel) -> bool:
        """True if the model refuses this prompt."""
        return _unit(f"{self._model}\x1drefusal") < model.refusal_share

    def fault(self, model: SimulatedModel) -> SimulatedFault | None:
        """What befalls this attempt."""
        point = _unit(f"{self._attempt}\x1dfault")
        for fault in model.faults:
            if point < fault.share:
                return fault
            point -= fault.share
        return None


def _answer(model: SimulatedModel, call: ProviderCall, draw: _Draw) -> tuple[list[StreamEvent], FinishReason]:
    """The answer's events, a token each, and why it ends."""
    request = call.request
    if draw.refuses(model):
        return [RefusalDelta(token) for token in split_tokens(REFUSAL)], FinishReason.REFUSAL
    good = draw.difficulty < model.quality
    if (called := choose_tool(request)) is not None:
        tool, arguments = called
        first = ToolCallDelta(0, f"call-{draw.request_id}", tool)
        rest = (ToolCallDelta(0, arguments=token) for token in split_tokens(arguments))
        return [first, *rest], FinishReason.TOOL_CALLS
    tokens = split_tokens(good_text(request, draw.words_seed, model.words) if good else poor_text(request))
    limit = output_limit(call)
    reason = FinishReason.STOP if limit is None or len(tokens) <= limit else FinishReason.LENGTH
    return [TextDelta(token, _logprobs(request, token, good)) for token in tokens[:limit]], reason


def _logprobs(request: ChatRequest, token: str, good: bool) -> tuple[TokenLogprob, ...]:
    if not request.wants_logprobs:
        return ()
    return (TokenLogprob(token, logprob_of(token, good)),)


def _input_tokens(request: ChatRequest) -> int:
    """Tokens of all messages: text as words and marks, 3 a message, and 256 for what is not text."""
    return sum(
        3 + sum(count_tokens(part.text) if isinstance(part, TextPart) else 256 for part in message.parts)
        for message in request.messages
    ) + sum(count_tokens(tool.parameters_json) for tool in request.tools)


def _error(
    fault: SimulatedFault,
    request_id: str,
    sent: list[str] | None = None,
    usage: TokenCounts | None = None,
) -> UpstreamError:
    status = _STATUS.get(fault.kind)
    return UpstreamError(
        fault.kind,
        http_status=status,
        native_code="simulated",
        retry_after_s=fault.retry_after_s,
        bytes_seen=status is not None or sent is not None,
        content_seen=bool(sent),
        partial_text="".join(sent or ()),
        usage=usage,
        request_id=request_id,
    )


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def _unit(text: str) -> float:
    """A number from 0 to below 1 that depends on the text alone."""
    return int.from_bytes(_digest(text)[:7]) / (1 << 56)
