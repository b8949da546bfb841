from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from turnout_fastpath.core cimport MAX_TASKS, decision_t
from turnout_fastpath.policy cimport policy_set_t
from turnout_fastpath.snapshot cimport Snapshot

cdef enum:
    REVISIONS_BYTES = 64
    # A message of the longest names that a policy file may have, in every place, and some more.
    MAX_RESPONSE_BYTES = 32 << 10


# What every response of a snapshot has in common.
cdef struct response_form_t:
    const policy_set_t* policies
    uint8_t[MAX_TASKS] tasks     # wire number of each of the bundle's tasks; 0 if the contract has none
    uint8_t[REVISIONS_BYTES] revisions   # the whole field
    size_t n_revisions


# Bytes of the decision's RouteResponse, at most MAX_RESPONSE_BYTES, written to `out`.
cdef size_t response_write(const response_form_t* form, const decision_t* decision, uint8_t* out) noexcept nogil


cdef class ResponseForm:
    cdef response_form_t c
    cdef Snapshot snapshot
