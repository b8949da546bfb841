"""What Envoy sends of a body above its buffer, in the mode BUFFERED_PARTIAL: the beginning, which is decided.

Without Envoy: 1.40 sometimes leaves the rest of such a body unread until the route's own limit (docs/envoy.md).
"""

# xds-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    HttpBody,
    HttpHeaders,
    ProcessingRequest,
    ProcessingResponse,
)

from tests.server.ext_proc.conftest import serving

METHOD = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
HEADERS = {":path": b"/v1/chat/completions", ":method": b"POST", "content-length": b"1800100"}
BUFFER_BYTES = 1 << 20


def headers() -> ProcessingRequest:
    """A request whose body is to come."""
    values = [HeaderValue(key=name, raw_value=value) for name, value in HEADERS.items()]
    return ProcessingRequest(request_headers=HttpHeaders(headers=HeaderMap(headers=values)))


@pytest.mark.parametrize("decision_port", [False, True], ids=["main", "decision"])
@pytest.mark.parametrize(
    ("model_first", "model"), [(True, "strong-1"), (False, None)], ids=["model first", "model behind"]
)
async def test_the_beginning_is_decided(
    tmp_path: Path, decision_port: bool, model_first: bool, model: str | None
) -> None:
    messages = [{"role": "user", "content": "contract " + "lorem ipsum " * 150_000}]
    document = (
        {"model": "auto", "messages": messages} if model_first else {"messages": messages, "model": "auto"}
    )
    body = json.dumps(document).encode()[:BUFFER_BYTES]
    async with serving(tmp_path, decision_port=decision_port) as (_, port):
        options = [("grpc.max_receive_message_length", 4 * BUFFER_BYTES)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            process: Any = channel.stream_stream(
                METHOD, ProcessingRequest.SerializeToString, ProcessingResponse.FromString
            )
            call = process()
            await call.write(headers())
            assert (await call.read()).HasField("request_headers")
            await call.write(ProcessingRequest(request_body=HttpBody(body=body)))
            answer = (await call.read()).request_body.response
            await call.done_writing()
            assert await call.code() is grpc.StatusCode.OK
    set_headers = {
        one.header.key: one.header.raw_value.decode() for one in answer.header_mutation.set_headers
    }
    if model is None:
        # It is not known yet whether it is ours to decide.
        assert set_headers == {"x-turnout-status": "unread"}
        assert not answer.HasField("body_mutation")
        return
    assert set_headers["x-turnout-model"] == model
    # Of a body that goes on, the length is the gateway's business.
    assert "content-length" not in set_headers
    assert answer.body_mutation.body == body.replace(b'"auto"', f'"{model}"'.encode())
    assert answer.clear_route_cache
