from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from turnout_fastpath.core cimport MAX_TIERS

cdef extern from "ring.h" nogil:
    ctypedef struct ring_t:
        uint8_t* data
        uint64_t size
    uint8_t* ring_claim(ring_t*, uint64_t)
    void ring_publish(ring_t*)
    const uint8_t* ring_peek(ring_t*, uint64_t*)
    void ring_release(ring_t*, uint64_t)
    uint64_t ring_dropped(const ring_t*)

cdef enum:
    MAX_KEPT_TEXT_BYTES = 64 << 10

    KEEPS_TEXT = 1
    KEEPS_FEATURES = 2


# A decision on its way to the store. Behind it lie tenant, text and then features; numbers are those of the snapshot
# that `generation` names.
cdef struct record_t:
    uint8_t[16] decision_id
    int64_t at_ms                # since 1970
    uint32_t generation
    int32_t policy
    int32_t tier
    int32_t status
    int32_t deployment
    int32_t task
    int32_t strategy
    uint32_t tokens_total
    double propensity
    double[MAX_TIERS] p_sufficient
    uint32_t tenant_bytes
    uint32_t text_bytes          # NO_TEXT: not kept
    uint32_t n_features

cdef enum:
    NO_TEXT = 0xFFFFFFFF


cdef class Ring:
    cdef ring_t* c
