"""No answer, pattern or schema makes a gate take longer than in proportion: eight times the size, no 64 times the time.

Compared is the least of some runs' processor time at two sizes of the same process; a quadratic step would show as a
factor of 64, a backtracking one would not end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

import pytest
from turnout_server.completion.gates.chain import GateChain
from turnout_server.completion.gates.context import GateContext, Required, read_context
from turnout_server.completion.gates.verdict import Gate
from turnout_server.completion.gates.wording import without_quotes
from turnout_server.providers.chat import (
    ChatRequest,
    ChatResponse,
    FinishReason,
    FormatKind,
    Message,
    ResponseFormat,
    Role,
)

SMALL = 20_000
TIMES = 8
ASK = (Message.of(Role.USER, "?"),)
CHAIN = GateChain(without=[Gate.EMPTY])

HOSTILE: dict[str, Callable[[int], str]] = {
    "a letter": lambda n: "a" * n,
    "blanks": lambda n: " " * n,
    "line ends": lambda n: "\n" * n + "x",
    "quotes that never close": lambda n: "“" * n,
    "quotes that close": lambda n: '"" ' * (n // 3),
    "dashes": lambda n: "—\n" * (n // 2),
    "almost a refusal": lambda n: "i can't really " * (n // 15),
    "many doubts": lambda n: "I'm not sure. " * (n // 14),
    "not so sure": lambda n: "i'm not " * (n // 8),
    "fences": lambda n: "```\n" * (n // 4),
    "marks to compose": lambda n: "e\u0301\u0323" * (n // 3),
    "marks on one letter": lambda n: "e" + "\u0301\u0323" * (n // 2),
    "one that expands": lambda n: "\ufdfa" * n,
    "brackets": lambda n: "[" * n,
    "sentences": lambda n: "I can't help. " + "No. " * (n // 4),
}
CONTEXTS = {
    "plain": GateContext(),
    "json": read_context(
        ChatRequest(
            ASK, response_format=ResponseFormat(FormatKind.JSON_SCHEMA, schema_json='{"pattern": "^(a+)+$"}')
        )
    ),
    "pattern": read_context(
        ChatRequest(ASK), required=Required(pattern="(a|a|[a-z ])*(x+x+)+y", keywords=("zz",))
    ),
}


def least_s(check: Callable[[], object]) -> float:
    """The least processor time of some runs, in seconds."""
    found = []
    for _ in range(4):
        begun = time.process_time()
        check()
        found.append(time.process_time() - begun)
    return min(found)


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS.keys())
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_time_grows_with_the_answer_at_most_in_proportion(
    make: Callable[[int], str], context: GateContext
) -> None:
    small, large = (ChatResponse(make(size), FinishReason.STOP) for size in (SMALL, SMALL * TIMES))
    spent = [least_s(partial(CHAIN.check, one, context)) for one in (small, large)]
    # Below a millisecond, the clock says little.
    assert spent[1] <= max(spent[0], 0.001) * TIMES * 3


def test_a_json_string_for_a_nested_pattern_takes_time_in_proportion() -> None:
    small, large = (
        ChatResponse(json.dumps("a" * size + "!"), FinishReason.STOP) for size in (SMALL, SMALL * TIMES)
    )
    spent = [least_s(partial(CHAIN.check, one, CONTEXTS["json"])) for one in (small, large)]
    assert spent[1] <= max(spent[0], 0.001) * TIMES * 3


def test_quotations_are_taken_out_in_one_pass() -> None:
    spent = [least_s(partial(without_quotes, "„" * size)) for size in (SMALL, SMALL * TIMES)]
    assert spent[1] <= max(spent[0], 0.001) * TIMES * 3
