"""The rows, read and checked, and the cases that runners get."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from google.protobuf.message import Message
from turnout.v1 import completion_pb2, routing_pb2

ROWS = Path(__file__).parent / "rows"
SERVICES = ("main", "decision", "scripted")
# The label by which the scripted service tells cases apart.
CASE_LABEL = "conformance-case"

_REQUESTS: Mapping[str, type[Message] | None] = {
    "route": routing_pb2.RouteRequest,
    "route_or": routing_pb2.RouteRequest,
    "route_batch": routing_pb2.RouteRequest,
    "route_stream": routing_pb2.RouteRequest,
    "complete": completion_pb2.CompleteRequest,
    "complete_stream": completion_pb2.CompleteStreamRequest,
    "check_health": None,
}
_OPTIONS = ("timeout_s", "default_tier", "cancel_after_s", "cancel_after_events", "connections")
_EXPECTATIONS = {
    "response",
    "error",
    "results",
    "events",
    "tier",
    "fell_back",
    "failed_open",
    "health",
    "as_engine",
    "text",
    "calls",
    "deadline_s",
    "user_agent",
    "cancelled",
}


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        id: unique.
        topic: the file it stands in.
        services: whom to ask.
        operation: what is called.
        requests: proto3 JSON, long texts written out.
        options: of the call.
        expect: what must come of it.
    """

    id: str
    topic: str
    services: tuple[str, ...]
    operation: str
    requests: tuple[dict[str, Any], ...]
    options: dict[str, Any]
    expect: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A row at one service, as one client shall run it.

    Attributes:
        id: unique among all cases of all clients.
        row: what it comes from.
        service: where it is asked.
        messages: the requests.
    """

    id: str
    row: Row
    service: str
    messages: tuple[Message, ...] = field(repr=False)

    def document(self, address: str) -> dict[str, Any]:
        """What the runner gets."""
        requests = [
            {
                "json": json_format.MessageToDict(message),
                "base64": base64.b64encode(message.SerializeToString()).decode(),
            }
            for message in self.messages
        ]
        return {
            "id": self.id,
            "address": address,
            "operation": self.row.operation,
            "requests": requests,
            **self.row.options,
        }


def load_rows(folder: Path = ROWS) -> list[Row]:
    """All rows, by file and place.

    Raises:
        ValueError: a row is not as the README says.
    """
    rows: list[Row] = []
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load(path.read_text(encoding="utf-8")):
            rows.append(_read_row(path.stem, document))
    seen = [row.id for row in rows]
    if twice := {name for name in seen if seen.count(name) > 1}:
        raise ValueError(f"rows: the id {sorted(twice)[0]} stands twice")
    return rows


def make_cases(rows: list[Row], client: str) -> Iterator[Case]:
    """The cases of one client: each row at each of its services."""
    for row in rows:
        kind = _REQUESTS[row.operation]
        for service in row.services:
            name = f"{row.id}@{service}/{client}"
            messages: list[Message] = []
            for document in row.requests:
                assert kind is not None
                message = json_format.ParseDict(document, kind())
                _label(message, name, service)
                messages.append(message)
            yield Case(name, row, service, tuple(messages))


def _label(message: Any, name: str, service: str) -> None:
    """Only the scripted service reads labels; elsewhere they would be a part of what is decided."""
    if service == "scripted":
        inner = message.request if isinstance(message, completion_pb2.CompleteStreamRequest) else message
        inner.caller.labels[CASE_LABEL] = name


def _read_row(topic: str, document: dict[str, Any]) -> Row:
    given = dict(document)
    name = given.pop("id")
    services = tuple(given.pop("services"))
    operation = given.pop("operation")
    request = given.pop("request", None)
    requests = given.pop("requests", None)
    expect = given.pop("expect")
    if unknown := set(services) - set(SERVICES):
        raise ValueError(f"{topic}: {name}: services: {sorted(unknown)[0]} is none of {SERVICES}")
    if operation not in _REQUESTS:
        raise ValueError(f"{topic}: {name}: operation: {operation} is none of {tuple(_REQUESTS)}")
    if (request is None) == (requests is None) and operation != "check_health":
        raise ValueError(f"{topic}: {name}: one of request and requests is needed")
    if unknown := set(expect) - _EXPECTATIONS:
        raise ValueError(f"{topic}: {name}: expect: {sorted(unknown)[0]} is not known")
    if unknown := set(given) - set(_OPTIONS):
        raise ValueError(f"{topic}: {name}: {sorted(unknown)[0]} is not known")
    all_requests = [request] if request is not None else requests or []
    return Row(name, topic, services, operation, tuple(map(_written_out, all_requests)), given, expect)


def _written_out(value: Any) -> Any:
    if isinstance(value, dict):
        if "$repeat" in value:
            return str(value["$repeat"]) * int(value["times"])
        return {key: _written_out(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_written_out(one) for one in value]
    return value
