"""What breakers know, in the shared state block: evidence, a word of state, a pause, and the lease of one probe.

Mechanism alone: which evidence opens a breaker, and for how long, is the server's business. Each operation is one
atomic step or a loop over one, so a process that dies in the middle of anything leaves a block that reads well.
"""

from libc.stdint cimport uint32_t, uint64_t

from turnout_fastpath.state cimport EVIDENCE_BUCKETS, MAX_BREAKERS, StateBlock, breaker_state_t, state_key, state_t

from turnout_fastpath.state import StateError


cdef extern from "atomics.h" nogil:
    uint64_t atomic_get(const uint64_t*)
    void atomic_put(uint64_t*, uint64_t)
    void atomic_raise(uint64_t*, uint64_t)
    int atomic_swap_if(uint64_t*, uint64_t, uint64_t)


cdef enum:
    BUCKET_MS = 500
    RECENT_BUCKETS = 2
    MOST_IN_BUCKET = 0xFFFF


cdef struct evidence_t:
    uint32_t run
    uint32_t recent_calls
    uint32_t recent_failures
    uint32_t calls
    uint32_t failures


# A bucket: the half second that it counts (32 bits), its failures (16), its calls (16); each stops at 65,535.
cdef inline uint64_t pack_bucket(uint64_t tick, uint64_t failures, uint64_t calls) noexcept nogil:
    return tick << 32 | failures << 16 | calls


cdef void count_call(breaker_state_t* breaker, uint64_t now_ms, int failed) noexcept nogil:
    cdef uint64_t tick = now_ms // BUCKET_MS
    cdef uint64_t* bucket = &breaker.evidence[tick % EVIDENCE_BUCKETS]
    cdef uint64_t there, failures, calls
    while True:
        there = atomic_get(bucket)
        failures = calls = 0
        if <uint32_t> (there >> 32) == <uint32_t> tick:
            failures, calls = there >> 16 & 0xFFFF, there & 0xFFFF
        if calls < MOST_IN_BUCKET:
            calls += 1
            failures += failed
        if atomic_swap_if(bucket, there, pack_bucket(tick, failures, calls)):
            return


# The run: when its last failure was, in ms (48 bits), and its length (16 bits). One that rested for longer than the
# evidence lasts is over.
cdef void count_run(breaker_state_t* breaker, uint64_t now_ms) noexcept nogil:
    cdef uint64_t there, length
    while True:
        there = atomic_get(&breaker.run)
        length = there & 0xFFFF
        if (there >> 16) + EVIDENCE_BUCKETS * BUCKET_MS < now_ms:
            length = 0
        length = min(length + 1, <uint64_t> MOST_IN_BUCKET)
        if atomic_swap_if(&breaker.run, there, max(there >> 16, now_ms) << 16 | length):
            return


cdef void read_evidence(const breaker_state_t* breaker, uint64_t now_ms, evidence_t* evidence) noexcept nogil:
    cdef uint64_t tick = now_ms // BUCKET_MS
    cdef uint64_t there
    cdef uint32_t age
    cdef int i
    evidence.recent_calls = evidence.recent_failures = evidence.calls = evidence.failures = 0
    there = atomic_get(&breaker.run)
    evidence.run = <uint32_t> (there & 0xFFFF) if (there >> 16) + EVIDENCE_BUCKETS * BUCKET_MS >= now_ms else 0
    for i in range(EVIDENCE_BUCKETS):
        there = atomic_get(&breaker.evidence[i])
        # Unsigned: a bucket that another process has begun a moment later is old here, for that moment.
        age = <uint32_t> tick - <uint32_t> (there >> 32)
        if age >= EVIDENCE_BUCKETS:
            continue
        evidence.calls += there & 0xFFFF
        evidence.failures += there >> 16 & 0xFFFF
        if age < RECENT_BUCKETS:
            evidence.recent_calls += there & 0xFFFF
            evidence.recent_failures += there >> 16 & 0xFFFF


cdef int breaker_slot(state_t* state, uint64_t key) noexcept nogil:
    cdef int i, slot
    for i in range(MAX_BREAKERS):
        slot = <int> ((key + i) % MAX_BREAKERS)
        if atomic_get(&state.breakers[slot].key) == 0:
            atomic_swap_if(&state.breakers[slot].key, 0, key)
        if atomic_get(&state.breakers[slot].key) == key:
            return slot
    return -1


cdef class BreakerTable:
    cdef StateBlock block

    def __cinit__(self, StateBlock block not None):
        self.block = block

    cdef breaker_state_t* at(self, int slot) except NULL:
        if not 0 <= slot < MAX_BREAKERS:
            raise StateError(f"slot is {slot}, needed: 0 to {MAX_BREAKERS - 1}")
        return &self.block.c.breakers[slot]

    def slot(self, str name not None):
        cdef bytes encoded = name.encode()
        cdef int slot = breaker_slot(self.block.c, state_key(encoded, len(encoded)))
        if slot < 0:
            raise StateError(f"the state block holds {MAX_BREAKERS} breakers; no room for {name!r}")
        return slot

    def word(self, int slot):
        return atomic_get(&self.at(slot).word)

    def swap_word(self, int slot, uint64_t expected, uint64_t word):
        return atomic_swap_if(&self.at(slot).word, expected, word) != 0

    def paused_until_ms(self, int slot):
        return atomic_get(&self.at(slot).paused_until_ms)

    def pause(self, int slot, uint64_t until_ms):
        atomic_raise(&self.at(slot).paused_until_ms, until_ms)

    def take_probe(self, int slot, uint64_t now_ms, uint64_t until_ms):
        cdef breaker_state_t* breaker = self.at(slot)
        cdef uint64_t there = atomic_get(&breaker.probe_until_ms)
        return there <= now_ms and atomic_swap_if(&breaker.probe_until_ms, there, until_ms) != 0

    def return_probe(self, int slot, uint64_t until_ms):
        return atomic_swap_if(&self.at(slot).probe_until_ms, until_ms, 0) != 0

    def record(self, int slot, uint64_t now_ms, *, bint failed, bint in_run=True):
        cdef breaker_state_t* breaker = self.at(slot)
        cdef evidence_t evidence
        count_call(breaker, now_ms, failed)
        if in_run:
            if failed:
                count_run(breaker, now_ms)
            else:
                atomic_put(&breaker.run, 0)
        read_evidence(breaker, now_ms, &evidence)
        return (evidence.run, evidence.recent_calls, evidence.recent_failures, evidence.calls, evidence.failures)

    def evidence(self, int slot, uint64_t now_ms):
        cdef evidence_t evidence
        read_evidence(self.at(slot), now_ms, &evidence)
        return evidence.calls, evidence.failures

    def forget(self, int slot):
        cdef breaker_state_t* breaker = self.at(slot)
        cdef int i
        atomic_put(&breaker.run, 0)
        for i in range(EVIDENCE_BUCKETS):
            atomic_put(&breaker.evidence[i], 0)

    def unpause(self, int slot):
        atomic_put(&self.at(slot).paused_until_ms, 0)
