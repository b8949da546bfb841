"""One thread's decisions: a message's bytes to an answer's, counted, without Python."""

import os

import numpy

from libc.math cimport INFINITY, NAN
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from turnout_fastpath.core cimport *
from turnout_fastpath.decision cimport Decision
from turnout_fastpath.engine cimport Worker, engine_decide, worker_t
from turnout_fastpath.policy cimport policy_resolve, resolved_t
from turnout_fastpath.snapshot cimport Snapshot, snapshot_t
from turnout_server.doors.compiled.request_parser cimport ODD, request_measure, request_memory, request_parse, sizes_t
from turnout_server.doors.compiled.response_writer cimport MAX_RESPONSE_BYTES, ResponseForm, response_write
from turnout_server.doors.decision_port.buffer cimport buffer_add, buffer_t
from turnout_server.doors.decision_port.ring cimport (
    KEEPS_FEATURES, KEEPS_TEXT, MAX_KEPT_TEXT_BYTES, NO_TEXT, Ring, record_t, ring_claim, ring_publish, ring_t,
)

from turnout_fastpath.decision import ABSTAIN_NAMES, CONSTRAINT_NAMES, DEFAULT_NAMES, ReasonKind, Status
from turnout_server.observability.metrics import COVERAGE, DECISION, DECISION_BOUNDS_S, DECISIONS, REASONS


cdef extern from "atomics.h" nogil:
    uint64_t unix_ms()

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


cdef inline bint is_kept(const decider_t* decider, const decision_t* decision) noexcept nogil:
    """As `sampling.is_drawn`: by the random bits of the id, so that all processes draw alike."""
    cdef uint64_t bits
    if decider.ring == NULL:
        return False
    memcpy(&bits, &decision.decision_id[8], 8)
    return bits >> 1 < decider.keep_below


cdef slice_t last_question(const request_t* request) noexcept nogil:
    """The text of the last user turn; NULL data: there is none."""
    cdef slice_t none
    cdef int i
    for i in range(request.n_messages - 1, -1, -1):
        if request.messages[i].role == ROLE_USER:
            return request.messages[i].text
    none.data = NULL
    none.size = 0
    return none


cdef inline uint8_t* append(uint8_t* at, const void* data, size_t size) noexcept nogil:
    # memcpy takes no NULL, not even for nothing.
    if size:
        memcpy(at, data, size)
    return at + size


cdef void keep_decision(decider_t* decider, const request_t* request, const decision_t* decision) noexcept nogil:
    """Puts a decision into the ring, if there is room."""
    cdef const snapshot_t* snapshot = decider.snapshot
    cdef uint8_t keeps = decider.keeps[decision.policy]
    cdef slice_t text
    cdef size_t tenant_bytes = request.tenant.size, n_features = 0, size
    cdef uint8_t* at
    cdef record_t* record
    cdef int i
    text.data = NULL
    text.size = 0
    if keeps & KEEPS_TEXT:
        text = last_question(request)
        if text.size > MAX_KEPT_TEXT_BYTES:
            text.data = NULL
            text.size = 0
    if keeps & KEEPS_FEATURES and decision.judgement.judged:
        n_features = snapshot.classifier.n_inputs
    size = sizeof(record_t) + tenant_bytes + text.size + n_features * sizeof(float)
    at = ring_claim(decider.ring, size)
    if at == NULL:
        return
    record = <record_t*> at
    memcpy(record.decision_id, decision.decision_id, 16)
    record.at_ms = unix_ms()
    record.generation = decider.generation
    record.policy = decision.policy
    record.tier = decision.tier
    record.status = decision.status
    record.deployment = decision.deployment
    record.task = decision.task
    record.strategy = decision.strategy
    record.tokens_total = decision.tokens_total
    record.propensity = decision.propensity
    for i in range(MAX_TIERS):
        record.p_sufficient[i] = (
            decision.candidates[i].p_sufficient if i < snapshot.policies.n_tiers else <double> NAN)
    record.tenant_bytes = <uint32_t> tenant_bytes
    record.text_bytes = NO_TEXT if text.data == NULL else <uint32_t> text.size
    record.n_features = <uint32_t> n_features
    at += sizeof(record_t)
    at = append(at, request.tenant.data, tenant_bytes)
    at = append(at, text.data, text.size)
    append(at, decider.worker.io.inputs, n_features * sizeof(float))
    ring_publish(decider.ring)


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
    if is_kept(decider, &decision):
        keep_decision(decider, &request, &decision)
    return DECIDED


def kept_of(policy):
    """KEEPS_ of a policy of the resolved document."""
    record = policy.get("record") or {}
    return (KEEPS_TEXT if record.get("text") else 0) | (KEEPS_FEATURES if record.get("features") else 0)


cdef class Decider:
    def __cinit__(self, Snapshot snapshot not None, uint64_t max_text_bytes, double log_share, *, Ring ring=None,
                  uint32_t generation=0, double keep_share=0):
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
        self.ring = ring
        if ring is not None:
            self.keeping = bytes([kept_of(document[name]) for name in snapshot.policies.policy_names])
            self.c.keeps = &self.keeping[0]
            self.c.keep_below = <uint64_t> round(keep_share * 2.0 ** 63)
            self.c.generation = generation
            self.c.ring = ring.c

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
