"""One thread's decisions: a message's bytes to an answer's, counted, without Python."""

import os

import numpy

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc

from turnout_fastpath.core cimport *
from turnout_fastpath.decision cimport Decision
from turnout_fastpath.engine cimport Worker, engine_decide, worker_t
from turnout_fastpath.policy cimport policy_resolve, resolved_t
from turnout_fastpath.snapshot cimport Snapshot
from turnout_server.doors.compiled.request_parser cimport ODD, request_measure, request_memory, request_parse, sizes_t
from turnout_server.doors.compiled.response_writer cimport MAX_RESPONSE_BYTES, ResponseForm, response_write
from turnout_server.doors.decision_port.buffer cimport buffer_add, buffer_t

from turnout_fastpath.decision import ABSTAIN_NAMES, CONSTRAINT_NAMES, DEFAULT_NAMES, ReasonKind, Status
from turnout_server.observability.metrics import COVERAGE, DECISION, DECISION_BOUNDS_S, DECISIONS, REASONS


cdef extern from "counters.h" nogil:
    void counter_add(uint64_t*, uint64_t)
    uint64_t counter_read(const uint64_t*)


# Upper bounds of a decision's time, in nanoseconds; the last bucket has none.
cdef uint64_t[TIME_BUCKETS] time_bounds
assert len(DECISION_BOUNDS_S) == TIME_BUCKETS - 1
for _i, _bound in enumerate(DECISION_BOUNDS_S):
    time_bounds[_i] = round(_bound * 1e9)


cdef void count_decision(counts_t* counts, const decision_t* decision) noexcept nogil:
    cdef int i = 0
    cdef uint64_t row = (decision.policy * MAX_TIERS + decision.tier) * STATUSES + decision.status
    counter_add(&counts.decisions[row], 1)
    for i in range(decision.n_reasons):
        counter_add(&counts.reasons[decision.reasons[i].kind * counts.n_reason_ids + decision.reasons[i].index], 1)
    i = 0
    while i < TIME_BUCKETS - 1 and decision.decision_ns > time_bounds[i]:
        i += 1
    counter_add(&counts.times[i], 1)
    counter_add(&counts.total_ns, decision.decision_ns)


cdef int decide_route(decider_t* decider, slice_t message, double remaining_s, buffer_t* out) noexcept nogil:
    cdef request_t request
    cdef decision_t decision
    cdef resolved_t resolved
    cdef fault_t fault
    cdef sizes_t sizes
    cdef uint64_t needed
    cdef char* memory
    if remaining_s <= 0:
        return TOO_LATE
    if decider.log_below:
        # xorshift64.
        decider.random ^= decider.random << 13
        decider.random ^= decider.random >> 7
        decider.random ^= decider.random << 17
        if decider.random >> 32 < decider.log_below:
            return DRAWN
    if request_measure(message, &sizes) == ODD:
        return LONGER_WAY
    needed = request_memory(&sizes)
    if needed > decider.memory_size:
        memory = <char*> realloc(decider.memory, needed)
        if memory == NULL:
            return LONGER_WAY
        decider.memory = memory
        decider.memory_size = needed
    if request_parse(message, &sizes, decider.memory, decider.max_text_bytes, &request) == ODD:
        return LONGER_WAY
    if remaining_s < decider.greatest_least_time_s:
        if policy_resolve(decider.snapshot.policies, &request, &resolved, &fault):
            return LONGER_WAY
        request.rules_only = remaining_s < decider.least_time_s[resolved.policy]
    if engine_decide(decider.snapshot, decider.worker, &request, &decision, &fault):
        return LONGER_WAY
    # Not written to `out`, where every call under way would hold room for the longest answer.
    if not buffer_add(out, decider.response, response_write(decider.form, &decision, decider.response)):
        return LONGER_WAY
    count_decision(&decider.counts, &decision)
    return DECIDED


cdef class Decider:
    def __cinit__(self, Snapshot snapshot not None, uint64_t max_text_bytes, double log_share):
        cdef int32_t i
        self.snapshot = snapshot
        self.worker = Worker(snapshot)
        self.form = ResponseForm(snapshot)
        self.response = numpy.zeros(MAX_RESPONSE_BYTES, numpy.uint8)
        self.c.response = &self.response[0]
        document = snapshot.policies.document["policies"]
        self.least_times = numpy.array(
            [document[name]["limits"]["least_time_ms"] / 1000 for name in snapshot.policies.policy_names], float)
        policies = &snapshot.policies.c
        n = max(policies.n_rules, policies.n_buckets, policies.n_deployments, policies.n_tiers, REASON_KINDS)
        self.decisions = numpy.zeros(policies.n_policies * MAX_TIERS * STATUSES, numpy.uint64)
        self.reasons = numpy.zeros(REASON_KINDS * n, numpy.uint64)
        self.c.snapshot = &snapshot.c
        self.c.worker = &self.worker.c
        self.c.form = &self.form.c
        self.c.least_time_s = &self.least_times[0]
        self.c.greatest_least_time_s = max(self.least_times)
        self.c.log_below = <uint64_t> round(log_share * 2.0 ** 32)
        self.c.random = int.from_bytes(os.urandom(8), "little") | 1
        self.c.max_text_bytes = max_text_bytes
        self.c.counts.decisions = &self.decisions[0]
        self.c.counts.reasons = &self.reasons[0]
        self.c.counts.n_reason_ids = n

    def __dealloc__(self):
        free(self.c.memory)

    def sums(self):
        """Rows of `metrics.Sums`: what has been counted so far."""
        cdef int policy, tier, status, kind
        cdef uint64_t i, n
        policies = self.snapshot.policies
        rows = []
        coverage = {}
        for policy, name in enumerate(policies.policy_names):
            for tier, tier_name in enumerate(policies.tier_names):
                for status in range(1, STATUSES):
                    n = counter_read(&self.c.counts.decisions[(policy * MAX_TIERS + tier) * STATUSES + status])
                    if n:
                        outcome = Status(status).name.lower()
                        rows.append((DECISIONS.name, (name, tier_name, outcome), [float(n)]))
                        coverage[outcome] = coverage.get(outcome, 0.0) + n
        rows += [(COVERAGE.name, (outcome,), [n]) for outcome, n in coverage.items()]
        names = {REASON_RULE: policies.rule_names, REASON_BUCKET: policies.bucket_names,
                 REASON_CONSTRAINT: CONSTRAINT_NAMES, REASON_ABSTAIN: ABSTAIN_NAMES, REASON_DEFAULT: DEFAULT_NAMES,
                 REASON_HEALTH: policies.deployment_names}
        for kind in range(1, REASON_KINDS):
            for i, name in enumerate(names.get(kind, policies.tier_names)):
                n = counter_read(&self.c.counts.reasons[kind * self.c.counts.n_reason_ids + i])
                if n:
                    rows.append((REASONS.name, (ReasonKind(kind).name.lower(), name), [float(n)]))
        times = [float(counter_read(&self.c.counts.times[kind])) for kind in range(TIME_BUCKETS)]
        rows.append((DECISION.name, (), [*times, counter_read(&self.c.counts.total_ns) * 1e-9]))
        return rows
