"""What the contract of completions names is what the service's own words are."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from turnout.v1 import completion_pb2, routing_pb2
from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.faults import FaultKind


@pytest.mark.parametrize(
    ("words", "contracts", "prefix"), [(FaultKind, completion_pb2.FaultKind, "FAULT_KIND_")]
)
def test_enums_have_the_services_words(words: type[StrEnum], contracts: Any, prefix: str) -> None:
    names = [name.removeprefix(prefix) for name, number in contracts.items() if number]
    assert names == [word.name for word in words]
    # Metadata of errors says them in lower case.
    assert [name.lower() for name in names] == [word.value for word in words]


def test_token_counts_have_the_services_parts() -> None:
    ours = [field.name for field in fields(TokenCounts)]
    assert [field.name for field in completion_pb2.TokenCounts.DESCRIPTOR.fields] == ours


def test_a_request_has_all_that_a_decision_reads() -> None:
    """A completion can be decided as its RouteRequest would be: what that has, this has under the same name."""
    ours = {field.name for field in completion_pb2.CompleteRequest.DESCRIPTOR.fields}
    route = {field.name for field in routing_pb2.RouteRequest.DESCRIPTOR.fields} - {"requirements"}
    needs = {field.name for field in routing_pb2.OutputRequirements.DESCRIPTOR.fields}
    assert route | needs <= ours


def test_every_number_of_the_contract_states_its_unit_or_limit() -> None:
    """A field that counts or measures says in what; buf checks only that there is a comment at all."""
    source = Path(__file__).parents[2] / "proto/turnout/v1/completion.proto"
    comment: list[str] = []
    silent = []
    for line in (line.strip() for line in source.read_text(encoding="utf-8").splitlines()):
        if line.startswith("//"):
            comment.append(line)
            continue
        if line.startswith(
            ("optional double", "double", "uint32", "optional uint32", "uint64", "optional int32")
        ):
            said = " ".join(comment).lower()
            name = line.split("=")[0].split()[-1]
            if not (any(char.isdigit() for char in said) or name.endswith("_ns") or "token" in said):
                silent.append(name)
        comment = []
    assert silent == []
