"""Each fault that is an error or a broken answer is what it says, on each wire, unary and streaming."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

import pytest

from tests.faults import Fault, FaultServer, Wire
from tests.faults.answer import numbered_tokens
from tests.faults.asking import End, ask, body_of
from tests.faults.behaviours import ENDLESS_LINE_BYTES
from tests.faults.cases import read, ways
from tests.faults.reading import read_stream

PART = "".join(numbered_tokens(40))


PROBLEMS = {
    Fault.RATE_LIMITED: ("requests", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    Fault.RATE_LIMITED_SECONDS: ("requests", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    Fault.RATE_LIMITED_DATE: ("requests", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    Fault.RATE_LIMITED_MILLISECONDS: ("requests", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    Fault.RATE_LIMITED_RETRY_INFO: ("", "", "RESOURCE_EXHAUSTED"),
    Fault.QUOTA_EXHAUSTED: ("insufficient_quota", "invalid_request_error", "RESOURCE_EXHAUSTED"),
    Fault.SERVER_ERROR_ONCE: ("server_error", "api_error", "INTERNAL"),
    Fault.SERVER_ERROR: ("server_error", "api_error", "INTERNAL"),
    Fault.UNAVAILABLE: ("server_error", "api_error", "UNAVAILABLE"),
    Fault.OVERLOADED: ("overloaded_error", "overloaded_error", "UNAVAILABLE"),
    Fault.UNAUTHORIZED: ("invalid_request_error", "authentication_error", "UNAUTHENTICATED"),
    Fault.FORBIDDEN: ("permission_error", "permission_error", "PERMISSION_DENIED"),
    Fault.NOT_FOUND: ("invalid_request_error", "not_found_error", "NOT_FOUND"),
    Fault.BAD_REQUEST: ("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    Fault.CONTEXT_EXCEEDED: ("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
}
STATUSES = {
    Fault.SERVER_ERROR_ONCE: 500,
    Fault.SERVER_ERROR: 500,
    Fault.UNAVAILABLE: 503,
    Fault.OVERLOADED: 529,
    Fault.UNAUTHORIZED: 401,
    Fault.FORBIDDEN: 403,
    Fault.NOT_FOUND: 404,
    Fault.BAD_REQUEST: 400,
    Fault.CONTEXT_EXCEEDED: 400,
}


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(*PROBLEMS))
async def test_a_problem_in_the_form_of_its_wire(
    upstream: FaultServer, fault: Fault, wire: Wire, stream: bool
) -> None:
    responses = [await ask(upstream.port, wire, fault, stream=stream) for _ in range(2)]
    status = STATUSES.get(fault, 429)
    if wire is Wire.GEMINI and fault is Fault.OVERLOADED:
        status = 503
    if wire is Wire.ANTHROPIC and fault is Fault.QUOTA_EXHAUSTED:
        status = 400
    first, second = responses
    error = first.json["error"]
    assert (first.status, first.end) == (status, End.WHOLE)
    assert error["status" if wire is Wire.GEMINI else "type"] == PROBLEMS[fault][list(Wire).index(wire)]
    assert error["message"]
    assert second.status == (200 if fault.times else status)
    assert [seen.fault for seen in upstream.ledger.requests] == [
        fault,
        Fault.ORDINARY if fault.times else fault,
    ]


async def test_what_a_rate_limit_says_to_wait(upstream: FaultServer) -> None:
    for wire in Wire:
        seconds = await ask(upstream.port, wire, f"{Fault.RATE_LIMITED_SECONDS}.{wire}", stream=False)
        assert seconds.headers["retry-after"] == "2"
        date = await ask(upstream.port, wire, f"{Fault.RATE_LIMITED_DATE}.{wire}", stream=False)
        sent, until = (parsedate_to_datetime(date.headers[name]) for name in ("date", "retry-after"))
        assert 2 <= (until - sent).total_seconds() <= 4
        ms = await ask(upstream.port, wire, f"{Fault.RATE_LIMITED_MILLISECONDS}.{wire}", stream=False)
        assert (ms.headers["retry-after-ms"], "retry-after" in ms.headers) == ("2000", False)
    upstream.retry_after_s = 1.25
    gemini = await ask(upstream.port, Wire.GEMINI, Fault.RATE_LIMITED_RETRY_INFO, stream=True)
    (detail,) = gemini.json["error"]["details"]
    assert detail == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.25s"}


async def test_a_quota_is_told_apart_from_a_rate(upstream: FaultServer) -> None:
    openai, anthropic, gemini = [
        (await ask(upstream.port, wire, Fault.QUOTA_EXHAUSTED, stream=False)).json["error"] for wire in Wire
    ]
    assert openai["code"] == "insufficient_quota"
    assert "credit balance" in anthropic["message"]
    assert "PerDay" in gemini["details"][0]["violations"][0]["quotaId"]


CUTS = (Fault.CUT, Fault.CUT_BY_RESET, Fault.CUT_CLEANLY, Fault.STALL)


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(*CUTS))
async def test_an_answer_is_cut(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    response = await ask(upstream.port, wire, fault, stream=stream)
    ends = {Fault.CUT_BY_RESET: End.RESET, Fault.CUT_CLEANLY: End.WHOLE}
    assert (response.status, response.end) == (200, ends.get(fault, End.CUT))
    if stream:
        reading = read_stream(wire, response.body)
        assert (reading.text, reading.finish, reading.ended) == (PART, "", False)
        assert upstream.ledger.requests[0].tokens_sent == 40
    else:
        with pytest.raises(ValueError):
            json.loads(response.body)


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(Fault.MALFORMED))
async def test_malformed_json(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    response = await ask(upstream.port, wire, fault, stream=stream)
    assert response.end is End.WHOLE
    with pytest.raises(ValueError):
        read(wire, response, stream=stream)
    if stream and wire is not Wire.GEMINI:
        assert (b"[DONE]" in response.body) or (b"message_stop" in response.body)


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(Fault.ERROR_AFTER_HEAD, Fault.ERROR_IN_STREAM))
async def test_an_error_after_200(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    response = await ask(upstream.port, wire, fault, stream=stream)
    reading = read(wire, response, stream=stream)
    assert (response.status, response.end) == (200, End.WHOLE)
    assert (bool(reading.error), reading.finish) == (True, "")
    assert reading.text == (PART if fault is Fault.ERROR_IN_STREAM else "")


@pytest.mark.parametrize("wire", Wire)
async def test_what_is_no_answer_at_all(upstream: FaultServer, wire: Wire) -> None:
    page = await ask(upstream.port, wire, Fault.HTML, stream=True)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    moved = await ask(upstream.port, wire, Fault.REDIRECT, stream=True)
    assert moved.status == 307
    assert moved.headers["location"].startswith("/redirected/")
    endless = await ask(upstream.port, wire, Fault.ENDLESS_LINE, stream=True)
    assert b"\n" not in endless.body
    assert len(endless.body) > ENDLESS_LINE_BYTES


BAD_CALLS = {
    "openai-without-messages": (Wire.OPENAI, {"messages": []}, 400),
    "openai-stream-options-alone": (Wire.OPENAI, {"stream_options": {"include_usage": True}}, 400),
    "anthropic-without-max-tokens": (Wire.ANTHROPIC, {"max_tokens": None}, 400),
    "anthropic-system-turn": (Wire.ANTHROPIC, {"messages": [{"role": "system", "content": "x"}]}, 400),
    "gemini-assistant-turn": (Wire.GEMINI, {"contents": [{"role": "assistant"}]}, 400),
}


@pytest.mark.parametrize(("wire", "change", "status"), BAD_CALLS.values(), ids=BAD_CALLS)
async def test_a_call_that_the_provider_would_refuse(
    upstream: FaultServer, wire: Wire, change: dict[str, object], status: int
) -> None:
    body = body_of(wire, Fault.ORDINARY, stream=False) | change
    response = await ask(upstream.port, wire, Fault.ORDINARY, stream=False, body=body)
    assert response.status == status
    assert upstream.ledger.requests[0].complaint


async def test_an_outage_by_script(upstream: FaultServer) -> None:
    statuses = []
    for down in (None, Fault.UNAVAILABLE, Fault.RESET, None):
        upstream.down = down
        statuses.append((await ask(upstream.port, Wire.ANTHROPIC, Fault.OUTAGE, stream=True)).status)
    assert statuses == [200, 503, 0, 200]
