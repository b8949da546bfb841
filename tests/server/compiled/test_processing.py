"""Envoy's messages as the compiled codec has them, against the protobuf library."""

# xds-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import contextlib
from typing import Any

from envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue, HeaderValueOption
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HttpBody,
    HttpHeaders,
    HttpTrailers,
    ProcessingRequest,
    ProcessingResponse,
)
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.doors.compiled.processing import Message, read_message, write_routed

PREFIX = "x-turnout-"
NAMES = st.sampled_from(
    [
        ":path",
        ":status",
        "content-length",
        "content",
        "contents",
        "x-turnout-tenant",
        "x-turnout",
        "accept",
        "",
    ]
) | st.text(max_size=8)
VALUES = st.text(max_size=40)
HEADERS = st.builds(
    HeaderValue, key=NAMES, value=VALUES, raw_value=st.binary(max_size=40) | VALUES.map(str.encode)
)
HTTP_HEADERS = st.builds(
    HttpHeaders,
    headers=st.builds(HeaderMap, headers=st.lists(HEADERS, max_size=6)),
    end_of_stream=st.booleans(),
)
BODIES = st.builds(
    HttpBody,
    body=st.binary(max_size=300),
    end_of_stream=st.booleans(),
    end_of_stream_without_message=st.booleans(),
)
MESSAGES = (
    HTTP_HEADERS.map(lambda held: ProcessingRequest(request_headers=held))
    | HTTP_HEADERS.map(lambda held: ProcessingRequest(response_headers=held, observability_mode=True))
    | BODIES.map(lambda held: ProcessingRequest(request_body=held))
    | BODIES.map(lambda held: ProcessingRequest(response_body=held))
    | st.just(ProcessingRequest(request_trailers=HttpTrailers()))
    | st.just(ProcessingRequest())
)
KINDS = {field.name: field.number for field in ProcessingRequest.DESCRIPTOR.oneofs_by_name["request"].fields}


def check(found: Message, message: ProcessingRequest) -> None:
    """Found is what the library reads."""
    name = message.WhichOneof("request")
    assert found.kind == KINDS.get(name, 0)
    assert found.is_observed == message.observability_mode
    held: Any = getattr(message, name) if name else None
    if name in ("request_headers", "response_headers"):
        values = [
            (one.key, one.raw_value.decode("utf-8", "replace") or one.value) for one in held.headers.headers
        ]
        assert found.headers == {key: value for key, value in values if key.startswith((":", "content-"))}
        assert found.named == {key: value for key, value in values if key.startswith(PREFIX)}
    else:
        assert not found.headers and not found.named
    is_body = name in ("request_body", "response_body")
    assert found.body == (held.body if is_body else b"")
    if is_body or name in ("request_headers", "response_headers"):
        assert found.end_of_stream == held.end_of_stream


@given(MESSAGES)
def test_messages_read_as_the_library_reads_them(message: ProcessingRequest) -> None:
    check(read_message(message.SerializeToString(), PREFIX.encode()), message)


@given(st.lists(MESSAGES, min_size=2, max_size=3))
def test_messages_in_pieces_are_merged_as_the_library_merges_them(pieces: list[ProcessingRequest]) -> None:
    data = b"".join(piece.SerializeToString() for piece in pieces)
    check(read_message(data, PREFIX.encode()), ProcessingRequest.FromString(data))


@given(MESSAGES.map(ProcessingRequest.SerializeToString), st.data())
def test_broken_bytes_are_read_or_refused_as_by_the_library(data: bytes, choice: st.DataObject) -> None:
    broken = bytearray(data)
    for _ in range(choice.draw(st.integers(1, 3))):
        at = choice.draw(st.integers(0, len(broken)))
        broken[at : at + choice.draw(st.integers(0, 2))] = choice.draw(st.binary(max_size=3))
    try:
        expected = ProcessingRequest.FromString(bytes(broken))
    except DecodeError:
        # Only what is read is looked at: what lies in other fields may be broken.
        with contextlib.suppress(DecodeError):
            read_message(bytes(broken), PREFIX.encode())
        return
    check(read_message(bytes(broken), PREFIX.encode()), expected)


@given(
    st.lists(st.tuples(VALUES.filter(bool).map(str.encode), st.binary(min_size=1, max_size=300)), max_size=8),
    st.none() | st.binary(max_size=20_000),
)
def test_what_is_written_reads_as_what_was_meant(
    headers: list[tuple[bytes, bytes]], body: bytes | None
) -> None:
    options = [
        HeaderValueOption(
            header=HeaderValue(key=name.decode(), raw_value=value),
            append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
        )
        for name, value in headers
    ]
    common = CommonResponse(clear_route_cache=True, header_mutation=HeaderMutation(set_headers=options))
    if body is not None:
        common.body_mutation.CopyFrom(BodyMutation(body=body))
    expected = ProcessingResponse(request_body=BodyResponse(response=common))
    assert ProcessingResponse.FromString(write_routed(tuple(headers), body)) == expected
