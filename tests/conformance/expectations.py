"""Whether what came is what a row wants. The one place where that is judged, for all languages."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from turnout.v1 import completion_pb2, routing_pb2

from tests.conformance.seen import SeenCase
from tests.conformance.table import Case

_ANSWERS: Mapping[str, type[Message]] = {
    "route": routing_pb2.RouteResponse,
    "route_or": routing_pb2.RouteResponse,
    "route_batch": routing_pb2.RouteResponse,
    "route_stream": routing_pb2.RouteResponse,
    "complete": completion_pb2.CompleteResponse,
    "complete_stream": completion_pb2.CompleteStreamResponse,
}
_AS_ENGINE = ("digest", "tier", "deployment", "status", "reasons")


def differences(
    case: Case, outcome: dict[str, Any], seen: SeenCase, of_engine: list[routing_pb2.RouteResponse]
) -> Iterator[str]:
    """What is not as the row wants it, a line each; none: it passed.

    Args:
        case: what was asked.
        outcome: what the runner says of it.
        seen: what the scripted service saw of it.
        of_engine: what the engine says in process, for each request, where the row asks.
    """
    expect = case.row.expect
    for key in ("error", "tier", "fell_back", "failed_open", "health"):
        if key in expect:
            yield from _differ(key, expect[key], outcome.get(key))
    if "error" not in expect and outcome.get("error") is not None:
        yield f"error: {outcome['error']} was not expected"
    try:
        answers = [_read(case, one) for one in _answers_of(outcome)]
    except (json_format.ParseError, ValueError) as error:
        yield f"the outcome is no answer: {error}"
        return
    if "response" in expect:
        yield from _differ("response", expect["response"], answers[0] if answers else None)
    if "results" in expect:
        yield from _differ("results", expect["results"], answers)
    if "events" in expect:
        kinds = [kind for kind, _ in itertools.groupby(next(iter(event), "?") for event in answers)]
        yield from _differ("events", expect["events"], kinds)
    if "text" in expect:
        text = "".join(event["text"].get("text", "") for event in answers if "text" in event)
        yield from _differ("text", expect["text"], text)
    yield from _differ_from_engine(answers, of_engine)
    for key, found in (
        ("calls", seen.calls),
        ("deadline_s", seen.deadline_s),
        ("user_agent", seen.user_agent),
        ("cancelled", seen.cancelled),
    ):
        if key in expect:
            yield from _differ(f"the service saw: {key}", expect[key], found)


def _differ_from_engine(
    answers: list[dict[str, Any]], of_engine: list[routing_pb2.RouteResponse]
) -> Iterator[str]:
    for at, wanted in enumerate(of_engine):
        theirs = _to_dict(wanted)
        ours = answers[at] if at < len(answers) else {}
        for name in _AS_ENGINE:
            if ours.get(name) != theirs.get(name):
                yield f"response {at}: {name}: {ours.get(name)!r}, the engine says {theirs.get(name)!r}"


def _answers_of(outcome: dict[str, Any]) -> list[dict[str, Any]]:
    if outcome.get("response") is not None:
        return [outcome]
    return list(outcome.get("results") or [{"response": event} for event in outcome.get("events") or []])


def _read(case: Case, result: dict[str, Any]) -> dict[str, Any]:
    """One answer or error as a plain object, enums as names where they have one."""
    if result.get("error") is not None:
        return {"error": result["error"]}
    form = result["response"]
    message = _ANSWERS[case.row.operation]()
    if "base64" in form:
        message.ParseFromString(base64.b64decode(form["base64"]))
    else:
        json_format.ParseDict(form["json"], message, ignore_unknown_fields=True)
    return _to_dict(message)


def _to_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _differ(path: str, wanted: Any, found: Any) -> Iterator[str]:
    if isinstance(wanted, dict) and set(wanted) <= {"min", "max"} and wanted:
        low, high = wanted.get("min", float("-inf")), wanted.get("max", float("inf"))
        if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
            yield f"{path}: {found!r}, {low} to {high} wanted"
    elif isinstance(wanted, dict):
        if not isinstance(found, dict):
            yield f"{path}: {found!r}, an object wanted"
            return
        for key, value in wanted.items():
            yield from _differ(f"{path}.{key}", value, found.get(key))
    elif isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            yield f"{path}: {found!r}, {len(wanted)} items wanted: {wanted!r}"
            return
        for at, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differ(f"{path}[{at}]", one, other)
    elif isinstance(wanted, str) and wanted.startswith("~"):
        if not isinstance(found, str) or re.fullmatch(wanted[1:], found, re.DOTALL) is None:
            yield f"{path}: {found!r} does not match {wanted[1:]}"
    elif wanted != found:
        yield f"{path}: {found!r}, {wanted!r} wanted"
