"""What each gate says of answers, in tables."""

from __future__ import annotations

import io
import itertools
import json
from typing import Any

import pytest
from turnout_server.completion.gates.chain import ChainVerdict, GateChain, usual_checks
from turnout_server.completion.gates.confidence import confidence_of
from turnout_server.completion.gates.confidence_fit import Thresholds
from turnout_server.completion.gates.context import Form, GateContext, Required, read_context
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, Verdict
from turnout_server.providers.chat import (
    ChatRequest,
    ChatResponse,
    FinishReason,
    FormatKind,
    Message,
    ResponseFormat,
    Role,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
)

from tests.server.conftest import read_log

PERSON = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)
ASK = (Message.of(Role.USER, "Who is it?"),)
JSON_MODE = read_context(ChatRequest(ASK, response_format=ResponseFormat(FormatKind.JSON_OBJECT)))
SCHEMA = read_context(
    ChatRequest(ASK, response_format=ResponseFormat(FormatKind.JSON_SCHEMA, schema_json=PERSON))
)
PLAIN = GateContext()


def answer(text: str = "", finish: FinishReason = FinishReason.STOP, **more: Any) -> ChatResponse:
    return ChatResponse(text, finish, **more)


def call(name: str = "find", arguments: str = '{"name": "Ada", "age": 36}') -> ToolCall:
    return ToolCall("1", name, arguments)


def tools(mode: ToolChoiceMode = ToolChoiceMode.AUTO, name: str = "") -> GateContext:
    return read_context(
        ChatRequest(
            ASK,
            tools=(Tool("find", parameters_json=PERSON), Tool("stop")),
            tool_choice=ToolChoice(mode, name),
        )
    )


def required(**fields: Any) -> GateContext:
    return read_context(ChatRequest(ASK), required=Required(**fields))


CALLS = FinishReason.TOOL_CALLS
LENGTH = FinishReason.LENGTH
FENCE = "```"
TABLE: list[tuple[Gate, ChatResponse, GateContext, Verdict, GateReason]] = [
    # Structure first.
    (
        Gate.REFUSAL,
        answer("Fine.", FinishReason.CONTENT_FILTER),
        PLAIN,
        Verdict.RETURN,
        GateReason.CONTENT_FILTER,
    ),
    (Gate.REFUSAL, answer("", FinishReason.REFUSAL), PLAIN, Verdict.ESCALATE, GateReason.REFUSAL_TOLD),
    (Gate.REFUSAL, answer("Fine.", refusal="No."), PLAIN, Verdict.ESCALATE, GateReason.REFUSAL_TOLD),
    (
        Gate.REFUSAL,
        answer("Fine.", refusal="No."),
        GateContext(refusals_before=1),
        Verdict.RETURN,
        GateReason.REFUSED_BEFORE,
    ),
    (Gate.REFUSAL, answer("I can't help with that"), PLAIN, Verdict.ESCALATE, GateReason.REFUSAL_WORDED),
    (
        Gate.REFUSAL,
        answer("I can't help with that, it is against my guidelines."),
        PLAIN,
        Verdict.ESCALATE,
        GateReason.REFUSAL_POLICY_WORDED,
    ),
    (
        Gate.REFUSAL,
        answer("I can't help with that"),
        GateContext(refusals_before=1),
        Verdict.RETURN,
        GateReason.REFUSED_BEFORE,
    ),
    (Gate.REFUSAL, answer("x" * 500 + ". I can't help with that."), PLAIN, Verdict.ACCEPT, GateReason.FINE),
    (
        Gate.REFUSAL,
        answer("I can't help.", CALLS, tool_calls=(call(),)),
        PLAIN,
        Verdict.ACCEPT,
        GateReason.FINE,
    ),
    (Gate.EMPTY, answer(""), PLAIN, Verdict.ESCALATE, GateReason.EMPTY),
    (Gate.EMPTY, answer(" \n…—"), PLAIN, Verdict.ESCALATE, GateReason.EMPTY),
    (Gate.EMPTY, answer("", LENGTH), PLAIN, Verdict.ESCALATE, GateReason.EMPTY_AT_LENGTH),
    (Gate.EMPTY, answer("", reasoning="Hmm."), PLAIN, Verdict.ESCALATE, GateReason.REASONING_ONLY),
    (Gate.EMPTY, answer("Sure!"), PLAIN, Verdict.ESCALATE, GateReason.FILLER),
    (Gate.EMPTY, answer("7"), PLAIN, Verdict.ACCEPT, GateReason.FINE),
    (Gate.EMPTY, answer("🙂"), PLAIN, Verdict.ACCEPT, GateReason.FINE),
    (Gate.EMPTY, answer("", CALLS, tool_calls=(call(),)), PLAIN, Verdict.ACCEPT, GateReason.FINE),
    (Gate.SCHEMA, answer("no JSON"), PLAIN, Verdict.ACCEPT, GateReason.NOT_ASKED),
    (Gate.SCHEMA, answer("no JSON"), JSON_MODE, Verdict.ESCALATE, GateReason.JSON_INVALID),
    (Gate.SCHEMA, answer('{"a": [1, 2'), JSON_MODE, Verdict.ESCALATE, GateReason.JSON_INVALID),
    (Gate.SCHEMA, answer('{"a": [1, 2', LENGTH), JSON_MODE, Verdict.ESCALATE, GateReason.JSON_CUT),
    (Gate.SCHEMA, answer('{"a": NaN}'), JSON_MODE, Verdict.ESCALATE, GateReason.JSON_INVALID),
    (
        Gate.SCHEMA,
        answer(f"{FENCE}json\n{{}}\n{FENCE}"),
        JSON_MODE,
        Verdict.ESCALATE,
        GateReason.JSON_INVALID,
    ),
    (Gate.SCHEMA, answer("[" * 3000 + "]" * 3000), JSON_MODE, Verdict.ESCALATE, GateReason.JSON_INVALID),
    (Gate.SCHEMA, answer("[1]"), JSON_MODE, Verdict.ESCALATE, GateReason.SCHEMA_VIOLATED),
    (Gate.SCHEMA, answer('{"anything": null}'), JSON_MODE, Verdict.ACCEPT, GateReason.FINE),
    (Gate.SCHEMA, answer('{"name": "Ada", "age": 36}'), SCHEMA, Verdict.ACCEPT, GateReason.FINE),
    (
        Gate.SCHEMA,
        answer('{"name": "Ada", "age": "36"}'),
        SCHEMA,
        Verdict.ESCALATE,
        GateReason.SCHEMA_VIOLATED,
    ),
    (Gate.SCHEMA, answer("", CALLS, tool_calls=(call(),)), SCHEMA, Verdict.ACCEPT, GateReason.NOT_ASKED),
    (Gate.TOOL_CALLS, answer("Hello"), PLAIN, Verdict.ACCEPT, GateReason.NOT_ASKED),
    (Gate.TOOL_CALLS, answer("Hello"), tools(), Verdict.ACCEPT, GateReason.FINE),
    (
        Gate.TOOL_CALLS,
        answer("Hello"),
        tools(ToolChoiceMode.REQUIRED),
        Verdict.ESCALATE,
        GateReason.TOOL_MISSING,
    ),
    (Gate.TOOL_CALLS, answer("", CALLS, tool_calls=(call(),)), tools(), Verdict.ACCEPT, GateReason.FINE),
    (
        Gate.TOOL_CALLS,
        answer("", CALLS, tool_calls=(call("stop", ""),)),
        tools(),
        Verdict.ACCEPT,
        GateReason.FINE,
    ),
    (
        Gate.TOOL_CALLS,
        answer("", CALLS, tool_calls=(call(), call("seek"))),
        tools(),
        Verdict.ESCALATE,
        GateReason.TOOL_UNKNOWN,
    ),
    (
        Gate.TOOL_CALLS,
        answer("", CALLS, tool_calls=(call(arguments='{"name": '),)),
        tools(),
        Verdict.ESCALATE,
        GateReason.ARGUMENTS_INVALID,
    ),
    (
        Gate.TOOL_CALLS,
        answer("", CALLS, tool_calls=(call(arguments='"Ada"'),)),
        tools(),
        Verdict.ESCALATE,
        GateReason.ARGUMENTS_INVALID,
    ),
    (
        Gate.TOOL_CALLS,
        answer("", CALLS, tool_calls=(call(arguments='{"name": "Ada"}'),)),
        tools(),
        Verdict.ESCALATE,
        GateReason.ARGUMENTS_VIOLATE_SCHEMA,
    ),
    (
        Gate.TOOL_CALLS,
        answer("", CALLS, tool_calls=(call(),)),
        tools(ToolChoiceMode.NONE),
        Verdict.ESCALATE,
        GateReason.TOOL_UNWANTED,
    ),
    (
        Gate.TOOL_CALLS,
        answer("", CALLS, tool_calls=(call(),)),
        tools(ToolChoiceMode.NAMED, "stop"),
        Verdict.ESCALATE,
        GateReason.TOOL_UNWANTED,
    ),
    (Gate.REQUIRED, answer("Hello"), PLAIN, Verdict.ACCEPT, GateReason.NOT_ASKED),
    (
        Gate.REQUIRED,
        answer("Hello"),
        required(keywords=("hello", "World")),
        Verdict.ESCALATE,
        GateReason.KEYWORD_MISSING,
    ),
    (
        Gate.REQUIRED,
        answer("Hello, WORLD"),
        required(keywords=("hello", "World")),
        Verdict.ACCEPT,
        GateReason.FINE,
    ),
    (
        Gate.REQUIRED,
        answer("Hello"),
        required(forbidden=("HELL",)),
        Verdict.ESCALATE,
        GateReason.KEYWORD_FORBIDDEN,
    ),
    (
        Gate.REQUIRED,
        answer("Order 44"),
        required(pattern=r"\d{3}"),
        Verdict.ESCALATE,
        GateReason.PATTERN_MISSED,
    ),
    (Gate.REQUIRED, answer("Order 444"), required(pattern=r"\d{3}"), Verdict.ACCEPT, GateReason.FINE),
    (Gate.LENGTH, answer("A tale"), PLAIN, Verdict.ACCEPT, GateReason.FINE),
    (Gate.LENGTH, answer("A ta", LENGTH), PLAIN, Verdict.ESCALATE, GateReason.CUT),
    (
        Gate.LENGTH,
        answer("A ta", LENGTH),
        GateContext(max_output_tokens=2),
        Verdict.ACCEPT,
        GateReason.CUT_AS_ASKED,
    ),
    (
        Gate.LENGTH,
        answer("A ta", FinishReason.CONTEXT_EXCEEDED),
        PLAIN,
        Verdict.ESCALATE,
        GateReason.CUT_AT_WINDOW,
    ),
    (Gate.LENGTH, answer("", FinishReason.ERROR), PLAIN, Verdict.ESCALATE, GateReason.MODEL_ERROR),
    (Gate.LENGTH, answer("Short"), required(min_chars=6), Verdict.ESCALATE, GateReason.TOO_SHORT),
    (Gate.LENGTH, answer(f"Do:\n{FENCE}\nx = 1\n"), PLAIN, Verdict.ESCALATE, GateReason.CODE_UNFINISHED),
    (Gate.LENGTH, answer(f"Do:\n{FENCE}\nx = 1\n{FENCE}"), PLAIN, Verdict.ACCEPT, GateReason.FINE),
    (Gate.HEDGING, answer("I'm not sure, maybe 12."), PLAIN, Verdict.ESCALATE, GateReason.UNSURE),
    (
        Gate.HEDGING,
        answer("The patient may rather benefit from a lower dose, which could perhaps be halved."),
        PLAIN,
        Verdict.ACCEPT,
        GateReason.FINE,
    ),
    (Gate.CONFIDENCE, answer("Yes", mean_logprob=-5.0), PLAIN, Verdict.ACCEPT, GateReason.NOT_ASKED),
]


@pytest.mark.parametrize(
    ("gate", "given", "context", "verdict", "reason"),
    TABLE,
    ids=[f"{gate}-{reason}-{index}" for index, (gate, *_, reason) in enumerate(TABLE)],
)
def test_a_gate_says(
    gate: Gate, given: ChatResponse, context: GateContext, verdict: Verdict, reason: GateReason
) -> None:
    said = usual_checks()[gate](given, context)
    assert (said.gate, said.verdict, said.reason) == (gate, verdict, reason)
    assert said.score is None or 0 <= said.score <= 1


@pytest.mark.parametrize(
    ("form", "fitting", "other"),
    [
        (Form.JSON, "[1]", "[1"),
        (Form.CODE_BLOCK, f"{FENCE}py\nx\n{FENCE}", "x = 1"),
        (Form.BULLETS, "Two:\n- a\n- b", "a-b"),
        (Form.NUMBERED, "1. a\n2. b", "in 1.5 days"),
        (Form.TABLE, "| a | b |\n|---|:-:|\n| 1 | 2 |", "a | b"),
        (Form.ONE_LINE, "one line\n", "two\nlines"),
        (Form.NUMBER, " -1,234.5 % ", "about 12"),
    ],
)
def test_a_form_is_there_or_not(form: Form, fitting: str, other: str) -> None:
    check = usual_checks()[Gate.REQUIRED]
    assert check(answer(fitting), required(forms=(form,))).verdict is Verdict.ACCEPT
    assert check(answer(other), required(forms=(form,))).reason is GateReason.FORM_MISSED


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keywords": ("x",) * 129}, "keywords: 129 words, limit: 128"),
        ({"forbidden": ("x" * 257,)}, "forbidden: a word of 257 characters, limits: 1 to 256"),
        ({"pattern": "x" * 1025}, "pattern: 1025 characters, limit: 1024"),
        ({"pattern": "(x"}, "pattern: "),
        ({"pattern": "((a{100}){100}){100}"}, "pattern: "),
        ({"pattern": r"(a)\1"}, "pattern: "),
    ],
)
def test_what_is_required_has_limits(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        required(**fields)


def test_confidence_is_the_mean_probability() -> None:
    assert confidence_of(answer("x")) is None
    assert confidence_of(answer("x", mean_logprob=0.0)) == 1.0
    tokens = (TokenLogprob("a", -0.5), TokenLogprob("b", -1.5))
    assert confidence_of(answer("ab", logprobs=tokens, mean_logprob=-9.0)) == pytest.approx(0.36788, abs=1e-5)
    for odd in (float("-inf"), -9999.0):
        found = confidence_of(answer("ab", logprobs=(TokenLogprob("a", odd),)))
        assert found is not None
        assert 0 <= found < 1e-40
    assert confidence_of(answer("ab", logprobs=(TokenLogprob("a", float("nan")),))) is None


@pytest.mark.parametrize(
    ("task", "mean", "reason"),
    [
        ("math", -0.5, GateReason.LOW_CONFIDENCE),
        ("math", -0.1, GateReason.FINE),
        ("chat", -0.9, GateReason.LOW_CONFIDENCE),
        ("chat", -0.5, GateReason.FINE),
        ("math", None, GateReason.NOT_KNOWN),
    ],
)
def test_a_task_has_its_threshold(task: str, mean: float | None, reason: GateReason) -> None:
    chain = GateChain(thresholds=Thresholds(default=0.5, tasks={"math": 0.8}))
    said = chain.check(answer("It is twelve.", mean_logprob=mean), GateContext(task=task))
    assert said.gates[-1].gate is Gate.CONFIDENCE
    assert said.gates[-1].reason is reason


def test_the_chain_runs_in_order_and_stops_at_the_first_that_objects() -> None:
    seen: list[Gate] = []

    def saying(gate: Gate, verdict: Verdict) -> Any:
        def check(_: ChatResponse, __: GateContext) -> GateVerdict:
            seen.append(gate)
            return GateVerdict(gate, verdict, GateReason.FINE)

        return check

    order = list(Gate)
    for stop, verdict in itertools.product(order, (Verdict.ESCALATE, Verdict.RETURN)):
        seen.clear()
        checks = {gate: saying(gate, verdict if gate is stop else Verdict.ACCEPT) for gate in reversed(order)}
        ticks = itertools.count(100, 7)
        found = GateChain(checks, clock_ns=lambda ticks=ticks: next(ticks)).check(answer("x"), PLAIN)  # type: ignore[misc]
        assert seen == order[: order.index(stop) + 1]
        assert [said.gate for said in found.gates] == seen
        assert found.verdict is verdict
        assert {said.time_ns for said in found.gates} == {7}


def test_all_gates_accept_a_plain_answer() -> None:
    found = GateChain().check(answer("The capital of Australia is Canberra."), PLAIN)
    assert found.verdict is Verdict.ACCEPT
    assert found.reason is GateReason.FINE
    assert [said.gate for said in found.gates] == [gate for gate in Gate if gate is not Gate.JUDGE]
    short = GateChain(without=[Gate.HEDGING, Gate.EMPTY]).check(answer("Sure!"), PLAIN)
    assert Gate.HEDGING not in [said.gate for said in short.gates]
    assert short.verdict is Verdict.ACCEPT


def test_a_gate_that_fails_is_logged_and_the_answer_goes_on(log: io.TextIOWrapper) -> None:
    def failing(_: ChatResponse, __: GateContext) -> GateVerdict:
        raise RuntimeError("secret prompt")

    found: ChainVerdict = GateChain(usual_checks() | {Gate.SCHEMA: failing}).check(
        answer("It is twelve."), PLAIN
    )
    assert found.verdict is Verdict.ACCEPT
    assert found.gates[2].reason is GateReason.FAILED
    (event,) = read_log(log)
    assert (event["event"], event["gate"], event["error"]) == ("gate_failed", "schema", "RuntimeError")
    assert "secret" not in json.dumps(event)
