"""Decisions from a thread of the decision port to whoever stores them; the thread never waits."""

from libc.math cimport isnan
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from cpython.bytes cimport PyBytes_FromStringAndSize


from typing import NamedTuple


class Drained(NamedTuple):
    decision_id: str
    at_ms: int
    generation: int
    policy: int
    tier: int
    status: int
    deployment: int
    task: int
    strategy: int
    tokens_total: int
    propensity: float
    p_sufficient: tuple
    tenant: str
    text: str
    features: bytes


cdef extern from "stdlib.h" nogil:
    void* aligned_alloc(size_t, size_t)


cdef enum:
    LINE_BYTES = 64


cdef class Ring:
    def __cinit__(self, uint64_t size):
        if size < 4096 or size & (size - 1):
            raise ValueError(f"{size} bytes, needed: a power of two, at least 4096")
        self.c = <ring_t*> aligned_alloc(LINE_BYTES, sizeof(ring_t))
        if self.c == NULL:
            raise MemoryError()
        memset(self.c, 0, sizeof(ring_t))
        # Not touched before it is used: what nobody fills costs no memory.
        self.c.data = <uint8_t*> aligned_alloc(LINE_BYTES, size)
        self.c.size = size
        if self.c.data == NULL:
            raise MemoryError()

    def __dealloc__(self):
        if self.c != NULL:
            free(self.c.data)
            free(self.c)

    @property
    def dropped(self):
        return ring_dropped(self.c)

    def drain(self, int most):
        cdef const uint8_t* at
        cdef const char* tail
        cdef const record_t* record
        cdef uint64_t size
        cdef int i
        taken = []
        while len(taken) < most:
            at = ring_peek(self.c, &size)
            if at == NULL:
                break
            record = <const record_t*> at
            tail = <const char*> at + sizeof(record_t)
            tenant = tail[:record.tenant_bytes].decode("utf-8", "replace")
            tail += record.tenant_bytes
            text = None
            if record.text_bytes != NO_TEXT:
                text = tail[:record.text_bytes].decode("utf-8", "replace")
                tail += record.text_bytes
            features = None
            if record.n_features:
                features = PyBytes_FromStringAndSize(tail, record.n_features * sizeof(float))
            taken.append(Drained(
                (<const char*> record.decision_id)[:16].hex(), record.at_ms, record.generation, record.policy, record.tier,
                record.status, record.deployment, record.task, record.strategy, record.tokens_total, record.propensity,
                tuple([None if isnan(record.p_sufficient[i]) else record.p_sufficient[i] for i in range(MAX_TIERS)]),
                tenant, text, features,
            ))
            ring_release(self.c, size)
        return taken
