"""A completion's answer, attempts and events as messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from turnout.v1 import chat_pb2, completion_pb2
from turnout.v1.completion_pb2 import CompleteFailure, CompleteResponse, CompleteStreamResponse
from turnout.v1.routing_pb2 import RouteResponse

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import Attempt, AttemptLog
from turnout_server.completion.completer import Completed
from turnout_server.completion.cost import AttemptCost
from turnout_server.completion.gates.verdict import Gate, GateReason, Verdict
from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.chat import (
    ChatResponse,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    UsageUpdate,
)
from turnout_server.providers.faults import FaultKind

MAX_NATIVE_BYTES = 128
MAX_REQUEST_ID_BYTES = 256
MAX_PARTIAL_BYTES = 1024
# Of a status, whose size clients bound at 8 KiB.
MAX_STATUS_ATTEMPTS = 6


def _numbers(contracts: Any, prefix: str, words: type[StrEnum]) -> dict[Any, Any]:
    return {word: contracts.Value(prefix + word.name) for word in words}


_PURPOSES = _numbers(completion_pb2.AttemptPurpose, "ATTEMPT_PURPOSE_", Purpose)
_RESULTS = _numbers(completion_pb2.AttemptResult, "ATTEMPT_RESULT_", AttemptResult)
FAULTS = _numbers(completion_pb2.FaultKind, "FAULT_KIND_", FaultKind)
GATES = _numbers(completion_pb2.Gate, "GATE_", Gate)
_VERDICTS = _numbers(completion_pb2.Verdict, "VERDICT_", Verdict)
_REASONS = _numbers(completion_pb2.GateReason, "GATE_REASON_", GateReason)
_FINISHES = _numbers(completion_pb2.FinishReason, "FINISH_REASON_", FinishReason)


def write_completed(
    completed: Completed, log: AttemptLog, decision: RouteResponse, *, in_stream: bool
) -> CompleteResponse:
    """The answer, and all that was done for it; in a stream without what its deltas have said."""
    answer, served = completed.answer.response, completed.answer.attempt
    response = CompleteResponse(
        finish_reason=_FINISHES[answer.finish_reason],
        native_finish_reason=shorten(answer.native_finish_reason, MAX_NATIVE_BYTES),
        tokens=_tokens(served.tokens),
        cost=_cost(log),
        decision=decision,
        strategy=int(completed.strategy),  # type: ignore[arg-type]
        tier=served.deployment.tier,
        deployment=served.deployment.target.name,
        model_version=answer.model_version,
        degraded=completed.degraded,
        attempts=[_attempt(attempt) for attempt in log.made],
        ignored_fields=answer.ignored,
        duration_ns=log.now_ns(),
    )
    for place, attempt in enumerate(log.made):
        for said in attempt.verdicts:
            verdict = response.gates.add(
                gate=GATES[said.gate],
                verdict=_VERDICTS[said.verdict],
                reason=_REASONS[said.reason],
                duration_ns=said.time_ns,
                attempt=place,
            )
            if said.score is not None:
                verdict.score = said.score
    if not in_stream:
        _write_answer(answer, response)
    return response


def write_failure(
    log: AttemptLog, decision: RouteResponse, *, cut: Attempt | None, partial_text: str, in_status: bool
) -> CompleteFailure:
    """What was done for a request that failed; shortened where it goes into a status."""
    failure = CompleteFailure(decision_id=decision.decision_id, tier=decision.tier, cost=_cost(log))
    if cut is not None:
        failure.tokens.CopyFrom(_tokens(cut.tokens))
        failure.partial_text = shorten(partial_text, MAX_PARTIAL_BYTES)
        failure.partial_text_shortened = failure.partial_text != partial_text
    attempts = log.made[-MAX_STATUS_ATTEMPTS:] if in_status else log.made
    for attempt in attempts:
        written = _attempt(attempt)
        if in_status:
            written.ClearField("native_code")
            written.ClearField("request_id")
        failure.attempts.append(written)
    return failure


def write_event(event: StreamEvent) -> CompleteStreamResponse | None:
    """An event of the answer; None where it says nothing."""
    match event:
        case TextDelta(text=text, logprobs=logprobs):
            delta = completion_pb2.TextDelta(text=text, logprobs=_logprobs(logprobs))
            return CompleteStreamResponse(text=delta)
        case ToolCallDelta():
            call = completion_pb2.ToolCallDelta(
                index=event.index,
                id=event.id,
                name=event.name,
                arguments_json=event.arguments,
                signature=event.signature,
            )
            return CompleteStreamResponse(tool_call=call)
        case RefusalDelta(text=text):
            return CompleteStreamResponse(refusal=completion_pb2.RefusalDelta(text=text))
        case ReasoningDelta(text=text):
            return CompleteStreamResponse(reasoning=completion_pb2.ReasoningDelta(text=text))
        case UsageUpdate(usage=usage):
            return CompleteStreamResponse(tokens=_tokens(usage))
        case _:
            return None


def shorten(text: str, limit: int) -> str:
    """At most `limit` bytes of a text, whole characters."""
    data = text.encode("utf-8", "replace")
    return data[:limit].decode("utf-8", "ignore")


def _write_answer(answer: ChatResponse, response: CompleteResponse) -> None:
    message = response.message
    message.role = chat_pb2.ROLE_ASSISTANT
    message.content = answer.text
    for call in answer.tool_calls:
        message.tool_calls.add(
            id=call.id, name=call.name, arguments_json=call.arguments_json, signature=call.signature
        )
    response.refusal = answer.refusal
    response.reasoning = answer.reasoning
    response.logprobs.extend(_logprobs(answer.logprobs))


def _logprobs(logprobs: Iterable[TokenLogprob]) -> list[completion_pb2.TokenLogprob]:
    return [
        completion_pb2.TokenLogprob(
            token=entry.token,
            logprob=entry.logprob,
            top=[completion_pb2.TopLogprob(token=token, logprob=logprob) for token, logprob in entry.top],
        )
        for entry in logprobs
    ]


def _attempt(attempt: Attempt) -> completion_pb2.Attempt:
    error = attempt.error
    written = completion_pb2.Attempt(
        purpose=_PURPOSES[attempt.purpose],
        result=_RESULTS[attempt.result],
        tier=attempt.deployment.tier,
        deployment=attempt.deployment.target.name,
        model_version=attempt.model_version,
        http_status=0 if error is None else error.http_status or 0,
        native_code="" if error is None else shorten(error.native_code, MAX_NATIVE_BYTES),
        request_id=shorten(attempt.request_id, MAX_REQUEST_ID_BYTES),
        started_ns=attempt.started_ns,
        ended_ns=attempt.ended_ns,
        tokens=_tokens(attempt.tokens),
        estimated=attempt.estimated,
        cost=_attempt_cost(attempt.cost),
    )
    if attempt.fault is not None:
        written.fault = FAULTS[attempt.fault]
    if attempt.rejected_by is not None:
        written.rejected_by = GATES[attempt.rejected_by]
    if attempt.first_token_ns is not None:
        written.first_token_ns = attempt.first_token_ns
    return written


def _tokens(counts: TokenCounts) -> completion_pb2.TokenCounts:
    return completion_pb2.TokenCounts(
        input_uncached=counts.input_uncached,
        input_cache_read=counts.input_cache_read,
        input_cache_write_5m=counts.input_cache_write_5m,
        input_cache_write_1h=counts.input_cache_write_1h,
        output_text=counts.output_text,
        output_reasoning=counts.output_reasoning,
    )


def _attempt_cost(cost: AttemptCost) -> completion_pb2.Cost:
    versions = [] if cost.price_version is None else [cost.price_version]
    return completion_pb2.Cost(
        nano_usd=cost.cost_nano,
        complete=cost.complete,
        estimated=cost.estimated,
        price_versions=_days(versions),
    )


def _cost(log: AttemptLog) -> completion_pb2.Cost:
    total = log.bill.total
    return completion_pb2.Cost(
        nano_usd=total.known_nano,
        complete=total.complete,
        estimated=bool(total.estimated),
        price_versions=_days(log.price_versions),
    )


def _days(versions: Iterable[str]) -> list[str]:
    """The days of price versions, each once; the store keeps the versions themselves."""
    return sorted({version.partition(".")[0] for version in versions})
