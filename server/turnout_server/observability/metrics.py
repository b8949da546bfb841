"""Counters and timings, with every label's child looked up once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from turnout_fastpath import Decision, ReasonKind, Status

# From a bare call to one that waits for its turn in an overloaded process.
HANDLING_BUCKETS_S = (
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
DECISION_BUCKETS_S = (0.00001, 0.00002, 0.00003, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.02, 0.1)

Inc = Callable[[], None]
Observe = Callable[[float], None]


class Call(NamedTuple):
    """What one RPC method counts."""

    started: Inc
    succeeded: Inc
    seconds: Observe


class Stages(NamedTuple):
    """Timings of a sampled call's parts, in seconds."""

    read: Observe
    decide: Observe
    write: Observe


class Metrics:
    """The service's metrics.

    With PROMETHEUS_MULTIPROC_DIR set before prometheus_client is imported, the values lie in files of that folder, which
    another process adds up.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        labels = ("grpc_type", "grpc_service", "grpc_method")
        self._started = Counter("grpc_server_started", "RPCs begun.", labels, registry=registry)
        self._handled = Counter(
            "grpc_server_handled", "RPCs ended, by status code.", (*labels, "grpc_code"), registry=registry
        )
        self._handling = Histogram(
            "grpc_server_handling_seconds",
            "Time from a request's arrival in its handler to its response.",
            labels,
            buckets=HANDLING_BUCKETS_S,
            registry=registry,
        )
        self._decisions = Counter(
            "turnout_decisions", "Decisions made.", ("policy", "tier", "status"), registry=registry
        )
        self._reasons = Counter(
            "turnout_reasons", "Reasons that acted on decisions.", ("kind", "id"), registry=registry
        )
        self._coverage = Counter(
            "turnout_coverage",
            "What became of requests that asked for a decision: decided, abstained, defaulted, or shed by admission.",
            ("outcome",),
            registry=registry,
        )
        self._decision = Histogram(
            "turnout_decision_seconds",
            "Time a decision took, without the transport.",
            buckets=DECISION_BUCKETS_S,
            registry=registry,
        )
        self._stage = Histogram(
            "turnout_stage_seconds",
            "Time that parts of a call took, of the calls whose decision is logged.",
            ("stage",),
            buckets=DECISION_BUCKETS_S,
            registry=registry,
        )
        self._errors = Counter(
            "turnout_errors", "Requests without a decision, by ErrorReason.", ("reason",), registry=registry
        )
        self._reloads = Counter(
            "turnout_config_reloads",
            "Times that policy and bundle were read again: accepted, rejected, or unchanged.",
            ("result",),
            registry=registry,
        )
        self._info = Gauge(
            "turnout_info",
            "1 for the revisions that decide now.",
            ("version", "policy_revision", "bundle_revision", "features_revision"),
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._info_now: Gauge | None = None
        self.observe_decision: Observe = self._decision.observe
        self.stages = Stages(*(self._stage.labels(stage).observe for stage in Stages._fields))
        self.count_shed: Inc = self._coverage.labels("shed").inc
        self._outcomes: dict[tuple[str, str, Status], tuple[Inc, Inc]] = {}
        self._reason_incs: dict[tuple[ReasonKind, str], Inc] = {}
        for result in ("accepted", "rejected", "unchanged"):
            self._reloads.labels(result)
        for status in Status:
            self._coverage.labels(status.name.lower())

    def call(self, kind: str, service: str, method: str) -> Call:
        """What an RPC method counts; `kind` is unary or bidi_stream."""
        return Call(
            self._started.labels(kind, service, method).inc,
            self._handled.labels(kind, service, method, "OK").inc,
            self._handling.labels(kind, service, method).observe,
        )

    def count_failed(self, kind: str, service: str, method: str, code: str) -> None:
        """Counts an RPC that ended with another code than OK."""
        self._handled.labels(kind, service, method, code).inc()

    def count_error(self, reason: str) -> None:
        """Counts a request, or an item of a batch or stream, that got no decision."""
        self._errors.labels(reason).inc()

    def count_decision(self, decision: Decision) -> None:
        """Counts a decision, its reasons, and its time."""
        key = (decision.policy, decision.tier, decision.status)
        incs = self._outcomes.get(key)
        if incs is None:
            incs = self._learn_outcome(*key)
        incs[0]()
        incs[1]()
        for kind, name, _ in decision.reasons:
            inc = self._reason_incs.get((kind, name))
            if inc is None:
                inc = self._learn_reason(kind, name)
            inc()
        self.observe_decision(decision.decision_ns * 1e-9)

    def count_reload(self, result: str) -> None:
        """Counts a reading of policy and bundle: accepted, rejected or unchanged."""
        self._reloads.labels(result).inc()

    def set_info(self, version: str, policy: str, bundle: str, features: str) -> None:
        """Says what decides from now on."""
        # Set to 0, not removed: prometheus_client cannot remove a label set when processes share files.
        if self._info_now is not None:
            self._info_now.set(0)
        self._info_now = self._info.labels(version, policy, bundle, features)
        self._info_now.set(1)

    def _learn_outcome(self, policy: str, tier: str, status: Status) -> tuple[Inc, Inc]:
        name = status.name.lower()
        incs = (self._decisions.labels(policy, tier, name).inc, self._coverage.labels(name).inc)
        self._outcomes[policy, tier, status] = incs
        return incs

    def _learn_reason(self, kind: ReasonKind, name: str) -> Inc:
        inc: Inc = self._reasons.labels(kind.name.lower(), name).inc
        self._reason_incs[kind, name] = inc
        return inc
