"""A stream's events gathered into a whole answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from turnout_server.providers.chat import (
    ChatResponse,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)


class ResponseCollector:
    """Takes a stream's events in order; what came so far can be read at any time."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._calls: dict[int, list[ToolCallDelta]] = {}
        self._finished: Finished | None = None

    def add(self, event: StreamEvent) -> None:
        """Takes one event."""
        match event:
            case TextDelta():
                self._text.append(event.text)
                self._logprobs.extend(event.logprobs)
            case ToolCallDelta():
                self._calls.setdefault(event.index, []).append(event)
            case RefusalDelta():
                self._refusal.append(event.text)
            case ReasoningDelta():
                self._reasoning.append(event.text)
            case Finished():
                self._finished = event
            case _:
                pass

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._text)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far; the arguments of the last one may be incomplete."""
        return tuple(_join(deltas) for _, deltas in sorted(self._calls.items()))

    def response(self) -> ChatResponse:
        """The whole answer.

        Raises:
            ValueError: no `Finished` has come.
        """
        if (finished := self._finished) is None:
            raise ValueError("the stream has not finished")
        logprobs = tuple(self._logprobs)
        mean = sum(entry.logprob for entry in logprobs) / len(logprobs) if logprobs else finished.mean_logprob
        return ChatResponse(
            text=self.text,
            finish_reason=finished.finish_reason,
            native_finish_reason=finished.native_finish_reason,
            tool_calls=self.tool_calls,
            refusal="".join(self._refusal),
            reasoning="".join(self._reasoning),
            usage=finished.usage,
            model_version=finished.model_version,
            request_id=finished.request_id,
            logprobs=logprobs,
            mean_logprob=mean,
            ignored=finished.ignored,
        )


async def collect(stream: AsyncGenerator[StreamEvent, None]) -> ChatResponse:
    """The whole answer of a stream, which has the limits of streams: first token and between tokens.

    Raises:
        UpstreamError: of the stream.
    """
    collector = ResponseCollector()
    async with aclosing(stream):
        async for event in stream:
            collector.add(event)
    return collector.response()


def _join(deltas: list[ToolCallDelta]) -> ToolCall:
    return ToolCall(
        id=next((delta.id for delta in deltas if delta.id), ""),
        name=next((delta.name for delta in deltas if delta.name), ""),
        arguments_json="".join(delta.arguments for delta in deltas),
        signature=next((delta.signature for delta in deltas if delta.signature), ""),
    )
