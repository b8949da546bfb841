"""The gates in their order, up to the first that does not accept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from turnout_server.completion.gates.confidence import ConfidenceGate
from turnout_server.completion.gates.confidence_fit import Thresholds
from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.empty import check_empty
from turnout_server.completion.gates.hedging import check_hedging
from turnout_server.completion.gates.json_schema import check_schema
from turnout_server.completion.gates.length import check_length
from turnout_server.completion.gates.refusal import check_refusal
from turnout_server.completion.gates.required import check_required
from turnout_server.completion.gates.tool_calls import check_tool_calls
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, Verdict, accept
from turnout_server.observability.logs import describe_cause, get_logger
from turnout_server.providers.chat import ChatResponse

Check = Callable[[ChatResponse, GateContext], GateVerdict]


@dataclass(frozen=True)
class ChainVerdict:
    """What became of an answer at the gates, and what each gate that looked at it said."""

    verdict: Verdict
    gates: tuple[GateVerdict, ...]

    @property
    def reason(self) -> GateReason:
        """Of the gate that decided; FINE where all accept."""
        return GateReason.FINE if self.verdict is Verdict.ACCEPT else self.gates[-1].reason


class GateChain:
    """Runs gates over answers. A gate that fails accepts: the caller waits for an answer, and the log has the cause."""

    def __init__(
        self,
        checks: Mapping[Gate, Check] | None = None,
        *,
        thresholds: Thresholds | None = None,
        without: Sequence[Gate] = (),
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Takes all gates, in the order of `Gate`.

        Args:
            checks: in place of the usual ones.
            thresholds: of the confidence gate; None: it checks nothing.
            without: gates that are left out.
            clock_ns: a steady clock in nanoseconds.
        """
        found = usual_checks(thresholds) if checks is None else checks
        self._checks = [(gate, found[gate]) for gate in Gate if gate in found and gate not in without]
        self._clock_ns = clock_ns

    def check(self, answer: ChatResponse, context: GateContext) -> ChainVerdict:
        """Shows the answer to one gate after the other, up to the first that escalates or returns it."""
        said: list[GateVerdict] = []
        for gate, check in self._checks:
            begun_ns = self._clock_ns()
            try:
                verdict = check(answer, context)
            except Exception as error:
                get_logger().error("gate_failed", gate=gate, **describe_cause(error))
                verdict = accept(gate, GateReason.FAILED)
            said.append(replace(verdict, time_ns=self._clock_ns() - begun_ns))
            if verdict.verdict is not Verdict.ACCEPT:
                return ChainVerdict(verdict.verdict, tuple(said))
        return ChainVerdict(Verdict.ACCEPT, tuple(said))


def usual_checks(thresholds: Thresholds | None = None) -> dict[Gate, Check]:
    """Every gate but the judge, which needs a provider."""
    return {
        Gate.REFUSAL: check_refusal,
        Gate.EMPTY: check_empty,
        Gate.SCHEMA: check_schema,
        Gate.TOOL_CALLS: check_tool_calls,
        Gate.REQUIRED: check_required,
        Gate.LENGTH: check_length,
        Gate.HEDGING: check_hedging,
        Gate.CONFIDENCE: ConfidenceGate(thresholds or Thresholds()),
    }
