"""How far two answers are the same."""

from __future__ import annotations

import pytest
from turnout_server.completion.agreement import compare_answers
from turnout_server.providers.chat import ChatResponse, FinishReason, ToolCall
from turnout_server.quality.store.records import Agreement


def text(said: str) -> ChatResponse:
    return ChatResponse(said, FinishReason.STOP)


def calling(*calls: tuple[str, str]) -> ChatResponse:
    made = tuple(ToolCall(str(i), name, arguments) for i, (name, arguments) in enumerate(calls))
    return ChatResponse("", FinishReason.TOOL_CALLS, tool_calls=made)


@pytest.mark.parametrize(
    ("one", "other", "agreement"),
    [
        (text("Paris."), text(" PARIS.\n"), Agreement.EXACT),
        (text("Paris"), text("London"), Agreement.NONE),
        (text('{"a": 1, "b": ["x"]}'), text('{"b": ["y", "z"], "a": 2.5}'), Agreement.STRUCTURAL),
        (text('{"a": 1}'), text('{"a": "1"}'), Agreement.NONE),
        (text('{"a": 1}'), text('{"a": true}'), Agreement.NONE),
        (text('{"a": {"b": 1}}'), text('{"a": {"c": 1}}'), Agreement.NONE),
        (text('{"a": 1}'), text("one"), Agreement.NONE),
        (text("7"), text("8"), Agreement.NONE),
        (calling(("get", '{"a":1}')), calling(("get", '{ "a": 1 }')), Agreement.EXACT),
        (calling(("get", '{"a":1}')), calling(("get", '{"a":2}')), Agreement.STRUCTURAL),
        (calling(("get", "{")), calling(("get", "{")), Agreement.EXACT),
        (calling(("get", "{}")), calling(("set", "{}")), Agreement.NONE),
        (calling(("get", "{}")), text("I got it."), Agreement.NONE),
        (text("[" * 200 + "]" * 200), text("[" * 200 + " " + "]" * 200), Agreement.STRUCTURAL),
    ],
)
def test_agreement(one: ChatResponse, other: ChatResponse, agreement: Agreement) -> None:
    assert compare_answers(one, other) is agreement
    assert compare_answers(other, one) is agreement
