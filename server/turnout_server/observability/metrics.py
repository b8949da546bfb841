"""Counters and timings that cost a decision next to nothing, and their exposition.

prometheus_client's own counters take a lock, or write a mapped file, at each step, and ten steps cost as
much as the decision. Here a step is an addition to a plain object, on the event loop's thread;
prometheus_client shows the sums when they are asked for, and several processes' sums are added up by whoever
asks.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    # Not at run time: a supervisor counts too, and needs no engine.
    from turnout_fastpath import Decision

Labels = tuple[str, ...]

# From a bare call to one that waits for its turn in an overloaded process.
HANDLING_BOUNDS_S = (
    0.00005,
    0.0001,
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.5,
    1.0,
    5.0,
)
# From a short prompt to 4 MiB of text.
DECISION_BOUNDS_S = (0.00001, 0.00002, 0.00003, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.02, 0.1)

# Of probabilities.
DISTANCE_BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)

# Decisions that are counted at once, in some 0.1 ms.
MAX_PENDING = 64

_RPC = ("grpc_type", "grpc_service", "grpc_method")


@dataclass(frozen=True)
class Family:
    """What is counted, timed or read under one name.

    Attributes:
        name: without the suffix that its kind adds.
        help: what it is, for people.
        labels: names of its labels.
        bounds: upper bounds of a histogram's buckets, in seconds unless `help` says otherwise; none for other kinds.
        is_gauge: whether it is read when it is asked for, and not counted.
    """

    name: str
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    is_gauge: bool = False


STARTED = Family("grpc_server_started", "RPCs begun.", _RPC)
HANDLED = Family("grpc_server_handled", "RPCs ended, by status code.", (*_RPC, "grpc_code"))
HANDLING = Family(
    "grpc_server_handling_seconds",
    "Time from a request's arrival in its handler to its response.",
    _RPC,
    HANDLING_BOUNDS_S,
)
DECISIONS = Family("turnout_decisions", "Decisions made.", ("policy", "tier", "status"))
REASONS = Family("turnout_reasons", "Reasons that acted on decisions.", ("kind", "id"))
COVERAGE = Family(
    "turnout_coverage",
    "Requests by what became of them: decided, abstained, defaulted, or shed by admission.",
    ("outcome",),
)
DECISION = Family(
    "turnout_decision_seconds", "Time a decision took, without the transport.", (), DECISION_BOUNDS_S
)
STAGE = Family(
    "turnout_stage_seconds",
    "Time that parts of a call took, of the calls whose decision is logged.",
    ("stage",),
    DECISION_BOUNDS_S,
)
ERRORS = Family("turnout_errors", "Requests without a decision, by ErrorReason.", ("reason",))
RELOADS = Family(
    "turnout_config_reloads",
    "Times that policy and bundle were read again: accepted, rejected or unchanged.",
    ("result",),
)
RESTARTS = Family("turnout_worker_restarts", "Workers started anew after they ended unasked.")
INFO = Family(
    "turnout_info",
    "Processes that decide by these revisions.",
    ("version", "policy_revision", "bundle_revision", "features_revision"),
    is_gauge=True,
)
CHALLENGES = Family(
    "turnout_challenger_decisions",
    "Requests that the challenger scored too, by the tier that was decided and the one that it would have decided.",
    ("tier", "challenger_tier"),
)
CHALLENGER_DISTANCE = Family(
    "turnout_challenger_p_sufficient_distance",
    "Mean distance of the challenger's p_sufficient from the one decided by, over a request's tiers.",
    ("tier", "challenger_tier"),
    DISTANCE_BOUNDS,
)
CHALLENGES_LOST = Family(
    "turnout_challenger_lost",
    "Requests that the challenger did not score: its queue was full, or it failed.",
    ("cause",),
)
CHALLENGER_INFO = Family(
    "turnout_challenger_info",
    "Processes whose challenger is this bundle; 0 under an empty revision: no challenger.",
    ("bundle_revision",),
    is_gauge=True,
)
IN_FLIGHT = Family(
    "turnout_requests_in_flight", "Requests that are admitted and not yet answered.", is_gauge=True
)
WAITING = Family(
    "turnout_requests_waiting",
    "Requests that have come and that the main port has not seen yet.",
    is_gauge=True,
)
CONNECTIONS = Family(
    "turnout_decision_port_connections", "Connections that the decision port has open.", is_gauge=True
)
REFUSED_CONNECTIONS = Family(
    "turnout_decision_port_refused_connections",
    "Connections that the decision port closed at once, for want of room or memory.",
)
COMPLETIONS = Family(
    "turnout_completions",
    "Completions by the tier decided and the tier that served (none: no whole answer), how they were carried out, and "
    "what became of them: served, degraded, failed or cancelled.",
    ("tier", "served_tier", "strategy", "status"),
)
ATTEMPTS = Family(
    "turnout_attempts",
    "Upstream calls by what they were for, what became of them, and the fault; empty: none.",
    ("deployment", "purpose", "result", "fault"),
)
ESCALATIONS = Family(
    "turnout_escalations",
    "Completions whose answer a gate had replaced by a higher tier's, by the tier decided. Divided by the cascades of "
    "turnout_completions: the escalation rate; for the cheapest tier: the fallback rate.",
    ("tier",),
)
FAILOVERS = Family(
    "turnout_failovers",
    "Completions that another deployment of the same tier served after a fault. Divided by turnout_completions: the "
    "failover rate.",
    ("tier",),
)
GATEWAY_STREAMS = Family(
    "turnout_gateway_streams", "HTTP requests of Envoy's that are not yet at their end.", is_gauge=True
)
GATEWAY_RESPONSES = Family(
    "turnout_gateway_responses",
    "Responses of providers to requests that an Envoy sent where it was told, by HTTP status; 0: none was told.",
    ("tier", "deployment", "status"),
)
COST_NANO = Family(
    "turnout_cost_nano_usd",
    "What upstream calls cost, as far as it is known, in nano-dollars.",
    ("deployment", "purpose", "result"),
)
UNPRICED = Family(
    "turnout_unpriced_attempts", "Upstream calls of whose cost some part is not known.", ("deployment",)
)
GATES = Family("turnout_gates", "What gates said of answers.", ("gate", "verdict", "reason"))
GATE_ESCALATIONS = Family(
    "turnout_gate_escalations",
    "Answers that a higher tier's replaced, by their tier and the gate that rejected them.",
    ("tier", "gate"),
)
FAST_TIER = Family(
    "turnout_fast_tier_completions",
    "Completions decided to the lowest tier that their policy permits, whose answer was kept or replaced for a gate's "
    "sake. Replaced divided by all: the fallback rate.",
    ("policy", "outcome"),
)
JUDGED = Family(
    "turnout_judged",
    "Answers that a judge graded after the gates had accepted them: sufficient or insufficient.",
    ("tier", "mode", "verdict"),
)
JUDGE_DISAGREEMENTS = Family(
    "turnout_judge_disagreements",
    "Verdicts of a judge against what else is known: gates accepted what it finds insufficient, or its own verdict on "
    "two answers changed with their order.",
    ("with",),
)
JUDGE_NO_VERDICTS = Family(
    "turnout_judge_no_verdicts", "Times that a judge was to be asked and there is no verdict.", ("cause",)
)
ASIDES_LOST = Family(
    "turnout_asides_lost",
    "Judge and shadow work that was drawn and not done, by what it was for.",
    ("purpose", "cause"),
)
SHADOW_AGREEMENTS = Family(
    "turnout_shadow_agreements",
    "Served answers beside their shadows': exact, structural or none.",
    ("tier", "shadow_tier", "agreement"),
)
SHADOW_PREFERENCES = Family(
    "turnout_shadow_preferences",
    "Which of a served answer and its shadow's a judge prefers, asked in both orders: served, shadow or neither.",
    ("tier", "shadow_tier", "preferred"),
)
ENSEMBLES = Family(
    "turnout_ensembles",
    "Ensembles by what picked, and the tier whose answer was picked.",
    ("chooser", "tier"),
)
COMPLETIONS_IN_FLIGHT = Family(
    "turnout_completions_in_flight", "Completions that are admitted and not yet answered.", is_gauge=True
)
STORE_ROWS = Family(
    "turnout_store_rows",
    "Rows of the outcome store by table: written, dropped since the queue was full, or rejected as they cannot be stored.",
    ("table", "result"),
)
STORE_COSTS = Family(
    "turnout_store_costs",
    "Costs that did not go their way: lost for good, refused by the database and set aside, or recovered of a process "
    "that ended.",
    ("result",),
)
STORE_FAILURES = Family(
    "turnout_store_failures", "Batches of the outcome store that could not be written and are tried again."
)
STORE_REFUSED_FILES = Family(
    "turnout_store_refused_files",
    "Files of costs that the database refused, and damaged journals, that wait for `turnout store reread`; above 0 is an "
    "alarm. Processes with one store add up.",
    is_gauge=True,
)
STORE_DROPPED_IN_RING = Family(
    "turnout_store_ring_dropped",
    "Decisions of the decision port whose detail found its ring full; their counts are kept.",
)
BUDGET_REFUSALS = Family(
    "turnout_budget_refusals",
    "Calls that were not made because a budget did not hold their estimate, by whose budget (of a tenant that the "
    "policy does not name: empty) and which part of it.",
    ("scope", "name", "budget"),
)
BUDGET_LEFT = Family(
    "turnout_budget_left_nano_usd",
    "What is neither spent nor reserved of the budgets that the policy names, in nano-dollars.",
    ("scope", "name", "budget"),
    is_gauge=True,
)
BUDGET_LIMIT = Family(
    "turnout_budget_limit_nano_usd",
    "The limits of the budgets that the policy names, in nano-dollars.",
    ("scope", "name", "budget"),
    is_gauge=True,
)
LIMIT_REFUSALS = Family(
    "turnout_provider_limit_refusals",
    "Times that a deployment was passed over, or waited for, because it or its account was at a limit.",
    ("scope", "limit"),
)
WITHOUT_ROOM = Family(
    "turnout_limits_without_room",
    "Requests for whose budget (refused) or rate (let through) the state block has no room.",
    ("kind",),
)
SHARED_EXCHANGES = Family(
    "turnout_shared_limits_exchanges",
    "Exchanges of budgets with other machines: done, or failed (the server away, slow, or left alone since).",
    ("result",),
)
MIX = Family(
    "turnout_mix_decisions",
    "Decisions that the drift alarm watches, by category of each dimension; every dimension counts each decision once.",
    ("policy", "port", "dimension", "category"),
)
DRIFT_INDEX = Family(
    "turnout_drift_index",
    "Population stability index of the newest decisions against those after the last anchor, once both windows are full.",
    ("policy", "port", "dimension"),
    is_gauge=True,
)
DRIFT_ALARM = Family(
    "turnout_drift_alarm",
    "1 while what is decided has shifted since the last anchor, else 0.",
    ("policy", "port", "dimension"),
    is_gauge=True,
)
DRIFT_ALARMS = Family(
    "turnout_drift_alarms", "Times that such an alarm began.", ("policy", "port", "dimension")
)
DRIFT_WINDOW = Family(
    "turnout_drift_window_decisions",
    "Decisions in the two windows that are compared.",
    ("policy", "port", "window"),
    is_gauge=True,
)
DRIFT_ANCHORS = Family(
    "turnout_drift_anchors",
    "Times that the drift alarm began anew: another revision of policy or bundle decides, or the operator said so.",
    ("cause",),
)
UPSTREAM_ANSWERS = Family(
    "turnout_upstream_answers",
    "Answers by the model version that the provider reports, and the model that was asked for.",
    ("deployment", "model", "model_version"),
)
UPSTREAM_CHANGES = Family(
    "turnout_upstream_model_changes",
    "Times that a deployment answered by another model version, though it was asked for the same model.",
    ("deployment",),
)
FAMILIES = (
    STARTED,
    HANDLED,
    HANDLING,
    DECISIONS,
    REASONS,
    COVERAGE,
    DECISION,
    STAGE,
    ERRORS,
    RELOADS,
    RESTARTS,
    CHALLENGES,
    CHALLENGER_DISTANCE,
    CHALLENGES_LOST,
    INFO,
    CHALLENGER_INFO,
    IN_FLIGHT,
    WAITING,
    CONNECTIONS,
    REFUSED_CONNECTIONS,
    COMPLETIONS,
    ATTEMPTS,
    ESCALATIONS,
    FAILOVERS,
    GATEWAY_STREAMS,
    GATEWAY_RESPONSES,
    COST_NANO,
    UNPRICED,
    GATES,
    GATE_ESCALATIONS,
    FAST_TIER,
    JUDGED,
    JUDGE_DISAGREEMENTS,
    JUDGE_NO_VERDICTS,
    ASIDES_LOST,
    SHADOW_AGREEMENTS,
    SHADOW_PREFERENCES,
    ENSEMBLES,
    COMPLETIONS_IN_FLIGHT,
    STORE_ROWS,
    STORE_COSTS,
    STORE_FAILURES,
    STORE_REFUSED_FILES,
    STORE_DROPPED_IN_RING,
    BUDGET_REFUSALS,
    BUDGET_LEFT,
    BUDGET_LIMIT,
    LIMIT_REFUSALS,
    WITHOUT_ROOM,
    SHARED_EXCHANGES,
    MIX,
    DRIFT_INDEX,
    DRIFT_ALARM,
    DRIFT_ALARMS,
    DRIFT_WINDOW,
    DRIFT_ANCHORS,
    UPSTREAM_ANSWERS,
    UPSTREAM_CHANGES,
)


class Count:
    """A sum that grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self) -> None:
        """Counts one."""
        self.value += 1


class Timing:
    """A histogram of seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one observation."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


@dataclass(frozen=True)
class Sums:
    """Every value at one moment, in a form that JSON can carry: (family, labels, values).

    The values of a timing are the count of each bucket, not cumulated, and then the sum of seconds.
    """

    values: list[tuple[str, Labels, list[float]]]

    @classmethod
    def from_json(cls, rows: Iterable[Any]) -> Sums:
        """The inverse of sending `values` as JSON."""
        return cls([(name, tuple(labels), list(values)) for name, labels, values in rows])

    def without_gauges(self) -> Sums:
        """What stays when the process is gone."""
        gauges = {family.name for family in FAMILIES if family.is_gauge}
        return Sums([row for row in self.values if row[0] not in gauges])


class Metrics:
    """One process's metrics. Values change on one thread only, the event loop's.

    Decisions are kept and counted many at once: code that has just run is in the processor's caches, and so
    costs a tenth of what it costs between two calls of grpc.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[Decision] = []
        self._counts: dict[tuple[Family, Labels], Count] = {}
        self._timings: dict[tuple[Family, Labels], Timing] = {}
        self._watched: dict[Family, Callable[[], Iterable[tuple[Labels, float]]]] = {}
        self._told: list[Callable[[list[Decision]], None]] = []
        self._decision = self.timing(DECISION)
        # By the number of the status or kind: hashing an enumeration's member is a Python call.
        self._outcomes: dict[tuple[str, str], list[tuple[Count, Count] | None]] = {}
        self._reasons: dict[str, list[Count | None]] = {}
        for outcome in ("decided", "abstained", "defaulted", "shed"):
            self.count(COVERAGE, outcome)
        for result in ("accepted", "rejected", "unchanged"):
            self.count(RELOADS, result)

    def count(self, family: Family, *labels: str) -> Count:
        """The sum of a family under these labels; keep it where it is often needed."""
        return self._counts.setdefault((family, labels), Count())

    def timing(self, family: Family, *labels: str) -> Timing:
        """The histogram of a family under these labels; keep it where it is often needed."""
        return self._timings.setdefault((family, labels), Timing(family.bounds))

    def watch(self, gauge: Family, read: Callable[[], tuple[Labels, float]]) -> None:
        """Reads a gauge's labels and value whenever the metrics are asked for."""
        self._watched[gauge] = lambda: (read(),)

    def watch_each(self, family: Family, read: Callable[[], Iterable[tuple[Labels, float]]]) -> None:
        """Reads all labels and values of a gauge, or of a sum that is kept elsewhere, whenever they are asked for."""
        self._watched[family] = read

    def tell_decisions(self, listener: Callable[[list[Decision]], None]) -> None:
        """Tells `listener` of every decision that is counted, many at once, on any thread; it must not raise."""
        self._told.append(listener)

    def count_decision(self, decision: Decision) -> None:
        """Counts a decision, its reasons and its time."""
        self._pending.append(decision)
        if len(self._pending) >= MAX_PENDING:
            self._settle()

    def _settle(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
            for decision in pending:
                self._count_decision(decision)
            for listener in self._told:
                listener(pending)

    def _count_decision(self, decision: Decision) -> None:
        outcomes = self._outcomes.get((decision.policy, decision.tier))
        outcome = outcomes[decision.status] if outcomes is not None else None
        if outcome is None:
            outcome = self._learn_outcome(decision)
        outcome[0].value += 1
        outcome[1].value += 1
        for kind, name, _ in decision.reasons:
            counts = self._reasons.get(name)
            count = counts[kind] if counts is not None else None
            if count is None:
                count = self._learn_reason(kind, kind.name.lower(), name)
            count.value += 1
        self._decision.observe(decision.decision_ns * 1e-9)

    def sums(self) -> Sums:
        """Every value now. May be called on any thread."""
        self._settle()
        values: list[tuple[str, Labels, list[float]]] = [
            (family.name, labels, [count.value]) for (family, labels), count in list(self._counts.items())
        ]
        values += [
            (family.name, labels, [*timing.counts, timing.total])
            for (family, labels), timing in list(self._timings.items())
        ]
        for family, read in self._watched.items():
            values += [(family.name, labels, [value]) for labels, value in read()]
        return Sums(values)

    def _learn_outcome(self, decision: Decision) -> tuple[Count, Count]:
        name = decision.status.name.lower()
        outcome = (
            self.count(DECISIONS, decision.policy, decision.tier, name),
            self.count(COVERAGE, name),
        )
        by_status = self._outcomes.setdefault((decision.policy, decision.tier), [None] * 16)
        by_status[decision.status] = outcome
        return outcome

    def _learn_reason(self, kind: int, kind_name: str, name: str) -> Count:
        count = self.count(REASONS, kind_name, name)
        self._reasons.setdefault(name, [None] * 64)[kind] = count
        return count


def add_up(parts: Iterable[Sums]) -> Sums:
    """The sums of several processes."""
    added: dict[tuple[str, Labels], list[float]] = {}
    for part in parts:
        for name, labels, values in part.values:
            before = added.get((name, labels), [0.0] * len(values))
            added[name, labels] = [a + b for a, b in zip(before, values, strict=True)]
    return Sums([(name, labels, values) for (name, labels), values in added.items()])


class SumsCollector(Collector):
    """Shows the sums of one or more processes to prometheus_client, added up."""

    def __init__(self, read: Callable[[], Iterable[Sums]]) -> None:
        """Calls `read` whenever the metrics are asked for, on the thread that asks."""
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Every family, those without a value included, so that a dashboard finds its name."""
        added = add_up(self._read())
        for family in FAMILIES:
            rows = [(labels, values) for name, labels, values in added.values if name == family.name]
            yield _show(family, sorted(rows))


def make_registry(read: Callable[[], Iterable[Sums]]) -> CollectorRegistry:
    """A registry of its own that shows the sums which `read` returns."""
    registry = CollectorRegistry()
    registry.register(SumsCollector(read))
    return registry


def _show(family: Family, rows: list[tuple[Labels, list[float]]]) -> Metric:
    if family.bounds:
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, (*counts, total) in rows:
            buckets = []
            cumulated = 0.0
            for bound, count in zip((*family.bounds, float("inf")), counts, strict=True):
                cumulated += count
                buckets.append((_bound_text(bound), cumulated))
            histogram.add_metric(labels, buckets, total)
        return histogram
    kind = GaugeMetricFamily if family.is_gauge else CounterMetricFamily
    shown = kind(family.name, family.help, labels=family.labels)
    for labels, (value,) in rows:
        shown.add_metric(labels, value)
    return shown


def _bound_text(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)
