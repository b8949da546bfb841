"""The gate for log-probabilities: how sure the model was of its own tokens, against a threshold by task."""

from __future__ import annotations

import math

from turnout_server.completion.gates.confidence_fit import Thresholds
from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, accept, escalate
from turnout_server.providers.chat import ChatResponse


def confidence_of(answer: ChatResponse) -> float | None:
    """Geometric mean of the tokens' probabilities, 0 to 1; None without log-probabilities."""
    if answer.logprobs:
        # Some providers send -9999 for tokens they did not rank, or no finite number at all.
        told = [max(token.logprob, -100.0) for token in answer.logprobs if not math.isnan(token.logprob)]
        mean = sum(told) / len(told) if told else None
    else:
        mean = answer.mean_logprob
    return None if mean is None or math.isnan(mean) else math.exp(min(mean, 0.0))


class ConfidenceGate:
    """Escalates answers below the threshold of their task; without log-probabilities or threshold, none."""

    def __init__(self, thresholds: Thresholds) -> None:
        """Takes thresholds from `fit_thresholds`."""
        self._thresholds = thresholds

    def __call__(self, answer: ChatResponse, context: GateContext) -> GateVerdict:
        threshold = self._thresholds.for_task(context.task)
        if threshold is None:
            return accept(Gate.CONFIDENCE, GateReason.NOT_ASKED)
        confidence = confidence_of(answer)
        if confidence is None:
            return accept(Gate.CONFIDENCE, GateReason.NOT_KNOWN)
        if confidence < threshold:
            return escalate(Gate.CONFIDENCE, GateReason.LOW_CONFIDENCE, confidence)
        return accept(Gate.CONFIDENCE, score=confidence)
