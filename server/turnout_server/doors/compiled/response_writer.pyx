"""A decision to RouteResponse's bytes, without protobuf objects. What has its default is left out, as protobuf does."""

from libc.math cimport isnan
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memmove

from turnout_fastpath.core cimport *
from turnout_fastpath.policy cimport policy_set_t
from turnout_fastpath.snapshot cimport REVISION_BYTES, Snapshot
from turnout_server.doors.compiled.protobuf cimport *

from turnout.v1 import routing_pb2
from turnout_fastpath.decision import ABSTAIN_NAMES, CONSTRAINT_NAMES, DEFAULT_NAMES

cdef enum:
    MAX_POLICY_NAME_BYTES = 256
    MAX_FIXED_NAMES = 16


# Field numbers of turnout/v1/routing.proto, by message.
cdef enum:
    RESPONSE_DECISION_ID = 1
    RESPONSE_STATUS = 2
    RESPONSE_TIER = 3
    RESPONSE_DEPLOYMENT = 4
    RESPONSE_FALLBACKS = 5
    RESPONSE_STRATEGY = 6
    RESPONSE_TASK = 7
    RESPONSE_TASK_PROBABILITY = 8
    RESPONSE_CANDIDATES = 9
    RESPONSE_REASONS = 10
    RESPONSE_TOKENS_READ = 11
    RESPONSE_TOKENS_TOTAL = 12
    RESPONSE_TRUNCATED = 13
    RESPONSE_PROPENSITY = 14
    RESPONSE_REVISIONS = 15
    RESPONSE_DIGEST = 16
    RESPONSE_DECISION_NS = 17
    RESPONSE_POLICY = 19

    CANDIDATE_TIER = 1
    CANDIDATE_P_SUFFICIENT = 2
    CANDIDATE_GAIN = 3
    CANDIDATE_COST = 4
    CANDIDATE_ELIGIBLE = 5

    REASON_KIND = 1
    REASON_ID = 2
    REASON_SCORE = 3

    REVISIONS_POLICY = 1
    REVISIONS_BUNDLE = 2
    REVISIONS_FEATURES = 3


# Names that are the contract's own, by number. They live as long as the module.
cdef slice_t[MAX_FIXED_NAMES] constraint_names
cdef slice_t[MAX_FIXED_NAMES] abstain_names
cdef slice_t[MAX_FIXED_NAMES] default_names
_KEPT = []


cdef int keep_names(names, slice_t* slices) except -1:
    cdef const char* data
    if len(names) > MAX_FIXED_NAMES:
        raise ValueError(f"{len(names)} names, limit: {MAX_FIXED_NAMES}")
    for i, name in enumerate(names):
        encoded = name.encode()
        _KEPT.append(encoded)
        data = encoded
        slices[i].data = data
        slices[i].size = len(encoded)
    return 0


keep_names(CONSTRAINT_NAMES, constraint_names)
keep_names(ABSTAIN_NAMES, abstain_names)
keep_names(DEFAULT_NAMES, default_names)


cdef slice_t reason_name(const policy_set_t* policies, const reason_t* reason) noexcept nogil:
    if reason.kind == REASON_RULE:
        return policies.rules[reason.index].name
    if reason.kind == REASON_BUCKET:
        return policies.buckets[reason.index].name
    if reason.kind == REASON_CONSTRAINT:
        return constraint_names[reason.index]
    if reason.kind == REASON_ABSTAIN:
        return abstain_names[reason.index]
    if reason.kind == REASON_DEFAULT:
        return default_names[reason.index]
    if reason.kind == REASON_HEALTH:
        return policies.deployments[reason.index].name
    return policies.tiers[reason.index].name


# False for 0.0 alone, as protobuf has it: -0.0 is no default.
cdef inline bint is_set(double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return bits != 0


# Makes what stands between `start` + 2 and `end` a message field of a number below 16; returns the field's end. Candidates
# and reasons take fewer than 16 KiB, hence at most two bytes of length.
cdef inline uint8_t* close_message(uint8_t* start, uint8_t* end, int number) noexcept nogil:
    cdef size_t size = end - (start + 2)
    start[0] = <uint8_t> (number << 3 | WIRE_BYTES)
    if size < 0x80:
        start[1] = <uint8_t> size
        return end
    memmove(start + 3, start + 2, size)
    start[1] = <uint8_t> (size & 0x7F | 0x80)
    start[2] = <uint8_t> (size >> 7)
    return end + 1


cdef uint8_t* put_candidate(uint8_t* start, slice_t tier, const candidate_t* candidate) noexcept nogil:
    cdef uint8_t* out = put_text(start + 2, CANDIDATE_TIER, tier)
    if not isnan(candidate.p_sufficient):
        out = put_double(out, CANDIDATE_P_SUFFICIENT, candidate.p_sufficient)
    if not isnan(candidate.gain):
        out = put_double(out, CANDIDATE_GAIN, candidate.gain)
    if not isnan(candidate.estimated_cost_usd):
        out = put_double(out, CANDIDATE_COST, candidate.estimated_cost_usd)
    if candidate.eligible:
        out = put_number(out, CANDIDATE_ELIGIBLE, 1)
    return close_message(start, out, RESPONSE_CANDIDATES)


cdef uint8_t* put_reason(uint8_t* start, const policy_set_t* policies, const reason_t* reason) noexcept nogil:
    cdef uint8_t* out = put_number(start + 2, REASON_KIND, reason.kind)
    out = put_text(out, REASON_ID, reason_name(policies, reason))
    if is_set(reason.score):
        out = put_double(out, REASON_SCORE, reason.score)
    return close_message(start, out, RESPONSE_REASONS)


cdef size_t response_write(const response_form_t* form, const decision_t* decision, uint8_t* out) noexcept nogil:
    cdef const policy_set_t* policies = form.policies
    cdef uint8_t* start = out
    cdef int i
    out = put_hexadecimal(out, RESPONSE_DECISION_ID, decision.decision_id, 16)
    out = put_number(out, RESPONSE_STATUS, decision.status)
    out = put_text(out, RESPONSE_TIER, policies.tiers[decision.tier].name)
    out = put_text(out, RESPONSE_DEPLOYMENT, policies.deployments[decision.deployment].name)
    for i in range(decision.n_fallbacks):
        out = put_text(out, RESPONSE_FALLBACKS, policies.deployments[decision.fallbacks[i]].name)
    out = put_number(out, RESPONSE_STRATEGY, decision.strategy)
    if decision.task != NONE:
        if form.tasks[decision.task]:
            out = put_number(out, RESPONSE_TASK, form.tasks[decision.task])
        if is_set(decision.task_probability):
            out = put_double(out, RESPONSE_TASK_PROBABILITY, decision.task_probability)
    for i in range(policies.n_tiers):
        out = put_candidate(out, policies.tiers[i].name, &decision.candidates[i])
    for i in range(decision.n_reasons):
        out = put_reason(out, policies, &decision.reasons[i])
    if decision.tokens_read:
        out = put_number(out, RESPONSE_TOKENS_READ, decision.tokens_read)
    if decision.tokens_total:
        out = put_number(out, RESPONSE_TOKENS_TOTAL, decision.tokens_total)
    if decision.truncated:
        out = put_number(out, RESPONSE_TRUNCATED, 1)
    out = put_double(out, RESPONSE_PROPENSITY, decision.propensity)
    memcpy(out, form.revisions, form.n_revisions)
    out += form.n_revisions
    out = put_hexadecimal(out, RESPONSE_DIGEST, decision.digest, 16)
    if decision.decision_ns:
        out = put_number(out, RESPONSE_DECISION_NS, decision.decision_ns)
    out = put_text(out, RESPONSE_POLICY, policies.policies[decision.policy].name)
    return out - start


cdef size_t longest_name(const policy_set_t* policies) noexcept:
    cdef size_t longest = 0
    cdef int i
    for i in range(policies.n_tiers):
        longest = max(longest, policies.tiers[i].name.size)
    for i in range(policies.n_deployments):
        longest = max(longest, policies.deployments[i].name.size)
    for i in range(policies.n_policies):
        longest = max(longest, policies.policies[i].name.size)
    for i in range(policies.n_rules):
        longest = max(longest, policies.rules[i].name.size)
    for i in range(policies.n_buckets):
        longest = max(longest, policies.buckets[i].name.size)
    return longest


cdef class ResponseForm:
    def __cinit__(self, Snapshot snapshot not None):
        cdef uint8_t* out = self.c.revisions
        cdef uint8_t[REVISIONS_BYTES] inner
        cdef uint8_t* end = inner
        cdef slice_t bytes
        cdef int i
        self.snapshot = snapshot
        self.c.policies = snapshot.c.policies
        if longest_name(self.c.policies) > MAX_POLICY_NAME_BYTES:
            raise ValueError(f"a name of {longest_name(self.c.policies)} bytes, limit: {MAX_POLICY_NAME_BYTES}")
        numbers = {name: number for name, number in routing_pb2.Task.items()}
        for i, task in enumerate(snapshot.bundle.manifest["tasks"]):
            # A bundle may have tasks of its own, which the contract cannot name.
            self.c.tasks[i] = numbers.get(f"TASK_{task.upper()}", 0)
        for i in range(3):
            end = put_hexadecimal(end, REVISIONS_POLICY + i, snapshot.c.revisions + i * REVISION_BYTES, REVISION_BYTES)
        bytes.data = <const char*> inner
        bytes.size = end - inner
        self.c.n_revisions = put_text(out, RESPONSE_REVISIONS, bytes) - out
