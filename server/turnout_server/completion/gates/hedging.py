"""The gate for answers that call themselves a guess.

Careful words about the world ("the patient may rather ...") are no sign of a poor answer; doubts about the answer itself,
in the first person, are one. They count against the answer's length: one doubt in a long review is no guess.
"""

from __future__ import annotations

from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, accept, escalate
from turnout_server.completion.gates.wording import count_doubts, length
from turnout_server.providers.chat import ChatResponse

READ_CHARS = 2000
"""Characters of the answer that are read."""
CHARS_OF_A_DOUBT = 120
"""An answer of so many characters with one doubt is at the threshold; with two, of three times as many."""


def check_hedging(answer: ChatResponse, context: GateContext) -> GateVerdict:
    """Escalates an answer with more doubts than its length bears."""
    text = answer.text[:READ_CHARS]
    doubts = count_doubts(text)
    score = doubts / (doubts + 1 + length(text) / CHARS_OF_A_DOUBT) if doubts else 0.0
    # One doubt in CHARS_OF_A_DOUBT characters scores a third.
    if score > 1 / 3:
        return escalate(Gate.HEDGING, GateReason.UNSURE, score)
    return accept(Gate.HEDGING, score=score)
