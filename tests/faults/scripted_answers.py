"""The answers of the faults that are answers, and what else the fake's answers are made of."""

from __future__ import annotations

from tests.faults.answer import Answer, Finish, ToolCall, Usage
from tests.faults.fault import Fault

ACCOUNTED = Usage(
    input_uncached=1_000,
    input_cache_read=4_096,
    input_cache_write_5m=512,
    input_cache_write_1h=256,
    output_text=60,
    output_reasoning=140,
)
REFUSAL_TEXT = "I'm sorry, but I can't help with that."
REASONING = ("The user ", "asks ", "for ", "something.")
TOOL_CALLS = (
    ToolCall("call_0001", "get_weather", ('{"ci', 'ty":"Zür', 'ich","unit":', '"celsius"}')),
    ToolCall("call_0002", "get_time", ('{"zone":"', 'Europe/Zurich"}')),
)
BROKEN_CALL = ToolCall("call_0001", "get_weather", ('{"city":', '"Zürich"'))

ANSWERS = {
    Fault.ACCOUNTING: Answer(usage=ACCOUNTED),
    Fault.REFUSAL_IN_WORDS: Answer.of(REFUSAL_TEXT),
    Fault.BLOCKED: Answer(tokens=(), finish=Finish.BLOCKED, usage=Usage(output_text=0)),
    Fault.EMPTY: Answer(tokens=(), usage=Usage(output_text=0)),
    Fault.REASONING_ONLY: Answer(
        tokens=(), reasoning=REASONING, usage=Usage(output_text=0, output_reasoning=len(REASONING))
    ),
    Fault.LENGTH_WITHOUT_TEXT: Answer(
        tokens=(), finish=Finish.LENGTH, usage=Usage(output_text=0, output_reasoning=16)
    ),
    Fault.LENGTH: Answer(finish=Finish.LENGTH),
    Fault.CONTEXT_WINDOW_STOP: Answer(finish=Finish.CONTEXT_WINDOW),
    Fault.TOOL_CALLS: Answer(
        tokens=(), tool_calls=TOOL_CALLS, finish=Finish.TOOL_CALLS, usage=Usage(output_text=24)
    ),
    Fault.TOOL_ARGUMENTS_BROKEN: Answer(
        tokens=(), tool_calls=(BROKEN_CALL,), finish=Finish.TOOL_CALLS, usage=Usage(output_text=12)
    ),
}
