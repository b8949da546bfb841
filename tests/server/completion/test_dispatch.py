"""What the public faults do not ask: quotas, outages of all, deadlines, cascades, cancels and bills."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from turnout.v1 import completion_pb2 as contract
from turnout.v1.completion_pb2 import CompleteRequest, CompleteStreamRequest

from tests.faults import Answer, Fault, Moment, Wire
from tests.faults.cases import ways
from tests.server.completion.cancels import cancel_many
from tests.server.completion.wall import invoice, walled
from tests.server.completion.wall_scenarios import BACKUP, WHOLE, is_whole

FRONTIER = "ordinary.frontier"


def attempts_of(outcome: Any) -> list[tuple[str, str, str]]:
    """Deployment, purpose and result of every attempt."""
    made = outcome.response.attempts or outcome.failure.attempts
    return [
        (
            one.deployment,
            contract.AttemptPurpose.Name(one.purpose).removeprefix("ATTEMPT_PURPOSE_").lower(),
            contract.AttemptResult.Name(one.result).removeprefix("ATTEMPT_RESULT_").lower(),
        )
        for one in made
    ]


@pytest.mark.parametrize("fault", [Fault.SLOW_BODY, Fault.BYTE_BY_BYTE, Fault.UNUSUAL_SSE], ids=str)
async def test_what_is_legal_is_answered(fault: Fault, tmp_path: Path, bundle: Path, log: object) -> None:
    async with walled(tmp_path, bundle, [fault], time_factor=0.05) as wall:
        is_whole(await wall.ask(stream=True), fault)


@pytest.mark.parametrize("fault", [Fault.CUT_CLEANLY, Fault.ERROR_IN_STREAM, Fault.STALL], ids=str)
async def test_a_unary_answer_that_nobody_can_give_anew_says_what_had_come(
    fault: Fault, tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, [fault], [Fault.OVERLOADED]) as wall:
        outcome = await wall.ask()
        assert (outcome.code, outcome.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_CUT")
        assert outcome.pushback == "-1"
        assert outcome.metadata["deployment"] == fault
        assert outcome.failure.partial_text
        assert WHOLE.startswith(outcome.failure.partial_text)
        # A server error is retried once, from the beginning.
        results = [result for _, _, result in attempts_of(outcome)]
        assert results == ["failed"] * (3 if fault is Fault.ERROR_IN_STREAM else 2)
        assert int(outcome.metadata["output_tokens"]) == outcome.failure.tokens.output_text > 0


async def test_an_endless_line_is_no_answer(tmp_path: Path, bundle: Path, log: object) -> None:
    async with walled(tmp_path, bundle, [Fault.ENDLESS_LINE, BACKUP]) as wall:
        is_whole(await wall.ask(), BACKUP)


async def test_broken_arguments_of_a_tool_escalate_and_calls_come_whole(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(
        tmp_path, bundle, [Fault.TOOL_ARGUMENTS_BROKEN], [Fault.TOOL_CALLS], strategy="cascade"
    ) as wall:
        request = CompleteRequest(prompt="What is the weather?")
        for name in ("get_weather", "get_time"):
            request.tools.add(name=name, parameters_json_schema='{"type":"object"}')
        outcome = await wall.ask(request)
        assert [result for _, _, result in attempts_of(outcome)] == ["rejected", "served"]
        assert outcome.response.finish_reason == contract.FINISH_REASON_TOOL_CALLS
        calls = outcome.response.message.tool_calls
        assert [call.name for call in calls] == ["get_weather", "get_time"]
        assert calls[0].arguments_json == '{"city":"Zürich","unit":"celsius"}'


@pytest.mark.parametrize(
    ("fault", "wire"),
    [
        (Fault.RATE_LIMITED_DATE, Wire.OPENAI),
        (Fault.RATE_LIMITED_MILLISECONDS, Wire.ANTHROPIC),
        (Fault.RATE_LIMITED_RETRY_INFO, Wire.GEMINI),
    ],
)
async def test_every_way_to_say_when_closes_the_deployment_until_then(
    fault: Fault, wire: Wire, tmp_path: Path, bundle: Path, log: object
) -> None:
    """The second request does not ask it again, though it would answer."""
    async with walled(tmp_path, bundle, [fault, BACKUP], wire=wire, retry_after_s=30.0) as wall:
        for _ in range(2):
            is_whole(await wall.ask(), BACKUP)
        assert wall.count(fault) == 1


NEVER_RETRIED = (
    Fault.QUOTA_EXHAUSTED,
    Fault.OVERLOADED,
    Fault.UNAUTHORIZED,
    Fault.FORBIDDEN,
    Fault.NOT_FOUND,
    Fault.REDIRECT,
    Fault.HTML,
    Fault.ERROR_AFTER_HEAD,
)


@pytest.mark.parametrize("fault", NEVER_RETRIED)
@pytest.mark.parametrize("stream", [False, True])
async def test_no_second_attempt_on_the_same_deployment(
    fault: Fault, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, [fault], [FRONTIER]) as wall:
        outcome = await wall.ask(stream=stream)
        if fault is Fault.QUOTA_EXHAUSTED:
            # All deployments of the wall share one account.
            assert (outcome.code, outcome.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
            assert outcome.retry_s is not None
            assert outcome.retry_s > 60
        else:
            is_whole(outcome, FRONTIER)
        assert wall.count(fault) == 1


async def test_a_bad_request_is_the_callers_own(tmp_path: Path, bundle: Path, log: object) -> None:
    async with walled(tmp_path, bundle, [Fault.BAD_REQUEST, BACKUP]) as wall:
        outcome = await wall.ask()
        assert (outcome.code, outcome.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UPSTREAM_REJECTED")
        assert outcome.metadata["http_status"] == "400"
        assert wall.upstream.ledger.count() == 1


async def test_a_stale_connection_is_retried_at_once(tmp_path: Path, bundle: Path, log: object) -> None:
    async with walled(tmp_path, bundle, [Fault.STALE_KEEP_ALIVE, BACKUP]) as wall:
        for _ in range(4):
            is_whole(await wall.ask(), Fault.STALE_KEEP_ALIVE)
        assert wall.count(BACKUP) == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_with_everything_down_the_caller_is_told_when_to_return(
    stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, [Fault.UNAVAILABLE], ["unavailable.frontier"]) as wall:
        outcome = await wall.ask(stream=stream)
        assert (outcome.code, outcome.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
        assert outcome.metadata["tier"] == "small"
        assert "server_error=" in outcome.metadata["causes"]
        assert outcome.retry_s is not None
        assert outcome.retry_s > 0
        assert outcome.pushback == str(round(outcome.retry_s * 1000))
        assert 2 <= len(outcome.failure.attempts) <= 4
        assert wall.upstream.ledger.count() == len(outcome.failure.attempts)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_full_outage_multiplies_nothing(
    workers: int, tmp_path: Path, bundle: Path, log: object
) -> None:
    """With all deployments down, attempts stay within 1.2 times the requests, of all workers together."""
    requests = 200
    state = tmp_path / "state"
    async with walled(
        tmp_path,
        bundle,
        [Fault.UNAVAILABLE, "unavailable.2"],
        ["unavailable.3"],
        workers=workers,
        state=state,
    ) as wall:
        outcomes = [await wall.ask() for _ in range(requests)]
        assert {outcome.code for outcome in outcomes} == {grpc.StatusCode.UNAVAILABLE}
        assert wall.upstream.ledger.count() <= 1.2 * requests


async def test_the_least_tier_of_the_caller_bounds_what_may_stand_in(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, ["ordinary.small"], [Fault.OVERLOADED]) as wall:
        request = CompleteRequest(prompt="Where?")
        request.constraints.quality_bar = 1.0
        outcome = await wall.ask(request)
        is_whole(outcome, "ordinary.small")
        assert outcome.response.degraded
        assert outcome.response.decision.tier == "frontier"
        request.constraints.min_tier = "frontier"
        outcome = await wall.ask(request)
        assert (outcome.code, outcome.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")


async def test_a_deadline_ends_in_time_and_the_fallback_is_tried_within_it(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, [Fault.SILENCE, "silence.2"], ["silence.3"]) as wall:
        outcome = await wall.ask(timeout_s=0.7)
        assert outcome.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert outcome.reason == "DEADLINE_EXCEEDED"
        assert wall.count("silence.2") == 1
        for model in (Fault.SILENCE, "silence.2"):
            [seen] = wall.upstream.ledger.of(model)
            await wall.upstream.ledger.until(partial(seen.at, Moment.LEFT))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_black_hole_leaves_half_of_a_near_deadline_to_the_fallback(
    stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    """With the limits as they ship, ten seconds each, and a deadline of two."""
    async with walled(
        tmp_path, bundle, [Fault.SILENCE], [FRONTIER], first_token_s=10.0, inter_token_s=10.0
    ) as wall:
        outcome = await wall.ask(stream=stream, timeout_s=2.0)
        is_whole(outcome, FRONTIER)
        [seen] = wall.upstream.ledger.of(Fault.SILENCE)
        await wall.upstream.ledger.until(partial(seen.at, Moment.LEFT))


ESCALATES = (
    Fault.REFUSAL,
    Fault.REFUSAL_IN_WORDS,
    Fault.EMPTY,
    Fault.REASONING_ONLY,
    Fault.LENGTH_WITHOUT_TEXT,
)
CASCADES = [way for way in ways(*ESCALATES) if way.values[:2] != (Fault.REFUSAL, Wire.GEMINI)]


@pytest.mark.parametrize(("fault", "wire", "stream"), CASCADES)
async def test_a_cascade_escalates_once_and_bills_both(
    fault: Fault, wire: Wire, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, [fault], wire=wire, strategy="cascade") as wall:
        outcome = await wall.ask(stream=stream)
        is_whole(outcome, FRONTIER)
        assert attempts_of(outcome) == [
            (fault, "serve", "rejected"),
            (FRONTIER, "escalate", "served"),
        ]
        cheap, dear = outcome.response.attempts
        expected = invoice("small", cheap.tokens) + invoice("frontier", dear.tokens)
        assert outcome.response.cost.nano_usd == expected
        assert "restarted" not in outcome.events
        assert (wall.count(fault), wall.count(FRONTIER)) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "wire"),
    # Gemini has no field for a refusal: it says SAFETY, and the model has not said a word.
    [(Fault.REFUSAL, Wire.GEMINI), (Fault.BLOCKED, Wire.GEMINI), (Fault.BLOCKED, Wire.OPENAI)],
)
async def test_a_filter_that_leaves_nothing_refuses_the_request(
    fault: Fault, wire: Wire, tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, [fault, BACKUP], wire=wire, strategy="cascade") as wall:
        outcome = await wall.ask()
        assert (outcome.code, outcome.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CONTENT_POLICY")
        assert wall.upstream.ledger.count() == 1
        [attempt] = outcome.failure.attempts
        assert attempt.cost.nano_usd == invoice("small", attempt.tokens) > 0


async def test_broken_json_escalates_and_valid_json_comes_back(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, ["cheap"], ["dear"], strategy="cascade") as wall:
        wall.upstream.play("cheap", answer=Answer.of('{"name": "Ada", '))
        wall.upstream.play("dear", answer=Answer.of('{"name": "Ada"}'))
        request = CompleteRequest(prompt="Name?")
        schema = '{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}'
        request.response_format.json_schema.schema_json = schema
        outcome = await wall.ask(request)
        assert outcome.text == '{"name": "Ada"}'
        assert attempts_of(outcome) == [("cheap", "serve", "rejected"), ("dear", "escalate", "served")]
        said = outcome.response.gates[2]
        assert (said.gate, said.verdict) == (contract.GATE_SCHEMA, contract.VERDICT_ESCALATE)
        assert said.reason == contract.GATE_REASON_JSON_INVALID
        assert outcome.response.attempts[0].rejected_by == contract.GATE_SCHEMA


async def test_an_opted_in_stream_shows_the_cheap_answer_and_takes_it_back(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, [Fault.REFUSAL_IN_WORDS], strategy="cascade") as wall:
        outcome = await wall.ask(stream=True, mode=contract.STREAM_MODE_RESTART)
        is_whole(outcome, FRONTIER)
        assert outcome.events.index("text") < outcome.events.index("restarted")
        assert outcome.events.count("restarted") == 1


async def test_an_escalation_that_finds_nobody_leaves_the_answer_and_says_so(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(
        tmp_path, bundle, [Fault.REFUSAL_IN_WORDS], [Fault.OVERLOADED], strategy="cascade"
    ) as wall:
        outcome = await wall.ask(stream=True)
        assert outcome.whole
        assert outcome.response.deployment == Fault.REFUSAL_IN_WORDS
        assert outcome.response.gates[-1].verdict == contract.VERDICT_ESCALATE
        assert [result for _, _, result in attempts_of(outcome)] == ["served", "failed"]


async def test_a_stream_that_can_still_be_rejected_is_held(tmp_path: Path, bundle: Path, log: object) -> None:
    """Under `single` the first token comes while the upstream is still speaking; under `cascade` not."""
    for strategy, early in (("single", True), ("cascade", False)):
        async with walled(tmp_path, bundle, [Fault.SLOW_BODY], strategy=strategy, time_factor=0.05) as wall:
            call = wall.stub.CompleteStream(CompleteStreamRequest(request=CompleteRequest(prompt="Where?")))
            async for event in call:
                if event.WhichOneof("event") == "text":
                    break
            [seen] = wall.upstream.ledger.of(Fault.SLOW_BODY)
            assert (seen.at(Moment.FINISHED) is None) is early
            call.cancel()


async def test_a_failed_and_a_served_attempt_are_both_on_the_bill(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, [Fault.CUT, BACKUP]) as wall:
        outcome = await wall.ask()
        is_whole(outcome, BACKUP)
        cut, served = outcome.response.attempts
        assert cut.estimated
        assert not served.estimated
        # 40 tokens of 4 bytes came; an estimate counts three bytes a token.
        assert cut.tokens.output_text == -(-40 * 4 // 3)
        total = invoice("small", cut.tokens) + invoice("small", served.tokens)
        assert outcome.response.cost.nano_usd == total
        assert outcome.response.cost.estimated


async def test_an_unknown_price_is_incomplete_and_never_zero(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, ["ordinary.small"], priced=False) as wall:
        outcome = await wall.ask()
        assert not outcome.response.cost.complete
        assert not outcome.response.cost.HasField("nano_usd")


async def test_five_hundred_cancels_in_mixed_phases_leave_nothing(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    """Ten thousand: `python -m tests.server.completion.cancels`."""
    await cancel_many(tmp_path, bundle, calls=500)


async def test_a_cancelled_call_is_billed_as_an_estimate(tmp_path: Path, bundle: Path, log: object) -> None:
    from turnout_server.quality.invoice import make_invoice
    from turnout_server.quality.store.place import find_place, make_engine
    from turnout_server.quality.store.reading import read_costs

    path = str(tmp_path / "outcomes.db")
    async with walled(tmp_path, bundle, [Fault.SLOW_BODY], store=path) as wall:
        call = wall.stub.CompleteStream(CompleteStreamRequest(request=CompleteRequest(prompt="Where?")))
        seen = 0
        decision_id = ""
        async for event in call:
            if event.WhichOneof("event") == "started":
                decision_id = event.started.decision.decision_id
            seen += event.WhichOneof("event") == "text"
            if seen == 3:
                break
        call.cancel()
        await wall.upstream.ledger.until(lambda: wall.upstream.ledger.in_flight == 0)
        while wall.service.port.completions.in_flight:
            await asyncio.sleep(0.005)
        assert await asyncio.to_thread(wall.service.store.flush, 5.0)  # type: ignore[union-attr]
        place = find_place(path)
        assert place is not None
        with make_engine(place, read_only=True).connect() as connection:
            [cost] = read_costs(connection, decision_id)
        assert cost.result == "cancelled"
        assert cost.estimated
        assert cost.tokens.output_text >= 4
        assert make_invoice([cost]).agrees
        assert cost.cost_nano == invoice("small", cost.tokens)


async def test_whole_answer_is_the_upstreams(tmp_path: Path, bundle: Path, log: object) -> None:
    async with walled(tmp_path, bundle, ["ordinary.small"]) as wall:
        unary = await wall.ask()
        streamed = await wall.ask(stream=True)
        assert unary.text == streamed.text == WHOLE
        assert streamed.events[0] == "started"
        assert not streamed.response.HasField("message")
