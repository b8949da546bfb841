from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t

from turnout_fastpath.core cimport DEPLOYMENT_WORDS, MAX_DEPLOYMENTS, live_t, slice_t

cdef enum:
    SESSION_SETS = 16384
    SESSION_WAYS = 4
    BUDGET_SETS = 1024
    BUDGET_WAYS = 4


# Every field is 64 bits wide and written atomically; 0 as a key means free.
cdef struct deployment_state_t:
    uint64_t key                 # hash of the deployment's name
    uint64_t closed_until_ms     # monotonic; closed while later than now


cdef struct session_state_t:
    uint64_t key                 # hash of the session's id
    uint64_t check               # value ^ key: an entry caught in mid-write does not match and reads as absent
    uint64_t value               # see pack_session
    uint64_t expires_ms


cdef struct budget_state_t:
    uint64_t key                 # hash of the tenant
    uint64_t spent_until_ms


cdef struct state_t:
    uint64_t magic
    uint64_t version
    uint64_t size
    uint64_t[5] reserved
    deployment_state_t[MAX_DEPLOYMENTS] deployments
    session_state_t[SESSION_SETS][SESSION_WAYS] sessions
    budget_state_t[BUDGET_SETS][BUDGET_WAYS] budgets


cdef uint64_t state_key(const char* text, size_t n) noexcept nogil

# Slot of a deployment, taking a free one for a new name; NONE if the table is full.
cdef int state_slot(state_t* state, uint64_t key) noexcept nogil

# Reads what a decision may depend on. `slots[i]` is deployment i's slot.
cdef void state_read(const state_t* state, const int32_t* slots, int n_deployments, slice_t session, slice_t tenant,
                     uint64_t now_ms, live_t* live) noexcept nogil


cdef class StateBlock:
    cdef state_t* c
    cdef object mapping
    cdef readonly object path
