from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from turnout_fastpath.core cimport MAX_TIERS, decision_t, slice_t
from turnout_fastpath.engine cimport Worker, worker_t
from turnout_fastpath.snapshot cimport Snapshot, snapshot_t
from turnout_server.doors.compiled.response_writer cimport ResponseForm, response_form_t
from turnout_server.doors.decision_port.buffer cimport buffer_t
from turnout_server.doors.decision_port.ring cimport Ring, ring_t

cdef enum:
    DECIDED = 0
    LONGER_WAY = 1               # Python must decide, or say why it cannot
    TOO_LATE = 2                 # the deadline has passed
    DRAWN = 3                    # as LONGER_WAY, to be logged

    STATUSES = 4
    REASON_KINDS = 16
    TIME_BUCKETS = 12


# What is counted of decisions; indices are those of the snapshot.
cdef struct counts_t:
    uint64_t* decisions          # (policies, MAX_TIERS, STATUSES)
    uint64_t* reasons            # (REASON_KINDS, n_reason_ids)
    uint64_t n_reason_ids
    uint64_t[TIME_BUCKETS] times # not cumulated
    uint64_t total_ns


# One thread's means of deciding, against one snapshot.
cdef struct decider_t:
    const snapshot_t* snapshot
    worker_t* worker
    const response_form_t* form
    const double* least_time_s   # by policy
    double greatest_least_time_s
    uint64_t log_below           # a decision is left to Python, to be logged, if a 32-bit random number is below
    uint64_t random
    char* memory
    uint64_t memory_size
    uint64_t max_text_bytes
    uint8_t* response            # room for one answer
    counts_t counts
    ring_t* ring                 # NULL: no decision is kept
    uint64_t keep_below          # a decision is kept if 63 random bits of its id are below
    uint32_t generation          # of the snapshot, for whoever drains the ring
    const uint8_t* keeps         # by policy, KEEPS_


# Decides RouteRequest's bytes and appends RouteResponse's to `out`, counted. `remaining_s` is infinite without a deadline.
# What is LONGER_WAY has changed nothing.
cdef int decide_route(decider_t* decider, slice_t message, double remaining_s, buffer_t* out) noexcept nogil


cdef class Decider:
    cdef decider_t c
    cdef readonly Snapshot snapshot
    cdef Worker worker
    cdef ResponseForm form
    cdef uint8_t[::1] response
    cdef double[::1] least_times
    cdef uint64_t[::1] decisions
    cdef uint64_t[::1] reasons
    cdef const uint8_t[::1] keeping
    cdef Ring ring
