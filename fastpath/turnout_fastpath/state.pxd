from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t

from turnout_fastpath.core cimport DEPLOYMENT_WORDS, MAX_DEPLOYMENTS, live_t, slice_t

cdef enum:
    SESSION_SETS = 16384
    SESSION_WAYS = 4
    BUDGET_SETS = 1024
    BUDGET_WAYS = 4
    MAX_BREAKERS = 1024
    EVIDENCE_BUCKETS = 20
    COUNTER_SETS = 2048
    COUNTER_WAYS = 16
    LEASE_BUCKETS = 4


# Every field is 64 bits wide and written atomically; 0 as a key means free.
cdef struct deployment_state_t:
    uint64_t key                 # hash of the deployment's name
    uint64_t closed_until_ms     # monotonic; closed while later than now


cdef struct session_state_t:
    uint64_t key                 # hash of the session's id
    uint64_t check               # value ^ key: an entry caught in mid-write does not match and reads as absent
    uint64_t value               # see pack_session
    uint64_t expires_ms
    uint64_t warm_until_ms       # the provider's cache is cold after this


cdef struct budget_state_t:
    uint64_t key                 # hash of the tenant
    uint64_t spent_until_ms


# See breaker_table.pyx.
cdef struct breaker_state_t:
    uint64_t key                 # hash of the breaker's name
    uint64_t word                # what the breaker is: its owner's packing, changed by compare-and-swap alone
    uint64_t probe_until_ms      # monotonic; the lease of the one probe, 0 when free
    uint64_t paused_until_ms     # monotonic
    uint64_t run                 # failures since the last success, and when the last of them was
    uint64_t[EVIDENCE_BUCKETS] evidence


# See counter_table.pyx. One cache line.
cdef struct counter_state_t:
    uint64_t key                 # hash of the counter's name
    uint64_t value               # see pack_count; of a rate: nanoseconds, when it will be as if never used
    uint64_t expires_ms          # Unix; later than this the entry says nothing and may be taken; 0: being made
    uint64_t restored            # what records say was used before it was counted, packed as `value`
    uint64_t[LEASE_BUCKETS] leases


cdef struct state_t:
    uint64_t magic
    uint64_t version
    uint64_t size
    uint64_t boot                # hash of the machine's boot: monotonic times of another one mean nothing
    uint64_t dated               # how many counters were dated so far
    uint64_t[3] reserved
    deployment_state_t[MAX_DEPLOYMENTS] deployments
    session_state_t[SESSION_SETS][SESSION_WAYS] sessions
    budget_state_t[BUDGET_SETS][BUDGET_WAYS] budgets
    breaker_state_t[MAX_BREAKERS] breakers
    uint64_t[COUNTER_SETS] recycling   # see claim_counter
    counter_state_t[COUNTER_SETS][COUNTER_WAYS] counters
    uint64_t[COUNTER_SETS][COUNTER_WAYS] since_ns   # of each counter, Unix; 0: not dated yet


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
