"""What the Python client makes of responses and errors, those of newer services and of strangers too."""

from __future__ import annotations

# googleapis-common-protos has no py.typed.
# mypy: disable-error-code="import-untyped"
import copy
import dataclasses
import pickle
from enum import Enum
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, DebugInfo, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from turnout import (
    AnswerUse,
    Candidate,
    Decision,
    DecisionStatus,
    ErrorReason,
    Explanation,
    FeatureContribution,
    HealthStatus,
    InternalError,
    InvalidRequestError,
    LiveState,
    NoCandidateError,
    Reason,
    ReasonKind,
    Revisions,
    Strategy,
    Task,
    TurnoutError,
    UnavailableError,
)
from turnout.error_decoding import decode_item_error, decode_rpc_error
from turnout.errors import invalid_field
from turnout.v1 import error_reason_pb2, routing_pb2

from tests.clients.fake_routing import full_response

StatusCode = grpc.StatusCode


def _error(
    code: StatusCode | None, *details: Message, message: str | None = "words", raw: bytes | None = None
) -> TurnoutError:
    """What an RPC that failed so is decoded to."""
    status = Status(details=[_pack(detail) for detail in details])
    trailers = (("x-proxy", "1"), ("grpc-status-details-bin", raw or status.SerializeToString()))

    class Failed(grpc.RpcError):
        def code(self) -> Any:
            return code

        def details(self) -> str | None:
            return message

        def trailing_metadata(self) -> Any:
            return None if raw == b"none" else trailers

    return decode_rpc_error(Failed())


def _pack(detail: Message) -> AnyMessage:
    if isinstance(detail, AnyMessage):
        return detail
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def _info(reason: str, domain: str = "turnout.v1", **metadata: str) -> ErrorInfo:
    return ErrorInfo(reason=reason, domain=domain, metadata=metadata)


# Decisions.


def test_every_field_of_a_response_is_in_the_decision() -> None:
    response = full_response(routing_pb2.RouteRequest(prompt="default"))
    assert {field.name for field, _ in response.ListFields()} == set(response.DESCRIPTOR.fields_by_name)
    assert Decision.from_response(response) == Decision(
        decision_id="0123456789abcdef0123456789abcdef",
        status=DecisionStatus.DECIDED,
        tier="mid",
        deployment="mid-a",
        fallback_deployments=("mid-b", "mid-c"),
        strategy=Strategy.CASCADE,
        task=Task.CODE,
        task_probability=0.75,
        candidates=(
            Candidate("small", p_sufficient=0.25, gain=0.5, estimated_cost_usd=0.125, eligible=True),
            Candidate("mid", p_sufficient=0.0),
            Candidate("frontier"),
        ),
        reasons=(Reason(ReasonKind.RULE, "long-prompts"), Reason(ReasonKind.BAR, "mid", 0.5)),
        tokens_read=384,
        tokens_total=500,
        truncated=True,
        propensity=0.5,
        revisions=Revisions("p" * 16, "b" * 16, "f" * 16),
        digest="d" * 32,
        decision_ns=15_000,
        explanation=Explanation(
            features=(FeatureContribution("bytes", 12.0, -0.25),),
            task_probabilities={Task.CHAT: 0.5, Task.KNOWLEDGE: 0.25},
            buckets={"proofs": 0.875},
            state=LiveState(("mid-z",), "small", True),
        ),
        policy="default",
    )


@pytest.mark.parametrize(
    ("ours", "contracts", "more"),
    [
        (Decision, routing_pb2.RouteResponse, {"fell_back"}),
        (Candidate, routing_pb2.Candidate, set()),
        (Reason, routing_pb2.Reason, set()),
        (Revisions, routing_pb2.Revisions, set()),
        (Explanation, routing_pb2.Explanation, set()),
        (FeatureContribution, routing_pb2.FeatureContribution, set()),
        (LiveState, routing_pb2.LiveState, set()),
    ],
)
def test_names_are_those_of_the_contract(ours: Any, contracts: Any, more: set[str]) -> None:
    names = {field.name for field in dataclasses.fields(ours)}
    assert names == set(contracts.DESCRIPTOR.fields_by_name) | more


@pytest.mark.parametrize(
    ("ours", "contracts", "prefix"),
    [
        (DecisionStatus, routing_pb2.DecisionStatus, "DECISION_STATUS_"),
        (Strategy, routing_pb2.Strategy, "STRATEGY_"),
        (Task, routing_pb2.Task, "TASK_"),
        (ReasonKind, routing_pb2.ReasonKind, "REASON_KIND_"),
        (AnswerUse, routing_pb2.AnswerUse, "ANSWER_USE_"),
    ],
)
def test_enums_are_those_of_the_contract(ours: type[Enum], contracts: Any, prefix: str) -> None:
    expected = {name.removeprefix(prefix): number for name, number in contracts.items()}
    assert {member.name: member.value for member in ours} == expected


def test_reasons_are_those_of_the_contract() -> None:
    expected = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert set(ErrorReason) == expected


@pytest.mark.parametrize("kind", [DecisionStatus, Strategy, Task, ReasonKind, AnswerUse, HealthStatus])
def test_unknown_numbers_make_members_of_their_own(kind: Any) -> None:
    unknown = kind(4711)
    assert (unknown, unknown.name, int(unknown)) == (kind(4711), "UNKNOWN_4711", 4711)
    assert unknown == pickle.loads(pickle.dumps(unknown))
    assert {unknown: 1}[kind(4711)] == 1
    assert len(kind) < 20
    with pytest.raises(ValueError, match="text"):
        kind("text")


def test_a_response_of_a_newer_service_is_read() -> None:
    response = full_response(routing_pb2.RouteRequest(prompt="default"))
    response.status = response.strategy = response.task = 99  # type: ignore[assignment]
    response.reasons[0].kind = 99  # type: ignore[assignment]
    # Field 500, a string; in the message and in one that it holds.
    unknown = b"\xa2\x1f\x03new"
    response.candidates[0].MergeFromString(unknown)
    newer = routing_pb2.RouteResponse.FromString(response.SerializeToString() + unknown)
    decision = Decision.from_response(newer)
    assert (decision.status, decision.strategy, decision.task) == (99, 99, 99)
    assert decision.status.name == "UNKNOWN_99"
    assert decision.reasons[0].kind == 99
    assert decision.candidates[0].tier == "small"


def test_an_empty_response_is_read() -> None:
    decision = Decision.from_response(routing_pb2.RouteResponse())
    assert (decision.tier, decision.status, decision.explanation) == ("", DecisionStatus.UNSPECIFIED, None)


def test_decisions_are_frozen_values() -> None:
    decision = Decision.from_response(full_response(routing_pb2.RouteRequest(prompt="default")))
    with pytest.raises(dataclasses.FrozenInstanceError):
        decision.tier = "small"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="'Decision' object has no attribute 'teir'"):
        decision.teir  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(decision, "__dict__")
    assert dataclasses.replace(decision, tier="small").deployment == "mid-a"
    assert dataclasses.asdict(decision)["revisions"]["policy"] == "p" * 16
    assert copy.deepcopy(decision) == decision
    assert pickle.loads(pickle.dumps(decision)) == decision
    assert str(decision.reasons[1]) == "BAR mid 0.5"
    assert str(decision.reasons[0]) == "RULE long-prompts"


# Errors.


def test_invalid_requests_carry_field_value_limit_and_known_names() -> None:
    metadata = {"field": "constraints.min_tier", "value": "tiny", "limit": "a tier", "known": "small, mid"}
    violation = BadRequest.FieldViolation(field="constraints.min_tier", description="no tier 'tiny'")
    error = _error(
        StatusCode.INVALID_ARGUMENT,
        _info("UNKNOWN_TIER", **metadata),
        BadRequest(field_violations=[violation]),
    )
    assert isinstance(error, InvalidRequestError)
    assert error.reason is ErrorReason.UNKNOWN_TIER
    assert (error.field, error.value, error.limit) == ("constraints.min_tier", "tiny", "a tier")
    assert error.known == ("small", "mid")
    assert error.metadata == metadata


def test_the_field_may_stand_in_bad_request_alone() -> None:
    violations = [BadRequest.FieldViolation(field="policy"), BadRequest.FieldViolation(field="explain")]
    error = _error(StatusCode.INVALID_ARGUMENT, BadRequest(field_violations=violations))
    assert isinstance(error, InvalidRequestError)
    assert (error.field, error.value, error.limit, error.known) == ("policy", "", "", ())
    empty = _error(StatusCode.INVALID_ARGUMENT, BadRequest())
    assert isinstance(empty, InvalidRequestError)
    assert empty.field == ""


def test_of_a_list_that_was_cut_the_whole_names_are_known() -> None:
    error = _error(StatusCode.INVALID_ARGUMENT, _info("UNKNOWN_REGION", known="eu-a, eu-b, us-..."))
    assert isinstance(error, InvalidRequestError)
    assert error.known == ("eu-a", "eu-b")


def test_no_candidate_names_the_constraint() -> None:
    error = _error(StatusCode.FAILED_PRECONDITION, _info("NO_CANDIDATE", constraint="context_window"))
    assert isinstance(error, NoCandidateError)
    assert error.constraint == "context_window"


def test_unavailable_says_when_to_come_back() -> None:
    retry = RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    error = _error(StatusCode.UNAVAILABLE, retry, _info("NOT_SERVING"))
    assert isinstance(error, UnavailableError)
    assert (error.retry_after_s, error.label) == (2.5, "NOT_SERVING")


def test_internal_errors_name_their_incident() -> None:
    error = _error(StatusCode.INTERNAL, _info("INTERNAL", incident="0a1b"))
    assert isinstance(error, InternalError)
    assert error.incident == "0a1b"
    assert str(error) == "INTERNAL: words"


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (StatusCode.RESOURCE_EXHAUSTED, "QUOTA_SPENT", "OverloadedError"),
        (StatusCode.FAILED_PRECONDITION, "BUDGET_SPENT", "TurnoutError"),
        (StatusCode.INVALID_ARGUMENT, "strange reason é", "InvalidRequestError"),
        (StatusCode.OUT_OF_RANGE, "", "TurnoutError"),
    ],
)
def test_unknown_reasons_are_kept_and_the_code_decides(code: StatusCode, reason: str, kind: str) -> None:
    error = _error(code, _info(reason, detail="x"))
    assert type(error).__name__ == kind
    assert error.reason == (reason or ErrorReason.UNSPECIFIED)
    assert error.label == (reason or code.name)
    assert error.metadata == {"detail": "x"}
    assert len(ErrorReason) == len(error_reason_pb2.ErrorReason.keys())


def test_another_domains_reason_is_not_ours() -> None:
    error = _error(
        StatusCode.UNAVAILABLE, _info("NO_CANDIDATE", domain="googleapis.com", constraint="region")
    )
    assert isinstance(error, UnavailableError)
    assert (error.reason, error.metadata) == (ErrorReason.UNSPECIFIED, {})


@pytest.mark.parametrize(
    "detail",
    [
        DebugInfo(detail="of another kind"),
        AnyMessage(type_url="type.googleapis.com/turnout.v9.Novelty", value=b"\x08\x01"),
        AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff"),
        AnyMessage(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\x0a\xff"),
        AnyMessage(type_url="not a url", value=b""),
        AnyMessage(),
    ],
)
def test_unknown_and_broken_details_are_passed_over(detail: Message) -> None:
    error = _error(StatusCode.UNAVAILABLE, detail, _info("NOT_SERVING"))
    assert isinstance(error, UnavailableError)
    assert error.reason is ErrorReason.NOT_SERVING


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"none", b"\x0a"])
def test_without_details_that_can_be_read_the_code_is_left(raw: bytes) -> None:
    error = _error(StatusCode.UNAVAILABLE, raw=raw)
    assert isinstance(error, UnavailableError)
    assert str(error) == "UNAVAILABLE: words"


def test_nothing_at_all_is_unknown() -> None:
    error = _error(None, message=None, raw=b"none")
    assert (type(error), error.code, str(error)) == (InternalError, StatusCode.UNKNOWN, "UNKNOWN")


def test_items_of_a_batch() -> None:
    error = decode_item_error(routing_pb2.RouteError(code=4, reason=10, message="too late"))  # type: ignore[arg-type]
    assert (error.code, error.reason) == (StatusCode.DEADLINE_EXCEEDED, ErrorReason.DEADLINE_EXCEEDED)
    bare = decode_item_error(routing_pb2.RouteError())
    assert (bare.reason, bare.code) == (ErrorReason.UNSPECIFIED, StatusCode.OK)


def test_errors_can_be_pickled() -> None:
    error = _error(StatusCode.INVALID_ARGUMENT, _info("UNKNOWN_TIER", field="a", known="b"))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), vars(copy), str(copy)) == (type(error), vars(error), str(error))


def test_values_shown_are_shortened() -> None:
    error = invalid_field("policy", "x" * 1000, "128 bytes")
    assert len(error.value) == 128
    assert len(str(error)) < 300
