"""Between the contract's messages and the engine's objects; on the path of every call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from turnout.v1 import chat_pb2, routing_pb2
from turnout_fastpath import Decision, Explanation, Reason, Request, RouteError

MAX_TEXT_BYTES = 4 << 20
MAX_MESSAGES = 16_384
MAX_PARTS = 1024
MAX_SPEAKER_BYTES = 64
MAX_ID_BYTES = 128
MAX_TOOL_CALLS = 128
MAX_TOOLS = 512
MAX_MEDIA_BYTES = 16 << 20
MAX_URI_BYTES = 4096
MAX_SCHEMA_NAME_BYTES = 64
MAX_SCHEMA_BYTES = 256 * 1024

_TASKS: dict[str, routing_pb2.Task.ValueType] = {
    name.removeprefix("TASK_").lower(): number for name, number in routing_pb2.Task.items() if number
}


def read_request(
    message: routing_pb2.RouteRequest, *, rules_only: bool = False, max_text_bytes: int = MAX_TEXT_BYTES
) -> Request:
    """The engine's request.

    Args:
        message: what the caller sent.
        rules_only: leaves the classifier out.
        max_text_bytes: most bytes of text, where the operator allows less than the contract.

    Raises:
        RouteError: the message breaks a limit of the contract; `field` is the path in the message.
    """
    fields: dict[str, Any] = {}
    if rules_only:
        fields["rules_only"] = True
    if message.HasField("caller"):
        _read_caller(message.caller, fields)
    if message.HasField("constraints"):
        _read_constraints(message.constraints, fields)
    if message.HasField("requirements"):
        _read_requirements(message.requirements, fields)
    if policy := message.policy:
        fields["policy"] = policy
    if message.explain:
        fields["explain"] = True
    if decision_id := message.decision_id:
        fields["decision_id"] = decision_id
    turns = message.messages
    if message.HasField("prompt"):
        if turns:
            raise RouteError(Reason.PROMPT_REQUIRED, "prompt")
        prompt = message.prompt
        if max_text_bytes < MAX_TEXT_BYTES:
            _check_count("prompt", _count_bytes(prompt), max_text_bytes, "bytes of text")
        return Request(prompt, **fields)
    if not turns:
        raise RouteError(Reason.PROMPT_REQUIRED, "prompt")
    texts = _read_turns(turns, fields)
    if max_text_bytes < MAX_TEXT_BYTES:
        text = "".join([text for _, text in texts])
        _check_count("messages", _count_bytes(text), max_text_bytes, "bytes of text")
    return Request(messages=texts, **fields)


def write_response(decision: Decision, response: routing_pb2.RouteResponse) -> routing_pb2.RouteResponse:
    """Fills an empty response with a decision."""
    # Field by field: keywords cost twice as much. What has its default is left out.
    response.decision_id = decision.decision_id
    response.status = decision.status  # type: ignore[assignment]
    response.policy = decision.policy
    response.tier = decision.tier
    response.deployment = decision.deployment
    response.fallback_deployments.extend(decision.fallback_deployments)
    response.strategy = decision.strategy  # type: ignore[assignment]
    task = decision.task
    if task is not None:
        # A bundle may have tasks of its own, which the contract cannot name.
        response.task = _TASKS.get(task, routing_pb2.TASK_UNSPECIFIED)
        response.task_probability = decision.task_probability
    add_candidate = response.candidates.add
    for tier, p_sufficient, gain, cost, eligible in decision.candidates:
        candidate = add_candidate()
        candidate.tier = tier
        if p_sufficient is not None:
            candidate.p_sufficient = p_sufficient
        if gain is not None:
            candidate.gain = gain
        if cost is not None:
            candidate.estimated_cost_usd = cost
        if eligible:
            candidate.eligible = True
    add_reason = response.reasons.add
    for kind, name, score in decision.reasons:
        reason = add_reason()
        reason.kind = kind  # type: ignore[assignment]
        reason.id = name
        reason.score = score
    response.tokens_read = decision.tokens_read
    response.tokens_total = decision.tokens_total
    if decision.truncated:
        response.truncated = True
    response.propensity = decision.propensity
    revisions = response.revisions
    revisions.policy = decision.policy_revision
    revisions.bundle = decision.bundle_revision
    revisions.features = decision.features_revision
    response.digest = decision.digest
    response.decision_ns = decision.decision_ns
    explanation = decision.explanation
    if explanation is not None:
        _write_explanation(explanation, response.explanation)
    return response


def count_text_bytes(message: routing_pb2.RouteRequest) -> int:
    """Bytes of text that a request carries, UTF-8."""
    return len(message.prompt.encode()) + sum(
        len(turn.content.encode()) + sum(len(part.text.encode()) for part in turn.parts)
        for turn in message.messages
    )


def _read_caller(caller: routing_pb2.CallerContext, fields: dict[str, Any]) -> None:
    fields["tenant"] = caller.tenant
    fields["user_tier"] = caller.user_tier
    fields["feature"] = caller.feature
    fields["session_id"] = caller.session_id
    if labels := caller.labels:
        fields["labels"] = dict(labels)


def _read_constraints(constraints: routing_pb2.RouteConstraints, fields: dict[str, Any]) -> None:
    fields["min_tier"] = constraints.min_tier
    fields["max_tier"] = constraints.max_tier
    if deployments := constraints.allowed_deployments:
        fields["allowed_deployments"] = tuple(deployments)
    if regions := constraints.allowed_regions:
        fields["allowed_regions"] = tuple(regions)
    if constraints.HasField("max_cost_usd"):
        fields["max_cost_usd"] = constraints.max_cost_usd
    if constraints.HasField("quality_bar"):
        fields["quality_bar"] = constraints.quality_bar


def _read_requirements(requirements: routing_pb2.OutputRequirements, fields: dict[str, Any]) -> None:
    fields["expected_output_tokens"] = requirements.expected_output_tokens
    fields["context_tokens"] = requirements.context_tokens
    fields["answer_use"] = int(requirements.answer_use)
    if requirements.HasField("response_format"):
        kind = requirements.response_format.WhichOneof("format")
        if kind == "json_object":
            _need(fields, "json")
        elif kind == "json_schema":
            schema = requirements.response_format.json_schema
            path = "requirements.response_format.json_schema"
            _check_bytes(f"{path}.name", schema.name, MAX_SCHEMA_NAME_BYTES)
            _check_bytes(f"{path}.schema_json", schema.schema_json, MAX_SCHEMA_BYTES)
            _need(fields, "json_schema")
    if tools := requirements.tools:
        _read_tools(tools, fields)


def _read_tools(tools: RepeatedCompositeFieldContainer[chat_pb2.Tool], fields: dict[str, Any]) -> None:
    path = "requirements.tools"
    _check_count(path, len(tools), MAX_TOOLS, "tools")
    names: set[str] = set()
    all_bytes = schema_bytes = 0
    for i, tool in enumerate(tools):
        name = tool.name
        _check_bytes(f"{path}[{i}].name", name, MAX_ID_BYTES)
        if name in names:
            raise _invalid(f"{path}[{i}].name", name, "a name once")
        names.add(name)
        size = _count_bytes(tool.parameters_json_schema)
        schema_bytes += size
        all_bytes += size + _count_bytes(name) + _count_bytes(tool.description)
    if schema_bytes > MAX_SCHEMA_BYTES:
        raise _invalid(path, f"{schema_bytes} bytes of schemas", f"{MAX_SCHEMA_BYTES} bytes of schemas")
    fields["n_tools"] = len(tools)
    # All that goes into the model's context.
    fields["tool_schema_bytes"] = all_bytes


def _read_turns(
    turns: RepeatedCompositeFieldContainer[chat_pb2.ChatMessage], fields: dict[str, Any]
) -> list[tuple[int, str]]:
    _check_count("messages", len(turns), MAX_MESSAGES, "messages")
    texts: list[tuple[int, str]] = []
    media_bytes = 0
    for i, turn in enumerate(turns):
        text = turn.content
        if parts := turn.parts:
            path = f"messages[{i}].parts"
            _check_count(path, len(parts), MAX_PARTS, "parts")
            text, size = _read_parts(text, parts, path, fields)
            media_bytes += size
        if name := turn.name:
            _check_bytes(f"messages[{i}].name", name, MAX_SPEAKER_BYTES)
        if call_id := turn.tool_call_id:
            _check_bytes(f"messages[{i}].tool_call_id", call_id, MAX_ID_BYTES)
        if calls := turn.tool_calls:
            _check_count(f"messages[{i}].tool_calls", len(calls), MAX_TOOL_CALLS, "calls")
            for j, call in enumerate(calls):
                _check_bytes(f"messages[{i}].tool_calls[{j}].id", call.id, MAX_ID_BYTES)
                _check_bytes(f"messages[{i}].tool_calls[{j}].name", call.name, MAX_ID_BYTES)
        texts.append((turn.role, text))
    if media_bytes:
        _check_count("messages", media_bytes, MAX_MEDIA_BYTES, "bytes of media")
        fields["media_bytes"] = media_bytes
    return texts


def _read_parts(
    content: str, parts: Iterable[chat_pb2.ContentPart], path: str, fields: dict[str, Any]
) -> tuple[str, int]:
    """Text of a turn that has parts, and the bytes of its media; modalities become needs."""
    texts = [content] if content else []
    media_bytes = 0
    for j, part in enumerate(parts):
        kind = part.WhichOneof("part")
        if kind == "text":
            texts.append(part.text)
        elif kind is not None:
            media: chat_pb2.Media = getattr(part, kind)
            media_bytes += len(media.data)
            _check_bytes(f"{path}[{j}].{kind}.media_type", media.media_type, MAX_ID_BYTES)
            if media.HasField("uri"):
                _check_bytes(f"{path}[{j}].{kind}.uri", media.uri, MAX_URI_BYTES)
                if not media.uri.startswith("https://"):
                    raise _invalid(f"{path}[{j}].{kind}.uri", "another scheme", "an https address")
            _need(fields, kind)
    return "\n".join(texts), media_bytes


def _write_explanation(explanation: Explanation, message: routing_pb2.Explanation) -> None:
    for name, value, contribution in explanation.features:
        message.features.add(name=name, value=value, contribution=contribution)
    by_task = {_TASKS.get(task, 0): value for task, value in explanation.task_probabilities.items()}
    message.task_probabilities.extend(by_task.get(number, 0.0) for number in range(1, len(_TASKS) + 1))
    for bucket, similarity in explanation.buckets.items():
        message.buckets.add(bucket=bucket, similarity=similarity)
    state = explanation.state
    message.state.closed_deployments.extend(state.closed_deployments)
    message.state.session_tier = state.session_tier
    message.state.budget_spent = state.budget_spent


def _need(fields: dict[str, Any], need: str) -> None:
    fields.setdefault("needs", set()).add(need)


def _count_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _check_bytes(field: str, text: str, limit: int) -> None:
    size = _count_bytes(text)
    if size > limit:
        raise _invalid(field, f"{size} bytes", f"{limit} bytes")


def _check_count(field: str, count: int, limit: int, what: str) -> None:
    if count > limit:
        raise _invalid(field, f"{count} {what}", f"{limit} {what}")


def _invalid(field: str, value: object, limit: str) -> RouteError:
    return RouteError(Reason.INVALID_FIELD, field, value=value, limit=limit)
