"""Both Python clients against the real service."""

from __future__ import annotations

import asyncio

import pytest
from turnout import (
    AsyncClient,
    Client,
    InvalidRequestError,
    Strategy,
    StreamMode,
    build_complete_request,
)
from turnout.v1.completion_pb2 import CompleteResponse, CompleteStreamResponse

from tests.server.conftest import Running

PROMPT = "write a python function that sorts a list"


def whole_of(events: list[CompleteStreamResponse]) -> str:
    assert events[0].WhichOneof("event") == "started"
    assert events[-1].WhichOneof("event") == "finished"
    return "".join(event.text.text for event in events)


async def test_both_clients_complete(running: Running) -> None:
    target = f"127.0.0.1:{running.port}"

    def ask() -> tuple[CompleteResponse, str]:
        with Client(target) as client:
            response = client.complete(PROMPT, tenant="acme", temperature=0.0, stop=["END"], seed=7)
            return response, whole_of(list(client.complete_stream(PROMPT)))

    response, streamed = await asyncio.to_thread(ask)
    assert response.message.content
    async with AsyncClient(target) as client:
        again = await client.complete(PROMPT)
        assert again.message.content == response.message.content
        mode, strategy = StreamMode.RESTART, Strategy.CASCADE
        events = [event async for event in client.complete_stream(PROMPT, mode=mode, strategy=strategy)]
        assert Strategy(events[0].started.strategy) is Strategy.CASCADE
        assert streamed == response.message.content
        assert whole_of(events)


async def test_both_clients_tell_what_is_wrong(running: Running) -> None:
    target = f"127.0.0.1:{running.port}"

    def ask() -> None:
        with Client(target) as client:
            with pytest.raises(InvalidRequestError) as caught:
                client.complete(PROMPT, temperature=3.0)
            assert caught.value.field == "temperature"
            with pytest.raises(InvalidRequestError):
                list(client.complete_stream(PROMPT, temperature=3.0))

    await asyncio.to_thread(ask)
    async with AsyncClient(target) as client:
        with pytest.raises(InvalidRequestError):
            await client.complete(PROMPT, temperature=3.0)
        with pytest.raises(InvalidRequestError):
            await anext(client.complete_stream(PROMPT, temperature=3.0))


def test_a_request_is_built_as_it_is_given() -> None:
    request = build_complete_request(
        messages=[("user", "hi")],
        tenant="acme",
        min_tier="mid",
        max_output_tokens=9,
        metadata={"a": "b"},
        response_format={"type": "json_object"},
    )
    assert request.messages[0].content == "hi"
    assert (request.caller.tenant, request.constraints.min_tier) == ("acme", "mid")
    assert (request.max_output_tokens, dict(request.metadata)) == (9, {"a": "b"})
    assert request.response_format.WhichOneof("format") == "json_object"
    assert not request.HasField("temperature")
    assert build_complete_request(request) is request
    with pytest.raises(TypeError):
        build_complete_request("hi", stop="END")
    with pytest.raises(TypeError):
        build_complete_request("hi", no_such=1)  # type: ignore[call-arg]
