"""The tolerant deserializer and its search for the field at fault."""

from __future__ import annotations

from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteRequest, RouteStreamRequest
from turnout_server.doors.wire import (
    BULKY_BYTES,
    MAX_WALKED_FIELDS,
    Bulky,
    Malformed,
    find_fault,
    parser,
    salvage_payloads,
)

from tests.server.conftest import request_of

# Stands for text whose bytes are broken afterwards; as long, and nowhere else in a message.
MARK = "\x01\x02\x03\x04"
BROKEN = b"\xff\xfe\xfd\xfc"

parse = parser(RouteRequest)


@given(st.binary(max_size=300))
@settings(max_examples=2000)
def test_no_bytes_raise(data: bytes) -> None:
    for kind in (RouteRequest, RouteBatchRequest, RouteStreamRequest):
        message = parser(kind)(data)
        assert isinstance(message, (kind, Malformed))
    salvage_payloads(data, 1)


@given(st.lists(st.sampled_from(["content", "part", "name", "call"]), min_size=1, max_size=20), st.data())
def test_the_field_that_is_broken_is_found(kinds: list[str], data: st.DataObject) -> None:
    request = request_of({"policy": "p", "caller": {"tenant": "t"}})
    for kind in kinds:
        turn = request.messages.add(role=1, content="text")
        if kind == "part":
            turn.parts.add(text="a")
            turn.parts.add(image={"uri": "https://a"})
        elif kind == "call":
            turn.tool_calls.add(id="1", name="f")
    at = data.draw(st.integers(0, len(kinds) - 1))
    turn = request.messages[at]
    path = f"messages[{at}]"
    match kinds[at]:
        case "content":
            turn.content, path = MARK, f"{path}.content"
        case "name":
            turn.name, path = MARK, f"{path}.name"
        case "part":
            turn.parts[1].image.uri, path = MARK, f"{path}.parts[1].image.uri"
        case "call":
            turn.tool_calls[0].id, path = MARK, f"{path}.tool_calls[0].id"
    broken = request.SerializeToString().replace(MARK.encode(), BROKEN)
    assert parse(broken) == Malformed(path, broken)


def test_a_large_message_is_bulky() -> None:
    data = RouteRequest(prompt="x" * BULKY_BYTES).SerializeToString()
    message = parse(data)
    assert isinstance(message, Bulky)
    assert message.message == RouteRequest.FromString(data)
    assert isinstance(parse(data[:-1]), Malformed)


def test_a_well_formed_message_has_no_fault() -> None:
    request = request_of(
        {"prompt": "héllo", "caller": {"labels": {"a": "b"}}, "constraints": {"quality_bar": 0.5}}
    )
    assert find_fault(request.SerializeToString(), RouteRequest.DESCRIPTOR) == ""


def test_unknown_fields_are_passed_over() -> None:
    # Field 100: a varint, 64 bits, bytes and 32 bits; then a prompt that is not UTF-8.
    unknown = b"\xa0\x06\x01" + b"\xa1\x06" + bytes(8) + b"\xa2\x06\x02\xff\xff" + b"\xa5\x06" + bytes(4)
    assert find_fault(unknown + b"\x0a\x01\xff", RouteRequest.DESCRIPTOR) == "prompt"


def test_the_walk_is_bounded() -> None:
    """Of millions of fields, no more are visited than would hold the process for a moment."""
    visited = b"\x12\x00" * (MAX_WALKED_FIELDS - 1)
    assert find_fault(visited + b"\x0a\x01\xff", RouteRequest.DESCRIPTOR) == "prompt"
    assert find_fault(visited + b"\x12\x00" + b"\x0a\x01\xff", RouteRequest.DESCRIPTOR) == ""
    began = process_time()
    find_fault(b"\x12\x00" * 4_000_000 + b"\xff", RouteRequest.DESCRIPTOR)
    assert len(salvage_payloads(b"\x0a\x00" * 4_000_000, 1)) == MAX_WALKED_FIELDS
    # Far above any machine's time for what is bounded, far below that for what is not.
    assert process_time() - began < 5
