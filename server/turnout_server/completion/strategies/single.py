"""`single`: the decided tier answers, and the caller sees it as it comes."""

from __future__ import annotations

from turnout_server.completion.attempt import Purpose
from turnout_server.completion.dispatcher import Answer, Dispatcher, Listener, Run


async def answer_single(dispatcher: Dispatcher, run: Run, listener: Listener | None) -> Answer:
    """The answer of the decided tier.

    Raises:
        CompletionError: there is none.
    """
    return await dispatcher.answer(run, run.asked.decision.tier, Purpose.SERVE, listener)
