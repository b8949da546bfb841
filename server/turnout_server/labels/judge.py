"""What the judge of `Complete` is asked for labels: the same words, with the row's rubric and reference."""

from __future__ import annotations

import secrets

from turnout_server.completion.judge.prompt import ask_for_better, ask_for_mark
from turnout_server.completion.judge.verdict import read_mark, read_preference
from turnout_server.labels.criteria import Criterion
from turnout_server.providers.chat import ChatRequest, ChatResponse, FinishReason

# A verdict, as it mostly is.
USUAL_OUTPUT_TOKENS = 30
_USUAL_RUBRIC = "It does what the last user message asks, completely and correctly, in the form and language that were asked for."


def mark_request(chat: ChatRequest, answer: str, criterion: Criterion) -> ChatRequest:
    """Asks for a mark."""
    return ask_for_mark(chat, _said(answer), _rubric(criterion), secrets.token_hex(16))


def preference_request(chat: ChatRequest, first: str, second: str, criterion: Criterion) -> ChatRequest:
    """Asks which of two answers is better."""
    return ask_for_better(chat, _said(first), _said(second), _rubric(criterion), secrets.token_hex(16))


def read_score(response: ChatResponse) -> float | None:
    """The score, 0 to 1; None: the judge did not answer as it was asked."""
    return read_mark(response)


def read_choice(response: ChatResponse, *, swapped: bool) -> float | None:
    """How the first of the unswapped order fares: 1 better, 0.5 as good, 0 worse; None: there is no verdict."""
    points = read_preference(response)
    return points if points is None or not swapped else 1.0 - points


def _said(answer: str) -> ChatResponse:
    return ChatResponse(answer, FinishReason.STOP)


def _rubric(criterion: Criterion) -> str | None:
    """The operator's words; the reference is the operator's too."""
    if not criterion.reference:
        return criterion.rubric or None
    return f"{criterion.rubric or _USUAL_RUBRIC}\nAn answer that is known to be good:\n{criterion.reference}"
